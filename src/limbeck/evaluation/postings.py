"""Find the best documents with inverted lists: the lists of a query's terms are added up.

Large searches use loops compiled by Numba, small ones NumPy arrays; the scores are identical bit by bit.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from heapq import heapreplace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from limbeck.progress import Step

_QUERIES = 256
"""Queries ranked by a thread at once."""

_AHEAD = 4
"""Blocks of queries per thread that may be ranked ahead of their use, which limits memory."""

_COMPILED_FROM = 10**8
"""Queries times documents from which the two seconds of compilation pay."""

_OFTEN = 0.2
"""Share of documents from which a term gets a dense row: adding a row is faster than adding a list that long."""

_ROWS = 2**26
"""Most bytes of dense rows."""

_BLOCK = 64
"""Documents whose scores are compared at once, without a branch for each, so that the processor can vectorise it."""

_RARE = 0.25
"""Share of documents below which only the documents in the lists are examined."""


class Postings(NamedTuple):
    """The lists of V terms; the list of term t is at ``starts[t]:starts[t + 1]``."""

    weights: NDArray[np.float32]
    documents: NDArray[np.int32]
    """Numbers from 0 to ``size`` - 1, at most once in each list."""
    starts: NDArray[np.int64]
    """(V + 1,)."""
    size: int
    """Number of documents."""


class Queries(NamedTuple):
    """Terms of B queries; those of query b are at ``starts[b]:starts[b + 1]``."""

    starts: NDArray[np.int64]
    """(B + 1,)."""
    terms: NDArray[np.int32]
    """A term that appears twice counts twice."""
    weights: NDArray[np.float32]

    @classmethod
    def unweighted(cls, queries: Sequence[Sequence[int]]) -> "Queries":
        """Return queries in which each term has the weight 1."""
        starts = np.cumsum([0, *map(len, queries)])
        terms = np.fromiter((term for query in queries for term in query), np.int32, count=starts[-1])
        return cls(starts, terms, np.ones(len(terms), np.float32))

    def part(self, start: int, stop: int) -> "Queries":
        """Return consecutive queries."""
        starts = self.starts[start : stop + 1]
        chosen = slice(starts[0], starts[-1])
        return Queries(starts - starts[0], self.terms[chosen], self.weights[chosen])


class Found(NamedTuple):
    """Documents found for consecutive queries; those of a query are unordered."""

    counts: NDArray[np.int64]
    """Number of documents of each query."""
    documents: NDArray[np.int32]
    scores: NDArray[np.float32]

    def each(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
        """Yield the documents and scores of each query."""
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
    r"""Find the best documents of each query, including all that tie for the last place.

    ```math
    s(q, d) = \mathrm{scale} \cdot \sum_{t \in q} w_t(q)\, w_t(d)
    ```

    in float32, summed in the order of the query's terms.

    Parameters
    ----------
    postings
        The inverted lists.
    queries
        The queries.
    depth
        Documents wanted for each query. Documents with a score of 0 or below are never found.
    scale
        Factor of the scores.
    floors
        (B,) score below which documents of the query are not wanted; None accepts any score above 0.
    threads
        Number of threads.
    pairs
        Queries times documents of the whole search, if this is only a part of it; None if it is the whole.

    Yields
    ------
    Found
        The documents found for the next queries, in order.
    """
    count = len(queries.starts) - 1
    pairs = count * postings.size if pairs is None else pairs
    floors = np.zeros(count, np.float32) if floors is None else np.maximum(floors, np.float32(0))
    depth = max(1, min(depth, postings.size))
    lists = (postings.weights, postings.documents.view(np.uint32), postings.starts)
    rank: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]] = _plain
    rows: tuple[np.ndarray, ...] = ()
    if pairs >= _COMPILED_FROM:
        with Step("compiling of the search"):  # a step of its own: it would distort the rate of the surrounding one
            rank = _compiled()
        rows = _rows(postings, queries)

    def ranked(start: int) -> Found:
        block = queries.part(start, min(count, start + _QUERIES))
        least = floors[start : start + _QUERIES]
        scores = np.zeros(postings.size, np.float32)
        return Found(*rank(*block, *lists, *rows, scores, least, np.float32(scale), depth))

    starts = range(0, count, _QUERIES)
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(starts), _AHEAD * threads):
            yield from pool.map(ranked, starts[first : first + _AHEAD * threads])


def _plain(
    starts: np.ndarray, terms: np.ndarray, weights: np.ndarray, data: np.ndarray, indices: np.ndarray,
    pointers: np.ndarray, scores: np.ndarray, floors: np.ndarray, scale: np.float32, depth: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Rank with NumPy arrays as long as the collection."""
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


def _rows(postings: Postings, queries: Queries) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return dense rows with the weights of frequent terms, one weight per document; zeros do not change a sum.

    Returns
    -------
    tuple
        For each term the number of its row, -1 if it has none; and the rows.
    """
    lengths = np.diff(postings.starts)
    asked = np.unique(queries.terms)
    often = asked[lengths[asked] > _OFTEN * postings.size]
    often = often[np.argsort(-lengths[often], kind="stable")][: _ROWS // (4 * max(1, postings.size))]
    row_of, rows = np.full(len(lengths), -1), np.zeros((len(often), postings.size), np.float32)
    row_of[often] = np.arange(len(often))
    for row, term in zip(rows, often, strict=True):
        places = slice(postings.starts[term], postings.starts[term + 1])
        row[postings.documents[places]] = postings.weights[places]
    return row_of, rows


def _loops(
    starts: np.ndarray, terms: np.ndarray, weights: np.ndarray, data: np.ndarray, indices: np.ndarray,
    pointers: np.ndarray, row_of: np.ndarray, table: np.ndarray, scores: np.ndarray, floors: np.ndarray,
    scale: np.float32, depth: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Rank with loops for Numba, as `_plain`, but frequent terms by rows. ``scores`` is 0 before and after."""
    counts, size, end = np.zeros(len(floors), np.int64), len(scores), 0
    rows, values = np.empty(2 * size, np.int32), np.empty(2 * size, np.float32)
    few = np.empty(int(_RARE * size) + 1, np.uint32)
    for query in range(len(floors)):
        total = 0
        for term in terms[starts[query] : starts[query + 1]]:
            total += pointers[term + 1] - pointers[term]
        rare = total < _RARE * size  # then only documents in the lists are examined, some of them twice
        count = 0
        for place in range(starts[query], starts[query + 1]):
            weight, term = weights[place], terms[place]
            first, last = np.uint64(pointers[term]), np.uint64(pointers[term + 1])  # signed ones take twice the time
            if row_of[term] >= 0:
                _add(scores, weight, table[row_of[term]])
            else:
                for posting in range(first, last):
                    scores[indices[posting]] += weight * data[posting]
            if rare:
                for posting in range(first, last):
                    few[count] = indices[posting]
                    count += 1
        if len(rows) - end < size:
            rows, values = np.concatenate((rows, np.empty_like(rows))), np.concatenate((values, np.empty_like(values)))
        least = floors[query]
        best: list[Any] = [least] * depth  # a heap: the smallest comes first
        found = end
        for start in range(0, count if rare else size, _BLOCK):
            stop = min(start + _BLOCK, count if rare else size)
            if not rare and not _reached(scores[start:stop], scale, least):
                continue
            for place in range(start, stop):
                document = few[place] if rare else place
                value = scores[document] * scale
                scores[document] = 0
                if value >= least and value > 0:
                    rows[found], values[found] = document, value
                    found += 1
                    if value > least:
                        heapreplace(best, value)
                        least = best[0]
        if not rare:
            scores[:] = 0
        for place in range(end, found):  # removes documents that came before better ones
            if values[place] >= least:
                rows[end], values[end] = rows[place], values[place]
                end += 1
                counts[query] += 1
    return counts, rows[:end].copy(), values[:end].copy()


def _add(scores: np.ndarray, weight: np.float32, row: np.ndarray) -> None:
    """Add a weighted row to the scores."""
    for document in range(len(scores)):
        scores[document] += weight * row[document]


def _reached(scores: np.ndarray, scale: np.float32, least: np.float32) -> np.int32:
    """Return whether any score reaches ``least``; without an early exit, which is faster."""
    found = np.int32(0)
    for place in range(len(scores)):
        found |= np.int32(scores[place] * scale >= least)
    return found


@cache
def _compiled() -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the compiled loops, even if Numba is disabled (for ranx, whose compilation would take half a minute)."""
    import numba
    from numba import types
    from numba.extending import register_jitable

    for part in (_add, _reached):
        register_jitable(part)
    config: Any = numba.config
    off = config.DISABLE_JIT
    config.DISABLE_JIT = 0
    try:
        whole, real = types.int64[::1], types.float32[::1]
        lists = (types.Array(kind, 1, "C", readonly=True) for kind in (types.float32, types.uint32, types.int64))
        rows = (whole, types.float32[:, ::1])
        signature = (whole, types.int32[::1], real, *lists, *rows, real, real, types.float32, types.int64)
        return numba.njit(signature, nogil=True)(_loops)
    finally:
        config.DISABLE_JIT = off
