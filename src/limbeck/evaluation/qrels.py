"""Read files of judgments: TREC's four columns, or BEIR's three below a header."""

import re
from array import array
from collections.abc import Iterator
from itertools import chain, filterfalse
from pathlib import Path

import numpy as np

from limbeck.config import ConfigError
from limbeck.formats.files import SMALL_BLOCK, chunks
from limbeck.formats.trec_line import is_comment
from limbeck.rankings import Qrels

_HEADER = [b"query-id", b"corpus-id", b"score"]
_GRADE = re.compile(rb"([+-]?[0-9]{1,18})(?:\.0*)?")
"""A whole number, also with a fraction of zeros; trec_eval would read 0.5 and ``yes`` as 0."""
_QUOTED = 160
_BEIR = "query-id, corpus-id and a whole number, tab-separated"
_TREC = "query, iteration, document and a whole number, separated by white space"


def read_qrels(path: Path) -> Qrels:
    """Read judgments, compressed or not.

    Parameters
    ----------
    path
        A TREC file, ``query iteration document grade`` separated by any white space, as trec_eval reads it: lines that
        begin with ``#`` are comments. Or a BEIR file, ``query-id corpus-id score`` separated by tabs, so that ids may
        contain spaces, below a header with these names. Blank lines are skipped.

    Returns
    -------
    Qrels
        Queries and documents in file order.

    Raises
    ------
    ConfigError
        A line is malformed, or a pair is judged twice with different grades (the message names file and line); or the
        file has no judgments.
    """
    qrels: dict[str, dict[str, int]] = {}
    for query, document, grade in judgments(path):
        qrels.setdefault(query, {})[document] = grade
    return qrels


def judgments(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield query, document and grade of each line; otherwise as ``read_qrels``.

    Pairs judged twice with different grades raise an error at the end; the test takes 8 bytes of memory per line.
    """
    hashes = array("q")
    for _, query, document, grade in _lines(path):
        hashes.append(hash((query, document)))
        yield query, document, grade
    if not hashes:
        raise ConfigError(f"{path}: there are no judgments below the header")
    suspects = twice(hashes)
    seen: dict[tuple[str, str], int] = {}
    for number, query, document, grade in _lines(path) if suspects else ():
        pair = (query, document)
        before = seen.setdefault(pair, grade) if hash(pair) in suspects else grade
        if before != grade:
            raise ConfigError(
                f"{path}:{number}: document {document} has grade {grade} for query {query}, but grade {before} in an "
                "earlier line"
            )


def _lines(path: Path) -> Iterator[tuple[int, str, str, int]]:
    """Yield number, query, document and grade of each line."""
    lines = (line for chunk in chunks([path], SMALL_BLOCK) for line in chunk.lines())
    first = next(filterfalse(is_comment, lines), None)  # for an empty file, chunks raises
    if first is None:
        raise ConfigError(f"{path}: there are no judgments, only comments")
    beir = first[1].split() == _HEADER
    if not beir and len(first[1].split()) == 3:
        raise ConfigError(
            f"{path}:{first[0]}: the header must be query-id, corpus-id, score where there are three columns; found "
            f"{_quoted(first[1])}"
        )
    for number, line in lines if beir else chain([first], filterfalse(is_comment, lines)):
        try:
            yield number, *_pair(line, beir)
        except ValueError:  # includes UnicodeDecodeError
            expected = _BEIR if beir else _TREC
            raise ConfigError(f"{path}:{number}: expected {expected}; found {_quoted(line)}{_hint(line)}") from None


def twice(hashes: "array[int]") -> set[int]:
    """Return the hashes that appear more than once."""
    found = np.sort(np.frombuffer(hashes, np.int64))
    return set(found[1:][found[1:] == found[:-1]].tolist())


def _pair(line: bytes, beir: bool) -> tuple[str, str, int]:
    if beir:
        query, document, grade = (column.strip() for column in line.split(b"\t"))
    else:
        query, _, document, grade = line.split()
    whole = _GRADE.fullmatch(grade)
    if not (query and document and whole) or b"\0" in line:
        raise ValueError
    return query.decode(), document.decode(), int(whole[1])


def _hint(line: bytes) -> str:
    """Return what kind of line a malformed line may be."""
    if len(line.split()) == 6:
        return "; six columns are those of a run, which ranks documents and does not judge them"
    if line.count(b",") in (2, 3):
        return "; the columns are separated by tabs or spaces, not by commas"
    return ""


def _quoted(line: bytes) -> str:
    return repr(line[:_QUOTED].decode(errors="backslashreplace"))
