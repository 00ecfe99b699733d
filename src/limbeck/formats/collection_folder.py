"""Write a BEIR folder from a file of scores that includes texts: corpus.jsonl, queries.jsonl, qrels/train.tsv."""

import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from limbeck.config import ConfigError
from limbeck.formats.judging import Judgments, write_qrels
from limbeck.unfinished import beside, set_aside

_RECENT = 500_000
"""Most ids in a dictionary (about 100 bytes each) before they move to sorted arrays (16 bytes each)."""


def text_id(text: str) -> str:
    """Return the id of a text: 20 hexadecimal digits of its hash."""
    return hashlib.blake2b(text.encode("utf-8", errors="surrogatepass"), digest_size=10).hexdigest()


def default_place(store: Path, collection: str | None) -> Path:
    """Return the path of the folder: the user's choice, or next to the store."""
    return store.with_name(f"{store.name}.collection") if collection is None else Path(collection)


class CollectionFolder:
    """Writes a BEIR folder; a context manager. ``finish`` moves the complete folder to its path.

    Each id is written once. Memory grows by 16 bytes per id.

    Parameters
    ----------
    path
        Path of the finished folder.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, _Known] = {}
        self._files: dict[str, IO[str]] = {}

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._unfinished = beside(self._path)
        (self._unfinished / "qrels").mkdir(parents=True)
        for name in ("corpus", "queries"):
            self._files[name] = (self._unfinished / f"{name}.jsonl").open("w", encoding="utf-8")
            self._known[name] = _Known()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()

    def query(self, text: str, identifier: str | None = None) -> str:
        """Write a query unless its id was written before; return the id, made from the text if none is given.

        Raises
        ------
        ValueError
            The id was written before with another text.
        """
        return self._add("queries", identifier or text_id(text), text, "")

    def document(self, text: str, identifier: str | None = None, title: str = "") -> str:
        """Write a document, as ``query`` writes a query."""
        return self._add("corpus", identifier or text_id(f"{title}\n{text}" if title else text), text, title)

    def has(self, role: str, identifier: str) -> bool:
        """Return whether a query or a document with this id has been written."""
        return self._known["queries" if role == "query" else "corpus"].get(_digest(identifier)) is not None

    def _add(self, name: str, identifier: str, text: str, title: str) -> str:
        content = _digest(f"{title}\n{text}")
        before = self._known[name].put(_digest(identifier), content)
        if before is None:
            record = {"_id": identifier, **({"title": title} if name == "corpus" else {}), "text": text}
            self._files[name].write(json.dumps(record, ensure_ascii=False) + "\n")
        elif before != content:
            what = "query" if name == "queries" else "document"
            raise ValueError(f"{what} {identifier!r} has another text here than before; format.ids=texts makes new ids")
        return identifier

    def finish(self, judgments: Judgments) -> None:
        """Write the judgments, if there are any, and move the folder to its path."""
        if judgments:
            write_qrels(self._unfinished / "qrels" / "train.tsv", judgments)
        if self._path.exists():
            set_aside(self._path)
        self._unfinished.rename(self._path)


class _Known:
    """A growing mapping of 64-bit numbers to 64-bit numbers, most of them in two sorted arrays."""

    def __init__(self) -> None:
        self._keys = np.empty(0, np.uint64)
        self._values = np.empty(0, np.uint64)
        self._recent: dict[int, int] = {}

    def get(self, key: int) -> int | None:
        if key in self._recent:
            return self._recent[key]
        at = int(self._keys.searchsorted(np.uint64(key)))
        return int(self._values[at]) if at < len(self._keys) and int(self._keys[at]) == key else None

    def put(self, key: int, value: int) -> int | None:
        """Set a value unless the key has one; return the previous value."""
        before = self.get(key)
        if before is None:
            self._recent[key] = value
            if len(self._recent) >= _RECENT:
                self._settle()
        return before

    def _settle(self) -> None:
        keys = np.concatenate([self._keys, np.fromiter(self._recent, np.uint64, len(self._recent))])
        values = np.concatenate([self._values, np.fromiter(self._recent.values(), np.uint64, len(self._recent))])
        order = np.argsort(keys)
        self._keys, self._values = keys[order], values[order]
        self._recent.clear()


def _digest(text: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", errors="surrogatepass"), digest_size=8).digest(), "little"
    )


def check_free(folder: Path, *, force: bool) -> None:
    """Raise ``ConfigError`` if a BEIR folder would replace something else."""
    if not folder.exists():
        return
    ours = folder.is_dir() and {each.name for each in folder.iterdir()} <= {"corpus.jsonl", "queries.jsonl", "qrels"}
    if not ours:
        raise ConfigError(f"format.collection: {folder} exists and is no BEIR folder; choose another")
    if not force:
        raise ConfigError(f"format.collection: {folder} exists; force=true replaces it, or choose another")
