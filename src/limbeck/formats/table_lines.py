"""The lines of a table: JSON values or columns, with the places of query, document, score and label."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from limbeck.formats.base import finite, identifiers, number
from limbeck.formats.faults import Faults
from limbeck.formats.files import Chunk
from limbeck.formats.jsonl import JsonLines, ScoredList
from limbeck.scores.parts import Block

Roles = Mapping[str, Any]
"""query, document, score and, if it is read, label → key of a JSON object, or position of a column."""

EXPECTS = "a query, a document and a score"

Positives = dict[int, list[tuple[str, str, int]]]
"""Number of a block → (query, document, grade)."""


class Objects(JsonLines):
    """One JSON object or array per line.

    Parameters
    ----------
    roles
        Keys or positions of query, document, score and label.
    positives
        Collects the positives.
    """

    expects = "a JSON value with a query, a document and a score"

    def __init__(self, roles: Roles, positives: Positives) -> None:
        super().__init__(Path())  # this class writes no store
        self._roles = roles
        self._positives = positives

    def scored(self, value: Any) -> ScoredList:
        """Read one pair."""
        found = {role: _at(value, place) for role, place in self._roles.items()}
        grade = grade_of(found["label"]) if "label" in found else 0
        return ScoredList(
            found["query"], [found["document"]], [found["score"]], [found["document"]] * (grade > 0), grade
        )


class Columns(NamedTuple):
    """Columns separated by a delimiter; None for spaces."""

    roles: Roles
    delimiter: str | None
    width: int
    header: int
    """Line number of the header, 0 if there is none."""
    positives: Positives

    def block(self, position: int, chunk: Chunk, faults: Faults) -> Block:
        """Parse a chunk; ``position`` is its number among all chunks."""
        queries: list[str] = []
        documents: list[str] = []
        scores: list[float] = []
        positives: list[tuple[str, str, int]] = []
        for line, text in chunk.lines():
            if line == self.header:
                continue
            try:
                query, document, score, grade = self._row(text)
            except ValueError as error:  # includes UnicodeDecodeError
                expects = f"{self.width} columns, with {EXPECTS}"
                faults.add(chunk.path, line, str(error), text=text, expects=expects)
                continue
            queries.append(query)
            documents.append(document)
            scores.append(score)
            if grade > 0:
                positives.append((query, document, grade))
        self.positives[position] = positives
        return Block(identifiers(queries), identifiers(documents), np.array(scores, dtype=np.float32))

    def _row(self, text: bytes) -> tuple[str, str, float, int]:
        columns = split(text, self.delimiter)
        if len(columns) != self.width:
            raise ValueError(f"has {len(columns)} column{'s' * (len(columns) != 1)}")
        query, document = columns[self.roles["query"]], columns[self.roles["document"]]
        if not query or not document:
            raise ValueError("has an empty id")
        score = number(columns[self.roles["score"]].strip())
        if not finite([score]):
            raise ValueError("has a score that is too large")
        return query, document, score, grade_of(columns[self.roles["label"]].strip()) if "label" in self.roles else 0


def grade_of(value: Any) -> int:
    """Return a label as a grade.

    Raises
    ------
    ValueError
        The label is no whole number.
    """
    try:
        found = number(str(int(value) if isinstance(value, bool) else value))
    except ValueError:
        found = 0.5
    if not found.is_integer():
        raise ValueError(f"{value!r} is no label, which is a whole number; above 0 the document is relevant")
    return int(found)


def split(text: bytes, delimiter: str | None) -> list[str]:
    """Split a line into columns; ``ValueError`` if it is not UTF-8, or no line of a CSV file."""
    line = text.decode("utf-8")
    if delimiter is None:
        return line.split()
    if delimiter == "\t":
        return line.split("\t")
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"is no line of a CSV file ({error})") from None


def _at(value: Any, place: Any) -> Any:
    """Return the value under a key of a JSON object, or at a position of an array."""
    if not isinstance(value, list if isinstance(place, int) else dict):
        raise ValueError(f"is no JSON {'array' if isinstance(place, int) else 'object'}")
    if isinstance(place, int) and place >= len(value):
        raise ValueError(f"has {len(value)} values")
    return value[place]
