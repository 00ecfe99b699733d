"""Runs in arrays: of millions of candidates, only those of the query in use become Python objects.

A run is a list of Arrow batches with the columns query, documents, scores. A document takes 8 bytes and its id, in
memory if the run is small, else in a memory-mapped file.
"""

import mmap
import tempfile
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from limbeck.rankings import Ranking
from limbeck.scores.places import Places

VERSION = 2
"""Version of the files; version 1 was a TREC run."""

_TEXT = pa.string()
"""Type of ids: a batch is small enough for 4-byte offsets. Earlier versions wrote 8."""

_DOCUMENTS = 2**16
"""Approximate number of documents per batch, and thus of Python objects at once, when rankings are converted."""

_IN_MEMORY = 2**25
"""Largest run in bytes that is held in memory."""

_QUERIES = 256
"""Queries whose rankings are built at once during iteration."""


class ArrayRun(Mapping[str, Ranking]):
    """A run, query → ranking, in arrays. Queries keep their order; every query has documents.

    Parameters
    ----------
    batches
        As ``batch`` returns them, each with other queries.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch]) -> None:
        self.batches = [each for each in batches if len(each)]
        self._blocks = [_Block(each) for each in self.batches]
        self.places = Places([each.queries for each in self._blocks])
        self._starts = np.cumsum([0, *map(len, self.batches)])

    @classmethod
    def of(cls, rankings: Iterable[tuple[str, Ranking]]) -> "ArrayRun":
        """Build a run from rankings; a query without documents is left out, as in a TREC file."""
        return cls.gathered(batches(rankings))

    @classmethod
    def gathered(cls, batches: Iterable[pa.RecordBatch]) -> "ArrayRun":
        """Build a run from batches: in memory while they are small, then in an unnamed, memory-mapped file."""
        rest, held, size = iter(batches), [], 0
        for each in rest:
            held.append(each)
            size += each.nbytes
            if size > _IN_MEMORY:
                run = cls(_in_file(_passed(held, rest)))
                pa.default_memory_pool().release_unused()
                return run
        return cls(held)

    @classmethod
    def mapped(cls, paths: Iterable[Path]) -> "ArrayRun":
        """Memory-map files written by ``write``, each with other queries."""
        return cls(each for path in paths for each in _mapped(path))

    def __getitem__(self, query: str) -> Ranking:
        number = self.places.find(query)
        if number is None:
            raise KeyError(query)
        block = int(self._starts.searchsorted(number, side="right")) - 1
        start = number - int(self._starts[block])
        return next(self._blocks[block].rankings(start, start + 1))

    def __iter__(self) -> Iterator[str]:
        for block in self._blocks:
            yield from _strings(block.queries)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, query: object) -> bool:
        return isinstance(query, str) and self.places.find(query) is not None

    def items(self) -> ItemsView[str, Ranking]:
        """Return queries and rankings, read in order, which is faster than look-ups."""
        return _Items(self)

    def values(self) -> ValuesView[Ranking]:
        """Return the rankings, read in order."""
        return _Values(self)

    def rankings(self) -> Iterator[Ranking]:
        """Yield the rankings in order."""
        for block in self._blocks:
            for start in range(0, len(block.queries), _QUERIES):
                yield from block.rankings(start, min(start + _QUERIES, len(block.queries)))

    def documents(self) -> list[Any]:
        """Return the ids of the ranked documents as Arrow arrays, batch by batch."""
        return [each.documents for each in self._blocks]

    def each_document(self) -> Iterator[str]:
        """Yield the ids of the ranked documents."""
        return (name for ranking in self.rankings() for name in ranking.ids)

    def lengths(self) -> np.ndarray:
        """Return the number of documents of each query."""
        return np.concatenate([np.empty(0, np.int64), *(each.lengths() for each in self._blocks)])


class _Items(ItemsView[str, Ranking]):
    _mapping: ArrayRun

    def __iter__(self) -> Iterator[tuple[str, Ranking]]:
        return zip(self._mapping, self._mapping.rankings(), strict=True)


class _Values(ValuesView[Ranking]):
    _mapping: ArrayRun

    def __iter__(self) -> Iterator[Ranking]:
        return self._mapping.rankings()


class _Block:
    """The columns of a batch."""

    def __init__(self, batch: Any) -> None:
        self.queries, documents, scores = batch.columns
        self._starts = documents.offsets.to_numpy()
        self.documents = documents.values
        self._scores = scores.values.to_numpy()

    def lengths(self) -> np.ndarray:
        return np.diff(self._starts)

    def rankings(self, start: int, stop: int) -> Iterator[Ranking]:
        bounds = self._starts[start : stop + 1].tolist()
        first = bounds[0]
        ids = _strings(self.documents[first : bounds[-1]])
        for begin, end in pairwise(bounds):
            yield Ranking(ids[begin - first : end - first], self._scores[begin:end].copy())


def batch(queries: pa.Array, lengths: np.ndarray, documents: pa.Array, scores: np.ndarray) -> pa.RecordBatch:
    """Return the columns of some queries.

    Parameters
    ----------
    queries
        Ids of the queries.
    lengths
        Number of documents of each query.
    documents, scores
        Documents and scores of the first query, best first, then those of the next.
    """
    offsets = pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int64())
    columns: dict[str, Any] = {
        "query": queries.cast(_TEXT),
        "documents": pa.LargeListArray.from_arrays(offsets, documents.cast(_TEXT)),
        "scores": pa.LargeListArray.from_arrays(offsets, pa.array(scores, pa.float32())),
    }
    return pa.record_batch(columns)


def batches(rankings: Iterable[tuple[str, Ranking]]) -> Iterator[pa.RecordBatch]:
    """Yield batches of rankings; a query without documents is left out."""
    queries: list[str] = []
    ids: list[str] = []
    scores: list[np.ndarray] = []
    for query, ranking in rankings:
        if not ranking.ids:
            continue
        queries.append(query)
        ids += ranking.ids
        scores.append(ranking.scores)
        if len(ids) >= _DOCUMENTS:
            yield _batch(queries, ids, scores)
            queries, ids, scores = [], [], []
    if queries:
        yield _batch(queries, ids, scores)


def _batch(queries: list[str], ids: list[str], scores: list[np.ndarray]) -> pa.RecordBatch:
    lengths = np.array([len(each) for each in scores])
    return batch(pa.array(queries, _TEXT), lengths, pa.array(ids, _TEXT), np.concatenate(scores))


def write(path: Path, run: Mapping[str, Ranking]) -> None:
    """Write a run to a new file."""
    found: Iterable[pa.RecordBatch] = batches(run.items())
    if isinstance(run, ArrayRun) and all(each.schema == _SCHEMA for each in run.batches):
        found = run.batches
    with pa.OSFile(str(path), "wb") as file:
        _write(file, found)


def _passed(held: list[pa.RecordBatch], rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pass batches on, and keep none of them."""
    while held:
        yield held.pop(0)
    yield from rest


def _in_file(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with tempfile.TemporaryFile() as file:
        _write(pa.PythonFile(file, "w"), batches)
        file.flush()
        whole = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    with pa.ipc.open_file(whole) as reader:
        yield from map(reader.get_batch, range(reader.num_record_batches))


def _write(file: Any, batches: Iterable[pa.RecordBatch]) -> None:
    with pa.ipc.new_file(file, _SCHEMA) as writer:
        for each in batches:
            writer.write_batch(each)


def _mapped(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        yield from map(reader.get_batch, range(reader.num_record_batches))


def _strings(array: Any) -> list[str]:
    return array.to_numpy(zero_copy_only=False).tolist()


def size(ids: Sequence[str]) -> float:
    """Return the bytes per document, for ids like these: id, offset and score."""
    return 4 + 4 + sum(len(name.encode()) for name in ids) / max(1, len(ids))


_SCHEMA = pa.schema([("query", _TEXT), ("documents", pa.large_list(_TEXT)), ("scores", pa.large_list(pa.float32()))])
