"""Encodings of a collection and of queries as artefacts: made once by a ranker, mapped by whoever reads them."""

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
    """A loaded ranker that encodes queries and documents apart."""

    ranker: Any
    collator: Collator
    identity: dict[str, Any]
    """What its scores depend on, a checksum of the weights included."""


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
    encoder, collection, artefacts
        Who encodes what, and where it is kept.
    bf16, dtype
        Encode under bfloat16 autocast; what encodings are kept in.
    name
        Of the encoder, to say what is being done.
    instead
        What to do where the disk is too small.
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
    """Return the encodings of some queries, given sorted, in float32; otherwise as ``of_documents``."""
    inputs = {"bf16": bf16, "dtype": "float32", **encoder.identity, "queries": collection.asked(ids)}

    def fill(folder: Path) -> None:
        store = Store.open(folder, {"kind": encoder.ranker.kind, "dtype": "float32", "shard_size": BLOCK}, {})
        for number, block in enumerate(blocks(ids, BLOCK)):
            store.write(number, block, encode(encoder.ranker, encoder.collator, block, "query", bf16=bf16))
        store.finish(len(ids))

    label = f"{name} embeddings of {len(ids):,} queries of {collection.name}"
    return Store(artefacts.folder("embeddings", inputs, fill, label=label))


class Vectors:
    """One vector a text, mapped from the files of a store.

    Parameters
    ----------
    store
        Of an encoder of one vector a text.
    """

    def __init__(self, store: Store) -> None:
        self._size = store.shard_size
        self._shards = []
        for shard in store.shards():
            assert isinstance(shard.rows, DenseRows), "one vector a text"
            self._shards.append(shard.rows.values)

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return the vectors of some texts, by their places in what was encoded: (n,) → (n, D) float32."""
        found = np.empty((len(places), self._shards[0].shape[1]), dtype=np.float32)
        owners, inside = np.divmod(places, self._size)
        for number in np.unique(owners):
            here = owners == number
            found[here] = self._shards[number].numpy()[inside[here]]
        return found
