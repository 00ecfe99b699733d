"""How far long work on many texts is."""

import logging
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

log = logging.getLogger(__name__)

_TELL_EVERY = 30.0
"""Seconds between two lines of progress in a log."""

Piece = TypeVar("Piece", bound=Sized)


def show(pieces: Iterable[Piece], total: int, what: str) -> Iterator[Piece]:
    """Show a progress bar on a terminal; in a log, a line every half minute.

    Parameters
    ----------
    pieces
        Work, piece by piece; the length of a piece is the number of texts in it.
    total
        Texts in all.
    what
        What is done to them.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            for piece in pieces:
                yield piece
                bar.advance(task, len(piece))
        return
    start = last = time.monotonic()
    done = 0
    for piece in pieces:
        yield piece
        done += len(piece)
        now = time.monotonic()
        if now - last > _TELL_EVERY and done:
            last, left = now, max(0, total - done) * (now - start) / done
            log.info("%s: %d %%, %.0f/s, %.0f s left", what, 100 * done / total, done / (now - start), left)
