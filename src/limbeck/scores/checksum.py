"""Checksum over the content of a score store."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.scores.keys import Keys


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
