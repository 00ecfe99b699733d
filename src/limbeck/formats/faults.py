"""Malformed lines: raise at the first one, or leave them out, count them and remember their places."""

import bisect
import threading
from pathlib import Path
from typing import Any, Literal

from limbeck.config import ConfigError

OnError = Literal["error", "skip"]

_REMEMBERED = 5
_QUOTED = 160


class Faults:
    """Malformed lines of one import. Several threads may add lines at once.

    Parameters
    ----------
    on_error
        ``error`` raises at the first malformed line, ``skip`` leaves it out and counts it.

    Raises
    ------
    ValueError
        ``on_error`` is neither.
    """

    def __init__(self, on_error: OnError = "error") -> None:
        if on_error not in ("error", "skip"):
            raise ValueError(f"on_error must be error or skip, got {on_error!r}")
        self.count = 0
        self._on_error = on_error
        self._first: list[tuple[str, int, str]] = []
        self._lock = threading.Lock()

    def add(self, path: Path, line: int, problem: str, *, text: str | bytes = "", expects: str = "") -> None:
        """Record a malformed line.

        Parameters
        ----------
        path
            The file.
        line
            Number of the line, from 1.
        problem
            What is wrong with the line.
        text
            The line itself.
        expects
            The expected format.

        Raises
        ------
        ConfigError
            With ``on_error=error``: file, line, problem and expected format.
        """
        if self._on_error == "error":
            lines = [f"{path}:{line}: {problem}"]
            if text:
                lines.append(f"it reads: {_quoted(text)}")
            if expects:
                lines.append(f"it should be: {expects}")
            raise ConfigError("\n".join([*lines, "on_error=skip leaves such lines out and counts them"]))
        with self._lock:
            self.count += 1
            bisect.insort(self._first, (str(path), line, problem))
            del self._first[_REMEMBERED:]

    @property
    def places(self) -> list[str]:
        """The first few malformed lines, as ``FILE:LINE: problem``."""
        return [f"{path}:{line}: {problem}" for path, line, problem in self._first]

    def notes(self) -> dict[str, Any]:
        """Return entries about malformed lines for a store's ``meta.json``."""
        return {"skipped": self.count, "skipped_first": self.places}


def _quoted(text: str | bytes) -> str:
    if isinstance(text, bytes):
        text = text.decode("utf-8", errors="backslashreplace")
    text = text.rstrip("\r\n")
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…")
