"""Evaluation sets: a collection, and how the literature evaluates on it."""

from pathlib import Path
from typing import Any

from limbeck.evaluation.spelling import check_metrics
from limbeck.registry import register

_DATA = "data/collection"


@register("eval_set", "eval_set")
class EvalSet:
    """A set on which systems are evaluated.

    Parameters
    ----------
    collection
        An ir_datasets id (``beir/scifact``) or a BEIR folder.
    split
        The part after the id (``test``); empty where the id has only one split. For a folder the name of the qrels
        file, where empty means ``test``.
    metrics
        Names of metrics; null takes those of ``eval.metrics``.
    drop_self
        Each query is itself a document of the collection: it is dropped from its own ranking before any cut.
    query_length, document_length
        Number of tokens that a student reads; null takes the student's own.
    documents, queries
        Expected numbers, which reveal a wrong version of a collection; null: unknown.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    def __init__(
        self,
        *,
        collection: str,
        split: str = "",
        metrics: list[str] | None = None,
        drop_self: bool = False,
        query_length: int | None = None,
        document_length: int | None = None,
        documents: int | None = None,
        queries: int | None = None,
    ) -> None:
        if not collection:
            raise ValueError("collection must be an ir_datasets id or a BEIR folder")
        if collection == "synthetic":
            raise ValueError("collection: the synthetic world is evaluated as data=synthetic, it is no evaluation set")
        if split != split.strip("/"):
            raise ValueError(f"split is what follows the id, without slashes around it; got {split!r}")
        if metrics is not None and not metrics:
            raise ValueError("metrics must name at least one metric, or be null for those of eval.metrics")
        counts = {"query_length": query_length, "document_length": document_length}
        counts |= {"documents": documents, "queries": queries}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1 or null, got {value}")
        self.collection = collection
        self.split = split
        self.metrics = None if metrics is None else check_metrics(metrics)
        self.drop_self = drop_self
        self.query_length = query_length
        self.document_length = document_length
        self.documents = documents
        self.queries = queries

    def data(self) -> dict[str, Any]:
        """Return the ``data`` node that opens the set; its split is called ``test``."""
        # A BEIR folder used in place of an id without splits has its judgments in test.tsv.
        folder = Path(self.collection).expanduser().is_dir()
        return {
            "_target_": _DATA,
            "collection": self.collection,
            "train": None,
            "dev": None,
            "test": "test" if folder and not self.split else self.split,
            "drop_self": self.drop_self,
        }

    def counted(self, documents: int, queries: int) -> list[str]:
        """Return how the numbers differ from the declared ones, one sentence each; empty if they agree.

        Parameters
        ----------
        documents
            Number of documents of the opened collection.
        queries
            Number of its judged queries.
        """
        found = {"documents": (documents, self.documents), "queries": (queries, self.queries)}
        return [
            f"{self.collection} has {have:,} {what} here, {declared:,} are declared: another version of the collection?"
            for what, (have, declared) in found.items()
            if declared is not None and have != declared
        ]
