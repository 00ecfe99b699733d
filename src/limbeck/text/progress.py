"""How far long work on many texts is."""

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

log = logging.getLogger(__name__)

_WAIT = 1.0
"""Seconds before a bar appears: what takes no longer needs none."""

_TELL_EVERY = 30.0
"""Seconds between two lines of progress in a log."""

_drawn = True
"""Whether this process may draw bars; jobs that share a terminal must not."""

Piece = TypeVar("Piece", bound=Sized)


def draw_bars(drawn: bool) -> None:
    """Let this process draw progress bars, where it has a terminal, or keep it from that."""
    global _drawn
    _drawn = drawn
    if not drawn:
        os.environ["TQDM_DISABLE"] = "1"  # the bars of ir_datasets


def draws_bars() -> bool:
    """Return whether progress is shown by bars; else it is logged."""
    return _drawn and (sys.stderr.isatty() or sys.stdout.isatty())


def duration(seconds: float) -> str:
    """Return a time in words.

    Examples
    --------
    >>> [duration(each) for each in (42.4, 600, 86400)]
    ['42 s', '10 min', '24.0 h']
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show(pieces: Iterable[Piece], total: int | None, what: str) -> Iterator[Piece]:
    """Show a progress bar on terminals and in notebooks after a second of work; in a log, a line every half minute.

    Parameters
    ----------
    pieces
        Work, piece by piece; the length of a piece is the number of texts in it.
    total
        Texts in all; None if that is not known.
    what
        What is done to them.
    """
    console = _console() if _drawn else None
    return _in_log(pieces, total, what) if console is None else _on_screen(pieces, total, what, console)


def _console() -> Console | None:
    """Return where a bar can be drawn; None where standard error is a file or a pipe."""
    console = Console(stderr=True)
    if console.is_jupyter:  # rich's own bars need ipywidgets there; one line of text that is drawn again does not
        return Console(stderr=True, force_jupyter=False, force_terminal=True)
    return console if console.is_terminal else None


def _on_screen(pieces: Iterable[Piece], total: int | None, what: str, console: Console) -> Iterator[Piece]:
    bar, start = Progress(console=console, transient=True), time.monotonic()
    task = bar.add_task(what, total=total)
    try:
        for piece in pieces:
            yield piece
            bar.advance(task, len(piece))
            if not bar.live.is_started and time.monotonic() - start > _WAIT:
                bar.start()
    finally:
        if bar.live.is_started:
            bar.stop()


def _in_log(pieces: Iterable[Piece], total: int | None, what: str) -> Iterator[Piece]:
    start = last = time.monotonic()
    done = 0
    for piece in pieces:
        yield piece
        done += len(piece)
        now = time.monotonic()
        if now - last > _TELL_EVERY and done:
            last, rate = now, done / (now - start)
            if total is None:
                log.info("%s: %s, %.0f/s", what, f"{done:,}", rate)
            else:
                left = max(0, total - done) / rate
                log.info("%s: %d %%, %.0f/s, %s left", what, 100 * done / total, rate, duration(left))
