"""Per-query values, and their means over seeds."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

Values = Mapping[str, float]
"""Query id → value of one metric."""


def aligned(*systems: Sequence[Values]) -> tuple[list[str], list[np.ndarray]]:
    """Return the query ids, sorted, and for each system the (Q,) values in that order.

    Parameters
    ----------
    systems
        One mapping per seed each; seeds are averaged, as queries, not seeds, are the sample.

    Raises
    ------
    ValueError
        A system has no seed, there are no queries, the queries differ, or a value is not finite (the message names a
        query).
    """
    if not all(systems):
        raise ValueError("a system has no values: give one mapping per seed")
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
    arrays = [  # exact sums, so that the order of the seeds does not matter
        np.array([math.fsum(values[query] for values in seeds) / len(seeds) for query in queries]) for seeds in systems
    ]
    return queries, arrays
