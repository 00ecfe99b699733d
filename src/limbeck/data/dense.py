"""An encoder as first stage: exact search of the whole collection, which is encoded once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch

from limbeck.artefacts import Artefacts
from limbeck.data import embeddings
from limbeck.data.candidates import Search, best, check_depth
from limbeck.data.collection import Collection
from limbeck.data.embeddings import Encoder
from limbeck.encodings import Rows
from limbeck.evaluation.ranking import nearest
from limbeck.inference import encode
from limbeck.registry import register
from limbeck.types import Run

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
        ids, encoder = search.collection.document_ids, self._encoder(search)
        path = embeddings.of_documents(encoder, search.collection, search.artefacts, bf16=self.bf16, name=self.name)
        for block, encoded in embeddings.read(path, encoder.ranker.kind, ids, f"{self.label}: documents"):
            yield block, encoded.to(self._device)

    def _embedded_by(self, search: Search) -> dict[str, Any]:
        return {"bf16": self.bf16, **self._encoder(search).identity}

    def _encoder(self, search: Search) -> Encoder:
        key = search.collection.fingerprint
        if key not in self._loaded:
            self._loaded[key] = self._load(search.collection, search.artefacts)
        return self._loaded[key]
