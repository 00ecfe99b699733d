"""What an index is: one protocol for all backends."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from limbeck.artefacts import write_json
from limbeck.config import ConfigError, entries, fingerprint, part
from limbeck.encodings import Kind, Rows
from limbeck.evaluation.best import Best
from limbeck.inference import BiEncoder
from limbeck.locks import locked
from limbeck.progress import Step
from limbeck.search.shards import Store
from limbeck.unfinished import whole_folder


class Searching(Step):
    """How far a search is that goes from shard to shard: each counts as a share of every query.

    Parameters
    ----------
    name, queries, shards
        Of the backend, number of queries, and the shards that are searched.
    """

    def __init__(self, name: str, queries: int, shards: Sequence[int]) -> None:
        super().__init__(f"{name} search", queries, "queries", part=True)
        self._shards = len(shards)

    def searched(self, queries: int) -> None:
        """Count queries that one shard has been searched for."""
        self.advance(queries / self._shards)


class Backend(Protocol):
    """A way to find the best documents in a store."""

    name: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]]
    """Encodings it can search."""
    by_shard: ClassVar[bool]
    """Whether it searches shards apart from one another, so that they can be shared among processes."""

    def structure(self) -> dict[str, Any] | None:
        """Return the options that what it builds depends on; None if it builds nothing."""
        ...

    def check(self) -> None:
        """Raise ``ConfigError`` if what it needs is not installed."""
        ...

    def build(self, store: Store, folder: Path) -> None:
        """Fill an empty folder with what it searches by."""
        ...

    def search(
        self, ranker: BiEncoder, queries: Rows, store: Store, folder: Path, best: Best, shards: Sequence[int]
    ) -> None:
        """Show to ``best`` the documents of some shards that may be among the best.

        Parameters
        ----------
        ranker
            Its ``similarity``, or its ``scale`` and the inner product, gives the scores.
        queries
            B encoded queries, on the device to search on.
        store, folder
            The encoded documents, and what ``build`` returned.
        best
            Takes numbers of queries, rows of documents and scores.
        shards
            Numbers of the shards to search; all of them unless ``by_shard``.
        """
        ...


def check_kind(backend: Backend, kind: Kind, key: str = "backend") -> None:
    """Raise ``ConfigError`` if a backend cannot search such encodings; the message names those that can."""
    if kind in backend.kinds:
        backend.check()
        return
    registered = {entry.name: entry.target for (what, _), entry in entries().items() if what == "backend"}
    able = [name for name, target in registered.items() if kind in part({"_target_": target}, key=key).kinds]
    raise ConfigError(
        f"{key}={backend.name} searches {' and '.join(backend.kinds)} encodings; those of this student are {kind}: "
        f"choose {' or '.join(f'{key}={name}' for name in able)}"
    )


def folder(backend: Backend, store: Store) -> Path:
    """Return where a backend keeps what it builds of a store."""
    structure = backend.structure()
    return store.path / backend.name if structure is None else store.path / f"{backend.name}-{fingerprint(structure)}"


def built(backend: Backend, store: Store) -> bool:
    """Return whether a backend can search a store as it is."""
    return backend.structure() is None or (folder(backend, store) / "built.json").exists()


def build(backend: Backend, store: Store) -> Path:
    """Build what a backend searches by, if it is not there; it appears by one rename when it is whole."""
    target = folder(backend, store)
    if built(backend, store):
        return target

    def fill(unfinished: Path) -> None:
        backend.build(store, unfinished)
        write_json(unfinished / "built.json", backend.structure())

    with locked(store.path / f".{target.name}.lock", f"the index {target}"):
        if not built(backend, store):
            whole_folder(target, fill, is_whole=lambda: built(backend, store))
    return target
