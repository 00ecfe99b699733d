"""Prepare the next piece of work while the current one is used."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")
_END = object()


def ahead(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield pieces in order; a second thread prepares the next one while the caller uses the current one.

    At most two pieces exist at a time. An error in preparing a piece is raised when that piece is due.
    """
    stream = iter(pieces)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, stream, _END)
        while (piece := coming.result()) is not _END:
            coming = pool.submit(next, stream, _END)
            yield piece  # pyright: ignore[reportReturnType]
