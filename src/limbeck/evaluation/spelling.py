"""Spelling of metrics: ``NAME``, ``NAME@CUTOFF``, ``NAME-lLEVEL``, ``NAME@CUTOFF-lLEVEL``, and ``rbp.PERSISTENCE``.

This is ranx's spelling, without forms that ranx accepts but ignores. Importing ranx takes two seconds, so its names are
repeated here. ``.foreign_metrics`` translates the spelling of other programs.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from limbeck.evaluation.foreign_metrics import translated

NAMES = (
    "hits", "hit_rate", "precision", "recall", "f1", "r-precision", "mrr", "map", "dcg", "dcg_burges", "ndcg",
    "ndcg_burges", "bpref", "rbp",
)  # fmt: skip
"""Metrics that ranx computes."""

_WHOLE = ("r-precision", "bpref", "rbp")
"""Metrics of a whole ranking: ranx accepts a cut-off and ignores it."""
_GRADED = ("dcg", "dcg_burges", "ndcg", "ndcg_burges", "rbp")
"""Metrics that weigh documents by grade: a relevance level changes nothing in trec_eval, but does in ranx."""


@dataclass(frozen=True)
class Spelt:
    """The parts of a metric's name."""

    name: str
    """One of ``NAMES``."""
    cutoff: int | None
    level: int
    """The lowest grade that counts as relevant."""
    persistence: float | None
    """The persistence of rbp."""


def check_metrics(metrics: Sequence[str]) -> list[str]:
    """Return metrics in limbeck's spelling without duplicates; raise for metrics that cannot be computed.

    Parameters
    ----------
    metrics
        As in ``limbeck.evaluation.metrics.evaluate``.

    Raises
    ------
    ValueError
        A metric cannot be computed; the message names it and suggests another.
    """
    if isinstance(metrics, str):
        raise ValueError(f"metrics must be a list, as [{metrics}]; got {metrics!r}")
    return list(dict.fromkeys(spelling(metric) for metric in metrics))


def spelling(metric: str, key: str = "metrics") -> str:
    """Return a metric in limbeck's spelling; ``key`` is the option that names it, for the ``ValueError``."""
    try:
        return _ours(metric)
    except ValueError as error:
        raise ValueError(f"{key} has {metric!r}{error}") from None


def spelt(metric: str) -> Spelt:
    """Return the parts of a metric, in limbeck's or another program's spelling.

    Raises
    ------
    ValueError
        As in ``check_metrics``.
    """
    return _apart(spelling(metric))


def _ours(metric: str) -> str:
    try:
        _apart(metric)
    except ValueError as wrong:
        front, level = re.fullmatch(r"(.*?)(-l[0-9]+)?", metric, re.DOTALL).groups("")  # pyright: ignore[reportOptionalMemberAccess]
        try:
            ours = translated(front)
        except ValueError as error:
            raise ValueError(f", which {error}") from None
        if ours in (None, front):
            raise wrong from None
        _apart(ours + level)
        return ours + level
    return metric


def _apart(metric: str) -> Spelt:
    front, leveled, level = metric.partition("-l")
    name, cut, cutoff = front.partition("@")
    persistence = ""
    if name.startswith("rbp"):
        name, _, persistence = name.partition(".")
    if name not in NAMES:
        raise ValueError(f", which ranx does not know; {_instead(name, metric)}")
    if name == "rbp" and not _whole(persistence):
        raise ValueError("; rbp needs its persistence, as in rbp.95")
    if cut and name in _WHOLE:
        raise ValueError(f"; {name} is computed on the whole ranking and takes no cut-off")
    if cut and not (_whole(cutoff) and int(cutoff) >= 1):
        raise ValueError(f"; the cut-off after @ must be a whole number >= 1, as in {name}@10")
    if leveled and name in _GRADED:
        raise ValueError(f"; {name} weighs documents by their grades and takes no relevance level")
    if leveled and not (_whole(level) and int(level) >= 1):
        example = f"{name}-l2" if name in _WHOLE else f"{name}@10-l2"
        raise ValueError(
            f"; the relevance level after -l must be a whole number >= 1, and it comes last, as in {example}"
        )
    return Spelt(
        name,
        cutoff=int(cutoff) if cut else None,
        level=int(level) if leveled else 1,
        persistence=float(f"0.{persistence}") if persistence else None,
    )


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _instead(name: str, metric: str) -> str:
    lower, _, options = name.lower().partition("(")  # ir_measures's options
    close = difflib.get_close_matches(lower, NAMES, 1)
    if close:
        rest = metric.rpartition(")")[2] if options else metric[len(name) :]
        return f"did you mean {close[0]}{rest}?"
    return f"its names are {', '.join(NAMES)}; try ndcg@10, mrr@10, recall@100, recall@1000-l2"
