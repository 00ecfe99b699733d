"""What does not depend on the student, made once for all runs: candidates, training pool, teacher scores."""

from pathlib import Path
from typing import Any

from limbeck.artefacts import Artefacts
from limbeck.data.collection import Collection
from limbeck.data.pool import Pool, read_pool, write_pool, write_scores
from limbeck.evaluation.runs import cut, read_run, write_run
from limbeck.evaluation.search import ranked, search
from limbeck.evaluation.settings import Evaluation
from limbeck.types import Run


class Stages:
    """The stages before training, each an artefact.

    Parameters
    ----------
    collection, artefacts
        What they are made of and where they are kept.
    candidates
        First stage.
    """

    def __init__(self, collection: Collection, artefacts: Artefacts, candidates: Any) -> None:
        self.collection = collection
        self.teacher: Any = None
        self._teacher_identity: Any = None
        self._artefacts = artefacts
        self._candidates = candidates

    def set_teacher(self, teacher: Any, identity: Any) -> None:
        """Say who scores, and what the scores depend on."""
        self.teacher = teacher
        self._teacher_identity = identity

    @property
    def teacher_searches(self) -> bool:
        """Whether the teacher can rank the whole collection."""
        return bool(getattr(getattr(self.teacher, "ranker", None), "separable", False))

    def first_stage(self, split: str) -> Run:
        """Return the candidates of a split."""
        queries = self.collection.split(split).queries

        def fill(target: Path) -> None:
            found = self._candidates.search(queries, self.collection, self._artefacts)
            write_run(target / "candidates.trec", found, "first_stage")

        label = f"{self._candidates.label} for {split} queries"
        path = self._artefacts.folder("candidates", self._inputs(sorted(queries)), fill, label=label)
        return read_run(path / "candidates.trec")

    def _inputs(self, queries: list[str]) -> dict[str, Any]:
        return {
            **self._candidates.identity(),
            "depth": self._candidates.depth,
            "collection": self.collection.fingerprint,
            "queries": queries,
        }

    def pool(self) -> Pool:
        """Return the training pool, with teacher scores if there is a teacher."""
        train = self.collection.split("train")
        extra = self._candidates.random_documents
        inputs = {**self._inputs(sorted(train.queries)), "random_documents": extra}

        def fill(target: Path) -> None:
            first = self.first_stage("train")
            write_pool(target / "pool.arrow", train.qrels, first, self.collection.document_ids, extra)

        path = self._artefacts.folder("pool", inputs, fill, label="training pool") / "pool.arrow"
        pool = read_pool(path)
        if self.teacher is None:
            return pool
        teacher = self.teacher
        scores = self._artefacts.folder(
            "scores",
            {"pool": inputs, "teacher": self._teacher_identity},
            lambda target: write_scores(target / "scores.arrow", pool, teacher.score),
            label=f"teacher scores of {len(pool.labels):,} pairs",
        )
        return read_pool(path, scores / "scores.arrow")

    def teacher_run(self, first: Run, evaluation: Evaluation, *, searching: bool) -> Run:
        """Return the teacher's own ranking of the evaluated queries, of all documents or of the first stage."""
        queries = list(self.collection.split(evaluation.split).queries)
        inputs = {
            "teacher": self._teacher_identity,
            "collection": self.collection.fingerprint,
            "queries": sorted(queries),
            "depth": evaluation.search_depth,
            "bf16": evaluation.bf16,
            "candidates": None if searching else [self._candidates.identity(), evaluation.depth],
        }

        def fill(target: Path) -> None:
            run = self._search(queries, evaluation) if searching else self._rerank(cut(first, evaluation.depth))
            write_run(target / "teacher.trec", run, "teacher")

        return read_run(self._artefacts.folder("teacher_runs", inputs, fill, label="teacher's run") / "teacher.trec")

    def _search(self, queries: list[str], evaluation: Evaluation) -> Run:
        ranker, collator = self.teacher.ranker, self.teacher.collator
        documents, depth = self.collection.document_ids, evaluation.search_depth
        return search(ranker, collator, queries, documents, depth, bf16=evaluation.bf16)

    def _rerank(self, candidates: Run) -> Run:
        lists = {query: ranking.ids for query, ranking in candidates.items()}
        scores = self.teacher.score(list(lists), list(lists.values()))
        return ranked(lists, dict(zip(lists, scores, strict=True)))
