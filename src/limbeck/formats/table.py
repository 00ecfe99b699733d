"""A table of scores, one query and document per line: JSON lines, TSV, CSV, columns separated by spaces, or Parquet.

The type of a file is recognised by its first line. JSON objects have keys, Parquet has names of columns; the others
have a header, or three columns ``query document score``, or columns that ``format.columns`` names.
"""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from limbeck.config import ConfigError
from limbeck.formats import parquet
from limbeck.formats.base import Thunk, number
from limbeck.formats.faults import Faults
from limbeck.formats.files import SMALL_BLOCK, Chunk, chunks
from limbeck.formats.judging import Judging
from limbeck.formats.table_lines import EXPECTS, Columns, Objects, Roles, split
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
"""Usual names of columns, in lower case; the first that a file has is taken."""

_SAY = (
    "give format.query=NAME format.document=NAME format.score=NAME for keys or a header, "
    "format.columns=[query,document,score] for columns without one"
)

_QUOTED = 160


@register("format", "table")
class Table(Judging):
    """Scores of any teacher; the file names neither the teacher nor the kind of the scores.

    Parameters
    ----------
    store
        Folder of the store that is being written.
    query, document, score
        Key or column of each; null looks for usual names (``query_id``, ``qid``, ``query``; ``doc_id``, ``pid``,
        ``docno``, ``document``; ``score``, ``logit``, …).
    label
        Key or column of grades, whole numbers; pairs with a grade above 0 are written to ``qrels.tsv`` in the store's
        folder. Null reads none.
    columns
        Names of the columns, in order, of a file without a header: ``query``, ``document``, ``score``, ``label``, or
        the names given by the options above; other columns are ignored.

    Raises
    ------
    ValueError
        ``columns`` lacks one of them.
    """

    expects = EXPECTS

    def __init__(
        self,
        store: Path,
        *,
        query: str | None = None,
        document: str | None = None,
        score: str | None = None,
        label: str | None = None,
        columns: list[str] | None = None,
    ) -> None:
        super().__init__(store)
        if label is None and columns is not None and "label" in columns:
            label = "label"
        self._named = {"query": query, "document": document, "score": score} | ({"label": label} if label else {})
        self._columns = columns
        if columns is not None and self._roles(columns) is None:
            wanted = "query, document, score and label" if label else "query, document and score"
            raise ValueError(f"columns must name {wanted}, got {', '.join(columns)}")

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield the files in blocks.

        Raises
        ------
        ConfigError
            It is unclear which columns hold query, document and score.
        """
        self._positives.clear()
        for position, block in enumerate(block for path in paths for block in self._of_file(path, faults)):
            yield partial(block, position)

    def _of_file(self, path: Path, faults: Faults) -> Iterator[partial[Block]]:
        if parquet.is_parquet(path):
            yield from self._parquet(path, faults)
            return
        layout: Objects | Columns | None = None
        for chunk in chunks([path], SMALL_BLOCK):
            layout = layout or self._layout(chunk)
            if layout:
                yield partial(layout.block, chunk=chunk, faults=faults)

    def _parquet(self, path: Path, faults: Faults) -> Iterator[partial[Block]]:
        names = parquet.names(path)
        roles = self._roles(names)
        if roles is None:
            raise self._unclear(path, f"the file has the columns {', '.join(names)}")
        chosen = {role: names[place] for role, place in roles.items()}
        parquet.check_types(path, chosen)
        for rows in parquet.read(path, chosen):
            yield partial(self._of_rows, rows=rows, path=path, faults=faults)

    def _of_rows(self, position: int, rows: parquet.Rows, path: Path, faults: Faults) -> Block:
        found = parquet.flat(rows, path, faults, self.expects)
        if "label" in found:
            relevant = (found["label"] > 0).nonzero()[0]
            of_relevant = (found["query"].take(relevant), found["document"].take(relevant), found["label"][relevant])
            self._positives[position] = [
                (str(query), str(document), int(grade)) for query, document, grade in zip(*of_relevant, strict=True)
            ]
        return Block(found["query"], found["document"], found["score"])

    def _layout(self, chunk: Chunk) -> Objects | Columns | None:
        """Return how a file should be read, by its first line; None if the chunk has no line."""
        line, text = next(chunk.lines(), (0, b""))
        if not line:
            return None
        if text.lstrip()[:1] in (b"{", b"["):
            return self._json(chunk.path, line, text)
        for delimiter in ("\t",) if b"\t" in text else (None, ",", ";"):
            try:
                columns = split(text, delimiter)
            except ValueError as error:
                raise ConfigError(f"{chunk.path}:{line}: {error}") from None
            roles, header = self._places(columns)
            if roles is not None:
                return Columns(roles, delimiter, len(columns), line if header else 0, self._positives)
        raise self._unclear(chunk.path, f"line {line} is {_quoted(text)}")

    def _places(self, columns: list[str]) -> tuple[Roles | None, bool]:
        """Return the positions of the columns, and whether the line is a header that names them."""
        if self._columns is not None:
            roles = self._roles(self._columns) if len(columns) == len(self._columns) else None
            return roles, columns == self._columns
        roles = self._roles(columns)
        if roles is not None:
            return roles, True
        if not any(self._named.values()) and len(columns) == 3 and _is_number(columns[2]):
            return {"query": 0, "document": 1, "score": 2}, False
        return None, False

    def _json(self, path: Path, line: int, text: bytes) -> Objects:
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
                return Objects({role: keys[place] for role, place in roles.items()}, self._positives)
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
                return Objects(roles, self._positives)
        raise self._unclear(path, f"line {line} is {_quoted(text)}")

    def _roles(self, names: Sequence[str]) -> dict[str, int] | None:
        """Return the position of each column; None unless all are there."""
        lower = [name.strip().lower() for name in names]
        roles: dict[str, int] = {}
        for role, given in self._named.items():
            wanted, have = (_NAMES[role], lower) if given is None else ((given,), list(names))
            place = next((have.index(name) for name in wanted if name in have), None)
            if place is None:
                return None
            roles[role] = place
        return roles

    def _unclear(self, path: Path, have: str) -> ConfigError:
        named = [name for name in self._named.values() if name is not None]
        wanted = f" {', '.join(named)}" if named else ""
        roles = ", ".join(list(self._named)[:-1]) + f" and {list(self._named)[-1]}"
        return ConfigError(f"{path}: cannot tell the columns of {roles}{wanted}: {have}; {_SAY}")


def _quoted(text: bytes) -> str:
    return repr(text[:_QUOTED].decode(errors="backslashreplace"))


def _is_number(text: str) -> bool:
    try:
        number(text.strip())
    except ValueError:
        return False
    return True
