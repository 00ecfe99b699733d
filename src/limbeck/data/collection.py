"""Collections: documents, queries and judgments of ir_datasets, of a BEIR folder, or of the synthetic world."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError, fingerprint
from limbeck.data import document_ids
from limbeck.data.document_ids import DocumentIds, first_unfit
from limbeck.data.fingerprints import Fingerprints
from limbeck.data.splits import Split, instead
from limbeck.evaluation.runs import check_queries

if TYPE_CHECKING:
    from limbeck.text.tokenizer import Role  # it imports torch, which no verb needs to open a collection

SPLITS = ("train", "dev", "test")
SYNTHETIC = "synthetic"

_BLOCK = 4096
"""Queries whose ids are checked at once."""


class Collection:
    """A document collection with its splits, whatever its source.

    Parameters
    ----------
    name
        As the user wrote it.
    folder
        The BEIR folder; None for a data set of ir_datasets.
    content
        Fingerprints of its contents.
    documents
        ir_datasets data set with the documents.
    splits
        Split name → queries and judgments.
    artefacts
        The cache of document ids.
    drop_self
        Queries are documents of the collection: drop each query from its own ranking, before any cut.
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
        self._queries = [split.queries for split in splits.values()]

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
        """Return the fingerprint by which stored scores name the collection: that of its documents.

        Stores of earlier versions have the fingerprint of documents and queries. If ``theirs`` is one of the two, it is
        returned.
        """
        return self.texts_fingerprint if theirs == self.texts_fingerprint else self.documents_fingerprint

    def query_texts(self, ids: Sequence[str]) -> list[str]:
        """Look queries up by id."""
        return [self._text(query) for query in ids]

    def _text(self, query: str) -> str:
        """Return the text of a query; of several splits with its id, the last one counts."""
        for texts in reversed(self._queries):
            found = texts.get(query)
            if found is not None:
                return found
        raise KeyError(query)

    def asked(self, ids: Iterable[str]) -> str:
        """Return a fingerprint of the ids and texts of queries."""
        return fingerprint((query, self._text(query)) for query in sorted(ids))

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
        """Look documents up by id, without those that are not in the collection."""
        return {document: found.default_text() for document, found in self._found(ids).items()}

    def _found(self, ids: Sequence[str]) -> dict[str, Any]:
        from limbeck.data.documents import readable  # imports ir_datasets, which is slow

        with readable(self._store):
            return self._store.get_many(set(ids))

    def iterate(self) -> Iterator[tuple[str, str]]:
        """Yield (id, text) of every document in collection order."""
        for document in self._documents.docs_iter():
            yield document.doc_id, document.default_text()

    def count(self, role: "Role") -> int:
        """Return the number of documents, or of queries in all splits."""
        return self._query_count if role == "query" else self._document_count

    def texts(self, role: "Role") -> Iterator[tuple[str, str]]:
        """Yield (id, text) of all queries or documents."""
        return self._each_query() if role == "query" else self.iterate()

    def _each_query(self) -> Iterator[tuple[str, str]]:
        """Yield (id, text) of the queries of all splits, without duplicates."""
        for number, texts in enumerate(self._queries):
            before, after = (texts.among(each) for each in (self._queries[:number], self._queries[number + 1 :]))
            for (query, text), seen, again in zip(texts.items(), before, after, strict=True):
                if not seen:
                    yield query, self._text(query) if again else text

    def content(self, role: "Role") -> str:
        """Return a fingerprint of the documents, or of the queries of all splits; judgments are not part of it."""
        return self._query_content if role == "query" else self._corpus

    @cached_property
    def _query_content(self) -> str:
        return fingerprint(self._each_query())

    @cached_property
    def _query_count(self) -> int:
        return sum(1 for _ in self._each_query())

    @cached_property
    def _document_count(self) -> int:
        return self._documents.docs_count() or len(self.document_ids)

    @property
    def _about(self) -> int | None:
        """Estimated number of documents, where they have not been counted."""
        from limbeck.data import folder

        return None if self.folder is None else folder.about(self.folder / "corpus.jsonl")

    @cached_property
    def document_ids(self) -> DocumentIds:
        """All document ids in collection order; an artefact, so that they are read and checked only once.

        Raises
        ------
        ConfigError
            There are no documents, an id appears twice, or the file of documents is damaged.
        """
        place = self.name if self.folder is None else str(self.folder / "corpus.jsonl")

        def fill(target: Path) -> None:
            ids = (document.doc_id for document in self._documents.docs_iter())
            document_ids.write(target, ids, place, self._documents.docs_count() or self._about)

        return DocumentIds(self._artefacts.folder("ids", {"documents": self._corpus}, fill))

    def check_ids(self, split: str) -> None:
        """Raise ``ConfigError`` for an id, of a document or of a split's query, that a TREC run cannot hold."""
        queries = self.split(split).queries
        check_queries(queries)
        names = iter(queries)
        blocks = iter(lambda: list(islice(names, _BLOCK)), [])
        unfit = next((wrong for block in blocks if (wrong := first_unfit(block)) is not None), None)
        for wrong, what in ((unfit, f"{split} query"), (self.document_ids.unfit, "document")):
            if wrong is not None:
                raise ConfigError(
                    f"{self.name}: the id of {what} {wrong!r} is empty or has white space, which no TREC run can hold; "
                    "change it in the collection and in the judgments"
                )

    @cached_property
    def _store(self) -> Any:
        from ir_datasets.indices import DocstoreOptions, FileAccess

        # Workers that share a file handle opened before the fork would read wrong bytes; a memory map is safe.
        return self._documents.docs_store(options=DocstoreOptions(file_access=FileAccess.MMAP))
