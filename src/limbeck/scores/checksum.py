"""Checksums of a score store: one of what its rows mean, one of each small file as it is."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.scores.keys import Keys

DIGESTED = ("queries.arrow", "ids.arrow")
"""Files that ``meta.json`` has a checksum of as they are; of the rows it has one of what they mean."""


class Checksum:
    """Checksum over the rows of a store; where batches begin does not matter to it."""

    def __init__(self) -> None:
        self._columns: list[Any] = []

    def add(self, queries: Keys, counts: NDArray[np.int32], columns: Sequence[NDArray[Any]]) -> None:
        """Add rows: the queries they belong to and how many each has, and the columns."""
        for number, column in enumerate([queries, counts.astype(np.int64), *columns]):
            if number == len(self._columns):
                self._columns.append(hashlib.blake2b(digest_size=16))
            self._columns[number].update(np.ascontiguousarray(column))

    def text(self) -> str:
        """Return 32 hexadecimal digits."""
        return hashlib.blake2b(b"".join(each.digest() for each in self._columns), digest_size=16).hexdigest()


def digests(data: Path) -> dict[str, str]:
    """Return checksums of the small files of a store's data."""
    return {name: digest((data / name).read_bytes()) for name in DIGESTED}


def digest(content: bytes) -> str:
    """Return the checksum of a file's content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
