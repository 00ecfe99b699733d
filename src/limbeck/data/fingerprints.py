"""Fingerprints of the contents of a collection; artefacts are named by them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from limbeck.config import fingerprint
from limbeck.progress import show

_BLOCK = 1 << 20
"""Bytes of a file read at once."""


class Fingerprints(NamedTuple):
    """Fingerprints of a collection."""

    whole: str
    """Of documents, queries and judgments."""
    texts: str
    """Of documents and queries, on which scores of pairs depend."""
    documents: str


def of_files(sums: Mapping[str, str]) -> Fingerprints:
    """Return the fingerprints of a folder, from the checksums of its files."""
    texts = {name: each for name, each in sums.items() if not name.startswith("qrels")}
    return Fingerprints(fingerprint(sums), fingerprint(texts), sums["corpus.jsonl"])


def of_id(identifier: str, version: str, names: Mapping[str, str | None]) -> Fingerprints:
    """Return the fingerprints of an ir_datasets id, in a version of ir_datasets and with the names of splits."""
    of = {"ir_datasets": version, "id": identifier}
    texts = fingerprint(of)
    return Fingerprints(fingerprint({**of, "splits": names}), texts, texts)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(_BLOCK), b"")
        for block in show(blocks, path.stat().st_size, f"checksum of {path.name}", "B"):
            digest.update(block)
    return digest.hexdigest()
