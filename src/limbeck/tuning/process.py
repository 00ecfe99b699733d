"""The process of a trial: ``limbeck train`` in its own session, which ends when its parent is gone."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from limbeck.processes import naming_this

TAKE_DEVICE = "LIMBECK_TAKE_DEVICE"
"""Environment variable of a trial that should get a GPU which no other trial or sweep has."""

_GRACE = 20.0
"""Seconds from SIGTERM, which ends a training after the current batch, to SIGKILL."""
_NAME = "limbeck: "
"""Beginning of the line that explains a failure."""


class Process:
    """One training in a process.

    Parameters
    ----------
    module
        Module to run with ``python -m``; it calls ``limbeck.processes.end_with_parent``.
    words
        Its arguments.
    log
        File for its output.
    environment
        Variables added to this process's own.
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
        """End the training and all its child processes: first with SIGTERM, then with SIGKILL."""
        for number, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
            if self._process.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def message(self) -> str:
        """Return why it failed: the error it explained, else its last line."""
        return said(self._log, self._process.returncode)


def said(log: Path, status: int | None) -> str:
    """Return the error that a failed process explained in its log, else its last line."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    explained = [number for number, line in enumerate(lines) if line.startswith(_NAME)]
    if explained:
        return "\n".join(lines[explained[-1] :]).removeprefix(_NAME)
    return f"exit status {status}: {lines[-1] if lines else 'no output'} (see {log})"


def environment(workers: int) -> dict[str, str]:
    """Return a trial's environment variables: of several trials at once, each takes one GPU or a share of threads.

    Parameters
    ----------
    workers
        Number of trials at once.
    """
    if workers == 1:
        return {}
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    return {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads), TAKE_DEVICE: "1"}
