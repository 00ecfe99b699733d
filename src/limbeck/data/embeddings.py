"""Encodings of a collection and of queries as artefacts: made once by a ranker, mapped by whoever reads them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from limbeck.artefacts import Artefacts, write_json
from limbeck.data.collection import Collection
from limbeck.encodings import Rows, rows
from limbeck.inference import blocks, encode
from limbeck.plan import BLOCK
from limbeck.text.collate import Collator, Role
from limbeck.text.progress import show

_WIDTH = "width.json"


class Encoder(NamedTuple):
    """A loaded ranker that encodes queries and documents apart."""

    ranker: Any
    collator: Collator
    identity: dict[str, Any]
    """What its scores depend on, a checksum of the weights included."""


def of_documents(encoder: Encoder, collection: Collection, artefacts: Artefacts, *, bf16: bool, name: str) -> Path:
    """Return the folder of the encodings of a collection's documents, in their order, ``BLOCK`` a file.

    Parameters
    ----------
    encoder, collection
        Who encodes what.
    artefacts
        Where they are kept.
    bf16
        Encode under bfloat16 autocast.
    name
        Of the encoder, to say what is being done.
    """
    inputs = {"bf16": bf16, **encoder.identity, "documents": collection.content("document")}
    label = f"{name} embeddings of {collection.name}"
    ids = collection.document_ids
    return artefacts.folder(
        "embeddings", inputs, lambda folder: _fill(folder, encoder, ids, "document", bf16, label), label=label
    )


def of_queries(
    encoder: Encoder, ids: Sequence[str], collection: Collection, artefacts: Artefacts, *, bf16: bool, name: str
) -> Path:
    """Return the folder of the encodings of some queries, given sorted; otherwise as :func:`of_documents`."""
    inputs = {"bf16": bf16, **encoder.identity, "queries": collection.asked(ids)}
    label = f"{name} embeddings of {len(ids):,} queries of {collection.name}"
    return artefacts.folder(
        "embeddings", inputs, lambda folder: _fill(folder, encoder, ids, "query", bf16, label), label=label
    )


def read(folder: Path, kind: Any, ids: Sequence[str], label: str) -> Iterator[tuple[Sequence[str], Rows]]:
    """Yield ids and encodings, a block at a time.

    Parameters
    ----------
    folder, kind, ids
        As :func:`of_documents` returns it, what the encoder makes of a text, and what was encoded.
    label
        What to say meanwhile.
    """
    width = json.loads((folder / _WIDTH).read_text(encoding="utf-8"))
    for number, block in enumerate(show(blocks(ids), len(ids), label)):
        files = {file.suffixes[-2][1:]: np.load(file) for file in folder.glob(f"{number}.*.npy")}
        yield block, rows(kind, {name: torch.from_numpy(each) for name, each in files.items()}, width)


class Table:
    """One vector a text, mapped from the files of an artefact.

    Only the path travels to another process: there the files are mapped anew.

    Parameters
    ----------
    folder
        As :func:`of_documents` returns it, of an encoder of one vector a text.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        count = len(list(folder.glob("*.values.npy")))
        self._blocks = [np.load(folder / f"{number}.values.npy", mmap_mode="r") for number in range(count)]

    def __reduce__(self) -> tuple[Any, ...]:
        return Table, (self._folder,)

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    @property
    def width(self) -> int:
        """Components of a vector."""
        return int(self._blocks[0].shape[1])

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return the vectors of some texts, by their places in what was encoded: (n,) → (n, D) float32."""
        found = np.empty((len(places), self.width), dtype=np.float32)
        owners, inside = np.divmod(places, BLOCK)
        for number in np.unique(owners):
            here = owners == number
            found[here] = self._blocks[number][inside[here]]
        return found


def _fill(folder: Path, encoder: Encoder, ids: Sequence[str], role: Role, bf16: bool, label: str) -> None:
    encoder.collator.prepare(role)
    for number, block in enumerate(show(blocks(ids), len(ids), label)):
        encoded = encode(encoder.ranker, encoder.collator, block, role, bf16=bf16)
        arrays: Mapping[str, torch.Tensor] = encoded.arrays()
        for name, value in arrays.items():
            np.save(folder / f"{number}.{name}.npy", value.cpu().numpy())
        write_json(folder / _WIDTH, encoded.width)
