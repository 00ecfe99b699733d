"""By-id stores of documents, built by one process at a time and checked before they are read.

ir_datasets builds its stores in place, and readers do not wait: two processes that need a store at the same time leave
an unreadable one. Here a store is built in a temporary place, under a lock, and moved into its place by one rename.
"""

import contextlib
import fcntl
import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ir_datasets.indices import PickleLz4FullStore

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError
from limbeck.locks import locked
from limbeck.unfinished import set_aside, whole_folder

log = logging.getLogger(__name__)

_STORE = "docs.pklz4"
_LENGTH = 4
"""Bytes before each record, which hold its length."""

_UNREADABLE = (RuntimeError, ValueError, TypeError, EOFError, IndexError, MemoryError, OSError, pickle.UnpicklingError)
"""Errors that ir_datasets raises when it reads a damaged store."""


class CachedStore(PickleLz4FullStore):
    """The by-id store of a folder's documents: an artefact of the cache.

    Parameters
    ----------
    artefacts
        The cache.
    corpus
        Checksum of the documents.
    documents
        Yields the documents.
    data_cls
        Type of a document.
    options
        ir_datasets's reading options.
    about
        Returns the estimated number of documents, for the progress bar.
    """

    def __init__(
        self,
        artefacts: Artefacts,
        corpus: str,
        documents: Callable[[], Iterator[Any]],
        data_cls: Any,
        options: Any,
        about: Callable[[], int],
    ) -> None:
        self._artefacts = artefacts
        self._inputs = {"corpus": corpus, "fields": list(data_cls._fields)}
        self._plain = lambda path: PickleLz4FullStore(
            str(path), documents, data_cls, "doc_id", ["doc_id"], count_hint=about
        )
        folder = artefacts.path("documents", self._inputs)
        if folder.exists():
            self._whole()  # rebuilds a damaged store before it is read
        super().__init__(str(folder / _STORE), documents, data_cls, "doc_id", ["doc_id"], options=options)

    def built(self) -> bool:
        """Return whether the store exists and is undamaged."""
        return self._artefacts.find("documents", self._inputs) is not None

    def build(self) -> None:
        """Build the store if it is missing or damaged."""
        if self.lookup._bin is None:  # an open store stays readable, even if its files are replaced
            self._whole()

    def _whole(self) -> None:
        self._artefacts.folder("documents", self._inputs, lambda folder: self._plain(folder / _STORE).build())


class HomeDocuments:
    """Documents of an ir_datasets id, whose store is in the home folder of ir_datasets.

    Parameters
    ----------
    documents
        Data set of ir_datasets.
    """

    def __init__(self, documents: Any) -> None:
        self._documents = documents

    def docs_iter(self) -> Any:
        """Iterate over the documents, from the store if there is one."""
        store = self._opened()
        if Path(getattr(store, "path", "")).is_dir():
            make_whole(store)
        return _asked(self._documents.docs_iter)

    def docs_count(self) -> int | None:
        """Return the number of documents; None if it is unknown."""
        return _asked(self._documents.docs_count)

    def docs_store(self, options: Any) -> Any:
        """Open the store; a missing or damaged one is built first."""
        store = self._opened(options=options)
        make_whole(store)
        return store

    def _opened(self, **options: Any) -> Any:
        try:
            return self._documents.docs_store(**options)
        except AssertionError as error:  # the field names, which ir_datasets compares, are missing
            raise ConfigError(f"a store of ir_datasets is damaged ({error}); delete it: it is built again") from None


def _asked(question: Callable[[], Any]) -> Any:
    """Call a function that looks for a store, twice if need be: a store may appear between ir_datasets's two looks."""
    try:
        return question()
    except AttributeError:
        return question()


def make_whole(store: Any) -> None:
    """Build a store of ir_datasets if it is missing or damaged, once for all processes.

    Stores in formats other than the usual one (``PickleLz4FullStore``) are left to ir_datasets.
    """
    if not isinstance(store, PickleLz4FullStore):
        return
    path = Path(store.path)
    if path.exists() and damage(path) is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f"{path.name}.lock"), f"the documents in {path}"):
        if path.exists():
            _wait_for_builder(path)
            harm = damage(path)
            if harm is None:
                return
            log.warning("%s is damaged (%s): it is built again", path, harm)
            set_aside(path)
        whole_folder(path, lambda folder: _moved(store, folder).build(), is_whole=lambda: damage(path) is None)


def damage(path: Path) -> str | None:
    """Return a description of the damage of a store of ir_datasets; None if its files fit together.

    The files are compared by their sizes and ends; documents are not read.
    """
    try:
        return _misfit(path)
    except (OSError, ValueError) as error:
        return str(error)


def _misfit(path: Path) -> str | None:
    starts = np.memmap(path / "bin.pos", np.int64, "r")
    with (path / "bin").open("rb") as file:
        file.seek(int(starts[-1]))
        end = int(starts[-1]) + _LENGTH + int.from_bytes(file.read(_LENGTH), "little")
    size = (path / "bin").stat().st_size
    if size != end:
        return f"bin has {size:,} bytes, not {end:,}"
    index = next(path.glob("idx.*.meta"), None)
    if index is None:
        return "its index is missing"
    width, count = map(int, index.read_text().split())
    for suffix, expected in ((".key", width * count), (".pos", 8 * count)):
        found = index.with_suffix(suffix).stat().st_size
        if found != expected:
            return f"{index.with_suffix(suffix).name} has {found:,} bytes, not {expected:,}"
    # Two documents may share an id, of which only one is indexed; but that cannot hold for all documents.
    if count != len(starts) and (len(starts) % count == 0 or not bool(np.all(np.diff(starts) > 0))):
        return f"several processes wrote into it: {len(starts):,} documents, {count:,} ids"
    return None


def _wait_for_builder(path: Path) -> None:
    """Wait for a process that runs ir_datasets without limbeck and builds the store in place: it locks the file."""
    with contextlib.suppress(OSError), (path / "bin").open("rb") as file:
        fcntl.lockf(file, fcntl.LOCK_SH)


def _moved(store: PickleLz4FullStore, path: Path) -> PickleLz4FullStore:
    """Return the same store at another path."""
    of = store.lookup
    return PickleLz4FullStore(
        str(path),
        store.init_iter_fn,
        of._doc_cls,
        of._key_field,
        of._index_fields,
        of._key_field_prefix,
        size_hint=store.size_hint,
        count_hint=store.count_hint,
    )


@contextlib.contextmanager
def readable(store: Any) -> Iterator[None]:
    """Turn the errors of reading a damaged store into a ``ConfigError`` that names the folder to delete."""
    try:
        yield
    except ConfigError:
        raise
    except _UNREADABLE as error:
        place = getattr(store, "path", None)
        if place is None:
            raise
        folder = Path(place).parent if isinstance(store, CachedStore) else Path(place)
        raise ConfigError(
            f"{folder} is damaged ({type(error).__name__}: {error}); delete this folder and run the command again: "
            "it writes the documents again"
        ) from error
