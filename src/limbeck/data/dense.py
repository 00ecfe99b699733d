"""An encoder as first stage: exact search of the whole collection, which is encoded once."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from limbeck import room
from limbeck.artefacts import Artefacts, write_json
from limbeck.data.candidates import Search, best, check_depth
from limbeck.data.collection import Collection
from limbeck.encodings import Rows, rows
from limbeck.evaluation.ranking import nearest
from limbeck.inference import blocks, encode
from limbeck.progress import show
from limbeck.registry import register
from limbeck.text.collate import Collator
from limbeck.types import Run


class Encoder(NamedTuple):
    """A loaded ranker that encodes queries and documents apart."""

    ranker: Any
    collator: Collator
    identity: dict[str, Any]
    """What its scores depend on, a checksum of the weights included."""


_OTHER_DISK = "free some, set paths.cache to a folder on another disk, or take candidates=bm25"

Load = Callable[[Collection, Artefacts], Encoder]


@register("candidates", "dense", parts=("student", "backbone"))
class Dense:
    """Candidates by any ranker that encodes queries and documents apart.

    Parameters
    ----------
    load, device
        Given at run time: loads the ranker that the nodes ``student`` and ``backbone`` describe, for a collection,
        when it is first needed; where to search. Between searches the ranker lies in main memory, so that a student
        can be trained on the device.
    depth
        Documents kept for each query.
    name
        How tables call it.
    bf16
        Encode under bfloat16 autocast.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    kept: ClassVar[bool] = True
    in_blocks: ClassVar[bool] = True

    def __init__(
        self,
        load: Load,
        device: torch.device,
        *,
        depth: int = 100,
        name: str = "dense",
        bf16: bool = False,
    ) -> None:
        check_depth(depth)
        self.depth = depth
        self.name = name
        self.label = f"{name} search"
        self.advice = ""
        self.bf16 = bf16
        self._load = load
        self._device = device
        self._loaded: dict[str, Encoder] = {}

    def identity(self, search: Search) -> dict[str, Any]:
        """Return what the ranking depends on, beside the collection and the queries."""
        return {"kind": "dense", **self._embedded_by(search)}

    def search(self, search: Search) -> Run:
        """Rank the collection for each query, exactly; documents of score 0 are left out."""
        ranker, collator, _ = self._encoder(search)
        drop_self = search.collection.drop_self
        query_ids = list(search.queries)
        ranker.to(self._device)
        try:
            documents = self._documents(search)
            queries = encode(ranker, collator, query_ids, "query", bf16=self.bf16)
            found = nearest(ranker, query_ids, queries, documents, self.depth + drop_self)
        finally:
            ranker.to("cpu")
        return {
            query: best(query, ids, scores, self.depth, drop_self=drop_self) for query, (ids, scores) in found.items()
        }

    def _documents(self, search: Search) -> Iterator[tuple[Sequence[str], Rows]]:
        """Yield ids and encodings of the collection, encoded once for all splits and searches to come."""
        ids = search.collection.document_ids
        path = search.artefacts.folder(
            "embeddings",
            {**self._embedded_by(search), "documents": search.collection.content("document")},
            lambda target: self._encode(search, target),
            label=f"{self.name} embeddings of {search.collection.name}",
        )
        kind, width = self._encoder(search).ranker.kind, json.loads((path / "width.json").read_text())
        shown = show(blocks(ids), len(ids), f"{self.label}: documents", "documents", part=True)
        for number, block in enumerate(shown):
            files = {file.suffixes[-2][1:]: np.load(file) for file in path.glob(f"{number}.*.npy")}
            yield block, rows(kind, {n: torch.from_numpy(each) for n, each in files.items()}, width).to(self._device)

    def _encode(self, search: Search, folder: Path) -> None:
        ranker, collator, _ = self._encoder(search)
        collator.prepare("document")
        ids, each = search.collection.document_ids, 0.0
        label = f"{self.name} embeddings of {search.collection.name}"

        def needs() -> str:
            return room.words(disk=each * len(ids), folder=folder, instead=_OTHER_DISK)

        for number, block in enumerate(show(blocks(ids), len(ids), label, "documents", needs=needs)):
            encoded = encode(ranker, collator, block, "document", bf16=self.bf16)
            if not number:
                each = encoded.size / len(block)
                if ranker.kind == "dense":  # others differ in size from text to text
                    room.check_disk(int(each * len(ids)), folder, label, _OTHER_DISK)
            for name, value in encoded.arrays().items():
                np.save(folder / f"{number}.{name}.npy", value.cpu().numpy())
            write_json(folder / "width.json", encoded.width)

    def _embedded_by(self, search: Search) -> dict[str, Any]:
        return {"bf16": self.bf16, **self._encoder(search).identity}

    def _encoder(self, search: Search) -> Encoder:
        key = search.collection.fingerprint
        if key not in self._loaded:
            self._loaded[key] = self._load(search.collection, search.artefacts)
        return self._loaded[key]
