"""The ids of the documents of a shard."""

from itertools import pairwise

import numpy as np
import pyarrow as pa


class Ids:
    """Memory-mapped document ids.

    Parameters
    ----------
    text
        Their UTF-8 bytes, one after the other.
    offsets
        (N + 1,) start of each id.
    """

    def __init__(self, text: np.ndarray, offsets: np.ndarray) -> None:
        self._text = text
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> str:
        return self._text[self._offsets[row] : self._offsets[row + 1]].tobytes().decode()

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the ids of some rows, as objects."""
        text, offsets = self._text, self._offsets
        if len(rows) == 1:
            return np.array([self[int(rows[0])]], dtype=object)
        every = pa.LargeStringArray.from_buffers(len(self), pa.py_buffer(offsets), pa.py_buffer(text))
        return every.take(pa.array(rows)).to_numpy(zero_copy_only=False)

    def all(self) -> list[str]:
        """Return all ids."""
        text, offsets = self._text.tobytes(), self._offsets.tolist()
        return [text[start:stop].decode() for start, stop in pairwise(offsets)]
