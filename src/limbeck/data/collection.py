"""Collections: documents, queries and judgments from ir_datasets, a BEIR folder, or the synthetic world."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError, build, fingerprint
from limbeck.data import document_ids, fingerprints
from limbeck.data.document_ids import DocumentIds, first_unfit
from limbeck.data.fingerprints import Fingerprints
from limbeck.data.kept_splits import kept
from limbeck.data.splits import Split, from_ir_datasets, held_out, instead, ir_datasets_home, present
from limbeck.evaluation.runs import check_queries
from limbeck.registry import register
from limbeck.text.tokenizer import Role

SPLITS = ("train", "dev", "test")
SYNTHETIC = "synthetic"


class Collection:
    """One document collection with its splits, whatever it came from.

    Parameters
    ----------
    name
        As the user wrote it.
    folder
        The BEIR folder; None for a data set of ir_datasets.
    content
        Fingerprints of it.
    documents
        ir_datasets data set with the documents.
    splits
        Split name → queries and judgments.
    artefacts
        Where the ids of the documents are kept.
    drop_self
        Queries are documents of the collection: each is dropped from its own ranking, before any cut.
    """

    def __init__(
        self,
        name: str,
        folder: Path | None,
        content: Fingerprints,
        documents: Any,
        splits: Mapping[str, Split],
        artefacts: Artefacts,
        *,
        drop_self: bool = False,
    ) -> None:
        self.name = name
        self.folder = folder
        self.fingerprint = content.whole
        self.texts_fingerprint = content.texts
        self.documents_fingerprint = fingerprint({"documents": content.documents})
        self.splits = dict(splits)
        self.drop_self = drop_self
        self._corpus = content.documents
        self._documents = documents
        self._artefacts = artefacts
        self._queries = {query: text for split in splits.values() for query, text in split.queries.items()}

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(split.queries):,} {name}" for name, split in self.splits.items())
        return f"{self.name}: {len(self.document_ids):,} documents, queries: {counts}"

    def split(self, name: str) -> Split:
        """Return a split.

        Raises
        ------
        ConfigError
            The collection has no such split.
        """
        if name not in self.splits:
            have = ", ".join(self.splits) or "none"
            hint = f"\n{instead(name, self.splits.get('train'))}" if name == "dev" else ""
            raise ConfigError(f"data.{name}: {self.name} has no {name} split here; it has {have}{hint}")
        return self.splits[name]

    def named(self, theirs: str | None) -> str:
        """Return the fingerprint by which scores name the collection: that of its documents.

        Stores of earlier versions have that of documents and queries. ``theirs`` is returned if it is one of the two.
        """
        return self.texts_fingerprint if theirs == self.texts_fingerprint else self.documents_fingerprint

    def query_texts(self, ids: Sequence[str]) -> list[str]:
        """Look queries up by id."""
        return [self._queries[query] for query in ids]

    def asked(self, ids: Iterable[str]) -> str:
        """Return a fingerprint of some queries."""
        return fingerprint(sorted((query, self._queries[query]) for query in ids))

    def document_texts(self, ids: Sequence[str]) -> list[str]:
        """Look documents up by id, on disk: the corpus is never in memory.

        Raises
        ------
        ConfigError
            A document is not in the collection; the message names it.
        """
        found = self._found(ids)
        try:
            return [found[document].default_text() for document in ids]
        except KeyError as error:
            raise ConfigError(f"document {error.args[0]!r} is not in the collection {self.name}") from None

    def known_texts(self, ids: Sequence[str]) -> dict[str, str]:
        """Look documents up by id; those that are not in the collection are left out."""
        return {document: found.default_text() for document, found in self._found(ids).items()}

    def _found(self, ids: Sequence[str]) -> dict[str, Any]:
        from limbeck.data.documents import readable  # it imports ir_datasets

        with readable(self._store):
            return self._store.get_many(set(ids))

    def iterate(self) -> Iterator[tuple[str, str]]:
        """Yield (id, text) of every document in collection order."""
        for document in self._documents.docs_iter():
            yield document.doc_id, document.default_text()

    def count(self, role: Role) -> int:
        """Return the number of queries, of all splits, or of documents."""
        return len(self._queries) if role == "query" else self._document_count

    def texts(self, role: Role) -> Iterator[tuple[str, str]]:
        """Yield (id, text) of all queries or documents."""
        return iter(self._queries.items()) if role == "query" else self.iterate()

    def content(self, role: Role) -> str:
        """Return a fingerprint of the queries, of all splits, or of the documents; not of the judgments."""
        return self._query_content if role == "query" else self._corpus

    @cached_property
    def _query_content(self) -> str:
        return fingerprint(list(self._queries.items()))

    @cached_property
    def _document_count(self) -> int:
        return self._documents.docs_count() or len(self.document_ids)

    @property
    def _about(self) -> int | None:
        """About how many documents there are, where they have not been counted yet."""
        from limbeck.data import folder

        return None if self.folder is None else folder.about(self.folder / "corpus.jsonl")

    @cached_property
    def document_ids(self) -> DocumentIds:
        """All document ids in collection order; an artefact, so that they are read and checked once.

        Raises
        ------
        ConfigError
            There are none, one appears twice, or the file of documents is damaged.
        """
        place = self.name if self.folder is None else str(self.folder / "corpus.jsonl")

        def fill(target: Path) -> None:
            ids = (document.doc_id for document in self._documents.docs_iter())
            document_ids.write(target, ids, place, self._documents.docs_count() or self._about)

        return DocumentIds(self._artefacts.folder("ids", {"documents": self._corpus}, fill))

    def check_ids(self, split: str) -> None:
        """Raise ``ConfigError`` for an id of a document, or of a query of a split, that no TREC run can hold."""
        queries = self.split(split).queries
        check_queries(queries)
        for wrong, what in ((first_unfit(list(queries)), f"{split} query"), (self.document_ids.unfit, "document")):
            if wrong is not None:
                raise ConfigError(
                    f"{self.name}: the id of {what} {wrong!r} is empty or has white space, which no TREC run can hold; "
                    "change it in the collection and in the judgments"
                )

    @cached_property
    def _store(self) -> Any:
        from ir_datasets.indices import DocstoreOptions, FileAccess

        # A file handle opened before a fork would give wrong reads in the workers; a memory map does not.
        return self._documents.docs_store(options=DocstoreOptions(file_access=FileAccess.MMAP))


def described(node: Mapping[str, Any], *, key: str = "data") -> "Data":
    """Build what a ``data`` node describes, its world included; ``key`` is its place in the configuration."""
    return build(node, node.get("world"), key=key)


@register("data", "collection", parts=("world",))
class Data:
    """Which collection, and which of its splits.

    Parameters
    ----------
    world
        Configuration node of the synthetic world; it is generated when the collection is opened.
    collection
        An ir_datasets id (``beir/nfcorpus``), a BEIR folder, or ``synthetic``.
    train, dev, test
        Names of the splits: the part after the id, or the qrels file of a folder; null if there is none.
    dev_queries
        Where ``dev`` is null, hold out this many training queries, drawn by a hash of their ids.
    drop_self
        Queries are documents of the collection (ArguAna, Quora): drop each from its own ranking, whoever ranks.

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
        """Return the same without the splits that it lacks, for work that needs documents, or one split."""
        found = copy(self)
        if self.collection != SYNTHETIC:
            found.names = present(self.collection, self.names)
        return found

    def open(self, artefacts: Artefacts) -> Collection:
        """Open the collection.

        Parameters
        ----------
        artefacts
            Where document stores and the synthetic world are kept.

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
