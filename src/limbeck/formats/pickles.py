"""Read a pickle without trusting it: it can build dictionaries, texts and numbers, and nothing else.

A pickle is a program. It imports classes and functions only through ``find_class``, which is disabled here; so it
cannot call anything, and can only build plain values, whose types are checked before use.

It is read some queries at a time, since Python's pickler writes a dictionary in groups of a thousand items: 160 million
pairs at once would take 24 GB. Only the pure-Python unpickler can be interrupted like this; it is as fast as the one in
C, as numbers, which are nearly all of such a file, are read in bulk.
"""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from limbeck.config import ConfigError
from limbeck.formats.files import opened
from limbeck.formats.pickle_remedies import of_classes, of_shape
from limbeck.progress import Step

_DANGEROUS = "Do not load it with anything else; ask for the scores as TSV, JSONL or Parquet (format=table)"

_PAIR = np.dtype([("int", "u1"), ("document", "<i4"), ("float", "u1"), ("score", ">f8")])
"""Opcodes in a pickle that push an integer below 2³¹ and then a score: BININT and BINFLOAT."""

_RUN = 256
"""Number of pairs tested at once."""

_GIVEN = object()
"""Key that marks a query's documents as yielded, in case the pickle refers to them again."""


class _Refused(pickle.UnpicklingError):
    pass


class _Some(Exception):  # noqa: N818 - no error
    """Raised when some items of the outer dictionary are complete."""


_Reader: Any = vars(pickle)["_Unpickler"]
"""The pure-Python unpickler; the one in C cannot be interrupted."""


class _Plain(_Reader):
    """Stops whenever some items of the outer dictionary are complete."""

    def find_class(self, module: str, name: str, /) -> NoReturn:
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, pid: Any, /) -> NoReturn:
        raise _Refused(f"the persistent object {pid!r}")

    def go_on(self) -> Any:
        """Continue after a stop; return the pickle's object, which should be the outer dictionary."""
        read, dispatch = self.read, self.dispatch
        try:
            while code := read(1):
                dispatch[code[0]](self)
        except pickle._Stop as stop:  # pyright: ignore[reportAttributeAccessIssue]
            return stop.value
        raise EOFError

    def load_setitems(self) -> None:
        items = self.pop_mark()
        found = self.stack[-1]
        if type(found) is not dict:
            raise pickle.UnpicklingError(f"items for a {type(found).__name__}")
        found.update(zip(items[::2], items[1::2], strict=True))
        if not self.metastack and len(self.stack) == 1:
            raise _Some

    def load_binfloat(self) -> None:
        super().load_binfloat()
        frame = self._unframer.current_frame
        if frame is None:  # protocols before 4 have no frames
            return
        start = frame.tell()
        with frame.getbuffer() as content:
            there = min(_RUN, (len(content) - start) // _PAIR.itemsize)
            if not there or content[start] != pickle.BININT[0]:
                return
            pairs = np.frombuffer(content, _PAIR, there, start).copy()
        others = np.flatnonzero((pairs["int"] != pickle.BININT[0]) | (pairs["float"] != pickle.BINFLOAT[0]))
        count = int(others[0]) if len(others) else there
        pushed: list[Any] = [None] * (2 * count)
        pushed[::2], pushed[1::2] = pairs["document"][:count].tolist(), pairs["score"][:count].tolist()
        self.stack.extend(pushed)
        frame.seek(start + count * _PAIR.itemsize)

    dispatch: ClassVar[dict[int, Any]] = {
        **_Reader.dispatch,
        pickle.SETITEMS[0]: load_setitems,
        pickle.BINFLOAT[0]: load_binfloat,
    }


def items(path: Path) -> Iterator[tuple[Any, Any]]:
    """Yield the items of the dictionary in a pickle, which may be compressed.

    Raises
    ------
    ConfigError
        The pickle tries to build something other than plain values (the message names it), is no dictionary, or is
        damaged.
    """
    empty = True
    with (
        path.open("rb") as raw,
        opened(path, raw) as file,
        Step(f"reading {path.name}", path.stat().st_size, "B") as step,
    ):
        for found in _stops(_Plain(file), path):
            remedy = of_shape(path, found) if empty and found else None
            if type(found) is not dict or remedy:
                raise ConfigError(
                    f"{path}: refused: the pickle holds a {type(found).__name__}, where a dictionary "
                    f"{{query: {{document: score}}}} should be. {remedy or ''}".rstrip()
                )
            empty = empty and not found
            yield from _taken(found, path)
            step.advance(raw.tell() - step.done)
    if empty:
        raise ConfigError(f"{path}: the file is empty")


def _stops(reader: _Plain, path: Path) -> Iterator[Any]:
    """Yield the outer dictionary whenever some items are complete, and at the end the pickle's object."""
    go_on = reader.load
    while True:
        try:
            found = go_on()
        except _Some:
            yield reader.stack[0]
            go_on = reader.go_on
        except _Refused as error:
            raise ConfigError(
                f"{path}: refused: the pickle wants to use {error}, where there should be nothing but dictionaries, "
                f"texts and numbers. {of_classes(path) or _DANGEROUS}"
            ) from None
        except Exception as error:  # a damaged pickle can raise anything
            raise ConfigError(f"{path}: this is neither Parquet nor a whole pickle ({error})") from error
        else:
            yield found
            return


def _taken(found: dict[Any, Any], path: Path) -> Iterator[tuple[Any, Any]]:
    """Yield the items of a dictionary and empty it, because the unpickler keeps every object it builds."""
    for query, documents in found.items():
        if type(documents) is not dict:
            yield query, documents
        elif _GIVEN in documents:
            raise ConfigError(
                f"{path}: query {query!r} shares its documents with a much earlier query; write the scores as TSV, "
                "JSONL or Parquet (format=table)"
            )
        else:
            yield query, documents.copy()
    for documents in found.values():
        if type(documents) is dict:
            documents.clear()
            documents[_GIVEN] = None
    found.clear()
