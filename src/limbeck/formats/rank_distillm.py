"""Rank-DistiLLM: rankings of MS MARCO's training queries by re-rankers, as TREC runs or Parquet, 100 per query.

https://huggingface.co/datasets/webis/rank-distillm and https://zenodo.org/records/15131907
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from limbeck.config import ConfigError
from limbeck.formats import parquet
from limbeck.formats.base import Format, Source, Thunk
from limbeck.formats.faults import Faults
from limbeck.formats.trec_run import EXPECTS, first_tag, run_blocks, tag_notes
from limbeck.registry import register
from limbeck.scores.keys import pc
from limbeck.scores.kinds import Kind
from limbeck.scores.parts import Block

_KINDS: dict[str, Kind] = {"rankzephyr": "rank", "rankgpt": "rank", "set-encoder": "logit", "monoelectra": "logit"}
"""The first two only permute, and have no scores; the others have scores."""


@register("format", "rank_distillm")
class RankDistiLLM(Format):
    """Rankings by RankZephyr, RankGPT, Set-Encoder or monoELECTRA, distinguished by the names of the files.

    A Parquet file without ranks is in the order of its rows. Without scores, the score is the rank times -1.
    """

    expects = f"{EXPECTS}; in Parquet query_id, doc_id and rank, score or both, a row a document"

    def __init__(self, store: Path) -> None:
        super().__init__(store)
        self._tags: set[str] = set()

    def source(self, paths: Sequence[Path]) -> Source:
        """Return the teacher in the first file's name, or a run's tag."""
        named = re.match(r"_*(rankzephyr|rankgpt[^-_]*|set-encoder|monoelectra)", paths[0].name.lower())
        if named:
            teacher = named.group(1)
            return Source(teacher, next(kind for name, kind in _KINDS.items() if teacher.startswith(name)))
        return Source(None if parquet.is_parquet(paths[0]) else first_tag(paths[0]), "unknown")

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield the files in blocks."""
        for path in paths:
            if not parquet.is_parquet(path):
                yield from run_blocks(path, faults, self._tags)
                continue
            chosen = parquet.columns(path, "query", "document")
            parquet.check_types(path, chosen)
            if "rank" in chosen:
                for rows in parquet.read(path, chosen):
                    yield partial(self._block, rows, path, faults)
            else:
                yield from self._in_order(path, chosen, faults)

    def _in_order(self, path: Path, chosen: dict[str, str], faults: Faults) -> Iterator[Thunk]:
        """Yield blocks cut between queries: the last query of some rows waits for the next rows."""
        held: parquet.Rows | None = None
        for rows in parquet.read(path, chosen):
            if pa.types.is_nested(rows.columns["query"].type):
                raise ConfigError(
                    f"{path}: column {chosen['query']} has lists; without ranks each row must hold one document: "
                    "unnest it, or add a column rank"
                )
            joined = rows if held is None else _joined(held, rows)
            changes = _changes(joined.columns["query"])
            cut = int(changes[-1]) if len(changes) else 0
            held = _cut(joined, cut, len(joined.columns["query"]))
            if cut:
                yield partial(self._block, _cut(joined, 0, cut), path, faults)
        if held is not None:
            yield partial(self._block, held, path, faults)

    def _block(self, rows: parquet.Rows, path: Path, faults: Faults) -> Block:
        found = parquet.flat(rows, path, faults, self.expects)
        ranks = found["rank"] if "rank" in found else _counted(found["query"])
        scores = found["score"] if "score" in found else -ranks.astype(np.float32)
        return Block(found["query"], found["document"], scores, ranks)

    def finish(self) -> dict[str, Any]:
        """Return the runs' tags."""
        return tag_notes(self._tags) if self._tags else {}


def _changes(query: Any) -> NDArray[np.int64]:
    """Return the rows at which another query begins."""
    if isinstance(query, np.ndarray):
        return np.flatnonzero(query[1:] != query[:-1]) + 1
    same = pc.fill_null(pc.equal(query[1:], query[:-1]), False)
    return np.flatnonzero(~same.to_numpy(zero_copy_only=False)) + 1


def _counted(query: Any) -> NDArray[np.int32]:
    """Return the position of each row among those of its query, from 1."""
    starts = np.concatenate(([0], _changes(query)))[: len(query)]
    lengths = np.diff(starts, append=len(query))
    return (np.arange(len(query)) - np.repeat(starts, lengths) + 1).astype(np.int32)


def _cut(rows: parquet.Rows, start: int, stop: int) -> parquet.Rows:
    return parquet.Rows(
        rows.first + start, {role: each.slice(start, stop - start) for role, each in rows.columns.items()}
    )


def _joined(one: parquet.Rows, other: parquet.Rows) -> parquet.Rows:
    return parquet.Rows(
        one.first, {role: pa.concat_arrays([each, other.columns[role]]) for role, each in one.columns.items()}
    )
