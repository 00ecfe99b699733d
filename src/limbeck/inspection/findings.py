"""Run all checks before training."""

import difflib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.config import ConfigError, check_keys, entries, part
from limbeck.data.pool import Pool
from limbeck.inspection.losses import LossView
from limbeck.inspection.measures import Measures, choose, measure
from limbeck.inspection.seen import Finding, Seen, Severity
from limbeck.types import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckResult:
    """The finding of one check, with its name and severity."""

    name: str
    severity: Severity
    message: str
    """What was found, with figures."""
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}\n  remedy: {self.remedy}"


def checks() -> dict[str, Callable[..., Finding | None]]:
    """Return every check by name, including those of the user's packages."""
    found = {name: entry.target for (kind, name), entry in entries().items() if kind == "check"}
    return {name: part({"_target_": target}, key=f"checks.{name}") for name, target in found.items()}


def settings(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``check`` that the node ``checks`` of a configuration sets.

    Parameters
    ----------
    node
        ``ignore``, ``queries``, and a node of options for each check.

    Raises
    ------
    ConfigError
        An option does not exist or has no sensible value.
    """
    ignore, queries = node["ignore"], node["queries"]
    if not isinstance(ignore, list):
        raise ConfigError(f"checks.ignore must be a list of names of checks, got {ignore!r}; checks.ignore=[{ignore}]")
    if queries is not None and (not isinstance(queries, int) or queries < 1):
        raise ConfigError(f"checks.queries must be a whole number >= 1, or null for all, got {queries!r}")
    single = {name: options for name, options in node.items() if name not in ("ignore", "queries")}
    _named(ignore, single)
    for name, options in single.items():
        check_keys(options, f"checks.{name}")
    thresholds = {name: {k: v for k, v in item.items() if k != "_target_"} for name, item in single.items()}
    return {"ignore": ignore, "queries": queries, "thresholds": thresholds}


def _named(ignore: Sequence[str], thresholds: Mapping[str, Any]) -> dict[str, Callable[..., Finding | None]]:
    """Return the checks by name; raise for unknown names."""
    functions = checks()
    for key, names in (("checks.ignore", ignore), ("checks", thresholds)):
        for name in names:
            if name not in functions:
                close = difflib.get_close_matches(str(name), functions, 1, 0.5)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise ConfigError(f"{key}: {name!r} is no check{hint}\nthe checks: {', '.join(sorted(functions))}")
    return functions


def check(
    pool: Pool,
    *,
    meta: Mapping[str, Any] | None = None,
    objective: Sequence[LossView],
    collection_fingerprint: str | None = None,
    first_stage_scores: np.ndarray | None = None,
    ignore: Sequence[str] = (),
    queries: int | None = 5000,
    thresholds: Mapping[str, Mapping[str, Any]] | None = None,
    measures: Measures | None = None,
) -> list[CheckResult]:
    """Run the checks; errors come first.

    Parameters
    ----------
    pool
        Pool with teacher scores, NaN where one is missing; without scores nothing is checked.
    meta
        Provenance of the scores, as in a score store; ``kind`` and ``collection`` are used.
    objective
        How the losses read the scores, from ``views``. If none reads them, nothing is checked.
    collection_fingerprint
        Fingerprint of the training collection.
    first_stage_scores
        The first stage's scores, from ``first_stage_scores``; None leaves out the check that needs them.
    ignore
        Names of checks to leave out.
    queries
        Most queries whose lists are measured; None measures all.
    thresholds
        Check → option → value.
    measures
        Result of ``measure`` for this pool, if it exists already.

    Raises
    ------
    ConfigError
        ``ignore`` or ``thresholds`` names no check.
    """
    thresholds = thresholds or {}
    functions = _named(ignore, thresholds)
    if pool.scores is None or not any(view.uses_scores for view in objective):
        return []
    seen = Seen(
        pool=pool,
        measures=measure(pool, queries) if measures is None else measures,
        objective=objective,
        meta=meta or {},
        collection_fingerprint=collection_fingerprint,
        first_stage_scores=first_stage_scores,
    )
    found = []
    for name, function in functions.items():
        caught = None if name in ignore else function(seen, **thresholds.get(name, {}))
        if caught is not None:
            found.append(CheckResult(name, severity_of(function), caught.message, caught.remedy))
    return sorted(found, key=lambda finding: finding.severity)  # a stable sort; "error" comes before "warning"


def severity_of(function: Callable[..., Any]) -> Severity:
    """Return the severity of a check."""
    return function.severity  # pyright: ignore[reportFunctionMemberAccess]


def report(findings: Sequence[CheckResult]) -> None:
    """Log the warnings, and raise if there is an error.

    Raises
    ------
    ConfigError
        There are errors; the message has all of them, with their remedies and how to turn them off.
    """
    for finding in findings:
        if finding.severity == "warning":
            log.warning("teacher scores, %s", finding)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        names = ",".join(finding.name for finding in errors)
        listed = "\n".join(f"- {finding}" for finding in errors)
        raise ConfigError(
            f"the teacher scores would ruin this training:\n{listed}\n"
            f"if this is intended, set checks.ignore=[{names}]; limbeck inspect with the same overrides "
            "shows more"
        )


def first_stage_scores(pool: Pool, run: Run, queries: int | None = 5000) -> np.ndarray:
    """Return the scores of a run in the row order of a pool; NaN for missing ones and unmeasured queries.

    Parameters
    ----------
    pool
        The pool.
    run
        The run with scores.
    queries
        As in ``check``.
    """
    scores = np.full(len(pool.labels), np.nan)
    for query in choose(pool, queries).tolist():
        ranking = run.get(pool.query_ids[query])
        if ranking is not None:
            of = dict(zip(ranking.ids, ranking.scores.tolist(), strict=True))
            scores[pool.rows(query)] = [of.get(document, np.nan) for document in pool.documents(query)]
    return scores
