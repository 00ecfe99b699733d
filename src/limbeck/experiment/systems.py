"""Evaluate the first stage, a teacher and students on the queries of one split."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from limbeck.config import Config, Node
from limbeck.data.candidates import Candidates
from limbeck.data.collection import Collection
from limbeck.evaluation.pipeline import Pipeline, Row
from limbeck.evaluation.settings import Evaluation
from limbeck.experiment import assemble
from limbeck.experiment.engine import Engine
from limbeck.experiment.sharing import Sharing
from limbeck.experiment.teaching import OnDemand, Teaching
from limbeck.students.base import Student
from limbeck.students.saved import Saved
from limbeck.text.collate import Collator
from limbeck.text.tokenizer import TextTokenizer
from limbeck.types import Run

Find = Callable[[Engine, Sequence[str]], Run]
Rerank = Callable[[Engine, Run], Run]


class Systems:
    """Ranks the queries of a split with one system after another; each returns its rows of the table.

    Parameters
    ----------
    collection
        The documents to search.
    split
        The queries.
    candidates
        The first stage.
    first
        The rankings of the first stage for these queries.
    evaluation
        Stages, depths and precision.
    device
        Device of this process.
    sharing
        How work is shared among processes.
    folder
        Run folder.
    name, metrics
        As ``Pipeline`` takes them.
    """

    def __init__(
        self,
        collection: Collection,
        split: str,
        candidates: Candidates,
        first: Run,
        evaluation: Evaluation,
        device: torch.device,
        sharing: Sharing,
        folder: Path,
        *,
        name: str | None = None,
        metrics: Sequence[str] | None = None,
    ) -> None:
        tested = collection.split(split)
        self._collection = collection
        self._split = split
        self._queries = list(tested.queries)
        self._candidates = candidates
        self._evaluation = evaluation
        self._device = device
        self._sharing = sharing
        self.pipeline = Pipeline(evaluation, tested.qrels, first, candidates.name, folder, name=name, metrics=metrics)

    def first_stage(self) -> Row:
        """Evaluate the first stage itself."""
        return self.pipeline.first_stage(self._candidates.label)

    def teacher(self, teaching: Teaching, node: Node) -> list[Row]:
        """Evaluate a teacher: on the whole collection if it can search, otherwise on the candidates that it has scored.

        Parameters
        ----------
        teaching
            The teacher.
        node
            Its configuration node.
        """
        search = None
        if isinstance(teaching, OnDemand) and teaching.searcher is not None:
            engine = self._engine(*teaching.searcher, node)
            search = partial(teaching.search, self._evaluation, self._queries, engine.search)
        rerank = partial(teaching.rerank, split=self._split)
        return self.pipeline.rows("teacher", "teacher", search=search, rerank=rerank)

    def student(
        self,
        key: str,
        label: str,
        ranker: Student,
        collator: Collator,
        node: Node,
        search: Find = Engine.search,
        rerank: Rerank = Engine.rerank,
    ) -> list[Row]:
        """Evaluate a student with its present weights.

        Parameters
        ----------
        key
            Its name in files.
        label
            Its name in tables.
        ranker
            The student.
        collator
            Has the student's tokenizer and the collection's texts.
        node
            Has the configuration nodes ``student`` and ``backbone``.
        search
            Ranks the whole collection.
        rerank
            Ranks candidates.
        """
        engine = self._engine(ranker, collator, node)
        searches = partial(search, engine, self._queries) if ranker.separable else None
        return self.pipeline.rows(key, label, search=searches, rerank=partial(rerank, engine))

    def _engine(self, ranker: Student, collator: Collator, node: Node) -> Engine:
        nodes = {name: node[name] for name in ("student", "backbone")}
        return Engine(ranker, collator, self._collection, self._evaluation, self._device, nodes, self._sharing)


def nodes_of(folder: Path) -> Config:
    """Return the configuration nodes of the student in a folder, and of its backbone."""
    nodes = Saved(folder=str(folder)).nodes({}, key="run: ")
    return {"student": nodes.student, "backbone": nodes.backbone}


def loaded(folder: Path) -> tuple[Config, Student, TextTokenizer]:
    """Load the student in a folder; return its configuration nodes, the student and its tokenizer."""
    nodes = nodes_of(folder)
    return nodes, *assemble.saved(nodes["student"], nodes["backbone"])
