"""What a format is: files in, blocks of scored pairs out; and what formats share."""

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
"""Parses one chunk when it is called, in a thread of the store's writer."""

MOST = float(np.finfo(np.float32).max)
"""The largest score: one beyond it would become infinite where scores are read."""


class Source(NamedTuple):
    """Whose scores a file holds, as far as the format can tell."""

    teacher: str | None
    kind: Kind


class Format(ABC):
    """A public format of teacher scores.

    Parameters
    ----------
    store
        Folder of the store in the making. A format may write files into it or beside it.
    """

    teacher: str | None = None
    """Who scored the published file of the format."""
    kind: Kind = "unknown"
    """What the scores of the published file are."""
    scale: float | None = None
    """Factor that they were multiplied by, as in ``Provenance``."""
    published: tuple[str, ...] = ("",)
    """What the path of the published file has in it: one of these. A file of another path may be anybody's: whose
    scores it holds, and what they are, is for the user to say."""
    expects: str
    """What a line looks like, for messages."""
    collection: Path | None = None
    """Folder that the texts of the files are written to as a collection; None where there are none."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def source(self, paths: Sequence[Path]) -> Source:
        """Return the teacher and the kind of the scores; None and ``unknown`` where the files do not say.

        Parameters
        ----------
        paths
            Files that exist, in order.
        """
        places = [str(path.absolute()).lower() for path in paths]
        if all(any(name.lower() in place for name in self.published) for place in places):
            return Source(self.teacher, self.kind)
        return Source(None, "unknown")

    @abstractmethod
    def blocks(self, paths: Sequence[Path], faults: Faults) -> Iterator[Thunk]:
        """Yield what parses the files, a chunk at a time.

        Parameters
        ----------
        paths
            Files that exist, in order.
        faults
            Records malformed lines; those it does not refuse are left out.
        """

    def finish(self) -> dict[str, Any]:
        """Finish after the last block; return what the store's ``meta.json`` is to tell besides."""
        return {}


def number(text: str) -> float:
    """Return a finite number.

    Raises
    ------
    ValueError
        It is none.
    """
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is no finite number")
    return value


def finite(values: Iterable[float]) -> bool:
    """Return whether all numbers are finite and fit float32: one that does not spoils the sum."""
    return -MOST < sum(values) < MOST


def identifiers(values: list[Any]) -> NDArray[np.int64] | pa.StringArray:
    """Return ids as the store's writer takes them: numbers if all are, else strings.

    Parameters
    ----------
    values
        Whole numbers, strings, or both.
    """
    if set(map(type, values)) == {int} and min(values) >= 0 and max(values) < LARGEST:
        return np.array(values, dtype=np.int64)
    return pa.array(list(map(str, values)), type=pa.string())
