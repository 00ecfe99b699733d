"""Read rows of Parquet and JSON lines as dictionaries, some at a time, and the names of columns."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from limbeck.config import ConfigError
from limbeck.formats import parquet
from limbeck.formats.faults import Faults
from limbeck.formats.files import SMALL_BLOCK, chunks, lines

ROWS = 1_000
"""Rows of Parquet that are Python objects at the same time."""


class Row(NamedTuple):
    """A row and its number."""

    number: int
    """Row number from 1; for JSON lines the line number."""
    values: dict[str, Any]


def names(path: Path) -> list[str]:
    """Return the names of a file's columns; for JSON lines, the keys of the first object.

    Raises
    ------
    ConfigError
        The file is neither Parquet nor one JSON object per line, or is empty.
    """
    if parquet.is_parquet(path):
        return parquet.names(path)
    first, why = 0, ""
    for line, text in lines(path):
        if text.strip():
            first = first or line
            try:
                found = json.loads(text.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                why = why or f" ({error})"
                continue  # it is reported when rows are read
            if isinstance(found, dict):
                return list(found)
    if first:
        raise ConfigError(f"{path}:{first}: is neither Parquet nor a JSON object a line{why}")
    raise ConfigError(f"{path}: the file is empty")


def rows(path: Path, columns: Sequence[str], faults: Faults, expects: str) -> Iterator[Row]:
    """Yield the rows of a file, from Parquet only these columns; malformed JSON is recorded in ``faults``."""
    if parquet.is_parquet(path):
        for found in parquet.read(path, {name: name for name in columns}, rows=ROWS):
            columns_here = [found.columns[name].to_pylist() for name in columns]
            for number, values in enumerate(zip(*columns_here, strict=True), found.first):
                yield Row(number, dict(zip(columns, values, strict=True)))
        return
    for chunk in chunks([path], SMALL_BLOCK):
        for line, text in chunk.lines():
            try:
                value = json.loads(text.decode("utf-8-sig"))
                if not isinstance(value, dict):
                    raise ValueError("is no JSON object")
            except (ValueError, RecursionError) as error:
                faults.add(path, line, str(error), text=text, expects=expects)
                continue
            yield Row(line, value)
