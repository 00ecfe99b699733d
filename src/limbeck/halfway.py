"""How far long work is, in a file, so that a process that is killed loses a minute of it."""

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
"""Seconds between two times that work is saved."""


class Halfway:
    """A file with what is done of some work.

    Parameters
    ----------
    folder
        Where it lies. Nothing is written there by work that takes less than ``EVERY``.
    inputs
        Returns all that the work depends on; only asked where there may be a file, or is to be one.
    """

    def __init__(self, folder: Path, inputs: Callable[[], Mapping[str, Any]]) -> None:
        self._folder = folder
        self._inputs = inputs
        self._last = time.monotonic()

    @cached_property
    def _path(self) -> Path:
        return self._folder / f"{fingerprint(self._inputs())}.npz"

    def read(self) -> dict[str, np.ndarray]:
        """Return what was saved, by name; empty if nothing was."""
        if not self._folder.is_dir() or not self._path.exists():
            return {}
        with np.load(self._path) as arrays:
            return dict(arrays)

    def save(self, arrays: Callable[[], Mapping[str, np.ndarray | int]]) -> None:
        """Save what is done, if it was not saved a short time ago."""
        if time.monotonic() - self._last < EVERY:
            return
        with whole_file(self._path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **arrays())  # pyright: ignore[reportArgumentType]
            file.flush()
            os.fsync(file.fileno())
        self._last = time.monotonic()
