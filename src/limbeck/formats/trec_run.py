"""TREC runs: ``query Q0 document rank score tag``; ``limbeck.formats.trec_line`` lists what else a file may hold.

The order of a run is its rank column. A re-ranker that permutes often leaves the scores of the first stage next to its
ranks, so a run is never sorted by score here. Scores are stored as float64, so that a run is written back unchanged.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv

from limbeck.formats.base import MOST, Format, Source, Thunk
from limbeck.formats.faults import Faults
from limbeck.formats.files import BLOCK, Chunk, chunks, opened_text
from limbeck.formats.trec_line import Fields, content, fields, has_comment, score
from limbeck.registry import register
from limbeck.scores.keys import pc
from limbeck.scores.parts import Block
from limbeck.scores.store import ScoreStore
from limbeck.unfinished import whole_file

EXPECTS = "query Q0 document rank score tag, six columns separated by spaces or tabs, ranks from 1"

_LOOKED_AT = 10_000
"""Number of bytes searched for the first line."""
_MARK = b"\xef\xbb\xbf"
_NAMES = ["query", "q0", "document", "rank", "score", "tag"]
_TYPES = {
    "query": pa.string(),
    "q0": pa.string(),
    "document": pa.string(),
    "rank": pa.int32(),
    "score": pa.float64(),
    "tag": pa.string(),
}


@register("format", "trec_run")
class TrecRun(Format):
    """A TREC run of any system.

    The teacher is the run's tag unless it is given. A run does not record the kind of its scores.
    """

    expects = EXPECTS

    def __init__(self, store: Path) -> None:
        super().__init__(store)
        self._tags: set[str] = set()

    def source(self, paths: Sequence[Path]) -> Source:
        """Return the tag of the first line."""
        return Source(first_tag(paths[0]), self.kind)

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield the runs in blocks."""
        for path in paths:
            yield from run_blocks(path, faults, self._tags)

    def finish(self) -> dict[str, Any]:
        """Return the runs' tags."""
        return tag_notes(self._tags)


def tag_notes(tags: set[str]) -> dict[str, Any]:
    """Return tags as the store keeps them, for ``write_trec``."""
    return {"tag": min(tags)} if len(tags) == 1 else {"tags": sorted(tags)}


def first_tag(path: Path) -> str | None:
    """Return the tag of the first line; None if that is no line of a run."""
    with opened_text(path) as file:
        first = _first(Chunk(path, 1, b"".join(file.readlines(_LOOKED_AT)).removeprefix(_MARK)))
    return first.tag.decode("utf-8", errors="replace") if first else None


def _first(chunk: Chunk) -> Fields | None:
    """Return the columns of the first line; None if it is no line of a run."""
    try:
        return fields(next(content(chunk))[1])
    except (StopIteration, ValueError):
        return None


def run_blocks(path: Path, faults: Faults, tags: set[str]) -> Iterator[Thunk]:
    """Yield a run in blocks; ``tags`` collects its tags.

    Some tools count ranks from 0; if the first line has rank 0, 1 is added to all ranks.
    """
    base: int | None = None
    for chunk in chunks([path], BLOCK):
        if base is None:
            first = _first(chunk)
            base = 0 if first and first.rank == b"0" else 1
        yield partial(_block, chunk, base, faults, tags)


def _block(chunk: Chunk, base: int, faults: Faults, tags: set[str]) -> Block:
    table = _fast(chunk, base) or _slow(chunk, base, faults)
    tags.update(pc.unique(table["tag"]).to_pylist())
    ranks = table["rank"].to_numpy() + np.int32(1 - base)
    query, document = (table[name].combine_chunks() for name in ("query", "document"))
    return Block(query, document, table["score"].to_numpy(), ranks)


def _fast(chunk: Chunk, base: int) -> pa.Table | None:
    """Parse a run with single spaces or tabs; None if it is irregular or malformed."""
    delimiter = "\t" if b"\t" in chunk.data[:1000] else " "
    others = (b" " if delimiter == "\t" else b"\t", b"\v", b"\f", b"\0")
    if has_comment(chunk.data) or any(other in chunk.data for other in others):
        return None  # other white space separates columns, too
    if chunk.data.count(b"\r") != chunk.data.count(b"\r\n") or chunk.data.startswith(_MARK):
        return None  # the parser would read a lone carriage return as a line break, and skip a second byte order mark
    try:
        table = csv.read_csv(
            pa.BufferReader(chunk.data),
            read_options=csv.ReadOptions(use_threads=False, column_names=_NAMES),
            parse_options=csv.ParseOptions(delimiter=delimiter, quote_char=False),
            convert_options=csv.ConvertOptions(column_types=_TYPES, null_values=[]),
        )
    except pa.ArrowInvalid:
        return None
    if not len(table) or pc.min(table["rank"]).as_py() < base:
        return None
    if not np.abs(table["score"].to_numpy()).max() <= MOST:  # also True for NaN
        return None
    texts = [table[name] for name in ("query", "q0", "document", "tag")]
    return table if all(pc.min(pc.binary_length(text)).as_py() for text in texts) else None


def _slow(chunk: Chunk, base: int, faults: Faults) -> pa.Table:
    """Parse line by line, and record malformed lines."""
    rows: list[tuple[Any, ...]] = []
    for line, text in content(chunk):
        try:
            rows.append(_row(text, base))
        except ValueError as error:  # includes UnicodeDecodeError
            faults.add(chunk.path, line, str(error), text=text, expects=EXPECTS)
    columns = zip(*rows, strict=True) if rows else [()] * len(_NAMES)
    return pa.table(
        {name: pa.array(column, _TYPES[name]) for name, column in zip(_NAMES, columns, strict=True)},
    )


def _row(text: bytes, base: int) -> tuple[Any, ...]:
    found = fields(text)
    query, document, rank, tag = (each.decode("utf-8") for each in (found.query, found.document, found.rank, found.tag))
    if not (rank.isascii() and rank.isdigit() and base <= int(rank) < 2**31):
        raise ValueError(f"{rank!r} is no rank from {base}")
    value = score(found.score)
    if abs(value) > MOST:
        raise ValueError(f"{found.score.decode()!r} is too large for a score")
    return query, "Q0", document, int(rank), value, tag


def write_trec(store: ScoreStore, path: Path) -> None:
    """Write a store as a TREC run, atomically.

    Queries come in the store's order, their documents by rank, or without ranks by score. Scores are written with all
    their digits. The tag is that of the imported run, else the teacher's name.
    """
    tag = "_".join(str(store.meta.get("tag") or store.meta["teacher"]).split())
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for query, documents, scores, ranks in store:
            numbers = range(1, len(documents) + 1) if ranks is None else ranks.tolist()
            # float32 has its own, shorter text; float64 prints like Python's float.
            values = map(repr, scores.tolist()) if scores.dtype == np.float64 else map(str, scores)
            for document, rank, score in zip(documents, numbers, values, strict=True):
                file.write(f"{query} Q0 {document} {rank} {score} {tag}\n")
