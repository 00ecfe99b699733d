"""The process of a trial: ``limbeck train`` in a session of its own, which ends when its parent is gone."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from limbeck.processes import naming_this

TAKE_DEVICE = "LIMBECK_TAKE_DEVICE"
"""Environment variable of a trial that shall have one GPU, and one that no other trial or sweep has."""

_GRACE = 20.0
"""Seconds from SIGTERM, which ends a training after the batch in hand, to SIGKILL."""
_NAME = "limbeck: "
"""What the line that explains a failure begins with."""


class Process:
    """One training at work.

    Parameters
    ----------
    module
        What is run with ``python -m``; it calls ``limbeck.processes.end_with_parent``.
    words
        Its arguments.
    log
        File for what it says.
    environment
        Variables beside this process's own.
    """

    def __init__(self, module: str, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **environment, **naming_this()},
            )

    def status(self) -> int | None:
        """Return the exit status; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it, with all that it has started: politely, then for certain."""
        for number, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
            if self._process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def message(self) -> str:
        """Return why it failed: what it explained, else its last words."""
        return said(self._log, self._process.returncode)


def said(log: Path, status: int | None) -> str:
    """Return what a process that failed explained in its log, else its last words."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    explained = [number for number, line in enumerate(lines) if line.startswith(_NAME)]
    if explained:
        return "\n".join(lines[explained[-1] :]).removeprefix(_NAME)
    return f"exit status {status}: {lines[-1] if lines else 'it said nothing'} (see {log})"


def environment(workers: int) -> dict[str, str]:
    """Return a trial's environment variables: with several at once, each takes one GPU or a share of the threads.

    Parameters
    ----------
    workers
        How many are at work at once.
    """
    if workers == 1:
        return {}
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads), TAKE_DEVICE: "1"}
