"""A trial on a Ray cluster: its process on whatever node Ray chooses, seen from here like one of this machine."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.launchers.place import Place
from limbeck.launchers.ray import Ray
from limbeck.tuning.process import Process, said

_POLL = 0.2
"""Seconds between looks at the process, on its node."""


class RayProcess:
    """One training at work somewhere on a cluster; what ``limbeck.tuning.process.Process`` is here.

    The parameters are those of that class, behind the launcher, which must be connected. A trial has the devices that
    Ray gives it.
    """

    def __init__(self, launcher: Ray, module: str, words: Sequence[str], log: Path) -> None:
        self._log = log.absolute()
        _mark(self._log).unlink(missing_ok=True)
        self._task = launcher.task(_trial).remote(module, list(words), self._log, Place.here())
        self._status: int | None = None
        self._lost = ""

    def status(self) -> int | None:
        """Return the exit status; None while it runs, or waits for its place."""
        import ray
        from ray.exceptions import RayError

        if self._status is None and ray.wait([self._task], timeout=0)[0]:
            try:
                self._status = ray.get(self._task)
            except RayError as error:  # more nodes have died than it was to be placed again
                self._status, self._lost = 1, f"Ray: {type(error).__name__}"
        return self._status

    def stop(self) -> None:
        """End it, with all that it has started, and wait until it has ended."""
        import ray

        self._log.parent.mkdir(parents=True, exist_ok=True)
        _mark(self._log).touch()  # Ray's own interruption would count as ended before the process has
        if not self._log.exists():  # it waits for its place
            ray.cancel(self._task)
        while self.status() is None:
            ray.wait([self._task], timeout=_POLL)
        _mark(self._log).unlink(missing_ok=True)

    def message(self) -> str:
        """Return why it failed: what it explained, else its last words."""
        return self._lost or said(self._log, self._status)


def _mark(log: Path) -> Path:
    """Return the file whose presence ends a trial; it lies beside the log, where all nodes see it."""
    return log.with_suffix(".stop")


def _trial(module: str, words: list[str], log: Path, place: Place) -> int:
    """Run a trial's process in a task of Ray."""
    place.enter()
    process: Any = Process(module, words, log, {})
    try:
        while process.status() is None and not _mark(log).exists():
            time.sleep(_POLL)
    finally:
        process.stop()
    return process.status()
