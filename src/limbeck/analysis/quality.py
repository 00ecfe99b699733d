"""Compare students by the quality of their teacher, query by query, to see where a loss gains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.analysis.means import mean
from limbeck.evaluation.values import Values, aligned

EDGES = (0.2, 0.5)
"""Borders between bad, medium and good teaching, as in analyses of CKL (there for the reciprocal rank)."""


@dataclass(frozen=True)
class Bucket:
    """Queries on which the teacher has about the same quality."""

    low: float
    high: float
    queries: int
    teacher: float
    baseline: float
    system: float
    gain: float
    """Mean of system - baseline."""
    half_width: float
    """Half the width of the 95 % interval of the gain over queries (Student's t); NaN for fewer than two queries."""


def by_teacher(
    teacher: Values, baseline: Sequence[Values], system: Sequence[Values], edges: Sequence[float] = EDGES
) -> list[Bucket]:
    """Compare two systems in buckets of the teacher's own value.

    The gains of the buckets, weighted by their queries, average to the gain over all queries.

    Parameters
    ----------
    teacher
        The teacher's values, between 0 and 1.
    baseline, system
        One mapping per seed; values are averaged over seeds first, since queries, not seeds, are the sample.
    edges
        Ascending borders; a value on a border belongs to the bucket above it.

    Returns
    -------
    list[Bucket]
        From bad to good teaching; a bucket without queries is left out.

    Raises
    ------
    ValueError
        The queries differ or a value is not finite (the message names one), or the edges do not ascend.
    """
    if list(edges) != sorted(set(edges)) or not all(0 < edge < 1 for edge in edges):
        raise ValueError(f"edges must rise and lie between 0 and 1, got {list(edges)}")
    _, (quality, before, after) = aligned([teacher], baseline, system)
    place = np.digitize(quality, edges)
    buckets = []
    for number, (low, high) in enumerate(zip((0.0, *edges), (*edges, 1.0), strict=True)):
        inside = place == number
        if not inside.any():
            continue
        gain = mean((after - before)[inside])
        averages = (float(values[inside].mean()) for values in (quality, before, after))
        buckets.append(Bucket(low, high, gain.count, *averages, gain=gain.value, half_width=gain.half_width))
    return buckets


def quality_metric(teacher: Mapping[str, Values]) -> str:
    """Return the metric that measures a teacher's quality on a query: its reciprocal rank, else the first one."""
    return next((metric for metric in teacher if metric.startswith("mrr")), next(iter(teacher)))
