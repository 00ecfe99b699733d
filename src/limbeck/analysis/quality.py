"""Students by the quality of their teacher, query by query: where a loss gains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Values = Mapping[str, float]
"""Query id → value of one metric."""

EDGES = (0.2, 0.5)
"""Borders between bad, middling and good teaching, as analyses of CKL have them (there for the reciprocal rank)."""


@dataclass(frozen=True)
class Bucket:
    """Queries on which the teacher is about equally good."""

    low: float
    high: float
    queries: int
    teacher: float
    baseline: float
    system: float
    gain: float
    """Mean of system - baseline."""
    half_width: float
    """Of the 95 % interval of the gain over queries (normal approximation); NaN for fewer than two queries."""


def by_teacher(
    teacher: Values, baseline: Sequence[Values], system: Sequence[Values], edges: Sequence[float] = EDGES
) -> list[Bucket]:
    """Compare two systems in buckets of the teacher's own value.

    Parameters
    ----------
    teacher
        The teacher's metric.
    baseline, system
        One mapping a seed; values are averaged over seeds first, since queries, not seeds, are the sample.
    edges
        Borders; a value on a border belongs to the bucket above it.

    Raises
    ------
    ValueError
        The queries differ: the message names one.
    """
    queries = sorted(teacher)
    for values in (*baseline, *system):
        odd = set(queries) ^ set(values)
        if odd:
            raise ValueError(f"query {min(odd)!r} is not in every system; compare runs of one collection and split")
    quality = np.array([teacher[query] for query in queries])
    before, after = (np.mean([[v[q] for q in queries] for v in values], axis=0) for values in (baseline, system))
    place = np.digitize(quality, edges)
    buckets = []
    for number, (low, high) in enumerate(zip((0.0, *edges), (*edges, 1.0), strict=True)):
        inside = place == number
        count = int(inside.sum())
        if not count:
            continue
        gains = (after - before)[inside]
        half = 1.96 * float(gains.std(ddof=1)) / count**0.5 if count > 1 else float("nan")
        averages = (float(values[inside].mean()) for values in (quality, before, after))
        buckets.append(Bucket(low, high, count, *averages, gain=float(gains.mean()), half_width=half))
    return buckets
