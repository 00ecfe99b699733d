"""Positions of ids in columns, with 12 bytes per id (a dict of Python strings takes 150)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from limbeck.scores.keys import LARGEST, key, keys

_BLOCK = 2**14
"""Number of ids whose keys are computed together."""


class Places:
    """Looks up the positions of ids in the concatenation of some columns.

    Parameters
    ----------
    columns
        Arrow arrays of strings; not copied.
    """

    def __init__(self, columns: Sequence[Any]) -> None:
        self._columns = columns
        self._starts = np.cumsum([0, *map(len, columns)])
        found = [
            keys(column[start : start + _BLOCK])[0] for column in columns for start in range(0, len(column), _BLOCK)
        ]
        every = np.concatenate([np.empty(0, np.uint64), *found])
        self._order = every.argsort(kind="stable").astype(np.int32)
        self._keys = every[self._order]

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, identifier: str) -> int | None:
        """Return the (first) position of an id; None if it is not there."""
        wanted = np.uint64(key(identifier))
        place = int(self._keys.searchsorted(wanted))
        while place < len(self._keys) and self._keys[place] == wanted:
            number = int(self._order[place])
            if wanted < LARGEST or self._at(number) == identifier:  # hashed ids may collide
                return number
            place += 1
        return None

    def twice(self) -> bool:
        """Return whether an id occurs more than once."""
        same = np.zeros(len(self._keys) + 1, bool)  # whether a key equals the one before it
        same[1:-1] = self._keys[1:] == self._keys[:-1]
        shared = [self._at(number) for number in self._order[same[1:] | same[:-1]].tolist()]
        return len(set(shared)) < len(shared)

    def _at(self, number: int) -> str:
        column = int(self._starts.searchsorted(number, side="right")) - 1
        return self._columns[column][number - int(self._starts[column])].as_py()
