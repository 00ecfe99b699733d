"""Fingerprints of what a collection holds; artefacts are named by them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from limbeck.config import fingerprint
from limbeck.progress import show

_BLOCK = 1 << 20
"""Bytes of a file that are read at once."""


class Fingerprints(NamedTuple):
    """Of a collection."""

    whole: str
    """Documents, queries and judgments."""
    texts: str
    """Documents and queries: what scores of pairs depend on."""
    documents: str


def of_files(sums: Mapping[str, str]) -> Fingerprints:
    """Return the fingerprints of a folder, by the checksums of its files."""
    texts = {name: each for name, each in sums.items() if not name.startswith("qrels")}
    return Fingerprints(fingerprint(sums), fingerprint(texts), sums["corpus.jsonl"])


def of_id(identifier: str, version: str, names: Mapping[str, str | None]) -> Fingerprints:
    """Return the fingerprints of an id of ir_datasets in a version, with names of splits."""
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
