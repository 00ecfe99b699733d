"""Progress of long work: on a terminal a line that is redrawn, in a log a line per minute; with rate and time left.

Every step that may be long is a ``Step``, or its pieces pass through ``show``. A step shorter than ten seconds shows
nothing. A step that will take more than a minute is announced after its first second, in one line with the memory and
the disk space that it needs.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from itertools import islice
from typing import Self, TypeVar

from limbeck.amounts import amount, bytes_of, duration, number
from limbeck.bar import Bar
from limbeck.bar import console as _console

log = logging.getLogger(__name__)

BRIEF = 10.0
"""A step shows nothing before this many seconds."""

EVERY = 60.0
"""Seconds between two lines in a log, and shortest duration of a step that is announced."""

_FIRST = 1.0
"""Seconds of work after which the rate is reliable."""

_AGAIN = 0.2
"""Seconds between two full checks of the time."""

_BLOCK = 4096
"""Items of a stream between two checks."""

clock: Callable[[], float] = time.monotonic

_lock = threading.RLock()
_running: "list[Step]" = []
"""Running steps, the innermost last; only that one reports."""
_open: "list[Step]" = []
"""Running steps and those with ``part`` within them, the innermost last."""
_listener: "Callable[[str, float, int | None], None] | None" = None
"""Called with the progress of the innermost step, whenever it may be shown."""
_drawn = True
"""Whether this process may draw bars; jobs that share a terminal must not."""

Piece = TypeVar("Piece", bound=Sized)
Item = TypeVar("Item")


def draw_bars(drawn: bool) -> None:
    """Allow or forbid this process to draw progress bars on a terminal."""
    global _drawn
    _drawn = drawn
    if not drawn:
        os.environ["TQDM_DISABLE"] = "1"


@contextmanager
def reporting_to(listener: Callable[[str, float, int | None], None]) -> Iterator[None]:
    """Report progress to a function in this context.

    Parameters
    ----------
    listener
        Called now and then, by the working thread, with the step's label, the units done, and the total.
    """
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


def quiet_others() -> None:
    """Switch other libraries' bars off if standard error is a file or a pipe, which they would fill with one long line.

    Must be called before these libraries are imported.
    """
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")


def draws_bars() -> bool:
    """Return whether progress is shown by bars; otherwise it is logged."""
    return _drawn and (sys.stderr.isatty() or sys.stdout.isatty())


class Step:
    """A step that may be long; a context that is entered when the step begins.

    Only the innermost running step reports, and its time does not count for the others.

    Parameters
    ----------
    label
        What is done; begins the line.
    total
        Estimated number of units; None if it is unknown.
    unit
        Unit in the plural; ``B`` for bytes.
    part
        Within another step or a part of one, show nothing and count the work as a share of that step's current piece.
        Used for encoding a block of a collection.
    needs
        Returns the needed memory and disk space in words (see ``limbeck.room``), or an empty text as long as they are
        unknown. Called when the step is announced, and again until there is an answer.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        unit: str = "texts",
        *,
        part: bool = False,
        needs: Callable[[], str] | None = None,
    ) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done: float = 0
        self._part, self._needs = part, needs
        self._outer: Step | None = None
        self._piece, self._within = 0, 0.0
        self._parts, self._ended = 1, 0
        self._estimated = False
        self._line: float | None = None
        self._bar: Bar | None = None
        self._start = self._next = 0.0

    def __enter__(self) -> Self:
        with _lock:
            if self._part and _open:
                self._outer = _open[-1]
            else:
                _running.append(self)
            _open.append(self)
            self._start = clock()
            self._next = self._start + _FIRST
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with _lock:
            _open.remove(self)
            if self._outer is not None:
                self._outer._ended += 1
                return
            _running.remove(self)
            drawn = self._bar is not None
            self._erase()
            seconds = clock() - self._start
            for other in _running:
                other._start += seconds
                other._next += seconds
            if self._line is not None and kind is None:
                size, rate = amount(self.done, self.unit), self._rate(self.done, seconds)
                log.info("%s: %s in %s, %s", self.label, size, duration(seconds), rate, extra={"drawn": drawn})

    def begin(self, size: int, parts: int = 1) -> None:
        """Begin a piece; steps within this one may report a share of it as done.

        Parameters
        ----------
        size
            Number of units in the piece.
        parts
            Number of steps within it, of about the same length.
        """
        with _lock:
            self._piece, self._within = size, 0.0
            self._parts, self._ended = parts, 0

    def advance(self, count: float) -> None:
        """Count finished units, and report if it is time."""
        with _lock:
            self.done += count
            self._piece, self._within = 0, 0.0
            self._look()

    def _look(self) -> None:
        if self._outer is not None:
            if self.total:
                self._outer._is_at(min(1.0, self._so_far() / self.total))
            self._outer._look()
            return
        now = clock()
        if now < self._next or _running[-1:] != [self]:
            return
        self._next = now + _AGAIN
        done, seconds = self._so_far(), now - self._start
        if _listener is not None:
            _listener(self.label, done, self.total)
        if done <= 0:
            return
        left = None if self.total is None else max(0.0, self.total - done) * seconds / done
        if not self._estimated:
            self._estimated = True
            if left is not None and seconds + left > EVERY:
                self._estimate(seconds + left)
            else:
                self._needs = None
        elif self._needs is not None and (needs := self._needs()):
            self._needs = None
            log.info("%s: needs %s", self.label, needs)
        if seconds >= BRIEF or (left is not None and seconds + left >= BRIEF):
            self._draw(done, seconds, left)
        if seconds >= BRIEF and (self._line is None or now - self._line >= EVERY):
            self._line = now
            text = self._text(done, seconds, left)
            log.info("%s: %s", self.label, text, extra={"drawn": self._bar is not None})

    def _is_at(self, share: float) -> None:
        """Update the progress of the running part."""
        self._within = max(self._within, min(1.0, (self._ended + share) / self._parts))

    def _so_far(self) -> float:
        """Return the units done, with the finished share of the current piece."""
        return self.done + self._piece * self._within

    def _estimate(self, seconds: float) -> None:
        needs = "" if self._needs is None else self._needs()
        self._needs = None if needs else self._needs
        size = amount(self.total or 0, self.unit)
        log.info("%s: %s, about %s%s", self.label, size, duration(seconds), needs and f", {needs}")

    def _text(self, done: float, seconds: float, left: float | None) -> str:
        rate = self._rate(done, seconds)
        if self.total is None or left is None:
            return f"{amount(done, self.unit)}, {rate}"
        share = min(100, int(100 * done / max(1, self.total)))
        return f"{share} % of {amount(self.total, self.unit)}, {rate}, {duration(left)} left"

    def _rate(self, done: float, seconds: float) -> str:
        rate = done / max(seconds, 1e-9)
        return f"{bytes_of(rate)}/s" if self.unit == "B" else f"{number(rate)} {self.unit}/s"

    def _draw(self, done: float, seconds: float, left: float | None) -> None:
        for other in _running[:-1]:
            other._erase()
        if self._bar is None:
            console = _console() if _drawn else None
            if console is None:
                return
            self._bar = Bar(console, self.label, self.total)
        self._bar.draw(done, self._text(done, seconds, left))

    def _erase(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def show(
    pieces: Iterable[Piece],
    total: int | None,
    label: str,
    unit: str = "texts",
    *,
    part: bool = False,
    needs: Callable[[], str] | None = None,
) -> Iterator[Piece]:
    """Pass pieces on and report the progress; the length of a piece is its number of units.

    The other parameters are those of ``Step``.
    """
    with Step(label, total, unit, part=part, needs=needs) as step:
        for piece in pieces:
            step.begin(len(piece))
            yield piece
            step.advance(len(piece))


def reported(
    items: Iterable[Item], total: int | None, label: str, unit: str, *, part: bool = False, block: int = _BLOCK
) -> Iterator[Item]:
    """Pass the items of a long stream on and report the progress; ``block`` items are read and counted at once."""
    stream = iter(items)
    for some in show(iter(lambda: list(islice(stream, block)), []), total, label, unit, part=part):
        yield from some


def not_drawn(record: logging.LogRecord) -> bool:
    """Return whether a log line is not also shown by a bar; a filter for handlers that write to the terminal."""
    return not getattr(record, "drawn", False)
