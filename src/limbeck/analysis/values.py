"""Values per query: several seeds made one, and the mean with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from limbeck.evaluation.significance import Values

LEVEL = 0.95
"""Of all intervals."""


@dataclass(frozen=True)
class Mean:
    """A mean over queries."""

    value: float
    half_width: float
    """Of its 95 % interval; NaN for fewer than two queries."""
    count: int


def mean(sample: np.ndarray) -> Mean:
    r"""Return the mean of a sample and its interval by Student's t.

    .. math:: \bar x \pm t_{n-1,\,0.975} \, \frac{s}{\sqrt n}

    where s is the standard deviation with n - 1. Unlike the normal approximation this stays honest for a handful of
    queries: with two the factor is 12.7, not 1.96. The interval has no width where all values are equal.

    Parameters
    ----------
    sample
        (n,) values of independent queries; empty gives NaN.
    """
    count = len(sample)
    if not count:
        return Mean(float("nan"), float("nan"), 0)
    half_width = float("nan")
    if count > 1:
        half_width = float(t.ppf((1 + LEVEL) / 2, count - 1) * sample.std(ddof=1) / count**0.5)
    return Mean(float(sample.mean()), half_width, count)


def aligned(*systems: Sequence[Values]) -> tuple[list[str], list[np.ndarray]]:
    """Return the query ids, sorted, and of each system the (Q,) values in that order.

    Parameters
    ----------
    systems
        Each has one mapping a seed, which are averaged: queries, not seeds, are the sample.

    Raises
    ------
    ValueError
        The queries differ, a value is not finite (the message names a query), or there are none.
    """
    assert all(systems), "a system has at least one seed"
    queries = sorted(systems[0][0])
    if not queries:
        raise ValueError("there are no queries to compare")
    for values in (values for seeds in systems for values in seeds):
        odd = set(queries) ^ set(values)
        if odd:
            raise ValueError(f"query {min(odd)!r} is not in every system; compare runs of one collection and split")
        wrong = next((query for query in queries if not math.isfinite(values[query])), None)
        if wrong is not None:
            raise ValueError(f"the value of query {wrong!r} is {values[wrong]}; it must be finite")
    arrays = [  # exact sums: the order of the seeds cannot show
        np.array([math.fsum(values[query] for values in seeds) / len(seeds) for query in queries]) for seeds in systems
    ]
    return queries, arrays


__all__ = ["LEVEL", "Mean", "Values", "aligned", "mean"]
