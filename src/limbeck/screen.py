"""Print tables to standard output or, in a call from Python, into the result."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from rich.console import Console

WIDTH = 160
"""Width of lines in a log or file; a terminal has its own."""

_FORMAT = '<pre style="line-height: normal; overflow-x: auto">{code}</pre>'


class Shown:
    """Printed output that can be shown again: as text, as HTML, on a terminal."""

    def __init__(self) -> None:
        self._calls: list[tuple[tuple[Any, ...], dict[str, Any], bool]] = []

    def add(self, things: tuple[Any, ...], options: dict[str, Any], soft_wrap: bool) -> None:
        """Record the arguments of a console's ``print``."""
        self._calls.append((things, options, soft_wrap))

    def on(self, console: Console) -> None:
        """Show everything on a console."""
        for things, options, soft_wrap in self._calls:
            console.print(*things, **{"soft_wrap": soft_wrap, **options})

    def text(self) -> str:
        """Return the output as a command writes it into a file."""
        console = Console(file=io.StringIO(), width=WIDTH, force_jupyter=False)
        with console.capture() as written:
            self.on(console)
        return written.get().strip("\n")

    def html(self) -> str:
        """Return the output as HTML for a notebook."""
        console = Console(file=io.StringIO(), width=WIDTH, record=True, force_jupyter=False)
        self.on(console)
        return console.export_html(inline_styles=True, code_format=_FORMAT)


class _Recording(Console):
    def __init__(self, shown: Shown, soft_wrap: bool) -> None:
        super().__init__(file=io.StringIO(), width=WIDTH, soft_wrap=soft_wrap, force_jupyter=False)
        self._shown = shown

    def print(self, *objects: Any, **options: Any) -> None:
        self._shown.add(objects, options, self.soft_wrap)


_recording: ContextVar[Shown | None] = ContextVar("recording", default=None)


@contextmanager
def recorded() -> Iterator[Shown]:
    """Record output instead of printing it, in this context."""
    shown = Shown()
    token = _recording.set(shown)
    try:
        yield shown
    finally:
        _recording.reset(token)


def console(*, soft_wrap: bool = False) -> Console:
    """Return the console on which tables are printed.

    Parameters
    ----------
    soft_wrap
        Do not wrap long lines, so that they can be copied.
    """
    shown = _recording.get()
    if shown is not None:
        return _Recording(shown, soft_wrap)
    found = Console(soft_wrap=soft_wrap)
    if not found.is_terminal:
        found.width = WIDTH
    return found
