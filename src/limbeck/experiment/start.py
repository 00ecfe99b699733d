"""Rankings of the student before training, shared by runs that start with the same weights."""

from collections.abc import Callable, Sequence
from pathlib import Path

from limbeck.artefacts import Artefacts
from limbeck.config import Config, Node, fingerprint
from limbeck.data.collection import Collection
from limbeck.evaluation.runs import read_run, write_run
from limbeck.experiment.engine import Engine
from limbeck.types import Run


class Start:
    """Rankings of the student before training: an artefact, computed once for a sweep.

    Parameters
    ----------
    nodes
        Configuration with the nodes ``student`` and ``backbone``.
    collection
        The collection to rank.
    artefacts
        The cache of the rankings.
    """

    def __init__(self, nodes: Node, collection: Collection, artefacts: Artefacts) -> None:
        self._nodes = {name: dict(nodes[name]) for name in ("student", "backbone")}
        self._collection = collection
        self._artefacts = artefacts

    @property
    def shared(self) -> bool:
        """Whether other runs may start with the same weights; not if a seed draws them."""
        return "model" in self._nodes["backbone"]

    def search(self, engine: Engine, queries: Sequence[str]) -> Run:
        """Rank the whole collection for queries, as ``search`` does."""
        inputs = {"queries": self._collection.asked(queries), "depth": engine.evaluation.search_depth}
        return self._kept(engine, inputs, lambda: engine.search(queries))

    def rerank(self, engine: Engine, candidates: Run) -> Run:
        """Re-rank candidates, as ``rerank`` does."""
        lists = fingerprint({query: list(ranking.ids) for query, ranking in candidates.items()})
        inputs = {"queries": self._collection.asked(candidates), "candidates": lists}
        return self._kept(engine, inputs, lambda: engine.rerank(candidates))

    def _kept(self, engine: Engine, inputs: Config, find: Callable[[], Run]) -> Run:
        if not self.shared:
            return find()
        inputs = {
            **inputs,
            **self._nodes,
            "weights": engine.ranker.checksum(),
            "documents": self._collection.content("document"),
            "bf16": engine.evaluation.bf16,
            "dtype": engine.evaluation.dtype,
            "drop_self": self._collection.drop_self,
        }

        def fill(target: Path) -> None:
            write_run(target / "start.trec", find(), "start")

        return read_run(self._artefacts.folder("start_runs", inputs, fill, label="run of the start") / "start.trec")
