"""A teacher at work: its scores of the training pool, and its own ranking."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from limbeck.artefacts import Artefacts
from limbeck.config import fingerprint
from limbeck.data.aligned import pairs_of, read_aligned, with_scores, write_aligned
from limbeck.data.collection import Collection
from limbeck.data.pool import Pool
from limbeck.evaluation.ranking import check_finite, ranked
from limbeck.evaluation.runs import read_run, write_run
from limbeck.evaluation.settings import Evaluation
from limbeck.scores.keys import ID
from limbeck.scores.store import ScoreStore
from limbeck.scores.writer import Provenance
from limbeck.teachers.scoring import open_matching, score_into, without
from limbeck.types import Run

log = logging.getLogger(__name__)


class Teaching:
    """A teacher with what its scores depend on.

    Parameters
    ----------
    teacher
        What scores: with ``plan`` and ``scorer``, or with a ``store`` of scores that are there already.
    identity
        All that the scores depend on beside the collection, as plain containers.
    provenance
        What is written into a score store.
    collection, artefacts
        What is scored, and where scores are kept.
    spread
        How candidates are scored by several processes; None scores all in this one.
    """

    def __init__(
        self,
        teacher: Any,
        identity: Mapping[str, Any],
        provenance: Provenance,
        collection: Collection,
        artefacts: Artefacts,
        spread: Callable[[Mapping[str, Sequence[str]]], None] | None = None,
    ) -> None:
        self.teacher = teacher
        self.provenance = provenance
        self._identity = identity
        self._collection = collection
        self._artefacts = artefacts
        self._spread = spread
        self._given = ScoreStore.open(teacher.scored) if getattr(teacher, "scored", None) else None
        if self._given is not None:
            open_matching(self._given.path, provenance)

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that the scores depend on beside the collection."""
        return self._identity

    @property
    def searches(self) -> bool:
        """Whether the teacher can rank the whole collection."""
        return bool(getattr(getattr(self.teacher, "ranker", None), "separable", False))

    @property
    def scores_on_demand(self) -> bool:
        """Whether the teacher can score any pair, not only those it has scores of."""
        return not hasattr(self.teacher, "store")

    def score(
        self,
        lists: Mapping[str, Sequence[str]],
        *,
        share: tuple[int, int] | None = None,
        spread: Callable[[Mapping[str, Sequence[str]]], None] | None = None,
    ) -> list[ScoreStore]:
        """Return stores that together hold the scores of the lists, all scored that were not.

        Parameters
        ----------
        lists
            Query id → document ids.
        share
            (i, n): score every n-th part alone, and leave it to the process that waits for all n to finish the store.
        spread
            Has lists scored into the store by other processes, a share each.
        """
        stores = [] if self._given is None else [self._given]
        left = without(lists, self._given)
        if left:
            key = fingerprint({"teacher": dict(self._identity), "collection": self._collection.fingerprint})
            helpers = None if spread is None else partial(spread, left)
            path = self._artefacts.root / "scores" / key
            store = score_into(path, self.teacher, left, self.provenance, share=share, helpers=helpers)
            stores += [] if store is None else [store]
        return stores

    def stored(self, pool: Pool) -> np.ndarray:
        """Return what a teacher with a store has of a pool's pairs, NaN where it has nothing."""
        self.teacher.store.verify()
        return np.concatenate(self.teacher.score(pool.query_ids, list(pool.lists().values())))

    def scored(self, pool: Pool) -> Pool:
        """Return the training pool with the teacher's scores."""
        if not self.scores_on_demand:
            return with_scores(pool, self.stored(pool), self.teacher.missing, f"the teacher {self.teacher.name}")
        inputs = {"pairs": pairs_of(pool), "teacher": dict(self._identity), "collection": self._collection.fingerprint}

        def fill(target: Path) -> None:
            stores = self.score(pool.lists())
            for store in stores:
                store.verify()
            scores = _looked_up(stores, pool.query_ids, pool.offsets, pool.document_ids)
            write_aligned(target / "scores.arrow", scores)

        label = f"teacher scores of {len(pool.labels):,} pairs"
        path = self._artefacts.folder("aligned", inputs, fill, label=label)
        return with_scores(pool, read_aligned(path / "scores.arrow"), "error", str(path))

    # -- the teacher's own ranking --------------------------------------------------------------------------------

    def rerank(self, candidates: Run, split: str) -> Run | None:
        """Rank candidates of a split's queries.

        Returns
        -------
        dict or None
            None if the teacher has no scores of these queries. Candidates that it has no score of are left out.
        """
        lists = {query: ranking.ids for query, ranking in candidates.items() if ranking.ids}
        if self.scores_on_demand:
            flat = pa.array([document for documents in lists.values() for document in documents], ID)
            offsets = np.cumsum([0, *map(len, lists.values())])
            scores = _looked_up(self.score(lists, spread=self._spread), list(lists), offsets, flat)
            found = dict(zip(lists, np.split(scores, offsets[1:-1]), strict=True))
        else:
            values = self.teacher.score(list(lists), list(lists.values()))
            found = dict(zip(lists, values, strict=True))
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

    def search(self, evaluation: Evaluation, queries: Sequence[str], find: Callable[[Sequence[str]], Run]) -> Run:
        """Rank the whole collection for queries; the ranking is cached for other runs.

        Parameters
        ----------
        evaluation
            Depth and precision.
        queries
            Their ids.
        find
            Does it.
        """
        inputs = {
            "teacher": dict(self._identity),
            "collection": self._collection.fingerprint,
            "queries": sorted(queries),
            "depth": evaluation.search_depth,
            "bf16": evaluation.bf16,
            "drop_self": self._collection.drop_self,
        }

        def fill(target: Path) -> None:
            write_run(target / "teacher.trec", find(queries), "teacher")

        return read_run(self._artefacts.folder("teacher_runs", inputs, fill, label="teacher's run") / "teacher.trec")


def _looked_up(
    stores: Sequence[ScoreStore], queries: Sequence[str], offsets: np.ndarray, documents: pa.Array
) -> np.ndarray:
    """Return the scores of lists out of several stores; NaN where none has the pair."""
    found = np.full(len(documents), np.nan, dtype=np.float32)
    for store in stores:
        found = np.where(np.isnan(found), store.lookup_many(queries, offsets, documents), found)
    return found
