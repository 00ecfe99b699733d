"""Measures of the teacher's scores in each list of a pool.

All are computed over the documents with a finite score; the others are counted. Ties in the teacher's scores keep the
order of the pool. A measure that is undefined for a list (a rank without positives, an entropy of one document) is NaN,
and is left out of means and shares.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from limbeck.analysis.segments import Segments
from limbeck.data.pool import Pool

CUTOFFS = (1, 5, 10, 20, 50, 100)
"""k of the overlap between teacher and first stage."""

_TOP = 5
_BLOCK = 2_000_000
"""Pairs measured at once, in about half a GB of working memory."""


@dataclass(frozen=True)
class Lists:
    """The scored documents of some queries of a pool."""

    queries: np.ndarray
    """(Q,) positions of the queries in the pool."""
    lengths: np.ndarray
    """(Q,) number of documents, with or without a score."""
    segments: Segments
    """The lists of the scored rows."""
    rows: np.ndarray
    """(N,) their rows in the pool."""
    scores: np.ndarray
    """(N,) scores, float64, finite."""
    positive: np.ndarray
    """(N,) bool, whether the document is a positive."""
    ranks: np.ndarray
    """(N,) first-stage ranks."""


@dataclass(frozen=True)
class Measures:
    """Measures with one value per list."""

    queries: np.ndarray
    """(Q,) positions in the pool of the measured queries."""
    lengths: np.ndarray
    """Number of documents in the list."""
    scored: np.ndarray
    """Number of documents with a finite score."""
    minimum: np.ndarray
    maximum: np.ndarray
    std: np.ndarray
    """Standard deviation of the scores (population)."""
    tied: np.ndarray
    """Share of documents that have the same score as another document of the list."""
    teacher_rank: np.ndarray
    """Rank of the best positive by the teacher, from 1; negatives with the same score come before it."""
    first_stage_rank: np.ndarray
    """Its rank among the same documents by the first stage; negatives with the same rank come before it."""
    chance: np.ndarray
    """Share of positives in the list: the chance that a random order has one first."""
    spearman: np.ndarray
    """Spearman's correlation of the teacher's order with the first stage's; ties get the mean of their ranks."""
    same_order: np.ndarray
    """1 if the teacher's order never contradicts the first stage's; for lists of three or more documents."""
    overlap: np.ndarray
    """(Q, K) overlap of both top k, for each k of ``CUTOFFS``; NaN for lists of at most k documents."""
    top: np.ndarray
    """(Q, 5) the five highest scores, descending."""

    @property
    def spread(self) -> np.ndarray:
        """Range of the scores: maximum minus minimum."""
        return self.maximum - self.minimum


def choose(pool: Pool, queries: int | None) -> np.ndarray:
    """Return positions of at most ``queries`` queries, evenly spaced; None takes all."""
    count = len(pool)
    if queries is None or queries >= count:
        return np.arange(count)
    return np.arange(queries) * count // queries


def gather(pool: Pool, chosen: np.ndarray) -> Lists:
    """Return the scored documents of the chosen queries."""
    assert pool.scores is not None, "there is nothing to measure without scores"
    starts = pool.offsets[chosen]
    whole = Segments(pool.offsets[chosen + 1] - starts)
    rows = np.arange(whole.offsets[-1]) + np.repeat(starts - whole.offsets[:-1], whole.lengths)
    scores = pool.scores[rows].astype(np.float64)
    present = np.isfinite(scores)
    rows = rows[present]
    kept = np.bincount(whole.ids[present], minlength=len(whole))
    return Lists(chosen, whole.lengths, Segments(kept), rows, scores[present], pool.labels[rows] > 0, pool.ranks[rows])


def measure(pool: Pool, queries: int | None = None) -> Measures:
    """Measure the lists of a pool with scores.

    Parameters
    ----------
    pool
        Pool whose ``scores`` are NaN where the teacher's are missing. A list whose ranks are all the same has no first
        stage; its comparison with the first stage is NaN.
    queries
        Most queries measured, evenly spaced over the pool; None measures all.
    """
    parts = [_measure(gather(pool, block)) for block in _blocks(pool, choose(pool, queries))]
    return Measures(
        **{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Measures)}
    )


def _blocks(pool: Pool, chosen: np.ndarray) -> Iterator[np.ndarray]:
    behind = np.cumsum(pool.offsets[chosen + 1] - pool.offsets[chosen])
    yield from np.split(chosen, np.flatnonzero(np.diff(behind // _BLOCK)) + 1)


def _measure(lists: Lists) -> Measures:
    segments, scores, ranks = lists.segments, lists.scores, lists.ranks
    by_teacher = segments.order(-scores)
    by_rank = segments.order(ranks, -scores)
    highest, lowest = segments.max(scores), segments.min(scores)
    differs = np.where(segments.min(ranks) < segments.max(ranks), 1.0, np.nan)  # NaN without a first stage
    varies = np.where(lowest < highest, 1.0, np.nan)
    return Measures(
        queries=lists.queries,
        lengths=lists.lengths,
        scored=segments.lengths,
        minimum=lowest,
        maximum=highest,
        std=_std(segments, scores),
        tied=_tied(segments, by_teacher, scores),
        teacher_rank=_best_positive(segments, -scores, lists.positive),
        first_stage_rank=_best_positive(segments, ranks, lists.positive) * differs,
        chance=segments.mean(lists.positive),
        spearman=_correlation(
            segments, segments.average_ranks(by_teacher, -scores), segments.average_ranks(by_rank, ranks)
        ),
        same_order=_same_order(segments, by_rank, lists) * differs * varies,
        overlap=_overlap(segments, segments.positions(by_teacher), segments.positions(by_rank))
        * (differs * varies)[:, None],
        top=_top(segments, by_teacher, scores),
    )


def _std(segments: Segments, values: np.ndarray) -> np.ndarray:
    centred = values - segments.mean(values)[segments.ids]  # two passes, as scores may be large and close together
    return np.sqrt(segments.mean(centred**2))


def _tied(segments: Segments, order: np.ndarray, scores: np.ndarray) -> np.ndarray:
    groups = segments.groups(order, scores)
    alone = np.bincount(groups)[groups] == 1
    return 1.0 - segments.mean(alone)  # both orders group rows by list


def _best_positive(segments: Segments, key: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Return 1 + the number of negatives that are not worse than the best positive; NaN without positives."""
    best = segments.min(np.where(positive, key, np.inf))
    before = segments.sum(~positive & (key <= best[segments.ids]))
    return np.where(np.isfinite(best), 1.0 + before, np.nan)


def _correlation(segments: Segments, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation per list; NaN where one side is constant."""
    left = left - segments.mean(left)[segments.ids]
    right = right - segments.mean(right)[segments.ids]
    size = np.sqrt(segments.sum(left**2) * segments.sum(right**2))
    return np.divide(segments.sum(left * right), size, out=np.full(len(segments), np.nan), where=size > 0)


def _same_order(segments: Segments, by_rank: np.ndarray, lists: Lists) -> np.ndarray:
    ids, scores = segments.ids, lists.scores[by_rank]
    # Sorted by rank, and by descending score for equal ranks: an increase between neighbours contradicts the ranks.
    rises = (ids[1:] == ids[:-1]) & (scores[1:] > scores[:-1])
    wrong = np.bincount(ids[1:][rises], minlength=len(segments))
    return np.where(segments.lengths >= 3, wrong == 0, np.nan)


def _overlap(segments: Segments, teacher: np.ndarray, first_stage: np.ndarray) -> np.ndarray:
    columns = []
    for k in CUTOFFS:
        both = segments.sum((teacher <= k) & (first_stage <= k)) / k
        columns.append(np.where(segments.lengths > k, both, np.nan))
    return np.stack(columns, axis=1)


def _top(segments: Segments, by_teacher: np.ndarray, scores: np.ndarray) -> np.ndarray:
    result = np.full((len(segments), _TOP), np.nan)
    place = np.arange(len(by_teacher)) - segments.offsets[segments.ids]
    first = place < _TOP
    result[segments.ids[first], place[first]] = scores[by_teacher][first]
    return result
