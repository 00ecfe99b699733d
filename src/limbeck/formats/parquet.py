"""Helpers of formats in Parquet: find columns, and flatten lists."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from limbeck.config import ConfigError
from limbeck.formats.faults import Faults
from limbeck.formats.files import magic
from limbeck.formats.kinds import PARQUET
from limbeck.progress import Step
from limbeck.scores.keys import LARGEST, pc

_ROWS = 1_000_000
_LISTS = 4_000
_RANKS = 2**31 - 1
"""Largest rank and label: a store has 32 bits for them."""

_NAMES = {
    "query": ("query_id", "query-id", "qid"),
    "document": ("corpus_id", "corpus-id", "doc_id", "docid", "document_id", "doc_ids", "passage_id", "pid", "docno"),
    "score": ("score", "scores", "ce-score"),
    "rank": ("rank",),
}
_TITLES = {"query": "query id", "document": "document id", "score": "score", "rank": "rank", "label": "label"}


class Rows(NamedTuple):
    """Some rows of a Parquet file."""

    first: int
    """Number of the first row, from 1."""
    columns: dict[str, pa.Array]


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet."""
    return magic(path).startswith(PARQUET)


def names(path: Path) -> list[str]:
    """Return the names of a file's columns.

    Raises
    ------
    ConfigError
        It is no Parquet file, or has no rows.
    """
    with _open(path) as file:
        if not file.metadata.num_rows:
            raise ConfigError(f"{path}: the file is empty")
        return file.schema_arrow.names


def columns(path: Path, *needed: str) -> dict[str, str]:
    """Return the names of the columns ``query``, ``document``, ``score`` and ``rank``, as far as the file has them.

    Raises
    ------
    ConfigError
        It is no Parquet file, has no rows, or lacks a needed column.
    """
    have = names(path)
    chosen = {role: name for role, known in _NAMES.items() for name in known[::-1] if name in have}
    for role in needed:
        if role not in chosen:
            raise ConfigError(
                f"{path}: there is no column for the {_TITLES[role]}; looked for {', '.join(_NAMES[role])}; "
                f"the file has {', '.join(have)}"
            )
    return chosen


def read(path: Path, chosen: dict[str, str], rows: int | None = None) -> Iterator[Rows]:
    """Yield the rows of a file, ``rows`` at a time (None: a default number); a list counts as one row."""
    with _open(path) as file:
        nested = any(pa.types.is_nested(file.schema_arrow.field(name).type) for name in chosen.values())
        batches = file.iter_batches(rows or (_LISTS if nested else _ROWS), columns=list(chosen.values()))
        first = 1
        with Step(f"reading {path.name}", file.metadata.num_rows, "rows") as step:
            while batch := _next(path, batches):
                yield Rows(first, {role: _plain(batch.column(name)) for role, name in chosen.items()})
                first += len(batch)
                step.advance(len(batch))


def _next(path: Path, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    try:
        batch = next(batches, None)
        if batch is not None:
            batch.validate(full=True)  # checks, for example, that texts are UTF-8
    except (pa.ArrowException, OSError) as error:  # Arrow raises OSError, too, for a damaged page
        raise ConfigError(f"{path}: the file is damaged or was not downloaded whole ({error})") from error
    return batch


def _plain(column: Any) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path}: this is no whole Parquet file ({error})") from error


def flat(rows: Rows, path: Path, faults: Faults, expects: str) -> dict[str, Any]:
    """Return flat columns: ids as the store takes them, scores as float32, ranks as int32, labels as int64.

    Rows with a missing id, a score that is no finite number, or lists of unequal length are malformed.
    """
    every = _aligned(rows, path, faults, expects)
    numbers = every.pop("row").to_numpy()
    bad = np.zeros(len(numbers), dtype=bool)
    problems = []
    for role, column in every.items():
        wrong = _wrong(role, column)
        problems += [(position, role) for position in np.flatnonzero(wrong & ~bad).tolist()]
        bad |= wrong
    seen: set[int] = set()
    for position, role in sorted(problems):
        row = int(numbers[position])
        if row not in seen:
            seen.add(row)
            text = f"{every[role][position].as_py()!r} is no {_TITLES[role]}"
            faults.add(path, row, text, expects=expects)
    if seen:  # a row that is malformed anywhere is left out entirely
        kept = pa.array(~np.isin(numbers, list(seen)))
        every = {role: column.filter(kept) for role, column in every.items()}
    return {role: _taken(role, column) for role, column in every.items()}


def _aligned(rows: Rows, path: Path, faults: Faults, expects: str) -> dict[str, pa.Array]:
    """Flatten lists, and add a column ``row``."""
    count = len(rows.columns["query"])
    numbers = pa.array(np.arange(rows.first, rows.first + count))
    nested = {role: each for role, each in rows.columns.items() if _list(each.type)}
    plain = {role: each for role, each in rows.columns.items() if role not in nested} | {"row": numbers}
    if not nested:
        return plain
    lengths = {role: pc.fill_null(pc.list_value_length(each), 0).to_numpy() for role, each in nested.items()}
    first, *others = lengths
    equal = np.ones(count, dtype=bool)
    for other in others:
        equal &= lengths[first] == lengths[other]
    for position in np.flatnonzero(~equal).tolist():
        counts = " and ".join(f"{each[position]} in {role}" for role, each in lengths.items())
        faults.add(path, rows.first + position, f"has lists of unequal length, {counts}", expects=expects)
    kept = pa.array(equal)
    result = {role: pc.list_flatten(each.filter(kept)) for role, each in nested.items()}
    repeated = pa.array(np.repeat(np.flatnonzero(equal), lengths[first][equal]))
    return {role: each.take(repeated) for role, each in plain.items()} | result


def _list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind)


def _wrong(role: str, column: pa.Array) -> NDArray[np.bool_]:
    null = column.is_null().to_numpy(zero_copy_only=False)
    if role == "label":
        numbers = pc.fill_null(pc.cast(column, pa.float64(), safe=False), np.nan).to_numpy()
        return null | ~(np.abs(numbers) <= _RANKS) | (numbers != np.round(numbers))
    if role == "score":
        return null | ~np.isfinite(pc.fill_null(pc.cast(column, pa.float32(), safe=False), np.nan).to_numpy())
    if pa.types.is_integer(column.type):
        outside = pc.less(column, pa.scalar(1 if role == "rank" else 0, column.type))
        if role == "rank" and column.type.bit_width > 32:
            outside = pc.or_(outside, pc.greater(column, pa.scalar(_RANKS, column.type)))
        return null | pc.fill_null(outside, True).to_numpy(zero_copy_only=False)
    return null | pc.fill_null(pc.equal(pc.binary_length(column), 0), True).to_numpy(zero_copy_only=False)


def _taken(role: str, column: pa.Array) -> Any:
    if role == "score":
        return pc.cast(column, pa.float32(), safe=False).to_numpy()
    if role == "rank":
        return column.cast(pa.int32()).to_numpy()
    if role == "label":
        return column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    if pa.types.is_integer(column.type) and (not len(column) or pc.max(column).as_py() < LARGEST):
        return column.cast(pa.int64()).to_numpy()
    return column.cast(pa.string())


def check_types(path: Path, chosen: dict[str, str]) -> None:
    """Raise ``ConfigError`` for a column whose type does not fit, for example fractions as ids."""
    with _open(path) as file:
        schema = file.schema_arrow
    for role, name in chosen.items():
        kind = schema.field(name).type
        inner = kind.value_type if _list(kind) or pa.types.is_dictionary(kind) else kind
        text = pa.types.is_string(inner) or pa.types.is_large_string(inner)
        fits = {
            "score": pa.types.is_floating(inner) or pa.types.is_integer(inner),
            "rank": pa.types.is_integer(inner),
            "label": pa.types.is_floating(inner) or pa.types.is_integer(inner) or pa.types.is_boolean(inner),
        }.get(role, text or pa.types.is_integer(inner))
        if not fits:
            raise ConfigError(f"{path}: column {name} is of type {kind}, which is no {_TITLES[role]}")
