"""A BEIR folder as an ir_datasets data set: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv."""

import contextlib
import json
import re
import time
from array import array
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import BaseQrels, GenericQuery, JsonlDocs, JsonlQueries, TrecQrel
from ir_datasets.indices import DEFAULT_DOCSTORE_OPTIONS
from ir_datasets.util import LocalDownload

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.data.documents import CachedStore
from limbeck.data.fingerprints import sha256
from limbeck.data.kept_splits import kept
from limbeck.data.splits import Split, read_split
from limbeck.evaluation.qrels import judgments, twice
from limbeck.formats.files import lines
from limbeck.unfinished import write_text

LARGE = 16 << 20
"""Size in bytes from which a file's checksum and its parsed contents are cached; smaller files are as fast to read."""

_SAMPLE = 1000
"""Lines from whose lengths the number of lines is estimated."""

_SETTLED = 2 * 10**9
"""Nanoseconds a file must be unchanged before its checksum is cached."""


class FolderDoc(NamedTuple):
    """A document with a title, which may be empty."""

    doc_id: str
    title: str
    text: str

    def default_text(self) -> str:
        """Return title and text."""
        return f"{self.title} {self.text}".strip()


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a file with their line numbers; each has ``_id`` and ``text``."""
    for number, line in lines(path):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8-sig"))  # given bytes, json would accept half of a character
        except ValueError as error:
            reason = re.sub(": line 1 column .*", "", str(error))  # the message names the line of the file
            raise ConfigError(f"{path}:{number}: not a JSON object in UTF-8 ({reason})") from None
        if not isinstance(record, dict) or any(not isinstance(record.get(name), str) for name in ("_id", "text")):
            raise ConfigError(f"{path}:{number}: needs the string fields _id, text")
        if not isinstance(record.get("title", ""), str | None):
            raise ConfigError(f"{path}:{number}: title must be a string or left out")
        if b"\\u" in line:
            _check_pairs(record, f"{path}:{number}")
        yield number, record


def _check_pairs(record: dict[str, Any], where: str) -> None:
    """Refuse half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    for name in ("_id", "title", "text"):
        try:
            (record.get(name) or "").encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise ConfigError(f"{where}: {name} has {half}, half of a character; replace it, by \\ufffd say") from None


class FolderDocs(JsonlDocs):
    """corpus.jsonl with ``_id``, ``text`` and optionally ``title``.

    Parameters
    ----------
    path
        The file.
    artefacts
        The cache of the by-id store.
    checksum
        Checksum of the file.
    """

    def __init__(self, path: Path, artefacts: Artefacts, checksum: str) -> None:
        doc_cls: Any = FolderDoc
        super().__init__(LocalDownload(path, mkdir=False), doc_cls)
        self._artefacts = artefacts
        self._checksum = checksum

    def docs_store(self, field: str = "doc_id", options: Any = DEFAULT_DOCSTORE_OPTIONS) -> CachedStore:
        """Return the by-id store, which is built on first use."""
        assert field == "doc_id"
        return CachedStore(self._artefacts, self._checksum, self._iter, FolderDoc, options, lambda: about(self._path()))

    def _iter(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for _, record in _records(Path(self._path())):
            yield FolderDoc(record["_id"], record.get("title") or "", record["text"])


class FolderQueries(JsonlQueries):
    """The queries of queries.jsonl."""

    def __init__(self, path: Path) -> None:
        super().__init__(LocalDownload(path, mkdir=False))

    def queries_iter(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Yield the queries in file order; raise at the end if one appeared twice."""
        hashes = array("q")
        for _, record in _records(Path(self._path())):
            hashes.append(hash(record["_id"]))
            yield GenericQuery(record["_id"], record["text"])
        suspects = twice(hashes)
        seen: dict[str, int] = {}
        for number, record in _records(Path(self._path())) if suspects else ():
            query = record["_id"]
            if query in seen:
                raise ConfigError(
                    f"{self._path()}:{number}: query {query!r} appears twice, and in line {seen[query]} first; "
                    "ids must differ"
                )
            if hash(query) in suspects:
                seen[query] = number


class FolderQrels(BaseQrels):
    """qrels/SPLIT.tsv with the header ``query-id corpus-id score``; TREC's four columns are also read."""

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


def about(path: Path) -> int:
    """Return the estimated number of lines of a file, from the length of its first lines."""
    with Path(path).open("rb") as file:
        lengths = [len(line) for line in islice(file, _SAMPLE)]
    return round(path.stat().st_size / sum(lengths) * len(lengths)) if lengths else 0


def is_folder(path: Path) -> bool:
    """Return whether a path is a BEIR folder."""
    return (path / "corpus.jsonl").is_file()


def documents(path: Path, artefacts: Artefacts, checksum: str) -> Dataset:
    """Return the folder's documents; their by-id store is an artefact named by the checksum of corpus.jsonl."""
    return Dataset(FolderDocs(path / "corpus.jsonl", artefacts, checksum))


def present(path: Path, names: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the names of splits, None for each one that the folder lacks; without queries it has none."""
    queries = (path / "queries.jsonl").is_file()
    return {
        key: name if queries and (path / "qrels" / f"{name}.tsv").is_file() else None for key, name in names.items()
    }


def split(path: Path, name: str, instead: str = "") -> Dataset:
    """Return queries and judgments of one split; ``instead`` is the advice for a missing split.

    Raises
    ------
    ConfigError
        queries.jsonl or the split's qrels are missing; the message lists the splits of the folder.
    """
    qrels = path / "qrels" / f"{name}.tsv"
    if not qrels.is_file():
        have = ", ".join(sorted(file.stem for file in (path / "qrels").glob("*.tsv"))) or "none"
        raise ConfigError(f"{qrels} is missing; splits in this folder: {have}" + (f"\n{instead}" if instead else ""))
    if not (path / "queries.jsonl").is_file():
        raise ConfigError(f'{path / "queries.jsonl"} is missing: one line a query, {{"_id": …, "text": …}}')
    return Dataset(FolderQueries(path / "queries.jsonl"), FolderQrels(qrels))


def read(path: Path, name: str, data_set: Dataset, artefacts: Artefacts) -> Split:
    """Read a split, from the cache if its files are large.

    Parameters
    ----------
    path
        The folder.
    name
        Name of the split.
    data_set
        The split, as ``split`` returns it.
    artefacts
        The cache.
    """
    files = {"queries": path / "queries.jsonl", "judgments": path / "qrels" / f"{name}.tsv"}
    where = str(files["judgments"])
    if sum(file.stat().st_size for file in files.values()) < LARGE:
        return read_split(data_set, where)
    sums = {what: _checksum(file, artefacts) for what, file in files.items()}
    return kept(artefacts, sums, lambda: read_split(data_set, where))


def checksums(path: Path, artefacts: Artefacts) -> dict[str, str]:
    """Return the SHA-256 of the folder's files, by file name.

    Checksums of large files are cached by path, size and times of change.
    """
    queries = path / "queries.jsonl"
    files = [path / "corpus.jsonl", *([queries] if queries.is_file() else []), *sorted((path / "qrels").glob("*.tsv"))]
    return {str(each.relative_to(path)): _checksum(each, artefacts) for each in files}


def _checksum(path: Path, artefacts: Artefacts) -> str:
    state = _state(path)
    if state["size"] < LARGE:
        return sha256(path)
    kept = artefacts.find("checksums", state)
    if kept is not None:
        return (kept / "sha256").read_text(encoding="utf-8")
    found = sha256(path)
    # A file just written may change again within the time resolution of its file system.
    if state == _state(path) and time.time_ns() - max(state["modified"], state["changed"]) > _SETTLED:
        with contextlib.suppress(OSError):  # the cache may be read-only
            artefacts.folder("checksums", state, lambda target: write_text(target / "sha256", found))
    return found


def _state(path: Path) -> dict[str, Any]:
    of = path.stat()
    return {
        "path": str(path.resolve()),
        "size": of.st_size,
        "inode": of.st_ino,
        "modified": of.st_mtime_ns,
        "changed": of.st_ctime_ns,
    }
