"""Sorted parts of a score store, and their merge, one range of queries at a time."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from limbeck.config import ConfigError
from limbeck.scores.keys import ID, Ids, Keys, keys, texts
from limbeck.scores.store import Scores, ScoreStore
from limbeck.unfinished import whole_file

_END = 2**64

Duplicates = Literal["error", "first"]

RANGE = 500_000
"""Approximate number of pairs that are merged at once."""

SAME = 1e-3
"""Relative tolerance (of the larger score, at least 1) within which two scores of a pair count as equal."""


class Block(NamedTuple):
    """Scored pairs in any order, as columns of equal length."""

    queries: Ids
    """Query ids: int64 if all are canonical decimal numbers (no sign, no leading zero), else strings."""
    documents: Ids
    """Document ids, likewise."""
    scores: Scores
    """float32 or float64."""
    ranks: NDArray[np.int32] | None = None
    """1-based ranks, if the source has them."""


class Merged(NamedTuple):
    """The merged rows of a range of queries."""

    rows: pa.RecordBatch
    """query, document, score, [rank], order; sorted by query and document, without duplicates."""
    queries: tuple[Keys, NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]
    """Distinct queries, start and number of their rows, and position of their first appearance."""


def sorted_part(block: Block, duplicates: Duplicates, where: Path) -> pa.RecordBatch:
    """Return a block's rows sorted by pair, without duplicates; the schema's metadata has the table of hashed ids.

    Raises
    ------
    ConfigError
        A score is NaN or infinite, or a pair has two different scores; the message names the pair.
    """
    lengths = {len(column) for column in block if column is not None}
    if len(lengths) != 1:
        raise ValueError(f"the columns of a block must be equally long, got lengths {sorted(lengths)}")
    (queries, query_ids), (documents, document_ids) = keys(block.queries), keys(block.documents)
    ids = id_table([table for table in (query_ids, document_ids) if table is not None], where)
    scores = np.asarray(block.scores)
    columns = {"score": scores} | ({} if block.ranks is None else {"rank": np.asarray(block.ranks, dtype=np.int32)})
    with np.errstate(over="ignore"):
        wrong = np.flatnonzero(~np.isfinite(scores.astype(np.float32, copy=False)))  # lookups return float32
    if len(wrong):
        pair = _name(ids, queries[wrong[0]], documents[wrong[0]])
        raise ConfigError(
            f"{where}: the score of {pair} is {scores[wrong[0]]}; a score must be a finite number in float32"
        )
    columns["order"] = np.arange(len(scores), dtype=np.int32)
    rows, dropped = _unique(queries, documents, columns, duplicates, lambda: ids, where)
    note = {b"ids": _packed(ids), b"merged": str(dropped).encode()}
    return pa.RecordBatch.from_arrays(
        list(map(pa.array, rows.values())),
        schema=pa.schema([(name, pa.array(column[:0]).type) for name, column in rows.items()], metadata=note),
    )


def _unique(
    queries: Keys,
    documents: Keys,
    columns: dict[str, NDArray[Any]],
    duplicates: Duplicates,
    ids: Callable[[], pa.RecordBatch],
    where: Path,
) -> tuple[dict[str, NDArray[Any]], int]:
    """Sort rows by pair and keep the first row of each pair; return the rows and the number of dropped ones."""
    order = _by_pair(queries, documents)
    queries, documents = queries[order], documents[order]
    new = np.ones(len(queries), dtype=bool)
    np.not_equal(documents[1:], documents[:-1], out=new[1:])
    new[1:] |= queries[1:] != queries[:-1]
    starts = np.flatnonzero(new)
    dropped = len(queries) - len(starts)
    if dropped:
        if duplicates == "error":
            _refuse_conflicts(columns["score"][order], starts, queries, documents, ids, where)
        order, queries, documents = order[starts], queries[starts], documents[starts]
    return {"query": queries, "document": documents} | {name: each[order] for name, each in columns.items()}, dropped


def _by_pair(queries: Keys, documents: Keys) -> NDArray[np.int64]:
    """Return the order by query, then document; equal pairs keep their order."""
    small = np.uint64(1) << np.uint64(32)
    if len(queries) and queries.max() < small and documents.max() < small:
        return np.argsort((queries << np.uint64(32)) | documents, kind="stable")  # one sort is faster than two
    return np.lexsort((documents, queries))


def _refuse_conflicts(
    scores: Scores,
    starts: NDArray[np.int64],
    queries: Keys,
    documents: Keys,
    ids: Callable[[], pa.RecordBatch],
    where: Path,
) -> None:
    low, high = np.minimum.reduceat(scores, starts), np.maximum.reduceat(scores, starts)
    wrong = np.flatnonzero(high - low > SAME * np.maximum(1, np.maximum(abs(low), abs(high))))
    if not len(wrong):
        return
    at = wrong[0]
    more = f", and so have at least {len(wrong) - 1:,} other pairs" if len(wrong) > 1 else ""
    raise ConfigError(
        f"{where}: {_name(ids(), queries[starts[at]], documents[starts[at]])} has different scores, from {low[at]:g} "
        f"to {high[at]:g}{more}; duplicates=first keeps the first of each"
    )


def _name(ids: pa.RecordBatch, query: Any, document: Any) -> str:
    found = texts(np.array([query, document]), ids["key"].to_numpy(), ids["id"])
    return f"query {found[0]!r}, document {found[1]!r}"


class Part:
    """A sorted part on disk, memory-mapped."""

    def __init__(self, file: Path | None) -> None:
        if file is None:
            return
        batch = pa.ipc.open_file(pa.memory_map(str(file))).get_batch(0)
        note = batch.schema.metadata
        self.columns = {name: batch[name].to_numpy() for name in batch.schema.names}
        self.ids = _unpacked(note[b"ids"])
        self.merged = int(note[b"merged"])

    @classmethod
    def of(cls, store: ScoreStore) -> Self:
        """Return the rows of a finished store as a part."""
        part = cls(None)
        part.columns = store.columns()
        part.ids = store.id_table()
        part.merged = int(store.meta["merged"])
        return part

    def __len__(self) -> int:
        return len(self.columns["query"])

    def sample(self, count: int) -> list[tuple[str, str, float]]:
        """Return at most ``count`` pairs, evenly spaced over the rows: query id, document id, score."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
        table = self.ids["key"].to_numpy(), self.ids["id"]
        queries, documents = (texts(self.columns[name][rows], *table) for name in ("query", "document"))
        return list(zip(queries, documents, self.columns["score"][rows].tolist(), strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the store, which are those of the part without ``order``."""
        return tuple(name for name in self.columns if name != "order")

    @property
    def score_type(self) -> np.dtype[Any]:
        """Type of the scores."""
        return self.columns["score"].dtype


def ranges(sources: list[Part]) -> list[tuple[int, int]]:
    """Split the query keys into ranges [low, high) of about ``RANGE`` pairs."""
    total = sum(len(source) for source in sources)
    step = max(1, min(1000, total // 1000))
    sample = np.sort(np.concatenate([source.columns["query"][::step] for source in sources]))
    cuts = sample[:: max(1, RANGE // step)][1:]
    borders = [0, *np.unique(cuts).tolist(), _END]
    return list(pairwise(borders))


def merge(
    sources: list[Part], low: int, high: int, duplicates: Duplicates, where: Path
) -> Callable[[], tuple[Merged, int]]:
    """Return the function that merges the rows of query keys in [low, high) and counts the dropped duplicates."""

    def work() -> tuple[Merged, int]:
        slices = []
        for source in sources:
            found = source.columns["query"]
            start, stop = (len(found) if at == _END else int(found.searchsorted(np.uint64(at))) for at in (low, high))
            slices.append((source, slice(start, stop)))
        gathered = {
            name: np.concatenate([source.columns[name][rows] for source, rows in slices]) for name in sources[0].names
        }
        # Number the rows by part, then by their order in the part, so that "first" means the first that was added.
        gathered["order"] = np.concatenate(
            [
                source.columns["order"][rows].astype(np.int64) + (part << 32)
                for part, (source, rows) in enumerate(slices)
            ]
        )
        queries, documents = gathered.pop("query"), gathered.pop("document")
        rows, dropped = _unique(
            queries, documents, gathered, duplicates, lambda: id_table([each.ids for each in sources], where), where
        )
        starts = np.flatnonzero(np.concatenate(([True], rows["query"][1:] != rows["query"][:-1])))
        starts = starts if len(rows["query"]) else starts[:0]
        first = np.minimum.reduceat(rows["order"], starts) if len(starts) else starts
        counts = np.diff(starts, append=len(rows["query"])).astype(np.int32)
        return Merged(pa.record_batch(rows), (rows["query"][starts], starts, counts, first)), dropped

    return work


def id_table(tables: Sequence[Any], where: Path) -> pa.RecordBatch:
    """Join tables (key, id), sorted by key and without duplicates; raise ``ConfigError`` for a hash collision."""
    schema = pa.schema([("key", pa.uint64()), ("id", ID)])
    parts = [pa.table({"key": table["key"], "id": table["id"].cast(ID)}, schema=schema) for table in tables]
    joined = pa.concat_tables(parts).combine_chunks() if parts else schema.empty_table()
    if not len(joined):
        return pa.RecordBatch.from_arrays([pa.array([], pa.uint64()), pa.array([], ID)], schema=schema)
    values = joined["key"].to_numpy()
    order = np.argsort(values, kind="stable")
    values = values[order]
    names = joined["id"].combine_chunks().take(pa.array(order))
    again = np.flatnonzero(values[1:] == values[:-1])
    if len(again):
        for one, other in zip(
            *(names.take(pa.array(places)).to_pylist() for places in (again, again + 1)), strict=True
        ):
            if one != other:
                raise ConfigError(f"{where}: {one!r} and {other!r} have the same hash of 63 bits; rename one of them")
    kept = np.ones(len(values), dtype=bool)
    kept[again + 1] = False
    return pa.RecordBatch.from_arrays([pa.array(values[kept]), names.filter(pa.array(kept))], schema=schema)


def _packed(table: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_batch(table)
    return sink.getvalue().to_pybytes()


def _unpacked(data: bytes) -> pa.RecordBatch:
    return pa.ipc.open_stream(data).read_next_batch()


def write_arrow(path: Path, batches: list[pa.RecordBatch]) -> None:
    """Write an Arrow file atomically."""
    with (
        whole_file(path) as unfinished,
        pa.OSFile(str(unfinished), "wb") as file,
        pa.ipc.new_file(file, batches[0].schema) as out,
    ):
        for batch in batches:
            out.write_batch(batch)
