"""Save the progress of long work in a file, so that a killed process loses at most a minute of it."""

import os
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.config import fingerprint
from limbeck.unfinished import whole_file

EVERY = 60.0
"""Seconds between two saves."""


class Halfway:
    """A file with the finished part of some work.

    Parameters
    ----------
    folder
        Folder of the file. Work that takes less than ``EVERY`` writes nothing there.
    inputs
        Returns everything the work depends on; called only if there may be a file, or one is written.
    """

    def __init__(self, folder: Path, inputs: Callable[[], Mapping[str, Any]]) -> None:
        self._folder = folder
        self._inputs = inputs
        self._last = time.monotonic()

    @cached_property
    def _path(self) -> Path:
        return self._folder / f"{fingerprint(self._inputs())}.npz"

    def read(self) -> dict[str, np.ndarray]:
        """Return the saved arrays by name; empty if nothing was saved."""
        if not self._folder.is_dir() or not self._path.exists():
            return {}
        with np.load(self._path) as arrays:
            return dict(arrays)

    def save(self, arrays: Callable[[], Mapping[str, np.ndarray | int]]) -> None:
        """Save the finished part, unless the last save was less than ``EVERY`` ago."""
        if time.monotonic() - self._last < EVERY:
            return
        with whole_file(self._path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **arrays())  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())
        self._last = time.monotonic()
