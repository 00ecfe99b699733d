"""Flat scores, a pair of a query and a document a line: JSON lines, TSV, CSV, columns parted by blanks, or Parquet.

The first line says what a file is. JSON objects have keys, Parquet has names of columns; the others have a header, or
three columns ``query document score``, or columns that ``format.columns`` names.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from limbeck.config import ConfigError
from limbeck.formats import parquet
from limbeck.formats.base import Format, Thunk, finite, identifiers, number
from limbeck.formats.faults import Faults
from limbeck.formats.files import SMALL_BLOCK, Chunk, chunks
from limbeck.formats.jsonl import JsonLines, ScoredList
from limbeck.registry import register
from limbeck.scores.parts import Block

_NAMES = {
    "query": ("query_id", "query-id", "qid", "queryid", "q_id", "topic_id", "query", "topic", "q"),
    "document": (
        "document_id", "doc_id", "doc-id", "docid", "corpus_id", "corpus-id", "passage_id", "pid", "docno", "did",
        "document", "doc", "passage", "d",
    ),
    "score": ("score", "teacher_score", "ce-score", "ce_score", "logit", "similarity", "scores"),
}  # fmt: skip
"""What columns are called, in lower case; the first that a file has is taken."""

_SAY = (
    "say format.query=NAME format.document=NAME format.score=NAME for keys or a header, "
    "format.columns=[query,document,score] for columns without one"
)

_QUOTED = 160

Roles = dict[str, Any]
"""query, document and score → key of a JSON object, or place of a column."""


@register("format", "pairs")
class Pairs(Format):
    """Scores of any teacher; the file does not say whose they are, nor what they are.

    Parameters
    ----------
    store
        Folder of the store in the making.
    query, document, score
        Key or column of each; null looks for names in use (``query_id``, ``qid``, ``query``; ``doc_id``, ``pid``,
        ``docno``, ``document``; ``score``, ``logit``, …).
    columns
        Names of the columns, in order, of a file without a header; columns of other names are left out.

    Raises
    ------
    ValueError
        ``columns`` lacks one of the three.
    """

    expects = "a query, a document and a score"

    def __init__(
        self,
        store: Path,
        *,
        query: str | None = None,
        document: str | None = None,
        score: str | None = None,
        columns: list[str] | None = None,
    ) -> None:
        super().__init__(store)
        self._named = {"query": query, "document": document, "score": score}
        self._columns = columns
        if columns is not None and self._roles(columns) is None:
            raise ValueError(f"columns must name query, document and score, got {', '.join(columns)}")

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield the files in blocks.

        Raises
        ------
        ConfigError
            It is unclear which columns hold query, document and score.
        """
        for path in paths:
            if parquet.is_parquet(path):
                yield from self._parquet(path, faults)
                continue
            layout: _Objects | _Table | None = None
            for chunk in chunks([path], SMALL_BLOCK):
                layout = layout or self._layout(chunk)
                if layout:
                    yield partial(layout.block, chunk, faults)

    def _parquet(self, path: Path, faults: Faults) -> Iterator[Thunk]:
        names = parquet.names(path)
        roles = self._roles(names)
        if roles is None:
            raise self._unclear(path, f"the file has the columns {', '.join(names)}")
        chosen = {role: names[place] for role, place in roles.items()}
        parquet.check_types(path, chosen)
        for rows in parquet.read(path, chosen):
            yield partial(_of_rows, rows, path, faults, self.expects)

    def _layout(self, chunk: Chunk) -> "_Objects | _Table | None":
        """Return how a file is to be read by its first line, None if there is none in the chunk."""
        line, text = next(chunk.lines(), (0, b""))
        if not line:
            return None
        if text.lstrip()[:1] in (b"{", b"["):
            return self._json(chunk.path, line, text)
        for delimiter in ("\t",) if b"\t" in text else (None, ",", ";"):
            try:
                columns = _split(text, delimiter)
            except ValueError as error:
                raise ConfigError(f"{chunk.path}:{line}: {error}") from None
            roles, header = self._places(columns)
            if roles is not None:
                return _Table(roles, delimiter, len(columns), line if header else 0)
        raise self._unclear(chunk.path, f"line {line} is {_quoted(text)}")

    def _places(self, columns: list[str]) -> tuple[Roles | None, bool]:
        """Return the places of the columns, and whether they are named by a header."""
        if self._columns is not None:
            roles = self._roles(self._columns) if len(columns) == len(self._columns) else None
            return roles, columns == self._columns
        roles = self._roles(columns)
        if roles is not None:
            return roles, True
        if not any(self._named.values()) and len(columns) == 3 and _is_number(columns[2]):
            return {"query": 0, "document": 1, "score": 2}, False
        return None, False

    def _json(self, path: Path, line: int, text: bytes) -> "_Objects":
        try:
            first = json.loads(text)
        except ValueError:
            raise ConfigError(
                f"{path}:{line}: is no JSON value in one line; jq -c . {path.name} writes one a line, and "
                f"jq -c '.[]' {path.name} those of an array"
            ) from None
        if isinstance(first, dict):
            roles = self._roles(list(first))
            if roles is not None:
                keys = list(first)
                return _Objects(_Reader({role: keys[place] for role, place in roles.items()}))
            if first and all(isinstance(each, dict) for each in first.values()):
                to_tsv = "to_entries[] | .key as $q | .value | to_entries[] | [$q, .key, .value] | @tsv"
                raise ConfigError(
                    f"{path}: this is one JSON object {{query: {{document: score}}}}; jq -r '{to_tsv}' {path.name} "
                    "writes it as TSV"
                )
            raise self._unclear(path, f"line {line} has the keys {', '.join(first)}")
        if isinstance(first, list) and first and all(isinstance(each, dict) for each in first):
            raise ConfigError(f"{path}: this is one JSON array; jq -c '.[]' {path.name} writes its objects, one a line")
        if isinstance(first, list):
            roles, _ = self._places([str(each) for each in first])
            if roles is not None:
                return _Objects(_Reader(roles))
        raise self._unclear(path, f"line {line} is {_quoted(text)}")

    def _roles(self, names: Sequence[str]) -> Roles | None:
        """Return the place of each column, None unless all three are there."""
        lower = [name.strip().lower() for name in names]
        roles: Roles = {}
        for role, known in _NAMES.items():
            given = self._named[role]
            wanted, have = (known, lower) if given is None else ((given,), list(names))
            roles[role] = next((have.index(name) for name in wanted if name in have), None)
        return roles if None not in roles.values() else None

    def _unclear(self, path: Path, have: str) -> ConfigError:
        named = {role: name for role, name in self._named.items() if name is not None}
        wanted = f" {', '.join(named.values())}" if named else ""
        return ConfigError(f"{path}: cannot tell the columns of query, document and score{wanted}: {have}; {_SAY}")


class _Reader(JsonLines):
    """JSON objects, or arrays, a line."""

    expects = "a JSON value with a query, a document and a score"

    def __init__(self, roles: Roles) -> None:
        super().__init__(Path())  # it writes nothing
        self._roles = roles

    def scored(self, value: Any) -> ScoredList:
        query, document, score = (_at(value, self._roles[role]) for role in ("query", "document", "score"))
        return ScoredList(query, [document], [score])


class _Objects(NamedTuple):
    """JSON values."""

    reader: _Reader

    def block(self, chunk: Chunk, faults: Faults) -> Block:
        return self.reader.block(0, chunk, faults)


def _at(value: Any, place: Any) -> Any:
    """Return what a JSON object has under a key, or an array at a place."""
    if not isinstance(value, list if isinstance(place, int) else dict):
        raise ValueError(f"is no JSON {'array' if isinstance(place, int) else 'object'}")
    if isinstance(place, int) and place >= len(value):
        raise ValueError(f"has {len(value)} values")
    return value[place]


class _Table(NamedTuple):
    """Columns."""

    roles: Roles
    delimiter: str | None
    width: int
    header: int
    """Number of the line of the header, 0 if there is none."""

    def block(self, chunk: Chunk, faults: Faults) -> Block:
        queries: list[str] = []
        documents: list[str] = []
        scores: list[float] = []
        for line, text in chunk.lines():
            if line == self.header:
                continue
            try:
                query, document, score = self._row(text)
            except ValueError as error:  # UnicodeDecodeError is one
                expects = f"{self.width} columns, with {Pairs.expects}"
                faults.add(chunk.path, line, str(error), text=text, expects=expects)
                continue
            queries.append(query)
            documents.append(document)
            scores.append(score)
        return Block(identifiers(queries), identifiers(documents), np.array(scores, dtype=np.float32))

    def _row(self, text: bytes) -> tuple[str, str, float]:
        columns = _split(text, self.delimiter)
        if len(columns) != self.width:
            raise ValueError(f"has {len(columns)} column{'s' * (len(columns) != 1)}")
        query, document = columns[self.roles["query"]], columns[self.roles["document"]]
        if not query or not document:
            raise ValueError("has an empty id")
        score = number(columns[self.roles["score"]].strip())
        if not finite([score]):
            raise ValueError("has a score that is too large")
        return query, document, score


def _split(text: bytes, delimiter: str | None) -> list[str]:
    """Take a line apart; ``ValueError`` if it is not UTF-8, or no line of a CSV file."""
    line = text.decode("utf-8")
    if delimiter is None:
        return line.split()
    if delimiter == "\t":
        return line.split("\t")
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ValueError(f"is no line of a CSV file ({error})") from None


def _quoted(text: bytes) -> str:
    return repr(text[:_QUOTED].decode(errors="backslashreplace"))


def _is_number(text: str) -> bool:
    try:
        number(text.strip())
    except ValueError:
        return False
    return True


def _of_rows(rows: parquet.Rows, path: Path, faults: Faults, expects: str) -> Block:
    found = parquet.flat(rows, path, faults, expects)
    return Block(found["query"], found["document"], found["score"])
