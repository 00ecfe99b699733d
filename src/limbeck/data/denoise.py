"""Drop negatives that the teacher scores too high: most likely relevant, but never judged."""

from dataclasses import replace

import numpy as np

from limbeck.config import ConfigError
from limbeck.data.pool import Pool
from limbeck.registry import register


@register("denoise", "margin")
class TeacherMargin:
    """Drop negatives whose teacher score comes too close to that of the query's best positive.

    Parameters
    ----------
    absolute
        Least distance below the positive, in units of the teacher's score; null for no such limit.
    relative
        Highest share of the positive's score, for example .95; null for no such limit. Only for scores above 0.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(self, *, absolute: float | None = None, relative: float | None = None) -> None:
        if absolute is not None and not 0 <= absolute < np.inf:
            raise ValueError(f"denoise.absolute must be >= 0 or null, got {absolute}")
        if relative is not None and not 0 < relative <= 1:
            raise ValueError(f"denoise.relative must be above 0 and at most 1, or null, got {relative}")
        self.absolute = absolute
        self.relative = relative

    @property
    def active(self) -> bool:
        """Whether there is any limit."""
        return self.absolute is not None or self.relative is not None

    def __call__(self, pool: Pool) -> Pool:
        """Return the pool without these negatives; its counts include their number.

        Raises
        ------
        ConfigError
            The pool has no teacher scores, or a score does not allow the relative limit.
        """
        if not self.active:
            return pool
        kept, counts = denoise(pool, self.absolute, self.relative)
        return replace(kept, counts={**pool.counts, "denoised": counts})


def denoise(pool: Pool, absolute: float | None = None, relative: float | None = None) -> tuple[Pool, dict[str, int]]:
    r"""Drop negatives that the teacher scores above a limit that depends on the query's best positive.

    With s⁺ the highest teacher score among the positives of a query, a negative is dropped if its score is

    ```math
    s > s⁺ - absolute \quad\text{or}\quad s > relative · s⁺
    ```

    The best positive, not the lowest: otherwise one positive that the teacher misjudges would remove all negatives.

    Parameters
    ----------
    pool
        A pool with teacher scores; NaN is a missing score. A negative without a score is kept, and so are all negatives
        of a query without a scored positive.
    absolute, relative
        The limits; None for none.

    Returns
    -------
    Pool
        The same queries; a query that loses all its negatives keeps its positives.
    dict
        ``negatives`` and ``queries``: how many negatives were dropped, of how many queries;
        ``queries_left_without_negatives``; and, not tested for lack of a score, ``unscored_negatives`` and
        ``queries_without_scored_positive``.

    Raises
    ------
    ConfigError
        There are no teacher scores, or one is infinite; or ``relative`` is set and the best positive of a query has no
        score above 0, since a share of a negative score is higher than the score. The message names the query.

    References
    ----------
    Moreira et al., NV-Retriever: Improving text embedding models with effective hard-negative mining, 2024
    (TopK-MarginPos and TopK-PercPos).
    """
    if pool.scores is None:
        raise ConfigError("pool.denoise needs teacher scores; choose a teacher, or set its limits to null")
    starts, lengths = pool.offsets[:-1], np.diff(pool.offsets)
    scores = np.asarray(pool.scores, dtype=np.float64)
    _refuse_infinite(pool, scores)
    positive, scored = pool.labels > 0, ~np.isnan(scores)
    best = np.maximum.reduceat(np.where(positive & scored, scores, -np.inf), starts)
    known = best > -np.inf
    limit = np.full(len(pool), np.inf)
    if absolute is not None:
        limit[known] = best[known] - absolute
    if relative is not None:
        _refuse(pool, best, known & (best <= 0))
        limit[known] = np.minimum(limit[known], relative * best[known])
    dropped = ~positive & scored & (scores > np.repeat(limit, lengths))
    left = np.add.reduceat((~positive & ~dropped).astype(np.int64), starts)
    lost = np.add.reduceat(dropped.astype(np.int64), starts)
    counts = {
        "negatives": int(lost.sum()),
        "queries": int((lost > 0).sum()),
        "queries_left_without_negatives": int(((left == 0) & (lost > 0)).sum()),
        "unscored_negatives": int((~positive & ~scored).sum()),
        "queries_without_scored_positive": int((~known).sum()),
    }
    return pool.select(~dropped), counts


def _refuse_infinite(pool: Pool, scores: np.ndarray) -> None:
    """Raise for infinite scores, with which either all negatives of a query or none would be dropped."""
    wrong = np.flatnonzero(np.isinf(scores))
    if len(wrong):
        query = pool.query_ids[int(np.searchsorted(pool.offsets, wrong[0], side="right")) - 1]
        raise ConfigError(
            f"pool.denoise: {len(wrong):,} teacher scores are infinite; the first is {scores[wrong[0]]} for query "
            f"{query!r}, document {pool.document_ids[int(wrong[0])].as_py()!r}; score these pairs again in float32 or "
            "bfloat16"
        )


def _refuse(pool: Pool, best: np.ndarray, wrong: np.ndarray) -> None:
    if wrong.any():
        query = int(np.flatnonzero(wrong)[0])
        raise ConfigError(
            f"pool.denoise.relative is a share of the positive's score, which must be above 0, but the best positive "
            f"of query {pool.query_ids[query]!r} has {best[query]:g} ({int(wrong.sum())} such queries); "
            "use pool.denoise.absolute with scores like these"
        )
