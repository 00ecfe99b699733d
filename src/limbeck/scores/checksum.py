"""Checksums of a score store: one of the content of its rows, and one of each small file."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.scores.keys import Keys

DIGESTED = ("queries.arrow", "ids.arrow")
"""Files whose bytes have a checksum in ``meta.json``; for the rows, the checksum is of their content."""


class Checksum:
    """Checksum over the rows of a store; it does not depend on the boundaries of batches."""

    def __init__(self) -> None:
        self._columns: list[Any] = []

    def add(self, queries: Keys, counts: NDArray[np.int32], columns: Sequence[NDArray[Any]]) -> None:
        """Add rows: their queries, the number of rows of each query, and the columns."""
        for number, column in enumerate([queries, counts.astype(np.int64), *columns]):
            if number == len(self._columns):
                self._columns.append(hashlib.blake2b(digest_size=16))
            self._columns[number].update(np.ascontiguousarray(column))

    def text(self) -> str:
        """Return the checksum as 32 hexadecimal digits."""
        return hashlib.blake2b(b"".join(each.digest() for each in self._columns), digest_size=16).hexdigest()


def digests(data: Path) -> dict[str, str]:
    """Return the checksums of the small files of a store."""
    return {name: digest((data / name).read_bytes()) for name in DIGESTED}


def digest(content: bytes) -> str:
    """Return the checksum of a file's content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()
