"""The teacher's distribution over a list at a temperature: between one-hot and flat."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from limbeck.analysis.segments import Segments
from limbeck.data.pool import Pool
from limbeck.inspection.measures import choose, gather

SENSIBLE = 0.5
"""Target of a proposed temperature, as normalised entropy: the teacher then weighs about √L of L documents."""

_QUERIES = 1000


@dataclass(frozen=True)
class Distribution:
    """softmax(scores / temperature) of some lists."""

    entropy: np.ndarray
    """(Q,) entropy over ln L, between 0 (one-hot) and 1 (flat)."""
    largest: np.ndarray
    """(Q,) largest probability."""

    @property
    def median(self) -> float:
        """The median normalised entropy."""
        return float(np.median(self.entropy)) if len(self.entropy) else float("nan")


class Softmax:
    """The lists of a sample of a pool's queries, without lists whose scores are all the same.

    Parameters
    ----------
    pool
        Pool with scores.
    queries
        Most queries of the sample, evenly spaced.
    """

    def __init__(self, pool: Pool, queries: int = _QUERIES) -> None:
        lists = gather(pool, choose(pool, queries))
        kept = lists.segments.min(lists.scores) < lists.segments.max(lists.scores)
        self._segments = Segments(lists.segments.lengths[kept])
        scores = lists.scores[kept[lists.segments.ids]]
        self._below = scores - self._segments.max(scores)[self._segments.ids]

    def __len__(self) -> int:
        return len(self._segments)

    def at(self, temperature: float) -> Distribution:
        """Return the distributions at a temperature."""
        segments = self._segments
        exponents = self._below / temperature
        weights = np.exp(exponents)
        total = segments.sum(weights)
        # H = ln Z - Σ p x, with the maximum at 0 so that nothing overflows; 0 · -inf cannot occur, as x is finite.
        nats = np.log(total) - segments.sum(weights * exponents) / total
        return Distribution(np.clip(nats / np.log(segments.lengths), 0.0, 1.0), 1.0 / total)

    @cached_property
    def spread(self) -> float:
        """The median range of a list's scores."""
        return float(np.median(-self._segments.min(self._below)))

    def temperature(self, entropy: float = SENSIBLE) -> float:
        """Return the temperature, to two digits, at which the median normalised entropy has a given value."""
        low, high = np.log(self.spread * 1e-6), np.log(self.spread * 1e6)
        for _ in range(30):
            middle = (low + high) / 2
            low, high = (middle, high) if self.at(float(np.exp(middle))).median < entropy else (low, middle)
        return float(f"{np.exp((low + high) / 2):.2g}")
