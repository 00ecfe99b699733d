"""Rankings and judgments, the input of evaluation. Nothing heavy is imported here."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Ranking(NamedTuple):
    """Documents of one query, best first."""

    ids: list[str]
    scores: np.ndarray
    """float32, not increasing."""


Run = Mapping[str, Ranking]
"""Query id → ranking."""

Qrels = Mapping[str, Mapping[str, int]]
"""Query id → document id → relevance grade."""

Row = Mapping[str, Any]
"""One system's result: ``key``, ``system``, ``candidates``, ``queries`` (judged), ``ranked`` (not empty), metrics."""


def order(ids: Sequence[str], scores: np.ndarray, depth: int | None = None) -> Ranking:
    """Rank documents as trec_eval does: by float32 score, then by document id, both descending.

    Parameters
    ----------
    ids
        Ids of one query's documents, in any order.
    scores
        Their scores. NaN comes first, so that no cut hides it.
    depth
        Keep the best ``depth``; None keeps all.
    """
    scores = np.asarray(scores, dtype=np.float32)
    if not (scores[1:] <= scores[:-1]).all():
        ranked = _by_score(scores, depth)
        places: list[int] = ranked.tolist()
        best, scores = [ids[place] for place in places], scores[ranked]
    else:
        best = list(ids)
    for start, stop in _ties(scores):
        best[start:stop] = sorted(best[start:stop], reverse=True)
    return Ranking(best[:depth], scores[:depth].copy())


def ties(ranking: Ranking) -> int:
    """Return how many documents have the same score as the one before them, so that ids decide their order."""
    return int(np.count_nonzero(ranking.scores[1:] == ranking.scores[:-1]))


def _by_score(scores: np.ndarray, depth: int | None) -> np.ndarray:
    """Return positions by descending score; with a depth, at least that many, including all ties of the last."""
    kept = np.arange(len(scores))
    if depth is not None and depth < len(scores):
        border = np.partition(scores, len(scores) - depth)[len(scores) - depth]
        kept = (~(scores < border)).nonzero()[0]  # cut before sorting, which is the expensive part
    return kept[np.argsort(scores[kept])[::-1]]


def _ties(falling: np.ndarray) -> list[list[int]]:
    """Return start and stop of each group of two or more equal scores."""
    follows = np.zeros(len(falling) + 1, dtype=bool)  # whether a score equals the previous one
    np.equal(falling[1:], falling[:-1], out=follows[1:-1])
    (edges,) = (follows[1:] != follows[:-1]).nonzero()
    return [[start, last + 1] for start, last in edges.reshape(-1, 2).tolist()]


__all__ = ["Qrels", "Ranking", "Run", "order", "ties"]
