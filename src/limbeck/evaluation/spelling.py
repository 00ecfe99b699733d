"""How metrics are spelt: ``NAME``, ``NAME@CUTOFF``, ``NAME-lLEVEL``, ``NAME@CUTOFF-lLEVEL``, and ``rbp.PERSISTENCE``.

This is what ranx reads, without what it reads and does not heed. ranx itself takes two seconds to import, which is why
its names stand here, too. What other programs call the same metrics is translated (``.foreign_metrics``).
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
"""What ranx can compute."""

_WHOLE = ("r-precision", "bpref", "rbp")
"""Those of a whole ranking: ranx takes a cut-off and does not heed it."""
_GRADED = ("dcg", "dcg_burges", "ndcg", "ndcg_burges", "rbp")
"""Those that weigh documents by their grades: a relevance level changes nothing in trec_eval, but does in ranx."""


@dataclass(frozen=True)
class Spelt:
    """A metric taken apart."""

    name: str
    """One of ``NAMES``."""
    cutoff: int | None
    level: int
    """The lowest grade that counts as relevant."""
    persistence: float | None
    """Of rbp."""


def check_metrics(metrics: Sequence[str]) -> list[str]:
    """Return metrics in our spelling, each once; refuse what cannot be computed, before anything is.

    Parameters
    ----------
    metrics
        As in ``limbeck.evaluation.metrics.evaluate``.

    Raises
    ------
    ValueError
        The metric, what is wrong with it, and what may have been meant.
    """
    if isinstance(metrics, str):
        raise ValueError(f"metrics must be a list, as [{metrics}]; got {metrics!r}")
    return list(dict.fromkeys(spelling(metric) for metric in metrics))


def spelling(metric: str, key: str = "metrics") -> str:
    """Return our spelling of a metric; ``key`` is the option that names it, for the message of the ``ValueError``."""
    try:
        return _ours(metric)
    except ValueError as error:
        raise ValueError(f"{key} has {metric!r}{error}") from None


def spelt(metric: str) -> Spelt:
    """Take a metric apart, in our spelling or another.

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
        raise ValueError(f"; {name} is of the whole ranking and takes no cut-off")
    if cut and not (_whole(cutoff) and int(cutoff) >= 1):
        raise ValueError(f"; the cut-off behind @ must be a whole number >= 1, as in {name}@10")
    if leveled and name in _GRADED:
        raise ValueError(f"; {name} weighs documents by their grades and takes no relevance level")
    if leveled and not (_whole(level) and int(level) >= 1):
        example = f"{name}-l2" if name in _WHOLE else f"{name}@10-l2"
        raise ValueError(
            f"; the relevance level behind -l must be a whole number >= 1, and it comes last, as in {example}"
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
    lower, _, options = name.lower().partition("(")  # as ir_measures has them
    close = difflib.get_close_matches(lower, NAMES, 1)
    if close:
        rest = metric.rpartition(")")[2] if options else metric[len(name) :]
        return f"did you mean {close[0]}{rest}?"
    return f"its names are {', '.join(NAMES)}; try ndcg@10, mrr@10, recall@100, recall@1000-l2"
