"""The interface of formats (files in, blocks of scored pairs out), and helpers they share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from limbeck.formats.faults import Faults
from limbeck.scores.keys import LARGEST
from limbeck.scores.kinds import Kind
from limbeck.scores.parts import Block

Thunk = Callable[[], Block]
"""Parses one chunk; called in a thread of the store's writer."""

MOST = float(np.finfo(np.float32).max)
"""The largest score: a larger one would become infinite in float32."""


class Source(NamedTuple):
    """The teacher of a file's scores, as far as the format can find out."""

    teacher: str | None
    kind: Kind


class Format(ABC):
    """A public format of teacher scores.

    Parameters
    ----------
    store
        Folder of the store that is being written. A format may write files into it or next to it.
    """

    teacher: str | None = None
    """Teacher of the format's published file."""
    kind: Kind = "unknown"
    """Kind of the scores in the published file."""
    scale: float | None = None
    """Factor by which those scores were multiplied, as in ``Provenance``."""
    published: tuple[str, ...] = ("",)
    """Parts of a path, one of which the published file has.

    For a file with another path, the user must give the teacher and the kind of the scores.
    """
    expects: str
    """The format of a line, for messages."""
    collection: Path | None = None
    """Folder into which the texts of the files are written as a collection; None where there are no texts."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def source(self, paths: Sequence[Path]) -> Source:
        """Return the teacher and the kind of the scores; None and ``unknown`` where the files do not say.

        Parameters
        ----------
        paths
            Existing files, in order.
        """
        places = [str(path.absolute()).lower() for path in paths]
        if all(any(name.lower() in place for name in self.published) for place in places):
            return Source(self.teacher, self.kind)
        return Source(None, "unknown")

    @abstractmethod
    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield functions that parse the files, one per chunk.

        Parameters
        ----------
        paths
            Existing files, in order.
        faults
            Records malformed lines; with ``on_error=skip`` they are left out.
        """

    def finish(self) -> dict[str, Any]:
        """Finish after the last block; return further entries for the store's ``meta.json``."""
        return {}


def number(text: str) -> float:
    """Return a finite number.

    Raises
    ------
    ValueError
        The text is no finite number.
    """
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no finite number")
    return value


def finite(values: Iterable[float]) -> bool:
    """Return whether all numbers are finite in float32, tested by their sum."""
    return -MOST < sum(values) < MOST


def identifiers(values: list[Any]) -> NDArray[np.int64] | pa.StringArray:
    """Return ids as the store's writer takes them: integers if all are, else strings.

    Parameters
    ----------
    values
        Integers, strings, or both.
    """
    if set(map(type, values)) == {int} and min(values) >= 0 and max(values) < LARGEST:
        return np.array(values, dtype=np.int64)
    return pa.array(list(map(str, values)), type=pa.string())
