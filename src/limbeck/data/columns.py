"""Queries and judgments as Arrow columns: half a million as Python objects would take 350 MB in each process.

The columns take about 20 bytes per query besides the texts, in memory or in memory-mapped files.
"""

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from functools import cached_property
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from limbeck.scores.keys import ID, pc
from limbeck.scores.places import Places

_BLOCK = 4096
"""Queries that are Python objects at the same time during iteration."""


class Texts(Mapping[str, str]):
    """Query id → text.

    Parameters
    ----------
    ids, texts
        Columns of strings; the ids are distinct.
    """

    def __init__(self, ids: Any, texts: Any) -> None:
        self.ids = ids
        self.texts = texts

    @classmethod
    def of(cls, items: Iterable[tuple[str, str]]) -> "Texts":
        """Build columns from (id, text) pairs; of duplicate ids the last text counts."""
        rest, ids, texts = iter(items), [pa.array([], ID)], [pa.array([], ID)]
        while block := list(islice(rest, _BLOCK)):
            ids.append(pa.array([query for query, _ in block], ID))
            texts.append(pa.array([text for _, text in block], ID))
        found = cls(pa.concat_arrays(ids), pa.concat_arrays(texts))
        return cls.of(dict(found.items()).items()) if found._places.twice() else found

    def __getitem__(self, query: str) -> str:
        place = self._places.find(query)
        if place is None:
            raise KeyError(query)
        return self.texts[place].as_py()

    def __contains__(self, query: object) -> bool:
        return isinstance(query, str) and self._places.find(query) is not None

    def __iter__(self) -> Iterator[str]:
        return _each(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def items(self) -> ItemsView[str, str]:
        """Return (id, text) pairs, read in order, which is faster than look-ups."""
        return _Items(self)

    def values(self) -> ValuesView[str]:
        """Return the texts, read in order."""
        return _Values(self)

    def only(self, ids: Any) -> "Texts":
        """Return the queries whose id is in a column."""
        there = pc.is_in(self.ids, value_set=ids)
        return self if pc.all(there).as_py() else Texts(self.ids.filter(there), self.texts.filter(there))

    def among(self, others: "Sequence[Texts]") -> list[bool]:
        """Return for each id whether another one of ``others`` has it."""
        ids = pa.concat_arrays([pa.array([], ID), *(each.ids for each in others)])
        return pc.is_in(self.ids, value_set=ids).to_pylist()

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield (id, text) pairs."""
        return zip(_each(self.ids), _each(self.texts), strict=True)

    def part(self, start: int, stop: int) -> "Texts":
        """Return the queries from position ``start`` to ``stop``."""
        return Texts(self.ids[start:stop], self.texts[start:stop])

    def in_order(self) -> Iterator[tuple[str, str]]:
        """Yield (id, text) pairs sorted by id."""
        places = pc.sort_indices(self.ids)  # sorts by UTF-8 bytes, which is the order of code points
        for start in range(0, len(places), _BLOCK):
            chosen = places[start : start + _BLOCK]
            yield from Texts(self.ids.take(chosen), self.texts.take(chosen)).pairs()

    @cached_property
    def _places(self) -> Places:
        return Places([self.ids])


class Lines(NamedTuple):
    """Judgments in file order, in columns of one length."""

    queries: Any
    documents: Any
    grades: Any

    @classmethod
    def of(cls, lines: Iterable[tuple[str, str, int]]) -> "Lines":
        """Build columns from (query, document, grade) lines."""
        rest, columns = iter(lines), cls([pa.array([], ID)], [pa.array([], ID)], [pa.array([], pa.int64())])
        while block := list(islice(rest, _BLOCK)):
            for column, values, kind in zip(columns, zip(*block, strict=True), (ID, ID, pa.int64()), strict=True):
                column.append(pa.array(values, kind))
        return cls(*map(pa.concat_arrays, columns))


class Judgments(Mapping[str, dict[str, int]]):
    """Query id → document id → grade.

    Parameters
    ----------
    queries
        The queries, in order.
    lengths
        Number of judgments of each query.
    documents, grades
        The judgments of the first query, then those of the next.
    """

    def __init__(self, queries: Texts, lengths: np.ndarray, documents: Any, grades: Any) -> None:
        self.queries = queries
        self.lengths = lengths
        self.documents = documents
        self.grades = grades
        self._starts = np.concatenate(([0], np.cumsum(lengths)))

    @classmethod
    def read(cls, queries: Texts, lines: "Lines") -> "Judgments":
        """Group lines by query; of duplicate documents the last grade counts."""
        places = pc.index_in(lines.queries, value_set=queries.ids)
        known = np.flatnonzero(places.is_valid().to_numpy(zero_copy_only=False))
        owner = places.drop_null().to_numpy()
        order = owner.argsort(kind="stable")
        chosen, owner = pa.array(known[order]), owner[order]
        documents, grades = lines.documents.take(chosen), lines.grades.take(chosen)
        found = cls(queries, np.bincount(owner, minlength=len(queries)), documents, grades)
        codes = documents.dictionary_encode().indices.to_numpy()
        pairs = np.sort(owner.astype(np.int64) * max(1, len(codes)) + codes)
        return cls.of(queries, found.values()) if (pairs[1:] == pairs[:-1]).any() else found

    @classmethod
    def of(cls, queries: Texts, judged: Iterable[Mapping[str, int]]) -> "Judgments":
        """Build columns from the judgments of each query."""
        rest, lengths, documents, grades = iter(judged), [], [pa.array([], ID)], [pa.array([], pa.int64())]
        while block := list(islice(rest, _BLOCK)):
            lengths += map(len, block)
            documents.append(pa.array([document for each in block for document in each], ID))
            grades.append(pa.array([grade for each in block for grade in each.values()], pa.int64()))
        return cls(queries, np.array(lengths, np.int64), pa.concat_arrays(documents), pa.concat_arrays(grades))

    def __getitem__(self, query: str) -> dict[str, int]:
        place = self.queries._places.find(query)
        if place is None:
            raise KeyError(query)
        return next(self._judged(place, place + 1))

    def __contains__(self, query: object) -> bool:
        return query in self.queries

    def __iter__(self) -> Iterator[str]:
        return iter(self.queries)

    def __len__(self) -> int:
        return len(self.queries)

    def items(self) -> ItemsView[str, dict[str, int]]:
        """Return queries with their judgments, read in order, which is faster than look-ups."""
        return _Items(self)

    def values(self) -> ValuesView[dict[str, int]]:
        """Return the judgments, read in order."""
        return _Values(self)

    def pairs(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield queries with their judgments."""
        for start in range(0, len(self), _BLOCK):
            stop = min(start + _BLOCK, len(self))
            yield from zip(_strings(self.queries.ids[start:stop]), self._judged(start, stop), strict=True)

    def _judged(self, start: int, stop: int) -> Iterator[dict[str, int]]:
        bounds = self._starts[start : stop + 1].tolist()
        first = bounds[0]
        documents = _strings(self.documents[first : bounds[-1]])
        grades = self.grades[first : bounds[-1]].to_numpy().tolist()
        for begin, end in pairwise(bounds):
            here = slice(begin - first, end - first)
            yield dict(zip(documents[here], grades[here], strict=True))


class _Items(ItemsView[str, Any]):
    _mapping: Texts | Judgments

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._mapping.pairs()


class _Values(ValuesView[Any]):
    _mapping: Texts | Judgments

    def __iter__(self) -> Iterator[Any]:
        return (value for _, value in self._mapping.pairs())


def _each(column: Any) -> Iterator[str]:
    for start in range(0, len(column), _BLOCK):
        yield from _strings(column[start : start + _BLOCK])


def _strings(column: Any) -> list[str]:
    return column.to_numpy(zero_copy_only=False).tolist()
