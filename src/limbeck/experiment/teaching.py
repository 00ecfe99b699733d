"""A teacher on a collection: its scores of the training pool, and its own ranking."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from limbeck.artefacts import Artefacts
from limbeck.config import Node, fingerprint
from limbeck.data.aligned import pairs_of, read_aligned, with_scores, write_aligned
from limbeck.data.collection import Collection
from limbeck.data.pool import Pool
from limbeck.evaluation.ranking import check_finite, ranked
from limbeck.evaluation.runs import read_run, write_run
from limbeck.evaluation.settings import Evaluation
from limbeck.scores import query_texts
from limbeck.scores.keys import ID
from limbeck.scores.store import ScoreStore
from limbeck.scores.writer import Provenance
from limbeck.students.base import BiEncoder
from limbeck.teachers.base import CHECKED, ChangingTeacher, Lists, ScoringTeacher
from limbeck.teachers.scoring import check_same, check_texts, looked_up, open_matching, score_into, without
from limbeck.teachers.store import StoreTeacher
from limbeck.text.collate import Collator
from limbeck.types import Run

log = logging.getLogger(__name__)

Spread = Callable[[Lists], None]
"""Scores lists into the store by several processes, one share each."""


class Teaching(ABC):
    """A teacher on a collection.

    Parameters
    ----------
    identity
        Everything the scores depend on, except the collection, as plain containers.
    meta
        Provenance of the scores, as in the ``meta.json`` of a score store.
    missing
        What to do with a pair without a score: raise an error, or drop it from the pool.
    """

    def __init__(self, identity: Node, meta: Node, missing: Literal["error", "drop"] = "error") -> None:
        self.identity = identity
        self.meta = meta
        self.missing: Literal["error", "drop"] = missing

    @abstractmethod
    def scores_of(self, pool: Pool) -> np.ndarray:
        """Return the scores of a pool's pairs, float32; NaN for missing scores."""

    @abstractmethod
    def scores_of_lists(self, lists: Lists) -> list[np.ndarray]:
        """Return the scores of each list to be ranked, float32; NaN for missing scores."""

    def scored(self, pool: Pool) -> Pool:
        """Return a pool with the teacher's scores.

        Raises
        ------
        ConfigError
            A pair has no score, and such pairs are not to be dropped.
        """
        return with_scores(pool, self.scores_of(pool), self.missing, f"the teacher {self.meta['teacher']}")

    def rerank(self, candidates: Run, split: str) -> Run | None:
        """Rank candidates of a split's queries.

        Returns
        -------
        dict or None
            The ranking, without candidates that have no score; None if the teacher has no scores of these queries.
        """
        lists = {query: ranking.ids for query, ranking in candidates.items() if ranking.ids}
        found = dict(zip(lists, self.scores_of_lists(lists), strict=True))
        known = {query: ~np.isnan(scores) for query, scores in found.items()}
        absent = sum(int((~kept).sum()) for kept in known.values())
        if not any(kept.any() for kept in known.values()):
            log.info("the teacher has no scores of the %s queries: its own row is left out", split)
            return None
        if absent:
            log.warning("the teacher has no score of %d candidates of the %s queries", absent, split)
        scored = {query: [d for d, kept in zip(ids, known[query], strict=True) if kept] for query, ids in lists.items()}
        run = ranked(scored, {query: found[query][known[query]] for query in lists})
        check_finite(run)
        return run


class Stored(Teaching):
    """A teacher whose scores are in a store already.

    Parameters
    ----------
    teacher
        Reads the store.
    artefacts
        The cache of scores in the order of pools.
    collection
        Its queries must have the texts that were scored.
    """

    def __init__(self, teacher: StoreTeacher, artefacts: Artefacts, collection: Collection) -> None:
        super().__init__(teacher.identity(), teacher.store.meta, teacher.missing)
        self._teacher = teacher
        self._artefacts = artefacts
        self._collection = collection

    def scores_of(self, pool: Pool) -> np.ndarray:
        """Return the store's scores of a pool's pairs, from a file in the cache that all runs share.

        Raises
        ------
        ConfigError
            A query had another text when it was scored.
        """
        check_texts(self._teacher.store.path, pool.query_ids, self._collection.query_texts)

        def column() -> np.ndarray:
            self._teacher.store.verify()
            return self._teacher.column(pool.query_ids, pool.offsets, pool.document_ids)

        return _kept(self._artefacts, pool, {"teacher": dict(self.identity)}, column)

    def scores_of_lists(self, lists: Lists) -> list[np.ndarray]:
        """Return the store's scores of each list."""
        return self._teacher.score(list(lists), list(lists.values()))


class OnDemand(Teaching):
    """A teacher that can score any pair; each pair is scored once, and its score is stored.

    Parameters
    ----------
    teacher
        Computes the scores.
    identity
        See ``Teaching``.
    provenance
        Written into score stores.
    collection
        The texts to score.
    artefacts
        The cache of the scores.
    searcher
        Its model and collator, if it can rank the whole collection.
    given
        A finished store of this teacher, from which scores are taken.
    spread
        How several processes score candidates; None scores all in this process.
    """

    def __init__(
        self,
        teacher: ScoringTeacher,
        identity: Node,
        provenance: Provenance,
        collection: Collection,
        artefacts: Artefacts,
        *,
        searcher: tuple[BiEncoder, Collator] | None = None,
        given: Path | None = None,
        spread: Spread | None = None,
    ) -> None:
        super().__init__(identity, asdict(provenance))
        self.searcher = searcher
        self.teacher = teacher
        self.provenance = provenance
        self._collection = collection
        self._artefacts = artefacts
        self._spread = spread
        self._given = None if given is None else ScoreStore.open(given)
        if self._given is not None:
            open_matching(self._given.path, provenance)

    def stores(
        self, lists: Lists, *, share: tuple[int, int] | None = None, spread: Spread | None = None
    ) -> list[ScoreStore]:
        """Return stores that together hold the scores of all lists, after scoring the missing ones.

        Parameters
        ----------
        lists
            Query id → document ids.
        share
            (i, n): score only every n-th part; the process that waits for all n finishes the store.
        spread
            Scores the lists in other processes.
        """
        stores = [] if self._given is None else [self._given]
        left = without(lists, self._given)
        if left:
            if self._given is not None and isinstance(self.teacher, ChangingTeacher):
                check_same(self.teacher, self._given.sample(CHECKED))
            helpers = None if spread is None else partial(spread, left)
            path, texts = self._kept_in(list(left)), self._collection.query_texts
            store = score_into(path, self.teacher, left, self.provenance, share=share, helpers=helpers, texts=texts)
            stores += [] if store is None else [store]
        return stores

    def _kept_in(self, queries: Sequence[str]) -> Path:
        """Return the store in the cache: one per document collection, or another one if a query's text differs."""
        texts, scores = self._collection, self._artefacts.root / "scores"
        path = scores / fingerprint({"teacher": dict(self.identity), "documents": texts.content("document")})
        if query_texts.changed(path, queries, texts.query_texts):
            path = scores / fingerprint({"teacher": dict(self.identity), "texts": texts.texts_fingerprint})
        return path

    def scores_of(self, pool: Pool) -> np.ndarray:
        """Return the scores of a pool's pairs, from a file in the cache that all runs share."""

        def column() -> np.ndarray:
            stores = self.stores(pool.lists())
            for store in stores:
                store.verify()
            return looked_up(stores, pool.query_ids, pool.offsets, pool.document_ids)

        inputs = {
            "teacher": dict(self.identity),
            "documents": self._collection.content("document"),
            "queries": self._collection.asked(pool.query_ids),
        }
        return _kept(self._artefacts, pool, inputs, column)

    def scores_of_lists(self, lists: Lists) -> list[np.ndarray]:
        """Return the scores of each list."""
        flat = pa.array([document for documents in lists.values() for document in documents], ID)
        offsets = np.cumsum([0, *map(len, lists.values())])
        scores = looked_up(self.stores(lists, spread=self._spread), list(lists), offsets, flat)
        return np.split(scores, offsets[1:-1])

    def search(self, evaluation: Evaluation, queries: Sequence[str], find: Callable[[Sequence[str]], Run]) -> Run:
        """Rank the whole collection for queries; the ranking is cached for other runs.

        Parameters
        ----------
        evaluation
            Depth and precision.
        queries
            Ids of the queries.
        find
            Computes the ranking.
        """
        inputs = {
            "teacher": dict(self.identity),
            "documents": self._collection.content("document"),
            "queries": self._collection.asked(queries),
            "depth": evaluation.search_depth,
            "bf16": evaluation.bf16,
            "dtype": evaluation.dtype,
            "drop_self": self._collection.drop_self,
        }

        def fill(target: Path) -> None:
            write_run(target / "teacher.trec", find(queries), "teacher")

        return read_run(self._artefacts.folder("teacher_runs", inputs, fill, label="teacher's run") / "teacher.trec")


def _kept(artefacts: Artefacts, pool: Pool, inputs: Node, column: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the scores of a pool's pairs, mapped from an artefact; ``column`` computes them if it is missing."""
    path = artefacts.folder(
        "aligned",
        {"pairs": pairs_of(pool), **inputs},
        lambda target: write_aligned(target / "scores.arrow", column()),
        label=f"teacher scores of {len(pool.labels):,} pairs",
    )
    return read_aligned(path / "scores.arrow")
