"""The best documents by inverted lists: for each term the documents that have it, summed up query by query.

Where there is much to do by loops that Numba compiles, else by arrays of NumPy; the scores are the same to the bit.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from heapq import heapreplace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_QUERIES = 256
"""Queries that a thread ranks at once."""

_AHEAD = 4
"""Blocks of queries a thread that are ranked before the first is taken: bounds what waits in memory."""

_COMPILED_FROM = 10**8
"""Queries times documents from which compiling the loops, two seconds, pays."""


class Postings(NamedTuple):
    """The lists of V terms: that of term t is at ``starts[t] … starts[t + 1]``."""

    weights: NDArray[np.float32]
    documents: NDArray[np.int32]
    """Each from 0 to ``size`` - 1, and no more than once in a list."""
    starts: NDArray[np.int64]
    """(V + 1)."""
    size: int
    """Number of documents."""


class Queries(NamedTuple):
    """Terms of B queries: those of query b are at ``starts[b] … starts[b + 1]``."""

    starts: NDArray[np.int64]
    """(B + 1)."""
    terms: NDArray[np.int64]
    """A term may come twice, and then counts twice."""
    weights: NDArray[np.float32]

    @classmethod
    def unweighted(cls, queries: Sequence[Sequence[int]]) -> "Queries":
        """Give each term of each query the weight 1."""
        starts = np.cumsum([0, *map(len, queries)])
        terms = np.fromiter((term for query in queries for term in query), np.int64, count=starts[-1])
        return cls(starts, terms, np.ones(len(terms), np.float32))

    def part(self, start: int, stop: int) -> "Queries":
        """Return some of the queries in a row."""
        starts = self.starts[start : stop + 1]
        chosen = slice(starts[0], starts[-1])
        return Queries(starts - starts[0], self.terms[chosen], self.weights[chosen])


class Found(NamedTuple):
    """Documents of some queries in a row; those of a query in no order."""

    counts: NDArray[np.int64]
    """How many each query has."""
    documents: NDArray[np.int32]
    scores: NDArray[np.float32]

    def each(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Yield the documents and scores of one query after the other."""
        ends = np.cumsum(self.counts)
        for start, stop in zip(ends - self.counts, ends, strict=True):
            yield self.documents[start:stop], self.scores[start:stop]


def search(
    postings: Postings,
    queries: Queries,
    depth: int,
    *,
    scale: float = 1.0,
    floors: NDArray[np.float32] | None = None,
    threads: int = 1,
    pairs: int | None = None,
) -> Iterator[Found]:
    r"""Find the best documents of each query; of those that tie for the last place, all.

    ```math
    s(q, d) = \mathrm{scale} \cdot \sum_{t \in q} w_t(q)\, w_t(d)
    ```

    in float32, summed in the order of the query's terms.

    Parameters
    ----------
    postings, queries
        Where to search, and for what.
    depth
        Documents wanted for each query. Those with a score of 0 or below are not found.
    scale
        Factor of the scores.
    floors
        (B) scores below which a document of the query is of no interest; None takes any above 0.
    threads
        That search at the same time.
    pairs
        Queries times documents of the whole work that this is a piece of; None is this alone.

    Yields
    ------
    Found
        What is found for the next queries, in their order.
    """
    count = len(queries.starts) - 1
    pairs = count * postings.size if pairs is None else pairs
    floors = np.zeros(count, np.float32) if floors is None else np.maximum(floors, np.float32(0))
    depth = max(1, min(depth, postings.size))
    weights, documents, pointers = postings.weights, postings.documents.view(np.uint32), postings.starts
    rank = _plain if pairs < _COMPILED_FROM else _compiled()

    def ranked(start: int) -> Found:
        block = queries.part(start, min(count, start + _QUERIES))
        least = floors[start : start + _QUERIES]
        scores = np.zeros(postings.size, np.float32)
        return Found(*rank(*block, weights, documents, pointers, scores, least, np.float32(scale), depth))

    starts = range(0, count, _QUERIES)
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(starts), _AHEAD * threads):
            yield from pool.map(ranked, starts[first : first + _AHEAD * threads])


def _plain(
    starts: np.ndarray, terms: np.ndarray, weights: np.ndarray, data: np.ndarray, indices: np.ndarray,
    pointers: np.ndarray, scores: np.ndarray, floors: np.ndarray, scale: np.float32, depth: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Rank by arrays that are as long as the collection."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for query, floor in enumerate(floors):
        scores[:] = 0
        for place in range(starts[query], starts[query + 1]):
            postings = slice(pointers[terms[place]], pointers[terms[place] + 1])
            scores[indices[postings]] += weights[place] * data[postings]
        values = scores * scale
        rows = np.flatnonzero((values >= floor) & (values > 0))
        if len(rows) > depth:
            rows = rows[values[rows] >= np.partition(values[rows], -depth)[-depth]]
        found.append((rows.astype(np.int32), values[rows]))
    rows, values = (np.concatenate(each) for each in zip(*found, strict=True))
    return np.array([len(each) for each, _ in found]), rows, values


def _loops(
    starts: np.ndarray, terms: np.ndarray, weights: np.ndarray, data: np.ndarray, indices: np.ndarray,
    pointers: np.ndarray, scores: np.ndarray, floors: np.ndarray, scale: np.float32, depth: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Rank by loops, to be compiled. Scores are 0 before and after each query."""
    counts = np.zeros(len(floors), np.int64)
    every, few = np.arange(len(scores)).astype(np.uint32), np.empty(len(scores), np.uint32)
    rows, values = np.empty(2 * len(scores), np.int32), np.empty(2 * len(scores), np.float32)
    end = 0
    for query in range(len(floors)):
        total = 0
        for term in terms[starts[query] : starts[query + 1]]:
            total += pointers[term + 1] - pointers[term]
        rare = total < len(scores)  # then only documents of the lists are looked at, some of them twice
        count = 0
        for place in range(starts[query], starts[query + 1]):
            weight, first, last = weights[place], pointers[terms[place]], pointers[terms[place] + 1]
            for posting in range(np.uint64(first), np.uint64(last)):  # signed places could be negative: twice the time
                scores[indices[posting]] += weight * data[posting]
            if rare:
                few[count : count + last - first] = indices[first:last]
                count += last - first
        if len(rows) - end < len(scores):
            rows, values = np.concatenate((rows, np.empty_like(rows))), np.concatenate((values, np.empty_like(values)))
        least = floors[query]
        best: list[Any] = [least] * depth  # a heap: the least comes first
        found = end
        for document in few[:count] if rare else every:
            value = scores[document] * scale
            scores[document] = 0
            if value >= least and value > 0:
                rows[found], values[found] = document, value
                found += 1
                if value > least:
                    heapreplace(best, value)
                    least = best[0]
        for place in range(end, found):  # some came before better ones
            if values[place] >= least:
                rows[end], values[end] = rows[place], values[place]
                end += 1
                counts[query] += 1
    return counts, rows[:end].copy(), values[:end].copy()


@cache
def _compiled() -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Compile the loops, also where Numba is switched off for ranx, which would compile for half a minute."""
    import numba
    from numba import types

    config: Any = numba.config
    off = config.DISABLE_JIT
    config.DISABLE_JIT = 0
    try:
        whole, real = types.int64[::1], types.float32[::1]
        lists = (types.Array(kind, 1, "C", readonly=True) for kind in (types.float32, types.uint32, types.int64))
        signature = (whole, whole, real, *lists, real, real, types.float32, types.int64)
        return numba.njit(signature, nogil=True)(_loops)
    finally:
        config.DISABLE_JIT = off
