"""Split a line of a TREC run as trec_eval does (``get_trec_results.c``, version 10).

Columns are separated by any ASCII white space; everything after the sixth is skipped, as are blank lines and those that
begin with ``#``. Where trec_eval would silently read a wrong value, the line is refused: it reads a score that is no
finite number as 0, a space in an id moves the rank into the score's column, a NUL byte ends the file, and lines that
end with only a carriage return are one line.
"""

import math
import re
from collections.abc import Iterator
from itertools import filterfalse
from typing import NamedTuple

from limbeck.formats.files import Chunk

COMMENT = b"#"

_HEXADECIMAL = re.compile(rb"[+-]?0[xX][0-9a-fA-F]*\.?[0-9a-fA-F]*(?:[pP][+-]?[0-9]+)?")
_WHOLE = re.compile(rb"[+-]?[0-9]+")
_COLUMNS = {
    1: "are the columns separated by spaces or tabs?",
    3: "MS MARCO's three, query, document and rank, need Q0 as the second, a score and a tag",
    4: "are these judgments?",
    5: "the tag, the sixth, may be any word",
}


class Fields(NamedTuple):
    """The columns of a run that are used."""

    query: bytes
    document: bytes
    rank: bytes
    score: bytes
    tag: bytes


def is_comment(line: tuple[int, bytes]) -> bool:
    """Return whether a numbered line is a comment."""
    return line[1].lstrip().startswith(COMMENT)


def content(chunk: Chunk) -> Iterator[tuple[int, bytes]]:
    """Yield number and text of each line that is neither blank nor a comment."""
    return filterfalse(is_comment, chunk.lines())


def has_comment(data: bytes) -> bool:
    """Return whether a line begins with ``#``."""
    return data.startswith(COMMENT) or b"\n" + COMMENT in data


def fields(line: bytes) -> Fields:
    """Split a line.

    Raises
    ------
    ValueError
        The line has fewer than six columns, or trec_eval would read it wrongly; the message says why.
    """
    columns = line.split()
    if len(columns) < 6:
        hint = f": {_COLUMNS[len(columns)]}" if len(columns) in _COLUMNS else ""
        raise ValueError(f"has {len(columns)} column{'s' * (len(columns) != 1)}{hint}")
    if b"\0" in line:
        raise ValueError("has a NUL byte")
    if len(columns) > 6 and b"\r" in line.rstrip():
        raise ValueError("has a carriage return inside; end lines with a line feed: tr '\\r' '\\n'")
    if len(columns) > 6 and _moved(columns):
        raise ValueError(f"has {len(columns)} columns, and seems to have a space in an id")
    return Fields(columns[0], *columns[2:6])


def _moved(columns: list[bytes]) -> bool:
    """Return whether a rank is in the score's column, and a score in the tag's."""
    return _WHOLE.fullmatch(columns[4]) is not None and _is_number(columns[5])


def _is_number(text: bytes) -> bool:
    try:
        score(text)
    except ValueError:
        return False
    return True


def score(text: bytes) -> float:
    """Return a finite number, written in C's ``strtod`` syntax: ``1e-3``, ``+3``, ``.5``, ``0x1.8p1``.

    Raises
    ------
    ValueError
        The text is no finite number.
    """
    try:
        written = text.decode("ascii")
        value = float.fromhex(written) if _HEXADECIMAL.fullmatch(text) else float(written)
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value) or b"_" in text:
        raise ValueError(f"{text.decode(errors='backslashreplace')!r} is no finite number")
    return value
