"""Work that overlaps: the next piece is prepared while one is used."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")
_END = object()


def ahead(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield pieces in order; a second thread makes the next one while the caller uses one.

    At most two are held at a time. An error in making a piece is raised where the piece is due.
    """
    stream = iter(pieces)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, stream, _END)
        while (piece := coming.result()) is not _END:
            coming = pool.submit(next, stream, _END)
            yield piece  # pyright: ignore[reportReturnType]
