"""The interface of all index backends."""

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
    """Reports the progress of a search that goes from shard to shard: each shard counts as a share of every query.

    Parameters
    ----------
    name
        Name of the backend.
    queries
        Number of queries.
    shards
        Number of shards that are searched.
    """

    def __init__(self, name: str, queries: int, shards: Sequence[int]) -> None:
        super().__init__(f"{name} search", queries, "queries", part=True)
        self._shards = len(shards)

    def searched(self, queries: int) -> None:
        """Count queries for which one shard has been searched."""
        self.advance(queries / self._shards)


class Backend(Protocol):
    """A method to find the best documents in a store."""

    name: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]]
    """Kinds of encodings it can search."""
    by_shard: ClassVar[bool]
    """Whether it searches shards independently, so that processes can share them."""

    def structure(self) -> dict[str, Any] | None:
        """Return the options on which the built index depends; None if nothing is built."""
        ...

    def check(self) -> None:
        """Raise ``ConfigError`` if a needed package is not installed."""
        ...

    def build(self, store: Store, folder: Path) -> None:
        """Write the index into an empty folder."""
        ...

    def search(
        self, ranker: BiEncoder, queries: Rows, store: Store, folder: Path, best: Best, shards: Sequence[int]
    ) -> None:
        """Offer ``best`` the documents of some shards that may be among the best.

        Parameters
        ----------
        ranker
            Computes the scores, by its ``similarity`` or by its ``scale`` and the inner product.
        queries
            B encoded queries, on the device of the search.
        store
            The encoded documents.
        folder
            The folder filled by ``build``.
        best
            Collects numbers of queries, rows of documents and scores.
        shards
            Numbers of the shards to search; all of them unless ``by_shard``.
        """
        ...


def check_kind(backend: Backend, kind: Kind, key: str = "backend") -> None:
    """Raise ``ConfigError`` if a backend cannot search such encodings; the message names backends that can."""
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
    """Return the folder of a backend's index of a store."""
    structure = backend.structure()
    return store.path / backend.name if structure is None else store.path / f"{backend.name}-{fingerprint(structure)}"


def built(backend: Backend, store: Store) -> bool:
    """Return whether a backend can search a store without building anything."""
    return backend.structure() is None or (folder(backend, store) / "built.json").exists()


def build(backend: Backend, store: Store) -> Path:
    """Build a backend's index of a store if it is missing; it appears by one rename when it is complete."""
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
