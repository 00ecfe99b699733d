"""Encodings of a whole collection on disk, in shards that are memory-mapped one at a time.

A folder holds ``index.json``, which records the encoder and its inputs, and one folder per shard with ``.npy`` files. A
shard appears by one rename when it is complete: encoding may be killed and resumed, and shared among processes.
"""

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from limbeck.artefacts import write_json
from limbeck.config import ConfigError, differences
from limbeck.encodings import Kind, Rows, check_dtype, not_finite, rows
from limbeck.locks import locked
from limbeck.search.ids import Ids

_FILE, _LOCK = "index.json", ".lock"
_FORMAT = 1
"""Version of the layout."""


class Shard(NamedTuple):
    """Consecutive documents of a collection."""

    number: int
    start: int
    """Row of its first document."""
    ids: Ids
    rows: Rows
    """Their encodings, memory-mapped."""


class Store:
    """Encodings of a collection in a folder.

    Parameters
    ----------
    path
        Folder with an ``index.json``.

    Raises
    ------
    ConfigError
        There is no such file, or another version of limbeck wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / _FILE).is_file():
            raise ConfigError(f"{path} is no index: it has no index.json; limbeck index … out={path} builds one")
        self.meta: dict[str, Any] = self._read()
        if self.meta.get("format") != _FORMAT or not isinstance(self.meta.get("identity"), dict):
            raise ConfigError(f"{path} is an index of another version of limbeck; delete it and build it again")
        self.identity: dict[str, Any] = self.meta["identity"]
        self._ids: dict[int, Ids] = {}

    @classmethod
    def open(cls, path: Path, identity: Mapping[str, Any], made_from: Mapping[str, Any]) -> "Store":
        """Open a folder to encode into it; it is created if it does not exist.

        Parameters
        ----------
        path
            The folder.
        identity
            Everything the encodings depend on, with ``kind``, ``dtype`` and ``shard_size``.
        made_from
            What else is needed to build the encoder again.

        Raises
        ------
        ConfigError
            The folder holds other encodings (the message says what differs), or something else.
        """
        _check(identity)
        wanted = json.loads(json.dumps(identity, default=str))
        if not (path / _FILE).exists():
            if path.exists() and not (path.is_dir() and _fresh(path)):
                raise ConfigError(f"out: {path} exists and is no index; give another folder")
            path.mkdir(parents=True, exist_ok=True)
            with locked(path / _LOCK, str(path)):
                if not (path / _FILE).exists():  # shares may start at the same moment
                    write_json(path / _FILE, {"format": _FORMAT, "identity": wanted, "made_from": made_from})
        found = cls(path)
        if found.identity != wanted:
            raise ConfigError(
                f"out: {path} holds an index of other settings (they differ in "
                f"{', '.join(differences(found.identity, wanted))}); give another folder"
            )
        return found

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads((self.path / _FILE).read_text(encoding="utf-8"))
        except ValueError:
            raise ConfigError(f"{self.path / _FILE} is damaged; delete {self.path} and build the index again") from None

    @property
    def kind(self) -> Kind:
        """Kind of its encodings."""
        return self.identity["kind"]

    @property
    def shard_size(self) -> int:
        """Documents per shard."""
        return self.identity["shard_size"]

    @property
    def documents(self) -> int:
        """Number of documents.

        Raises
        ------
        ConfigError
            The store is not finished.
        """
        if "documents" not in self.meta:
            raise ConfigError(f"{self.path} is not finished; run its limbeck index command again to finish it")
        return self.meta["documents"]

    def __len__(self) -> int:
        """Return the number of shards of a finished store."""
        return -(-self.documents // self.shard_size)

    def has(self, number: int) -> bool:
        """Return whether a shard exists."""
        return self._folder(number).exists()

    def write(self, number: int, ids: Sequence[str], encoded: Rows) -> None:
        """Write a shard; if another process has written it in the meantime, that one is kept.

        Raises
        ------
        ConfigError
            A text's encoding is NaN or infinite, or becomes so in the store's type.
        """
        stored = encoded.stored(self.identity["dtype"])
        _check_finite(ids, encoded, stored)
        unfinished = self.path / f".{number:06d}.{socket.gethostname()}.{os.getpid()}.unfinished"
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            _fill(unfinished, ids, stored)
            os.rename(unfinished, self._folder(number))
        except OSError:
            if not self.has(number):
                raise
            shutil.rmtree(unfinished, ignore_errors=True)

    def finish(self, documents: int) -> bool:
        """Record the number of documents; return whether all their shards exist."""
        if not all(self.has(number) for number in range(-(-documents // self.shard_size))):
            return False
        self.record(documents=documents)
        for unfinished in self.path.glob(".[0-9]*.unfinished"):  # of shards; others may be building what searches them
            with contextlib.suppress(OSError):
                shutil.rmtree(unfinished)
        return True

    def record(self, **values: Any) -> None:
        """Write values into ``index.json``, and keep those that other processes have written there."""
        with locked(self.path / _LOCK, str(self.path)):
            self.meta = {**self._read(), **values}
            write_json(self.path / _FILE, self.meta)

    def shard(self, number: int) -> Shard:
        """Open a shard.

        Raises
        ------
        ConfigError
            It is missing or damaged.
        """
        folder = self._folder(number)
        with readable(folder):
            width = json.loads((folder / "shard.json").read_text(encoding="utf-8"))["width"]
            names = ["values", *({"dense": [], "multi": ["offsets"], "sparse": ["offsets", "columns"]}[self.kind])]
            arrays = {name: torch.from_numpy(load(folder / f"{name}.npy")) for name in names}
            return Shard(number, number * self.shard_size, self._names(number), rows(self.kind, arrays, width))

    def shards(self, numbers: Sequence[int] | None = None) -> Iterator[Shard]:
        """Open shards one after another; None opens all."""
        for number in range(len(self)) if numbers is None else numbers:
            yield self.shard(number)

    def names(self, found: np.ndarray) -> list[str]:
        """Return the ids of rows, read shard by shard."""
        shards = found // self.shard_size
        order = np.argsort(shards, kind="stable")
        names = np.empty(len(found), dtype=object)
        for places in np.split(order, np.flatnonzero(np.diff(shards[order])) + 1):
            if len(places):
                names[places] = self._names(int(shards[places[0]])).take(found[places] % self.shard_size)
        return names.tolist()

    def _names(self, number: int) -> Ids:
        if number not in self._ids:
            folder = self._folder(number)
            with readable(folder):
                text, offsets = load(folder / "ids.npy"), load(folder / "id_offsets.npy")
                if not len(text) == offsets[-1] or offsets[0] or (np.diff(offsets) < 0).any():
                    raise ValueError("its ids do not fit one another")
                self._ids[number] = Ids(text, offsets)
        return self._ids[number]

    def _folder(self, number: int) -> Path:
        return self.path / f"shard-{number:06d}"


def save(path: Path, value: np.ndarray) -> None:
    """Write an array, and flush it to the disk."""
    with path.open("wb") as file:
        np.save(file, value)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def readable(folder: Path) -> Iterator[None]:
    """Turn the errors of reading missing or damaged files into a ``ConfigError`` that names their folder."""
    try:
        yield
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        what = f"{folder} cannot be read ({error})"
        raise ConfigError(f"{what}; delete it and run the limbeck index command again") from None


def load(path: Path) -> np.ndarray:
    """Memory-map an array; changes stay in memory."""
    try:
        return np.asarray(np.load(path, mmap_mode="c"))  # slices of the memmap itself take ten times as long
    except ValueError:  # an array without elements cannot be mapped
        return np.load(path)


def _fill(folder: Path, ids: Sequence[str], encoded: Rows) -> None:
    """Write the files of a shard."""
    names = [name.encode() for name in ids]
    offsets = np.zeros(len(names) + 1, dtype=np.int64)
    np.cumsum([len(name) for name in names], out=offsets[1:])
    arrays = {"ids": np.frombuffer(b"".join(names), dtype=np.uint8), "id_offsets": offsets}
    arrays |= {name: value.cpu().numpy() for name, value in encoded.arrays().items()}
    for name, value in arrays.items():
        save(folder / f"{name}.npy", value)
    write_json(folder / "shard.json", {"documents": len(ids), "width": encoded.width})


def _fresh(path: Path) -> bool:
    """Return whether a folder is empty, or has only what a process that builds an index writes first."""
    ours = all(item.name.endswith(_LOCK) or item.name.startswith(f".{_FILE}.") for item in path.iterdir())
    return ours or (path / _FILE).exists()


def _check_finite(ids: Sequence[str], encoded: Rows, stored: Rows) -> None:
    row = not_finite(stored)
    if row is None:
        return
    if not_finite(encoded) is None:
        raise ConfigError(f"dtype=float16 cannot hold the encoding of document {ids[row]!r}; choose dtype=float32")
    raise ConfigError(f"student: its encoding of document {ids[row]!r} is no finite number; look at its weights")


def _check(identity: Mapping[str, Any]) -> None:
    try:
        check_dtype(identity["dtype"])
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if identity["shard_size"] < 1:
        raise ConfigError(f"shard_size must be >= 1, got {identity['shard_size']}")
