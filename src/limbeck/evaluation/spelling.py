"""How metrics are spelt: ``NAME``, ``NAME@CUTOFF``, ``NAME-lLEVEL``, ``NAME@CUTOFF-lLEVEL``, and ``rbp.PERSISTENCE``.

This is what ranx reads, without what it reads and does not heed. ranx itself takes two seconds to import, which is why
its names stand here, too.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

NAMES = (
    "hits", "hit_rate", "precision", "recall", "f1", "r-precision", "mrr", "map", "dcg", "dcg_burges", "ndcg",
    "ndcg_burges", "bpref", "rbp",
)  # fmt: skip
"""What ranx can compute."""

_WHOLE = ("r-precision", "bpref", "rbp")
"""Those of a whole ranking: ranx takes a cut-off and does not heed it."""
_GRADED = ("dcg", "dcg_burges", "ndcg", "ndcg_burges", "rbp")
"""Those that weigh documents by their grades: a relevance level changes nothing in trec_eval, but does in ranx."""
_MEANT = {
    "p": "precision", "r": "recall", "rr": "mrr", "recip_rank": "mrr", "ap": "map", "success": "hit_rate",
    "rprec": "r-precision", "f": "f1", "set_f": "f1", "ndcg_cut": "ndcg", "map_cut": "map",
}  # fmt: skip
"""What trec_eval and ir_measures call them, in lower case."""


@dataclass(frozen=True)
class Spelt:
    """A metric taken apart."""

    name: str
    """One of :data:`NAMES`."""
    cutoff: int | None
    level: int
    """The lowest grade that counts as relevant."""
    persistence: float | None
    """Of rbp."""


def check_metrics(metrics: Sequence[str]) -> None:
    """Refuse metrics that cannot be computed, before anything is.

    Parameters
    ----------
    metrics
        As in :func:`~limbeck.evaluation.metrics.evaluate`.

    Raises
    ------
    ValueError
        The metric, what is wrong with it, and what may have been meant.
    """
    if isinstance(metrics, str):
        raise ValueError(f"metrics must be a list, as [{metrics}]; got {metrics!r}")
    for metric in metrics:
        spelt(metric)


def spelt(metric: str) -> Spelt:
    """Take a metric apart.

    Raises
    ------
    ValueError
        As in :func:`check_metrics`.
    """
    front, leveled, level = metric.partition("-l")
    name, cut, cutoff = front.partition("@")
    persistence = ""
    if name.startswith("rbp"):
        name, _, persistence = name.partition(".")
    if name not in NAMES:
        raise ValueError(f"metrics has {metric!r}, which ranx does not know; {_instead(name, metric)}")
    if name == "rbp" and not _whole(persistence):
        raise ValueError(f"metrics has {metric!r}; rbp needs its persistence, as in rbp.95")
    if cut and name in _WHOLE:
        raise ValueError(f"metrics has {metric!r}; {name} is of the whole ranking and takes no cut-off")
    if cut and not (_whole(cutoff) and int(cutoff) >= 1):
        raise ValueError(f"metrics has {metric!r}; the cut-off behind @ must be a whole number >= 1, as in {name}@10")
    if leveled and name in _GRADED:
        raise ValueError(
            f"metrics has {metric!r}; {name} weighs documents by their grades and takes no relevance level"
        )
    if leveled and not (_whole(level) and int(level) >= 1):
        example = f"{name}-l2" if name in _WHOLE else f"{name}@10-l2"
        raise ValueError(
            f"metrics has {metric!r}; the relevance level behind -l must be a whole number >= 1, and it comes last, "
            f"as in {example}"
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
    lower = name.lower()
    close = [_MEANT[lower]] if lower in _MEANT else difflib.get_close_matches(lower, NAMES, 1)
    if close:
        return f"did you mean {close[0]}{metric[len(name) :]}?"
    return f"its names are {', '.join(NAMES)}; try ndcg@10, mrr@10, recall@100, recall@1000-l2"
