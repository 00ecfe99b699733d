"""A first stage with an encoder: exact search of the whole collection, which is encoded once."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch

from limbeck.artefacts import Artefacts
from limbeck.data import embeddings
from limbeck.data.candidates import Search, best, check_depth
from limbeck.data.collection import Collection
from limbeck.data.embeddings import Encoder
from limbeck.encodings import DType, check_dtype
from limbeck.evaluation.array_run import ArrayRun
from limbeck.inference import encode
from limbeck.registry import register
from limbeck.search.backend import build
from limbeck.search.exact import Exact
from limbeck.search.inverted import Inverted
from limbeck.search.ranking import search as ranked
from limbeck.search.shards import Store
from limbeck.types import Run

_INSTEAD = "set candidates.dtype=float16, or paths.cache to a folder on another disk, or take candidates=bm25"

Load = Callable[[Collection, Artefacts], Encoder]


@register("candidates", "dense", parts=("student", "backbone"))
class Dense:
    """Candidates from any ranker that encodes queries and documents separately.

    Parameters
    ----------
    load
        Given at run time: loads the ranker of the nodes ``student`` and ``backbone``, for a collection, on first use.
        Between searches the ranker is in main memory, so that a student can be trained on the device.
    device
        Given at run time: device of the search.
    depth
        Documents retrieved for each query.
    name
        Name in tables.
    bf16
        Encode under bfloat16 autocast.
    dtype
        Type of stored embeddings: ``float32``, or ``float16`` at half the size.

    Raises
    ------
    ValueError
        A value is out of range.
    """

    kept: ClassVar[bool] = True
    pairs: ClassVar[float] = 5e10

    def __init__(
        self,
        load: Load,
        device: torch.device,
        *,
        depth: int = 100,
        name: str = "dense",
        bf16: bool = False,
        dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        check_depth(depth)
        check_dtype(dtype)
        self.depth = depth
        self.name = name
        self.label = f"{name} search"
        self.advice = ""
        self.bf16 = bf16
        self.dtype: DType = dtype
        self._load = load
        self._device = device
        self._loaded: dict[str, Encoder] = {}

    def identity(self, search: Search) -> dict[str, Any]:
        """Return what the ranking depends on, besides the collection and the queries."""
        return {"kind": "dense", **self._embedded_by(search)}

    def search(self, search: Search) -> Run:
        """Rank the collection exactly for each query; documents of score 0 are left out."""
        ranker, collator, _ = self._encoder(search)
        drop_self = search.collection.drop_self
        query_ids = list(search.queries)
        ranker.to(self._device)
        try:
            store, backend = self._store(search), Inverted() if ranker.kind == "sparse" else Exact()
            build(backend, store)
            queries = encode(ranker, collator, query_ids, "query", bf16=self.bf16)
            found = ranked(backend, ranker, query_ids, queries, store, self.depth + drop_self)
        finally:
            ranker.to("cpu")
        return ArrayRun.of(
            (query, best(query, ids, scores, self.depth, drop_self=drop_self)) for query, (ids, scores) in found.items()
        )

    def _store(self, search: Search) -> Store:
        """Return the encodings of the collection, cached for all splits and later searches."""
        numbers = {"bf16": self.bf16, "dtype": self.dtype}
        given = self._encoder(search), search.collection, search.artefacts
        return embeddings.of_documents(*given, **numbers, name=self.name, instead=_INSTEAD)

    def _embedded_by(self, search: Search) -> dict[str, Any]:
        return {"bf16": self.bf16, "dtype": self.dtype, **self._encoder(search).identity}

    def _encoder(self, search: Search) -> Encoder:
        key = search.collection.fingerprint
        if key not in self._loaded:
            self._loaded[key] = self._load(search.collection, search.artefacts)
        return self._loaded[key]
