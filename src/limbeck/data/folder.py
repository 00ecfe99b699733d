"""A BEIR folder as an ir_datasets data set: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import BaseQrels, GenericQuery, JsonlDocs, JsonlQueries, TrecQrel
from ir_datasets.util import LocalDownload

from limbeck.config import ConfigError
from limbeck.evaluation.qrels import judgments


class FolderDoc(NamedTuple):
    """A document with a title, which may be empty."""

    doc_id: str
    title: str
    text: str

    def default_text(self) -> str:
        """Return title and text."""
        return f"{self.title} {self.text}".strip()


def _records(path: Path, fields: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"{path}:{number}: not a JSON object in UTF-8 ({error})") from None
            if not isinstance(record, dict) or any(not isinstance(record.get(name), str) for name in fields):
                raise ConfigError(f"{path}:{number}: needs the string fields {', '.join(fields)}")
            yield record


class FolderDocs(JsonlDocs):
    """corpus.jsonl with ``_id``, ``text`` and, if it likes, ``title``."""

    def _iter(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for record in _records(Path(self._path()), ("_id", "text")):
            yield FolderDoc(record["_id"], record.get("title") or "", record["text"])


class FolderQueries(JsonlQueries):
    """Those queries of queries.jsonl that a split judges."""

    def __init__(self, path: Path, qrels: "FolderQrels") -> None:
        super().__init__(LocalDownload(path, mkdir=False))
        self._qrels = qrels

    def queries_iter(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Yield the split's queries in file order."""
        judged = {qrel.query_id for qrel in self._qrels.qrels_iter()}
        for record in _records(Path(self._path()), ("_id", "text")):
            if record["_id"] in judged:
                yield GenericQuery(record["_id"], record["text"])


class FolderQrels(BaseQrels):
    """qrels/SPLIT.tsv with the header ``query-id corpus-id score``; TREC's four columns are read, too."""

    def __init__(self, path: Path) -> None:
        self._file = path

    def qrels_path(self) -> Path:
        """Return the file."""
        return self._file

    def qrels_iter(self) -> Iterator[TrecQrel]:
        """Yield the judgments in file order."""
        for query, document, grade in judgments(self._file):
            yield TrecQrel(query, document, grade, "0")

    def qrels_cls(self) -> Any:
        """Return the record type."""
        return TrecQrel

    def qrels_defs(self) -> dict[int, str]:
        """Return descriptions of the grades; a folder has none."""
        return {}


def is_folder(path: Path) -> bool:
    """Tell whether a path is a BEIR folder."""
    return (path / "corpus.jsonl").is_file()


def documents(path: Path, store: Path) -> Dataset:
    """Return the folder's documents; their by-id store is kept at ``store``."""
    doc_cls: Any = FolderDoc
    source = LocalDownload(path / "corpus.jsonl", mkdir=False)
    return Dataset(FolderDocs(source, doc_cls, docstore_path=str(store)))


def split(path: Path, name: str) -> Dataset:
    """Return queries and judgments of one split.

    Raises
    ------
    ConfigError
        queries.jsonl or the split's qrels are missing: the message lists the splits there are.
    """
    qrels = path / "qrels" / f"{name}.tsv"
    if not qrels.is_file():
        have = ", ".join(sorted(file.stem for file in (path / "qrels").glob("*.tsv"))) or "none"
        raise ConfigError(f"{qrels} is missing; splits in this folder: {have}")
    if not (path / "queries.jsonl").is_file():
        raise ConfigError(f"{path / 'queries.jsonl'} is missing")
    judged = FolderQrels(qrels)
    return Dataset(FolderQueries(path / "queries.jsonl", judged), judged)


def files(path: Path) -> list[Path]:
    """Return the files that make up the folder's content."""
    return [path / "corpus.jsonl", path / "queries.jsonl", *sorted((path / "qrels").glob("*.tsv"))]
