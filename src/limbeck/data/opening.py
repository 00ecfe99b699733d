"""Open the collection that a configuration names: ir_datasets, a BEIR folder, or the synthetic world."""

from collections.abc import Mapping
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError, build
from limbeck.data import fingerprints
from limbeck.data.collection import SYNTHETIC, Collection
from limbeck.data.fingerprints import Fingerprints
from limbeck.data.kept_splits import kept
from limbeck.data.splits import Split, from_ir_datasets, held_out, instead, ir_datasets_home, present
from limbeck.registry import register


def described(node: Mapping[str, Any], *, key: str = "data") -> "Data":
    """Build a ``data`` node, with its world; ``key`` is the node's place in the configuration."""
    return build(node, node.get("world"), key=key)


@register("data", "collection", parts=("world",))
class Data:
    """A collection and the names of its splits.

    Parameters
    ----------
    world
        Configuration node of the synthetic world, which is generated when the collection is opened.
    collection
        An ir_datasets id (``beir/nfcorpus``), a BEIR folder, or ``synthetic``.
    train, dev, test
        Names of the splits: the part after the id, or the qrels file of a folder; null for no such split.
    dev_queries
        Where ``dev`` is null, hold out this many training queries, drawn by a hash of their ids.
    drop_self
        Queries are documents of the collection (ArguAna, Quora): drop each query from its own ranking, in every ranker.

    Raises
    ------
    ValueError
        The collection is empty or a value is out of range.
    """

    def __init__(
        self,
        world: Mapping[str, Any] | None = None,
        *,
        collection: str,
        train: str | None = "train",
        dev: str | None = "dev",
        test: str | None = "test",
        dev_queries: int = 0,
        drop_self: bool = False,
    ) -> None:
        if not collection:
            raise ValueError("collection must be an ir_datasets id, a BEIR folder or synthetic")
        if dev_queries < 0:
            raise ValueError(f"dev_queries must be >= 0, got {dev_queries}")
        self.collection = collection
        self.names = {"train": train, "dev": dev, "test": test}
        self.dev_queries = dev_queries
        self.drop_self = drop_self
        self.world = world

    def without_absent(self) -> "Data":
        """Return the same collection without the splits it lacks, for work that needs only documents, or one split."""
        found = copy(self)
        if self.collection != SYNTHETIC:
            found.names = present(self.collection, self.names)
        return found

    def open(self, artefacts: Artefacts) -> Collection:
        """Open the collection.

        Parameters
        ----------
        artefacts
            The cache of document stores and of the synthetic world.

        Raises
        ------
        ConfigError
            It is neither a folder nor an id, cannot be downloaded, or lacks a split.
        """
        if self.collection == SYNTHETIC:
            world = self.world or {}
            path = artefacts.folder(
                "synthetic", world, lambda target: build(world, key="data.world").generate(target), label="world"
            )
            return self._folder(path, artefacts)
        path = Path(self.collection).expanduser()
        if path.exists():
            return self._folder(path, artefacts)
        return self._ir_datasets(artefacts)

    def _folder(self, path: Path, artefacts: Artefacts) -> Collection:
        ir_datasets_home()
        from limbeck.data import folder

        if not folder.is_folder(path):
            raise ConfigError(
                f"data.collection: {path} is no BEIR folder: it must hold corpus.jsonl, queries.jsonl and qrels/*.tsv"
            )
        splits: dict[str, Split] = {}
        for name, chosen in self.names.items():
            if chosen is not None:
                there = folder.split(path, chosen, instead(name, splits.get("train")))
                splits[name] = folder.read(path, chosen, there, artefacts)
        content = fingerprints.of_files(folder.checksums(path, artefacts))
        documents = folder.documents(path, artefacts, content.documents)
        return self._collection(path, content, documents, splits, artefacts)

    def _ir_datasets(self, artefacts: Artefacts) -> Collection:
        documents, splits, version = from_ir_datasets(self.collection, self.names, partial(kept, artefacts))
        content = fingerprints.of_id(self.collection, version, self.names)
        return self._collection(None, content, documents, splits, artefacts)

    def _collection(
        self,
        path: Path | None,
        content: Fingerprints,
        documents: Any,
        splits: dict[str, Split],
        artefacts: Artefacts,
    ) -> Collection:
        if "dev" not in splits and self.dev_queries and "train" in splits:
            splits = {
                **held_out(splits["train"], self.dev_queries),
                **{k: v for k, v in splits.items() if k != "train"},
            }
        for name, split in splits.items():
            split.tell_lacking(f"{self.collection}, {name}")
        return Collection(self.collection, path, content, documents, splits, artefacts, drop_self=self.drop_self)
