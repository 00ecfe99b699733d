"""What does not depend on the student, made once for all runs: candidates, training pool, teacher scores."""

from pathlib import Path
from typing import Any

from limbeck.artefacts import Artefacts
from limbeck.data.candidates import Candidates, Search, find, inputs
from limbeck.data.collection import Collection
from limbeck.data.pool import Pool, read_pool, write_pool, write_scores
from limbeck.data.pooling import Pooling
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
    pooling
        What of it becomes the training pool.
    """

    def __init__(self, collection: Collection, artefacts: Artefacts, candidates: Candidates, pooling: Pooling) -> None:
        self.collection = collection
        self.teacher: Any = None
        self._teacher_identity: Any = None
        self._artefacts = artefacts
        self._candidates = candidates
        self._pooling = pooling

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
        return find(self._candidates, self._task(split))

    def candidate_inputs(self, split: str) -> dict[str, Any]:
        """Return what the candidates of a split depend on."""
        return inputs(self._candidates, self._task(split))

    def _task(self, split: str) -> Search:
        return Search(self.collection, split, self._artefacts)

    def pool(self) -> Pool:
        """Return the training pool, with teacher scores if there is a teacher, denoised if that is asked for."""
        return self._pooling.denoise(self._scored_pool())

    def _scored_pool(self) -> Pool:
        train = self.collection.split("train")
        inputs = {"candidates": self.candidate_inputs("train"), "pool": self._pooling.identity()}

        def fill(target: Path) -> None:
            chosen = self._pooling.choose(train.qrels, self.first_stage("train"), self.collection.document_ids)
            write_pool(target / "pool.arrow", chosen)

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
        from_first = [self._candidates.identity(self._task(evaluation.split)), evaluation.depth]
        inputs = {
            "teacher": self._teacher_identity,
            "collection": self.collection.fingerprint,
            "queries": sorted(queries),
            "depth": evaluation.search_depth,
            "bf16": evaluation.bf16,
            "candidates": None if searching else from_first,
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
