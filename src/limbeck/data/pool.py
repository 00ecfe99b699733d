"""Training pools: for each training query the documents that lists are drawn from, with label, rank and teacher score.

``pool.arrow`` has the columns query_id, document_id, label, rank and first_stage (the score of the first stage);
teacher scores are stored in its row order (``limbeck.data.aligned``). ``pool.json`` counts the documents left out.
``limbeck.data.pooling`` chooses the documents.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.artefacts import write_json
from limbeck.data.grown import Grown
from limbeck.scores.keys import ID
from limbeck.unfinished import whole_file

_QUERIES = 2000
"""Queries whose ids are repeated at once."""


@dataclass(frozen=True)
class Pool:
    """Columns of all queries one after another; query i has the rows ``offsets[i]:offsets[i + 1]``.

    Positives come first, then the others in rank order.
    """

    query_ids: list[str]
    offsets: np.ndarray
    document_ids: pa.Array
    labels: np.ndarray
    ranks: np.ndarray
    scores: np.ndarray | None = None
    """Teacher scores."""
    first_stage: np.ndarray | None = None
    """First-stage scores; NaN for a document that the first stage did not find. None: unknown."""
    counts: Mapping[str, Any] = field(default_factory=dict)
    """Numbers of documents in the pool, and of those left out, by reason."""

    def __len__(self) -> int:
        return len(self.query_ids)

    def columns(self) -> dict[str, Any]:
        """Return the columns of the file, without the queries."""
        found = {
            "document_id": self.document_ids,
            "label": pa.array(self.labels, pa.int16()),
            "rank": pa.array(self.ranks, pa.int32()),
        }
        if self.first_stage is not None:
            found["first_stage"] = pa.array(self.first_stage, pa.float32())
        return found

    def rows(self, query: int) -> slice:
        """Return the rows of a query."""
        return slice(int(self.offsets[query]), int(self.offsets[query + 1]))

    def documents(self, query: int) -> list[str]:
        """Return the documents of a query."""
        rows = self.rows(query)
        return cast(list[str], self.document_ids[rows.start : rows.stop].to_pylist())

    def lists(self) -> dict[str, list[str]]:
        """Return the documents of all queries."""
        return {query: self.documents(number) for number, query in enumerate(self.query_ids)}

    def select(self, kept: np.ndarray) -> "Pool":
        """Return the rows where a mask is True. A query without rows is left out; the counts are not changed."""
        if kept.all():
            return self  # still mapped from its file
        lengths = np.add.reduceat(kept.astype(np.int64), self.offsets[:-1])
        rows = np.flatnonzero(kept)
        return replace(
            self,
            query_ids=[self.query_ids[i] for i in np.flatnonzero(lengths)],
            offsets=np.concatenate(([0], np.cumsum(lengths[lengths > 0]))),
            document_ids=self.document_ids.take(pa.array(rows)),
            labels=self.labels[rows],
            ranks=self.ranks[rows],
            scores=None if self.scores is None else self.scores[rows],
            first_stage=None if self.first_stage is None else self.first_stage[rows],
        )


def join(pools: Sequence[Pool], folder: Path | None = None) -> Pool:
    """Join the pools of different queries; their counts are added up.

    Parameters
    ----------
    pools
        At least one; either all have first-stage scores or none, and likewise for teacher scores.
    folder
        Folder on the disk for the columns, in unnamed files; None keeps them in memory.
    """
    if len(pools) == 1:
        return pools[0]
    every = [pool.columns() for pool in pools]
    documents, labels, ranks, *first_stage = (
        _joined([columns[name] for columns in every], folder) for name in every[0]
    )
    scores = [pa.array(pool.scores, pa.float32()) for pool in pools if pool.scores is not None]
    return Pool(
        query_ids=[query for pool in pools for query in pool.query_ids],
        offsets=np.concatenate([[0], *(np.diff(pool.offsets) for pool in pools)]).cumsum(),
        document_ids=documents,
        labels=labels.to_numpy(),
        ranks=ranks.to_numpy(),
        scores=_joined(scores, folder).to_numpy() if scores else None,
        first_stage=first_stage[0].to_numpy() if first_stage else None,
        counts=_added([pool.counts for pool in pools]),
    )


def _joined(columns: Sequence[Any], folder: Path | None) -> Any:
    if folder is None:
        return pa.concat_arrays(columns)
    grown = Grown(folder, columns[0].type)
    for column in columns:
        grown.append(column)
    return grown.array()


def _added(counts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: _added([each[name] for each in counts]) if isinstance(of, Mapping) else sum(each[name] for each in counts)
        for name, of in counts[0].items()
    }


def write_pool(path: Path, pool: Pool) -> None:
    """Write ``pool.arrow`` (without scores) and the counts as ``.json``, each atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    queries, lengths = Grown(path.parent, ID), np.diff(pool.offsets)
    for start in range(0, len(pool), _QUERIES):
        some = slice(start, start + _QUERIES)
        repeats = np.repeat(np.arange(len(lengths[some])), lengths[some])
        queries.append(pa.array(pool.query_ids[some], ID).take(pa.array(repeats)))
    write_json(path.with_suffix(".json"), pool.counts)
    _write(path, {"query_id": queries.array(), **pool.columns()})


def read_pool(path: Path) -> Pool:
    """Memory-map ``pool.arrow``.

    The columns stay in the file: processes that read the same pool share its pages.
    """
    table = _read(path)
    queries, documents, labels, ranks, *first_stage = map(_whole, table.columns)
    changes = pc.call_function("not_equal", [queries[1:], queries[:-1]])
    starts = np.flatnonzero(changes.to_numpy(zero_copy_only=False)) + 1
    offsets = np.concatenate(([0], starts, [len(queries)])) if len(queries) else np.zeros(1, np.int64)
    counts = path.with_suffix(".json")
    return Pool(
        query_ids=queries.take(pa.array(offsets[:-1])).to_pylist(),
        offsets=offsets,
        document_ids=documents,
        labels=labels.to_numpy(),
        ranks=ranks.to_numpy(),
        first_stage=first_stage[0].to_numpy() if first_stage else None,
        counts=json.loads(counts.read_text(encoding="utf-8")) if counts.exists() else {},
    )


def _write(path: Path, columns: dict[str, Any]) -> None:
    """Write one record batch, so that each column is one piece of the mapped file."""
    batch = pa.record_batch(columns)
    with (
        whole_file(path) as unfinished,
        pa.OSFile(str(unfinished), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def _whole(column: pa.ChunkedArray) -> Any:
    """Return a column in one piece: mapped, or copied if it was written in several."""
    if column.num_chunks == 1:
        return column.chunk(0)
    chunks = column.cast(ID).chunks if pa.types.is_string(column.type) else column.chunks
    return pa.concat_arrays(chunks) if chunks else pa.array([], column.type)


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
