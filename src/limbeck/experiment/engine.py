"""A ranker at work on a collection, in this process or shared among devices."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model

from limbeck.artefacts import Artefacts
from limbeck.config import Node, fingerprint
from limbeck.data.collection import Collection
from limbeck.evaluation.ranking import (
    Asked,
    Share,
    check_finite,
    merge,
    rerank,
    search,
    search_together,
    without_own,
)
from limbeck.evaluation.runs import read_run, write_run
from limbeck.evaluation.settings import Evaluation
from limbeck.experiment import assemble
from limbeck.experiment.sharing import CANDIDATES, JOB, WEIGHTS, Sharing, part
from limbeck.experiment.teaching import OnDemand
from limbeck.students.base import BiEncoder, Student
from limbeck.text.collate import Collator
from limbeck.types import Run


class Engine:
    """A ranker at work on a collection: it searches and re-ranks, on every device there is to be used.

    Parameters
    ----------
    ranker, collator
        Any ranker, and the collator that knows its texts.
    collection
        What is searched.
    evaluation
        Depths, precision, number of devices.
    device
        Where to work in this process.
    nodes
        ``student`` and ``backbone``: the configuration that other processes build the ranker from.
    sharing
        How work is shared.
    """

    def __init__(
        self,
        ranker: Student,
        collator: Collator,
        collection: Collection,
        evaluation: Evaluation,
        device: torch.device,
        nodes: Node,
        sharing: Sharing,
    ) -> None:
        self.ranker = ranker
        self._collator = collator
        self._collection = collection
        self._evaluation = evaluation
        self._device = device
        self._nodes = nodes
        self._sharing = sharing

    @property
    def alone(self) -> bool:
        """Whether this process does all of the work."""
        return self._evaluation.devices == 1

    def search(self, queries: Sequence[str]) -> Run:
        """Rank the whole collection for queries; where they are documents of it, without themselves."""
        return self.search_together(queries, [])[0]

    def search_together(self, queries: Sequence[str], others: Sequence[Asked]) -> list[Run]:
        """Rank the whole collection for queries, and in the same pass for those of other sets with these documents.

        Several devices search for the queries alone: ``others`` must be empty.
        """
        assert isinstance(self.ranker, BiEncoder), "a student that scores pairs cannot search"
        depth, drops = self._evaluation.search_depth, self._collection.drop_self
        if self._evaluation.devices > 1:
            assert not others
            runs = [self._shared({"task": "search", "queries": list(queries), "depth": depth + drops}, None)]
        else:
            ranker, documents = self.ranker.to(self._device), self._collection.document_ids
            asked = [Asked(self._collator, queries), *others]
            runs = search_together(ranker, asked, documents, depth + drops, bf16=self._evaluation.bf16)
        return [without_own(run, depth) for run in runs] if drops else runs

    def rerank(self, candidates: Run) -> Run:
        """Re-rank candidates; nothing is added or dropped."""
        if self._evaluation.devices > 1:
            return self._shared({"task": "rerank", "queries": list(candidates), "depth": None}, candidates)
        return rerank(self.ranker.to(self._device), self._collator, candidates, bf16=self._evaluation.bf16)

    def _shared(self, task: Node, candidates: Run | None) -> Run:
        style = self._collator.style
        lengths = {"query_length": style.query_length, "document_length": style.document_length}
        job = {**task, **self._nodes, **lengths, "bf16": self._evaluation.bf16, "weights": self.ranker.checksum()}
        job |= {"adapters": any("lora_" in name for name, _ in self.ranker.named_parameters())}
        if candidates is not None:
            job |= {"candidates": fingerprint({query: ranking.ids for query, ranking in candidates.items()})}

        def fill(folder: Path) -> None:
            save_model(self.ranker, str(folder / WEIGHTS))
            if candidates is not None:
                write_run(folder / CANDIDATES, candidates, "candidates")

        self.ranker.to("cpu")  # the devices are the others' now
        folder = self._sharing.spread(job, fill)
        found = merge([read_run(part(folder, number)) for number in range(self._sharing.devices)], task["depth"])
        shutil.rmtree(folder)
        return {query: found[query] for query in task["queries"] if query in found}


def work(folder: Path, number: int) -> None:
    """Do the share of one process of the job in a folder; what it has done already is not done again."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    share = number, job["devices"]
    if job["task"] != "score" and part(folder, number).exists():
        return
    artefacts, device = Artefacts(Path(job["cache"])), assemble.device(job["accelerator"])
    collection = assemble.collection(job["data"], artefacts)
    if job["task"] == "score":
        teaching = assemble.teaching(job["teacher"], collection, artefacts, device)
        assert isinstance(teaching, OnDemand), "scores that are there already are not shared"
        teaching.stores(job["lists"], share=share)
        return
    ranker, collator = assemble.ranker(
        job["student"], job["backbone"], collection, artefacts, anew=True, trains=job["adapters"]
    )
    load_model(ranker, str(folder / WEIGHTS))
    collator = with_lengths(collator, job["query_length"], job["document_length"])
    found = _ranked(job, ranker.to(device), collator, collection.document_ids, folder, share)
    check_finite(found)
    write_run(part(folder, number), found, "part")


def _ranked(
    job: Node, ranker: Student, collator: Collator, document_ids: Sequence[str], folder: Path, share: Share
) -> Run:  # fmt: skip
    if job["task"] == "search":
        assert isinstance(ranker, BiEncoder), "a student that scores pairs cannot search"
        return search(ranker, collator, job["queries"], document_ids, job["depth"], bf16=job["bf16"], share=share)
    return rerank(ranker, collator, read_run(folder / CANDIDATES), bf16=job["bf16"], share=share)


def with_lengths(collator: Collator, query_length: int | None, document_length: int | None) -> Collator:
    """Return a collator that cuts texts at other lengths; None keeps what it has."""
    given = {"query_length": query_length, "document_length": document_length}
    style = replace(collator.style, **{name: value for name, value in given.items() if value is not None})
    return collator.styled(style)
