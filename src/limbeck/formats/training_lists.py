"""Public training lists with scores, in any of the layouts of ``limbeck.formats.layouts``, with their texts.

Parquet or JSON lines; single files, or a folder written by ``hf download``. Tables of texts (query_id and query or
text; document_id, passage_id, … and text or passage) are recognised by their columns.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np

from limbeck.config import ConfigError
from limbeck.formats.base import Source, Thunk, finite, identifiers
from limbeck.formats.collection_folder import CollectionFolder, default_place
from limbeck.formats.faults import Faults
from limbeck.formats.judging import Judging
from limbeck.formats.layouts import EXPECTS, Layout, Text
from limbeck.formats.list_files import ListFile, has_texts, seen
from limbeck.formats.records import Row, rows
from limbeck.registry import register
from limbeck.scores.kinds import Kind
from limbeck.scores.parts import Block

log = logging.getLogger(__name__)

_PAIRS = 100_000
"""Approximate number of pairs per block."""
_KNOWN: dict[str, tuple[str, Kind]] = {
    "ms-marco-en-bge-gemma": ("BAAI/bge-reranker-v2-gemma", "unknown"),
    "ms-marco-en-bge": ("BAAI/bge-reranker-v2-m3", "unknown"),
    "bert-ensemble": ("neural-ranking-kd BERT-CAT ensemble", "logit"),
    "rankzephyr-colbert": ("RankZephyr", "rank"),
    "rankgpt4-colbert": ("RankGPT-4", "rank"),
}
"""Part of a path → teacher of the published scores, and their kind, as far as the data's page states them."""


@register("format", "training_lists")
class TrainingLists(Judging):
    """Training lists with scores. If they include texts, a BEIR folder is written, ready for training.

    A text without an id gets a hash as id: equal texts get equal ids. Margins (a positive's score minus a negative's)
    become scores with 0 for the positive. If a query has several positives, only the lists of the first are kept; the
    others, whose margins have another zero, are counted and left out.

    Parameters
    ----------
    store
        Folder of the store that is being written.
    collection
        Folder of the BEIR folder to write: corpus.jsonl, queries.jsonl, qrels/train.tsv. Null is the store's folder
        with ``.collection`` after its name.
    ids
        ``given``, or ``texts``: make ids from the texts although there are others, for data in which one id has several
        texts.
    first_is_positive
        Count the first document of a list as relevant, in layouts that do not say which are.

    Raises
    ------
    ValueError
        ``ids`` is neither.
    """

    expects = EXPECTS

    def __init__(
        self,
        store: Path,
        *,
        collection: str | None = None,
        ids: Literal["given", "texts"] = "given",
        first_is_positive: bool = False,
    ) -> None:
        super().__init__(store)
        if ids not in ("given", "texts"):
            raise ValueError(f"ids must be given or texts, got {ids!r}")
        self._place = default_place(store, collection)
        self._new_ids, self._first = ids == "texts", first_is_positive
        self._files: list[ListFile] = []
        self._folder: CollectionFolder | None = None
        self._zero: dict[str, str] = {}
        """Query → the positive whose score is 0."""
        self._left_out = 0

    def source(self, paths: Sequence[Path]) -> Source:
        """Return the teacher of the published data, after finding out what each file holds.

        Raises
        ------
        ConfigError
            A file holds neither lists nor texts, or there are texts of documents but none of queries.
        """
        self._files = [seen(path) for path in paths]
        self._files.sort(key=lambda file: file.lists is not None)  # a stable sort: texts come first
        lists = [file for file in self._files if file.lists is not None]
        if not lists:
            raise ConfigError(f"{paths[0]}: there are only texts here, and no lists; give the files with scores, too")
        roles = {file.role for file in self._files if file.lists is None}
        with_texts = [file for file in lists if file.lists and has_texts(file.lists)]
        if roles == {"document"} and not with_texts:
            raise ConfigError(
                f"{self._files[0].path}: there are texts of documents, but none of queries; give the file with "
                "query_id and query, too"
            )
        if roles == {"query"}:
            log.warning("there are texts of queries, but none of documents: no collection is written")
        self.collection = self._place if with_texts or roles == {"query", "document"} else None
        own: Kind = "unknown"
        if all(file.lists and file.lists.name == "order" for file in lists):
            own = "rank"
        elif any(
            file.lists and file.lists.name == "columns" and self._margins(file.path, file.lists) for file in lists
        ):
            own = "similarity"
        places = [str(file.path.absolute()) for file in lists]
        for part, (teacher, kind) in _KNOWN.items():
            if all(part in place for place in places):
                return Source(teacher, kind if own == "unknown" else own)
        return Source(None, own)

    def _margins(self, path: Path, how: Layout) -> bool:
        """Return whether the scores of the first row are margins."""
        if how.name != "columns":
            return False
        for row in rows(path, how.columns, Faults("skip"), self.expects):
            try:
                return how.read(row.values).margins
            except (ValueError, KeyError, TypeError):
                continue
        return False

    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield blocks that are parsed already, one after the other, so that the corpus has a fixed order."""
        if not self._files:
            self.source(paths)
        self._positives.clear()
        with ExitStack() as stack:
            if self.collection is not None:
                self._folder = stack.enter_context(CollectionFolder(self.collection))
            for file in self._files:
                if file.lists is None:
                    if self._folder is not None:
                        self._write_texts(file, faults)
                else:
                    yield from self._of_lists(file, file.lists, faults)

    def _write_texts(self, file: ListFile, faults: Faults) -> None:
        assert self._folder is not None, "texts are written into a collection"
        assert file.texts is not None, "it is a table of texts"
        identifier, text, title = file.texts
        expects = f"{identifier} and {text}"
        for number, values in rows(file.path, [each for each in file.texts if each], faults, expects):
            try:
                key, found = str(values[identifier]), values[text]
                if not isinstance(found, str):
                    raise ValueError(f"{found!r} is no text")
                if file.role == "query":
                    self._folder.query(found, key)
                else:
                    self._folder.document(found, key, (values.get(title) or "") if title else "")
            except (ValueError, KeyError) as error:
                faults.add(file.path, number, _problem(error), expects=expects)

    def _of_lists(self, file: ListFile, how: Layout, faults: Faults) -> Iterator[Thunk]:
        queries: list[str] = []
        documents: list[str] = []
        scores: list[float] = []
        positives: list[tuple[str, str, int]] = []
        for row in rows(file.path, how.columns, faults, self.expects):
            try:
                query, ids, values, relevant = self._read(how, row)
            except (ValueError, KeyError, TypeError) as error:
                faults.add(file.path, row.number, _problem(error), expects=self.expects)
                continue
            queries += [query] * len(ids)
            documents += ids
            scores += values
            positives += [(query, document, 1) for document in relevant]
            if len(scores) >= _PAIRS:
                yield self._block(queries, documents, scores, positives)
                queries, documents, scores, positives = [], [], [], []
        if scores:
            yield self._block(queries, documents, scores, positives)

    def _block(
        self, queries: list[str], documents: list[str], scores: list[float], positives: list[tuple[str, str, int]]
    ) -> Thunk:
        self._positives[len(self._positives)] = positives
        block = Block(identifiers(queries), identifiers(documents), np.array(scores, dtype=np.float32))
        return lambda: block

    def _read(self, how: Layout, row: Row) -> tuple[str, list[str], list[float], list[str]]:
        """Return the ids of a query and its documents, their scores, and the relevant documents."""
        record = how.read(row.values)
        if not record.documents:
            raise ValueError("has no documents")
        if not finite(record.scores):
            raise ValueError("has a score that is no finite number")
        query = self._identified("query", record.query)
        ids = [self._identified("document", each) for each in record.documents]
        relevant = record.positives or ([0] if self._first else [])
        values, chosen = list(record.scores), [ids[place] for place in relevant]
        if record.margins and self._zero.setdefault(query, ids[0]) != ids[0]:
            self._left_out += len(ids) - 1
            return query, [], [], chosen
        return query, ids, values, chosen

    def _identified(self, role: Literal["query", "document"], found: Text) -> str:
        identifier = None if self._new_ids and found.text is not None else found.id
        if self._folder is None:
            if identifier is None:
                raise ValueError(f"has a {role} without an id")
            return identifier
        if found.text is not None:
            write = self._folder.query if role == "query" else self._folder.document
            return write(found.text, identifier, **({"title": found.title} if role == "document" else {}))
        if identifier is None or not self._folder.has(role, identifier):
            raise ValueError(f"{role} {identifier!r} has no text in the other files")
        return identifier

    def finish(self) -> dict[str, Any]:
        """Move the BEIR folder to its path, and return that."""
        notes: dict[str, Any] = super().finish()
        if self._zero:
            notes["margins"] = {"zero": "the first positive of each query", "pairs_left_out": self._left_out}
        if self._folder is None:
            return notes
        judgments = self.judgments()
        if not judgments:
            log.warning(
                "no list says which documents are relevant: write qrels/train.tsv into %s, or import with "
                "format.first_is_positive=true, before training",
                self.collection,
            )
        self._folder.finish(judgments)
        return {**notes, "collection_folder": str(self.collection)}


def _problem(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"has no {error.args[0]!r}"
    return "is built in another way" if isinstance(error, TypeError) else str(error)
