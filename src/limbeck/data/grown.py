"""Arrow columns that grow on disk: written piece by piece, then mapped as one array."""

import mmap
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from limbeck.scores.keys import ID


class Grown:
    """A column in unnamed files, which vanish with the process.

    Parameters
    ----------
    folder
        A folder on the disk to use.
    kind
        Arrow type: ``ID`` or a number.
    """

    def __init__(self, folder: Path, kind: Any) -> None:
        self._kind = kind
        self._length = 0
        self._values = _file(folder)
        self._ends: IO[bytes] | None = None
        if kind == ID:
            self._ends = _file(folder)
            self._ends.write(bytes(8))

    def append(self, column: Any) -> None:
        """Append an Arrow array of the same type, without nulls."""
        if self._ends is None:
            self._values.write(column.to_numpy())
        elif len(column):
            _, offsets, text = column.buffers()
            starts = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
            first = self._values.tell()
            self._values.write(memoryview(text)[starts[0] : starts[-1]] if text else b"")
            self._ends.write(starts[1:] + (first - starts[0]))
        self._length += len(column)

    def array(self) -> Any:
        """Return the whole column as one memory-mapped array."""
        values = _mapped(self._values)
        buffers = [None, values] if self._ends is None else [None, _mapped(self._ends), values]
        return pa.Array.from_buffers(self._kind, self._length, buffers)


def _file(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder)


def _mapped(file: IO[bytes]) -> pa.Buffer:
    file.flush()
    size = file.tell()
    return pa.py_buffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b"")
