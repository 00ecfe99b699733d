"""Work that is shared by several devices: a job on disk, one process a device, and the parts put together.

The processes run :mod:`limbeck.experiment.share`.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model

from limbeck.artefacts import Artefacts, write_json
from limbeck.config import fingerprint
from limbeck.evaluation.runs import read_run, write_run
from limbeck.evaluation.search import Share, check_finite, merge, rerank, search, without_own
from limbeck.evaluation.settings import Evaluation
from limbeck.experiment.devices import each_device
from limbeck.text.collate import Collator
from limbeck.types import Run

JOB, WEIGHTS, CANDIDATES = "job.json", "weights.safetensors", "candidates.trec"

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Sharing:
    """How work is shared: all that another process needs to know to do a part of it."""

    devices: int
    data: Node
    """Configuration node of the collection."""
    cache: Path
    accelerator: str
    folder: Path
    """Where jobs are kept while they are worked on."""

    def spread(self, job: Node, fill: Callable[[Path], object]) -> Path:
        """Have a job done, and return its folder, which holds a part from each process.

        Parameters
        ----------
        job
            What is to be done, as plain containers. A job that was killed goes on with the parts that are missing.
        fill
            Puts into the folder what is too large for the job itself.
        """
        whole = {**job, "devices": self.devices, "data": self.data, "cache": str(self.cache.resolve())}
        whole |= {"accelerator": self.accelerator}
        folder = self.folder / fingerprint(whole)
        if not (folder / JOB).exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            fill(folder)
            write_json(folder / JOB, whole)
        each_device(self.devices, lambda number: ["limbeck.experiment.share", str(folder), str(number)])
        return folder


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
        ranker: Any,
        collator: Collator,
        collection: Any,
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

    def search(self, queries: Sequence[str]) -> Run:
        """Rank the whole collection for queries; where they are documents of it, without themselves."""
        depth, drops = self._evaluation.search_depth, self._collection.drop_self
        if self._evaluation.devices > 1:
            found = self._shared({"task": "search", "queries": list(queries), "depth": depth + drops}, None)
        else:
            ranker, documents = self.ranker.to(self._device), self._collection.document_ids
            found = search(ranker, self._collator, queries, documents, depth + drops, bf16=self._evaluation.bf16)
        return without_own(found, depth) if drops else found

    def rerank(self, candidates: Run) -> Run:
        """Re-rank candidates; nothing is added or dropped."""
        if self._evaluation.devices > 1:
            return self._shared({"task": "rerank", "queries": list(candidates), "depth": None}, candidates)
        return rerank(self.ranker.to(self._device), self._collator, candidates, bf16=self._evaluation.bf16)

    def _shared(self, task: Node, candidates: Run | None) -> Run:
        from limbeck.experiment.assemble import checksum

        style = self._collator.style
        lengths = {"query_length": style.query_length, "document_length": style.document_length}
        job = {**task, **self._nodes, **lengths, "bf16": self._evaluation.bf16, "weights": checksum(self.ranker)}
        if candidates is not None:
            job |= {"candidates": fingerprint({query: ranking.ids for query, ranking in candidates.items()})}

        def fill(folder: Path) -> None:
            save_model(self.ranker, str(folder / WEIGHTS))
            if candidates is not None:
                write_run(folder / CANDIDATES, candidates, "candidates")

        self.ranker.to("cpu")  # the devices are the others' now
        folder = self._sharing.spread(job, fill)
        found = merge([read_run(_part(folder, number)) for number in range(self._sharing.devices)], task["depth"])
        shutil.rmtree(folder)
        return {query: found[query] for query in task["queries"] if query in found}


def _part(folder: Path, number: int) -> Path:
    return folder / f"{number}.trec"


def work(folder: Path, number: int) -> None:
    """Do the share of one process of the job in a folder; what it has done already is not done again."""
    from limbeck.experiment import assemble

    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    share = number, job["devices"]
    if job["task"] != "score" and _part(folder, number).exists():
        return
    artefacts, device = Artefacts(Path(job["cache"])), assemble.device(job["accelerator"])
    collection = assemble.collection(job["data"], artefacts)
    if job["task"] == "score":
        teaching = assemble.teaching(job["teacher"], collection, artefacts, device)
        teaching.score(job["lists"], share=share)
        return
    ranker, collator = assemble.ranker(job["student"], job["backbone"], collection, artefacts, anew=True)
    load_model(ranker, str(folder / WEIGHTS))
    collator = with_lengths(collator, job["query_length"], job["document_length"])
    found = _ranked(job, ranker.to(device), collator, collection.document_ids, folder, share)
    check_finite(found)
    write_run(_part(folder, number), found, "part")


def _ranked(
    job: Node, ranker: Any, collator: Collator, document_ids: list[str], folder: Path, share: Share
) -> Run:  # fmt: skip
    if job["task"] == "search":
        return search(ranker, collator, job["queries"], document_ids, job["depth"], bf16=job["bf16"], share=share)
    return rerank(ranker, collator, read_run(folder / CANDIDATES), bf16=job["bf16"], share=share)


def with_lengths(collator: Collator, query_length: int | None, document_length: int | None) -> Collator:
    """Return a collator that cuts texts at other lengths; None keeps what it has."""
    given = {"query_length": query_length, "document_length": document_length}
    style = replace(collator.style, **{name: value for name, value in given.items() if value is not None})
    return collator.styled(style)
