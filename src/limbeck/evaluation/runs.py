"""Read and write TREC run files."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from pyarrow import csv

from limbeck.config import ConfigError
from limbeck.evaluation.array_run import ArrayRun, batch
from limbeck.formats.files import SMALL_BLOCK, chunks
from limbeck.formats.trec_line import COMMENT, content, fields, has_comment, score
from limbeck.progress import reported
from limbeck.rankings import Ranking, Run, order
from limbeck.scores.keys import pc
from limbeck.unfinished import whole_file

Use = Literal["scores", "ranks"]
"""What determines the order of a run."""

BLOCK = 2 << 20
"""Bytes parsed at once."""

_COLUMNS = ["query", "q0", "document", "rank", "score", "tag"]
_TYPES = {"query": pa.string(), "document": pa.string(), "rank": pa.string(), "score": pa.float64()}
_NEEDED = {"scores": "a finite score in the fifth", "ranks": "a whole rank in the fourth"}
_MOST = float(np.finfo(np.float32).max)
_QUOTED = 160
_ODD = (b"\t", b"\r", b"\v", b"\f", b"\0")
"""White space that separates columns, but not on the fast path; and NUL, which no line may contain."""


def write_run(path: Path, run: Run, tag: str) -> None:
    """Write ``query Q0 document rank score tag`` lines, ranks from 1, atomically.

    Scores are written with nine significant digits, which restore the same float32.

    Raises
    ------
    ConfigError
        The id of a query begins with ``#``: its lines would be comments.
    """
    write_runs(path, [run], tag)


def write_runs(path: Path, runs: Iterable[Run], tag: str) -> None:
    """Write runs of different queries into one file, as ``write_run`` writes one."""
    label = f"writing {path.name}"
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for run in runs:
            check_queries(run)
            for query, (ids, scores) in reported(run.items(), len(run), label, "queries", part=True):
                file.writelines(
                    f"{query} Q0 {document} {rank} {score:.9g} {tag}\n"
                    for rank, (document, score) in enumerate(zip(ids, scores.tolist(), strict=True), 1)
                )


def check_queries(queries: Iterable[str]) -> None:
    """Raise ``ConfigError`` for a query id that begins with ``#``: in a TREC run its lines would be comments."""
    for query in queries:
        if query.startswith(COMMENT.decode()):
            raise ConfigError(
                f"the id of query {query!r} begins with {COMMENT.decode()}, which begins a comment in a TREC run; "
                "change it in the collection and in the judgments"
            )


def read_run(path: Path, *, use: Use = "scores") -> ArrayRun:
    """Read a TREC run file, compressed or not, as trec_eval does: see ``limbeck.formats.trec_line``.

    Parameters
    ----------
    path
        The file.
    use
        What determines the order: ``scores``, as in trec_eval, ties by document id; or ``ranks``, for permutations with
        another system's scores. The scores of the run are then the negative ranks.

    Returns
    -------
    Run
        Queries in order of first appearance, in arrays. An empty file is a run without rankings.

    Raises
    ------
    ValueError
        A line has fewer than six columns or no finite float32 as score (or no whole number as rank), or trec_eval would
        read it wrongly, or a document appears twice (the message names file and line); or the file is damaged or no
        text.
    """
    if path.is_file() and not path.stat().st_size:
        return ArrayRun([])
    run = _by_block(path, use)
    return _by_line(path, use) if run is None else run


@contextmanager
def no_collection() -> Iterator[None]:
    """Pause Python's garbage collection, which would traverse millions of objects and free none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _by_block(path: Path, use: Use) -> ArrayRun | None:
    """Read a file whose columns are separated by single spaces; None for any other, which ``_by_line`` reads."""
    try:
        run = ArrayRun.gathered(_batches(path, use))
    except _OddError:
        return None
    return _gathered(run) if run.places.twice() else run


class _OddError(Exception):
    """The file is not in the plain form of ``_by_block``."""


def _batches(path: Path, use: Use) -> Iterator[pa.RecordBatch]:
    held: list[pa.Table] = []  # lines of the last query, which may continue in the next block
    for chunk in chunks([path], BLOCK):
        table = _table(chunk.data, use)
        if table is None:
            raise _OddError
        ends = pc.run_end_encode(table["query"].combine_chunks()).run_ends
        last = ends[-2].as_py() if len(ends) > 1 else 0
        if last or (held and held[-1]["query"][-1] != table["query"][0]):
            yield _batch(pa.concat_tables([*held, table[:last]]))
            held = []
        held.append(table[last:])
    if held:
        yield _batch(pa.concat_tables(held))


def _batch(table: pa.Table) -> pa.RecordBatch:
    """Return the rankings of queries with consecutive lines; raise ``_OddError`` for a document that appears twice."""
    queries, documents = (table[name].combine_chunks() for name in ("query", "document"))
    values, queries = table["value"].to_numpy(), pc.run_end_encode(queries)
    lengths = np.diff(queries.run_ends.to_numpy(), prepend=0)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    pairs = np.sort(owner * len(values) + documents.dictionary_encode().indices.to_numpy())
    if (pairs[1:] == pairs[:-1]).any():
        raise _OddError
    names = pc.greater(documents[1:], documents[:-1]).to_numpy(zero_copy_only=False)
    above = (values[1:] > values[:-1]) | ((values[1:] == values[:-1]) & names)
    if (above & (owner[1:] == owner[:-1])).any():
        keys = {"owner": owner, "value": values + np.float32(0), "document": documents}  # makes 0 of -0
        places = pc.sort_indices(
            pa.table(keys),
            sort_keys=[("owner", "ascending"), ("value", "descending"), ("document", "descending")],
        )
        documents, values = documents.take(places), values[places.to_numpy()]
    return batch(queries.values, lengths, documents, values)


def _gathered(run: ArrayRun) -> ArrayRun | None:
    """Join the lines of queries that are not consecutive; None if a document appears twice for a query."""
    ids: dict[str, list[str]] = {}
    values: dict[str, list[np.ndarray]] = {}
    with no_collection():
        for query, ranking in run.items():
            ids.setdefault(query, []).extend(ranking.ids)
            values.setdefault(query, []).append(ranking.scores)
        if any(len(set(of)) < len(of) for of in ids.values()):
            return None
        return ArrayRun.of((query, order(of, np.concatenate(values[query]))) for query, of in ids.items())


def _table(data: bytes, use: Use) -> pa.Table | None:
    """Return the columns query, document and value (float32); None if a line is not in the plain form."""
    white = np.frombuffer(data, np.uint8) <= ord(" ")
    if (
        has_comment(data)
        or any(odd in data for odd in _ODD)
        or white[:1].any()
        or data.endswith(b" ")
        or (white[1:] & white[:-1]).any()
    ):
        return None  # for example, an empty column
    value = "score" if use == "scores" else "rank"
    try:
        table = csv.read_csv(
            pa.BufferReader(data),
            read_options=csv.ReadOptions(column_names=_COLUMNS),
            parse_options=csv.ParseOptions(delimiter=" ", quote_char=False),
            convert_options=csv.ConvertOptions(
                column_types=_TYPES, include_columns=["query", "document", value], null_values=[]
            ),
        )
    except pa.ArrowInvalid:
        return None
    numbers = table[value]
    if use == "ranks":
        if not pc.all(pc.match_substring_regex(numbers, r"^[0-9]{1,9}\z")).as_py():
            return None
        numbers = pc.negate(numbers.cast(pa.int64())).cast(pa.float64())
    if not np.abs(numbers.to_numpy()).max(initial=0) <= _MOST:  # also True for NaN
        return None
    float32 = numbers.to_numpy().astype(np.float32)
    return table.select(["query", "document"]).append_column("value", pa.array(float32))


def _by_line(path: Path, use: Use) -> ArrayRun:
    """Read any file line by line; errors name the line."""
    lists: dict[str, dict[str, float]] = {}
    with no_collection():
        for chunk in chunks([path], SMALL_BLOCK):
            for number, line in content(chunk):
                try:
                    query, document, value = _row(line, use)
                except ValueError as error:
                    raise ValueError(f"{path}:{number}: {_problem(error, use)}; found {_quoted(line)}") from None
                documents = lists.setdefault(query, {})
                if document in documents:
                    raise ValueError(f"{path}:{number}: document {document} appears twice for query {query}")
                documents[document] = value
        return ArrayRun.of(
            (query, order(list(documents), np.fromiter(documents.values(), np.float32, len(documents))))
            for query, documents in lists.items()
        )


def _row(line: bytes, use: Use) -> tuple[str, str, float]:
    found = fields(line)
    if use == "scores":
        value = score(found.score)
        if not abs(value) <= _MOST:
            raise ValueError("the score is too large")
    elif found.rank.isdigit() and len(found.rank) < 10:
        value = -float(found.rank)
    else:
        raise ValueError(f"{_quoted(found.rank)} is no rank")
    return found.query.decode(), found.document.decode(), value


def _problem(error: ValueError, use: Use) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8"
    return f"expected six columns with {_NEEDED[use]} ({error})"


def _quoted(text: bytes) -> str:
    return repr(text[:_QUOTED].decode(errors="backslashreplace"))


def cut(run: Run, depth: int) -> Run:
    """Keep the best ``depth`` documents of each query."""
    return {query: Ranking(ranking.ids[:depth], ranking.scores[:depth]) for query, ranking in run.items()}
