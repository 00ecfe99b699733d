"""Compare many systems with one baseline, with corrections for the number of comparisons."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from limbeck.evaluation.significance import Difference, bonferroni, holm, paired
from limbeck.evaluation.values import Values
from limbeck.registry import register

Evaluated = Mapping[str, Mapping[str, Mapping[str, Sequence[Values]]]]
"""Set → metric → system → one mapping (query id → value) per seed."""

Test = Literal["t", "randomisation"]
TESTS = ("t", "randomisation")


@dataclass(frozen=True)
class Compared:
    """Comparison of one system with the baseline, by one metric on one set."""

    set: str
    metric: str
    baseline: str
    system: str
    statistics: Difference
    test: Test
    p: float
    """Uncorrected p of the test; NaN for the t-test on a single query."""
    p_holm: float
    p_bonferroni: float
    family: int
    """Number of tests corrected for."""


def compare(
    values: Evaluated,
    baseline: str,
    *,
    test: Test = "t",
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 1,
) -> list[Compared]:
    """Compare every system with the baseline, on every set, by every metric.

    The corrections' family is all comparisons of the call: sets × metrics × systems.

    Parameters
    ----------
    values
        Per-query values. A system without values on a set is left out there; a set without the baseline has no rows.
    baseline
        Name of the system that the others are compared with.
    test
        The test whose p-values are corrected.
    resamples, confidence, seed
        As in ``limbeck.evaluation.significance.paired``.

    Returns
    -------
    list of Compared
        In the order of the mapping.

    Raises
    ------
    ValueError
        The baseline is on no set (the message names the systems), or the queries of a comparison differ (it names set,
        metric, system and a query).
    """
    systems = dict.fromkeys(name for metrics in values.values() for found in metrics.values() for name in found)
    if baseline not in systems:
        raise ValueError(f"baseline {baseline!r} is none of the systems: {', '.join(systems)}")
    places = [
        (group, metric, name)
        for group, metrics in values.items()
        for metric, found in metrics.items()
        if baseline in found
        for name in found
        if name != baseline
    ]
    statistics = []
    for group, metric, name in places:
        found = values[group][metric]
        try:
            each = paired(found[baseline], found[name], resamples=resamples, confidence=confidence, seed=seed)
        except ValueError as error:
            raise ValueError(f"{group}, {metric}, {name} beside {baseline}: {error}") from error
        statistics.append(each)
    raw = [each.t_p if test == "t" else each.randomisation_p for each in statistics]
    family = sum(not math.isnan(p) for p in raw)
    return [
        Compared(group, metric, baseline, name, each, test, p, by_holm, by_bonferroni, family)
        for (group, metric, name), each, p, by_holm, by_bonferroni in zip(
            places, statistics, raw, holm(raw), bonferroni(raw), strict=True
        )
    ]


def marks(row: Compared, level: float = 0.05) -> str:
    """Return ``▲`` above the baseline, ``▼`` below it, where the Holm-adjusted p is below the level; else nothing."""
    if not row.p_holm < level:  # NaN < level is False
        return ""
    return "▲" if row.statistics.difference > 0 else "▼"


def plain(rows: Sequence[Compared]) -> list[dict[str, Any]]:
    """Return rows as nested plain dicts for JSON, which has no NaN and no infinity: both become None."""
    return [_plain(dataclasses.asdict(row)) for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@register("comparison", "comparison")
class Comparing:
    """Options of a comparison with a baseline, for ``compare`` and ``marks``.

    Parameters
    ----------
    test
        The test whose p-values are corrected and marked: ``t``, the paired t-test, or ``randomisation``, Fisher's. Both
        are always computed.
    confidence
        Level of the bootstrap interval of the mean difference.
    resamples
        Number of resamples of the bootstrap and of the randomisation test.
    level
        Holm-adjusted p-values below this level are marked.
    seed
        Seed of the resampling.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(
        self,
        *,
        test: Literal["t", "randomisation"] = "t",
        confidence: float = 0.95,
        resamples: int = 10_000,
        level: float = 0.05,
        seed: int = 1,
    ) -> None:
        if test not in TESTS:
            raise ValueError(f"test must be one of {', '.join(TESTS)}, got {test!r}")
        for name, share in {"confidence": confidence, "level": level}.items():
            if not 0 < share < 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {share}")
        if resamples < 100:
            raise ValueError(f"resamples must be >= 100, or the tails of the interval are empty; got {resamples}")
        if seed < 0:
            raise ValueError(f"seed must be >= 0, got {seed}")
        self.test: Test = test
        self.confidence = confidence
        self.resamples = resamples
        self.level = level
        self.seed = seed

    def compare(self, values: Evaluated, baseline: str) -> list[Compared]:
        """Compare every system with the baseline, as ``compare`` does."""
        return compare(
            values,
            baseline,
            test=self.test,
            resamples=self.resamples,
            confidence=self.confidence,
            seed=self.seed,
        )

    def marks(self, row: Compared) -> str:
        """Return the mark of a row at ``level``, as ``marks`` does."""
        return marks(row, self.level)
