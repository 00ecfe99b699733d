"""Search and re-rank a collection with a ranker, in this process or on several devices."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_model, save_model

from limbeck.artefacts import Artefacts
from limbeck.config import Config, Node, fingerprint
from limbeck.data.collection import Collection
from limbeck.encodings import Rows
from limbeck.evaluation.ranking import (
    Asked,
    check_finite,
    merge,
    rerank,
    search_together,
    without_own,
)
from limbeck.evaluation.runs import read_run, write_run
from limbeck.evaluation.settings import Evaluation
from limbeck.experiment import assemble
from limbeck.experiment.sharing import CANDIDATES, JOB, WEIGHTS, Sharing, part
from limbeck.experiment.teaching import OnDemand
from limbeck.halfway import Halfway
from limbeck.inference import encode
from limbeck.students.base import BiEncoder, Student
from limbeck.text.collate import Collator
from limbeck.types import Run


class Other(NamedTuple):
    """Queries of another set over the same documents."""

    asked: Asked
    data: Node
    """Configuration node of its collection."""


class Engine:
    """Searches and re-ranks a collection with a ranker, on all devices that it may use.

    Parameters
    ----------
    ranker
        Any ranker.
    collator
        Knows the ranker's tokenizer and the collection's texts.
    collection
        The documents to search.
    evaluation
        Depths, precision, number of devices.
    device
        Device of this process.
    nodes
        Configuration nodes ``student`` and ``backbone``, from which other processes build the ranker.
    sharing
        How work is shared among processes.
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
        self.evaluation = evaluation
        self._device = device
        self._nodes = nodes
        self._sharing = sharing

    def search(self, queries: Sequence[str]) -> Run:
        """Rank the whole collection for queries; a query that is itself a document is left out of its own ranking."""
        return self.search_together(queries, [])[0]

    def search_together(self, queries: Sequence[str], others: Sequence[Other]) -> list[Run]:
        """Rank the whole collection for queries, and in the same pass for other sets' queries."""
        assert isinstance(self.ranker, BiEncoder), "a student that scores pairs cannot search"
        depth, drops = self.evaluation.search_depth, self._collection.drop_self
        every = [Other(Asked(self._collator, queries), self._sharing.data), *others]
        task = {"task": "search", "depth": depth + drops, "asked": [_described(each) for each in every]}
        if self.evaluation.devices > 1:
            runs = self._shared(task, None)
        else:
            runs = search_together(
                self.ranker.to(self._device),
                [each.asked for each in every],
                self._collection.document_ids,
                depth + drops,
                bf16=self.evaluation.bf16,
                dtype=self.evaluation.dtype,
                names=self._collection.document_ids.take,
                halfway=self._halfway(lambda: {**task, "documents": self._collection.content("document")}),
            )
        return [without_own(run, depth) for run in runs] if drops else runs

    def encoded(self, queries: Sequence[str], *, bf16: bool) -> tuple[BiEncoder, Rows]:
        """Return the ranker on its device, and its encodings of queries."""
        assert isinstance(self.ranker, BiEncoder), "a student that scores pairs has no encodings"
        ranker = self.ranker.to(self._device)
        return ranker, encode(ranker, self._collator, queries, "query", bf16=bf16)

    def rerank(self, candidates: Run) -> Run:
        """Re-rank candidates; no document is added or dropped."""

        def task() -> Node:
            lists = fingerprint({query: ranking.ids for query, ranking in candidates.items()})
            asked = _described(Other(Asked(self._collator, list(candidates)), self._sharing.data))
            return {"task": "rerank", "depth": None, "asked": [asked], "candidates": lists}

        if self.evaluation.devices > 1:
            return self._shared(task(), candidates)[0]
        halfway = self._halfway(lambda: {**task(), "texts": self._collection.texts_fingerprint})
        ranker = self.ranker.to(self._device)
        return rerank(ranker, self._collator, candidates, bf16=self.evaluation.bf16, halfway=halfway)

    def _halfway(self, task: Callable[[], Node]) -> Halfway:
        """Return where this process saves its progress when it works alone."""
        return Halfway(self._sharing.folder, lambda: {**task(), **self._work})

    @property
    def _work(self) -> Config:
        """Return what the work depends on besides the task."""
        numbers = {"bf16": self.evaluation.bf16, "dtype": self.evaluation.dtype}
        return {**self._nodes, **numbers, "weights": self.ranker.checksum()}

    def _shared(self, task: Node, candidates: Run | None) -> list[Run]:
        def fill(folder: Path) -> None:
            save_model(self.ranker, str(folder / WEIGHTS))
            if candidates is not None:
                write_run(folder / CANDIDATES, candidates, "candidates")

        self.ranker.to("cpu")  # the other processes use the devices now
        adapters = any("lora_" in name for name, _ in self.ranker.named_parameters())
        folder = self._sharing.spread({**task, **self._work, "adapters": adapters}, fill)
        runs = []
        for which, asked in enumerate(task["asked"]):
            shares = [read_run(part(folder, number, which)) for number in range(self._sharing.devices)]
            runs.append(merge(shares, task["depth"], asked["queries"]))
        shutil.rmtree(folder)
        return runs


def _described(other: Other) -> Config:
    """Return plain containers that tell another process which queries to search."""
    style = other.asked.collator.style
    lengths = {"query_length": style.query_length, "document_length": style.document_length}
    return {"queries": list(other.asked.query_ids), "data": other.data, **lengths}


def work(folder: Path, number: int) -> None:
    """Do one process's share of the job in a folder; finished parts are skipped."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    share = number, job["devices"]
    if job["task"] != "score" and part(folder, number, len(job["asked"]) - 1).exists():
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
    ranker, halfway = ranker.to(device), Halfway(folder, lambda: {"share": number})
    first, *others = job["asked"]
    asked = [Asked(with_lengths(collator, first["query_length"], first["document_length"]), first["queries"])]
    if job["task"] == "rerank":
        candidates = read_run(folder / CANDIDATES)
        runs = [rerank(ranker, asked[0].collator, candidates, bf16=job["bf16"], share=share, halfway=halfway)]
    else:
        assert isinstance(ranker, BiEncoder), "a student that scores pairs cannot search"
        asked += [_asked(each, assemble.collection(each["data"], artefacts), collator) for each in others]
        ids, depth = collection.document_ids, job["depth"]
        numbers = {"bf16": job["bf16"], "dtype": job["dtype"]}
        runs = search_together(ranker, asked, ids, depth, **numbers, share=share, names=ids.take, halfway=halfway)
    for which, found in enumerate(runs):
        check_finite(found)
        write_run(part(folder, number, which), found, "part")


def _asked(described: Node, collection: Collection, collator: Collator) -> Asked:
    """Return the queries of another set, with a collator that has their texts and lengths."""
    style = with_lengths(collator, described["query_length"], described["document_length"]).style
    knows = Collator(collator.tokenizer, style, collection.query_texts, collection.document_texts)
    return Asked(knows, described["queries"])


def with_lengths(collator: Collator, query_length: int | None, document_length: int | None) -> Collator:
    """Return a collator with other maximum lengths; None keeps the present one."""
    given = {"query_length": query_length, "document_length": document_length}
    style = replace(collator.style, **{name: value for name, value in given.items() if value is not None})
    return collator.styled(style)
