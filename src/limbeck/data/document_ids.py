"""The ids of all documents of a collection: one memory-mapped file, read on access.

Millions of ids as Python strings take a minute to read and a gigabyte of memory in each process. Here they are read and
checked once; opening the file takes milliseconds, and processes share its pages.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from limbeck.artefacts import write_json
from limbeck.config import ConfigError
from limbeck.progress import show
from limbeck.scores.keys import ID, pc

_IDS, _CHECKS = "ids.arrow", "checks.json"

_BLOCK = 65_536
"""Ids that are Python strings at the same time."""

_WHITE = re.compile(r"[ \t\n\v\f\r]")
"""Characters that separate the columns of a run file."""


class DocumentIds(Sequence[str]):
    """The ids that ``write`` wrote into a folder.

    Pickling stores only the path; the other process maps the file itself.

    Parameters
    ----------
    folder
        The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with pa.memory_map(str(folder / _IDS)) as file, pa.ipc.open_file(file) as reader:
            self._array: Any = reader.get_batch(0).column(0)

    def __reduce__(self) -> tuple[Any, ...]:
        return DocumentIds, (self._folder,)

    def __len__(self) -> int:
        return len(self._array)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return _strings(self._array[place])
        return self._array[place].as_py()

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BLOCK):
            yield from self[start : start + _BLOCK]

    def __contains__(self, identifier: object) -> bool:
        return isinstance(identifier, str) and bool(self.known([identifier]))

    def take(self, places: NDArray[np.integer[Any]]) -> list[str]:
        """Return the ids at the given positions."""
        return _strings(self._array.take(pa.array(places)))

    def known(self, identifiers: Iterable[str]) -> set[str]:
        """Return the given ids that are in the collection, in one pass."""
        wanted = pa.array(list(identifiers), type=ID)
        return set(_strings(self._array.filter(pc.is_in(self._array, value_set=wanted))))

    def unknown(self, columns: Sequence[Any]) -> set[str]:
        """Return the ids in some columns that are not in the collection, in one pass."""
        asked = pa.chunked_array([pc.unique(column).cast(ID) for column in columns], type=ID).unique()
        there = pc.is_in(self._array, value_set=asked)
        if pc.sum(there).as_py() == len(asked):  # ids are distinct
            return set()
        return set(_strings(asked)).difference(_strings(self._array.filter(there)))

    @property
    def unfit(self) -> str | None:
        """The first id that is empty or has white space, which a TREC run cannot hold; None if there is none."""
        return json.loads((self._folder / _CHECKS).read_text(encoding="utf-8"))["unfit"]


def write(folder: Path, identifiers: Iterable[str], place: str, total: int | None) -> None:
    """Write ids into an empty folder, in blocks: besides the ids, memory grows by 16 bytes per id.

    Parameters
    ----------
    folder
        Output folder.
    identifiers
        Ids in the order of the collection.
    place
        Source of the ids, for messages.
    total
        Estimated number of ids, for the progress bar; None if it is unknown.

    Raises
    ------
    ConfigError
        There are no ids, or one appears twice.
    """
    stream = iter(identifiers)
    arrays: list[pa.Array] = []
    hashes: list[NDArray[np.int64]] = []
    unfit: str | None = None
    for block in show(iter(lambda: list(islice(stream, _BLOCK)), []), total, f"ids of {place}", "documents"):
        arrays.append(pa.array(block, type=ID))
        hashes.append(np.fromiter(map(hash, block), np.int64, len(block)))
        if unfit is None:
            unfit = first_unfit(block)
    if not arrays:
        raise ConfigError(f"{place}: there are no documents")
    _refuse_twice(arrays, np.concatenate(hashes), place)
    batch = pa.record_batch([pa.concat_arrays(arrays)], names=["id"])
    with pa.OSFile(str(folder / _IDS), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    write_json(folder / _CHECKS, {"unfit": unfit})


def first_unfit(identifiers: Sequence[str]) -> str | None:
    """Return the first id that is empty or has white space; None if there is none."""
    if "" in identifiers or _WHITE.search("".join(identifiers)):
        return next(name for name in identifiers if not name or _WHITE.search(name))
    return None


def _refuse_twice(arrays: Sequence[pa.Array], hashes: NDArray[np.int64], place: str) -> None:
    """Raise for an id that appears twice. Compare hashes first: a set of all ids takes as much memory as they do."""
    hashes.sort()
    if (hashes[1:] != hashes[:-1]).all():
        return
    counts = Counter(name for array in arrays for name in _strings(array))
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise ConfigError(f"{place}: document {twice!r} appears twice; ids must differ")


def _strings(array: Any) -> list[str]:
    return array.to_numpy(zero_copy_only=False).tolist()
