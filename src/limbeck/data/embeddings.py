"""Encodings of documents and queries as artefacts: computed once by a ranker, memory-mapped by all readers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from limbeck.artefacts import Artefacts
from limbeck.data.collection import Collection
from limbeck.encodings import DenseRows, DType
from limbeck.inference import blocks, encode
from limbeck.plan import BLOCK
from limbeck.search.encoding import encode_into
from limbeck.search.shards import Store
from limbeck.text.collate import Collator


class Encoder(NamedTuple):
    """A loaded ranker that encodes queries and documents separately."""

    ranker: Any
    collator: Collator
    identity: dict[str, Any]
    """Everything its scores depend on, with a checksum of the weights."""


def of_documents(
    encoder: Encoder,
    collection: Collection,
    artefacts: Artefacts,
    *,
    bf16: bool,
    dtype: DType,
    name: str,
    instead: str,
) -> Store:
    """Return the encodings of a collection's documents, in their order.

    Parameters
    ----------
    encoder
        The ranker.
    collection
        Its documents are encoded.
    artefacts
        The cache of the encodings.
    bf16
        Encode under bfloat16 autocast.
    dtype
        Type of stored encodings.
    name
        Name of the encoder, for progress bars.
    instead
        Advice where the disk is too small.
    """
    inputs = {"bf16": bf16, "dtype": dtype, **encoder.identity, "documents": collection.content("document")}

    def fill(folder: Path) -> None:
        store = Store.open(folder, {"kind": encoder.ranker.kind, "dtype": dtype, "shard_size": BLOCK}, {})
        count, documents = len(collection.document_ids), collection.iterate()
        encode_into(store, encoder.ranker, encoder.collator, documents, count=count, instead=instead, bf16=bf16)

    label = f"{name} embeddings of {collection.name}"
    return Store(artefacts.folder("embeddings", inputs, fill, label=label, parts=True))


def of_queries(
    encoder: Encoder, ids: Sequence[str], collection: Collection, artefacts: Artefacts, *, bf16: bool, name: str
) -> Store:
    """Return the encodings of queries, given sorted, in float32; otherwise as ``of_documents``."""
    inputs = {"bf16": bf16, "dtype": "float32", **encoder.identity, "queries": collection.asked(ids)}

    def fill(folder: Path) -> None:
        store = Store.open(folder, {"kind": encoder.ranker.kind, "dtype": "float32", "shard_size": BLOCK}, {})
        for number, block in enumerate(blocks(ids, BLOCK)):
            store.write(number, block, encode(encoder.ranker, encoder.collator, block, "query", bf16=bf16))
        store.finish(len(ids))

    label = f"{name} embeddings of {len(ids):,} queries of {collection.name}"
    return Store(artefacts.folder("embeddings", inputs, fill, label=label))


class Vectors:
    """One vector per text, memory-mapped from a store.

    Parameters
    ----------
    store
        Store of an encoder with one vector per text.
    """

    def __init__(self, store: Store) -> None:
        self._size = store.shard_size
        self._shards = []
        for shard in store.shards():
            assert isinstance(shard.rows, DenseRows), "one vector a text"
            self._shards.append(shard.rows.values)

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return the vectors of texts, by their positions in the store: (n,) → (n, D) float32."""
        found = np.empty((len(places), self._shards[0].shape[1]), dtype=np.float32)
        owners, inside = np.divmod(places, self._size)
        for number in np.unique(owners):
            here = owners == number
            found[here] = self._shards[number].numpy()[inside[here]]
        return found
