"""Making a score store: blocks of pairs come in any order, a sorted store without duplicates comes out.

Each block is sorted and written to ``parts/`` by itself, so a killed writer loses the block in flight only. At the end
the parts are merged, a range of queries at a time: memory is bounded by the range, not by the store.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray

from limbeck.artefacts import write_json
from limbeck.config import ConfigError
from limbeck.scores.checksum import Checksum
from limbeck.scores.keys import Ids, Keys, keys, texts
from limbeck.scores.store import META, VERSION, Scores, ScoreStore

_END = 2**64

Kind = Literal["logit", "probability", "similarity", "rank", "unknown"]
Duplicates = Literal["error", "first"]

RANGE = 2_000_000
"""Pairs merged together."""

SAME = 1e-3
"""Two scores of one pair that differ by no more than this, relative to the larger (but at least 1), are the same."""


class Block(NamedTuple):
    """Pairs as they come: equally long columns."""

    queries: Ids
    """int64 where every id is a canonical decimal number (no sign, no leading zero), else strings."""
    documents: Ids
    """As queries."""
    scores: Scores
    """float32 or float64."""
    ranks: NDArray[np.int32] | None = None
    """1-based, if the source has them."""


@dataclass(frozen=True)
class Provenance:
    """Where scores come from."""

    teacher: str
    """Name of the model or system."""
    kind: Kind = "unknown"
    """What the numbers are."""
    revision: str | None = None
    """Revision or checksum of the model's weights."""
    prompt: str | None = None
    """Prompt or template the pair was put into."""
    max_length: str | None = None
    """Tokens at which texts were cut."""
    dtype: str | None = None
    """Precision the model computed in."""
    collection: str | None = None
    """Fingerprint of the collection whose texts were scored."""
    command: str | None = None
    """Command that made the store."""


def write_store(
    path: Path | str,
    blocks: Iterable[Callable[[], Block]],
    provenance: Provenance,
    *,
    duplicates: Duplicates = "error",
    threads: int = 2,
    notes: Callable[[], dict[str, Any]] | None = None,
) -> ScoreStore:
    """Make a store from blocks, anew.

    Parameters
    ----------
    path
        Folder of the store. A store that is there is replaced when the new one is whole.
    blocks
        What returns the blocks. They are called in ``threads`` threads, a few at a time.
    provenance
        Where the scores come from.
    duplicates
        What to do with a pair that comes twice with different scores: ``error``, or keep the ``first``. Equal ones
        are merged and counted.
    threads
        Threads that parse and sort.
    notes
        Called at the end; what it returns stands in ``meta.json``.

    Raises
    ------
    ConfigError
        A score is not finite or a pair has two scores (the message names the pair); there is no pair at all.
    """
    writer = StoreWriter(path, provenance, duplicates=duplicates, threads=threads)
    with writer:
        shutil.rmtree(writer.parts, ignore_errors=True)
        writer.parts.mkdir()
        for _ in _ahead(threads, (_numbered(writer.add, number, block) for number, block in enumerate(blocks))):
            pass
        return writer.seal(notes=notes() if notes else {})


def _numbered(add: Callable[[int, Block], None], number: int, block: Callable[[], Block]) -> Callable[[], None]:
    return lambda: add(number, block())


class StoreWriter:
    """A store in the making; a context manager that holds the store's lock.

    :meth:`add` writes numbered parts, in any order and from any process; :attr:`done` tells which are there, so a
    killed writer goes on with those that are not. :meth:`seal` makes the store of them, and of the store that was
    there before if asked to.

    Parameters
    ----------
    path, provenance, duplicates, threads
        As in :func:`write_store`.
    """

    def __init__(
        self, path: Path | str, provenance: Provenance, *, duplicates: Duplicates = "error", threads: int = 2
    ) -> None:
        self.path = Path(path)
        self.parts = self.path / "parts"
        self._provenance = provenance
        self._duplicates: Duplicates = duplicates
        self._threads = threads
        self._lock = FileLock(self.path / ".lock")

    def __enter__(self) -> Self:
        self.parts.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def done(self) -> set[int]:
        """Return the numbers of the parts that are whole."""
        return {int(file.stem) for file in self.parts.glob("*.arrow")}

    def add(self, number: int, block: Block) -> None:
        """Sort a block and write it as a part, which is whole or not there."""
        _write(self.parts / f"{number:08d}.arrow", [_sorted(block, self._duplicates, self.path)])

    # -- the end --------------------------------------------------------------------------------------------------

    def seal(self, *, before: ScoreStore | None = None, notes: dict[str, Any] | None = None) -> ScoreStore:
        """Merge the parts into a finished store and remove them.

        Parameters
        ----------
        before
            The store as it was, whose pairs stay.
        notes
            What else is to stand in ``meta.json``.
        """
        sources = [_Part(file) for file in sorted(self.parts.glob("*.arrow"))]
        if before is not None:
            sources.insert(0, _Part.of(before))
        if not sum(len(source) for source in sources):
            raise ConfigError(f"{self.path}: there is no pair to store")
        if len({source.names for source in sources}) > 1:
            raise ConfigError(f"{self.path}: some of the pairs have ranks and others have none")
        data = self.path / "unfinished"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        counts = self._merge(sources, data)
        _write(data / "ids.arrow", [_id_table([source.ids for source in sources], self.path)])
        meta = {
            "version": VERSION,
            **asdict(self._provenance),
            **counts,
            **(notes or {}),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        target = self.path / meta["checksum"]
        if target.exists():  # the same scores: never take away what meta.json may name
            shutil.rmtree(data)
        else:
            os.rename(data, target)
        write_json(self.path / META, meta)
        shutil.rmtree(self.parts)
        for folder in self.path.iterdir():  # data that meta.json no longer names
            if folder != target and re.fullmatch("[0-9a-f]{32}", folder.name):
                shutil.rmtree(folder)
        return ScoreStore.open(self.path)

    def _merge(self, sources: "list[_Part]", data: Path) -> dict[str, Any]:
        checksum, tables, rows, merged = Checksum(), [], 0, 0
        ranges = _ranges(sources)
        work = (_range_of(sources, low, high, self._duplicates, self.path) for low, high in ranges)
        with pa.OSFile(str(data / "rows.arrow"), "wb") as file:
            out: Any = None
            for number, (part, dropped) in enumerate(_ahead(self._threads, work)):
                batch = part.rows.select(["document", "score", *(["rank"] if "rank" in part.rows.schema.names else [])])
                out = out or pa.ipc.new_file(file, batch.schema)
                out.write_batch(batch)
                queries, starts, counts, first = part.queries
                checksum.add(queries, counts, [column.to_numpy() for column in batch.columns])
                size = len(queries)
                tables.append((queries, np.full(size, number, np.int32), starts, counts, first))
                rows += len(batch)
                merged += dropped
            out.close()
        names = ("query", "batch", "start", "count", "position")
        columns = [np.concatenate(column) for column in zip(*tables, strict=True)]
        columns[-1] = np.argsort(np.argsort(columns[-1], kind="stable"), kind="stable")
        _write(data / "queries.arrow", [pa.record_batch(dict(zip(names, columns, strict=True)))])
        per_query = columns[3]
        return {
            "rows": rows,
            "queries": len(columns[0]),
            "per_query": [int(per_query.min()), float(np.median(per_query)), int(per_query.max())],
            "merged": merged + sum(source.merged for source in sources),
            "batches": len(tables),
            "has_ranks": "rank" in sources[0].names,
            "score_type": str(sources[0].score_type),
            "checksum": checksum.text(),
        }


# -- parts --------------------------------------------------------------------------------------------------------


class _Sorted(NamedTuple):
    rows: pa.RecordBatch
    """query, document, score, [rank], order; sorted by query and document, each pair once."""
    queries: tuple[Keys, NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]
    """Distinct queries, start and number of their rows, and where they first came."""


def _sorted(block: Block, duplicates: Duplicates, where: Path) -> pa.RecordBatch:
    lengths = {len(column) for column in block if column is not None}
    if len(lengths) != 1:
        raise ValueError(f"the columns of a block must be equally long, got lengths {sorted(lengths)}")
    (queries, query_ids), (documents, document_ids) = keys(block.queries), keys(block.documents)
    ids = _id_table([table for table in (query_ids, document_ids) if table is not None], where)
    scores = np.asarray(block.scores)
    columns = {"score": scores} | ({} if block.ranks is None else {"rank": np.asarray(block.ranks, dtype=np.int32)})
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        pair = _name(ids, queries[wrong[0]], documents[wrong[0]])
        raise ConfigError(f"{where}: the score of {pair} is {scores[wrong[0]]}; a score must be a finite number")
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
    """Sort rows by pair and keep of each pair the row that came first; returns them and how many were dropped."""
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
    """Return the order by query, then document; equal pairs stay in the order in which they came."""
    small = np.uint64(1) << np.uint64(32)
    if len(queries) and queries.max() < small and documents.max() < small:
        return np.argsort((queries << np.uint64(32)) | documents, kind="stable")  # faster than two sorts
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
    more = f", and so have {len(wrong) - 1:,} other pairs at least" if len(wrong) > 1 else ""
    raise ConfigError(
        f"{where}: {_name(ids(), queries[starts[at]], documents[starts[at]])} has different scores, from {low[at]:g} "
        f"to {high[at]:g}{more}; duplicates=first keeps the first of each"
    )


def _name(ids: pa.RecordBatch, query: Any, document: Any) -> str:
    found = texts(np.array([query, document]), ids["key"].to_numpy(), ids["id"])
    return f"query {found[0]!r}, document {found[1]!r}"


class _Part:
    """A sorted part on disk, mapped."""

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
        """Take the rows of a finished store as a part."""
        part = cls(None)
        part.columns = store.columns()
        part.ids = store.id_table()
        part.merged = int(store.meta["merged"])
        return part

    def __len__(self) -> int:
        return len(self.columns["query"])

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name != "order")

    @property
    def score_type(self) -> np.dtype[Any]:
        return self.columns["score"].dtype


def _ranges(sources: list[_Part]) -> list[tuple[int, int]]:
    """Cut the queries into ranges [low, high) of about ``RANGE`` pairs."""
    total = sum(len(source) for source in sources)
    step = max(1, min(1000, total // 1000))
    sample = np.sort(np.concatenate([source.columns["query"][::step] for source in sources]))
    cuts = sample[:: max(1, RANGE // step)][1:]
    borders = [0, *np.unique(cuts).tolist(), _END]
    return list(pairwise(borders))


def _range_of(
    sources: list[_Part], low: int, high: int, duplicates: Duplicates, where: Path
) -> Callable[[], tuple[_Sorted, int]]:
    def work() -> tuple[_Sorted, int]:
        slices = []
        for source in sources:
            found = source.columns["query"]
            start, stop = (len(found) if at == _END else int(found.searchsorted(np.uint64(at))) for at in (low, high))
            slices.append((source, slice(start, stop)))
        gathered = {
            name: np.concatenate([source.columns[name][rows] for source, rows in slices]) for name in sources[0].names
        }
        # Parts stand in the order in which they came: number the rows by part, and by place within it.
        gathered["order"] = np.concatenate(
            [
                source.columns["order"][rows].astype(np.int64) + (part << 32)
                for part, (source, rows) in enumerate(slices)
            ]
        )
        queries, documents = gathered.pop("query"), gathered.pop("document")
        rows, dropped = _unique(
            queries, documents, gathered, duplicates, lambda: _id_table([each.ids for each in sources], where), where
        )
        starts = np.flatnonzero(np.concatenate(([True], rows["query"][1:] != rows["query"][:-1])))
        starts = starts if len(rows["query"]) else starts[:0]
        first = np.minimum.reduceat(rows["order"], starts) if len(starts) else starts
        counts = np.diff(starts, append=len(rows["query"])).astype(np.int32)
        return _Sorted(pa.record_batch(rows), (rows["query"][starts], starts, counts, first)), dropped

    return work


def _id_table(tables: Sequence[Any], where: Path) -> pa.RecordBatch:
    """Join tables (key, id): sorted by key, each key once."""
    schema = pa.schema([("key", pa.uint64()), ("id", pa.string())])
    parts = [pa.table({"key": table["key"], "id": table["id"]}, schema=schema) for table in tables]
    joined = pa.concat_tables(parts).combine_chunks() if parts else schema.empty_table()
    if not len(joined):
        return pa.RecordBatch.from_arrays([pa.array([], pa.uint64()), pa.array([], pa.string())], schema=schema)
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


# -- files --------------------------------------------------------------------------------------------------------


def _packed(table: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_batch(table)
    return sink.getvalue().to_pybytes()


def _unpacked(data: bytes) -> pa.RecordBatch:
    return pa.ipc.open_stream(data).read_next_batch()


def _write(path: Path, batches: list[pa.RecordBatch]) -> None:
    """Write an Arrow file that is either whole or not there."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with pa.OSFile(str(unfinished), "wb") as file, pa.ipc.new_file(file, batches[0].schema) as out:
        for batch in batches:
            out.write_batch(batch)
    os.replace(unfinished, path)


def _ahead(threads: int, work: Iterable[Callable[[], Any]]) -> Iterator[Any]:
    """Do work in threads, a little ahead of who takes the results, which keep their order."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Future[Any]] = []
        try:
            for each in work:
                waiting.append(pool.submit(each))
                if len(waiting) > threads:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
