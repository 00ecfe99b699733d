"""A trial on a Ray cluster: a process on any node, with the interface of a local one."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.launchers.place import Place
from limbeck.launchers.ray import Ray
from limbeck.tuning.process import Process, said

_POLL = 0.2
"""Seconds between checks of the process, on its node."""


class RayProcess:
    """One training on a cluster, with the interface of ``limbeck.tuning.process.Process``.

    The parameters are those of that class, after the launcher, which must be connected. A trial gets its devices from
    Ray.
    """

    def __init__(self, launcher: Ray, module: str, words: Sequence[str], log: Path) -> None:
        self._log = log.absolute()
        _mark(self._log).unlink(missing_ok=True)
        self._task = launcher.task(_trial).remote(module, list(words), self._log, Place.here())
        self._status: int | None = None
        self._lost = ""

    def status(self) -> int | None:
        """Return the exit status; None while it is running or queued."""
        import ray
        from ray.exceptions import RayError

        if self._status is None and ray.wait([self._task], timeout=0)[0]:
            try:
                self._status = ray.get(self._task)
            except RayError as error:  # more nodes have died than it may be restarted
                self._status, self._lost = 1, f"Ray: {type(error).__name__}"
        return self._status

    def stop(self) -> None:
        """End the training and all its child processes, and wait until they have ended."""
        import ray

        self._log.parent.mkdir(parents=True, exist_ok=True)
        _mark(self._log).touch()  # after Ray's own interruption the trial would count as ended before its process has
        if not self._log.exists():  # it is queued
            ray.cancel(self._task)
        while self.status() is None:
            ray.wait([self._task], timeout=_POLL)
        _mark(self._log).unlink(missing_ok=True)

    def message(self) -> str:
        """Return why it failed: the error it explained, else its last line."""
        return self._lost or said(self._log, self._status)


def _mark(log: Path) -> Path:
    """Return the file that ends a trial when it exists; next to the log, where all nodes see it."""
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
