"""Show the progress of a sweep: a live line on a terminal, else a line per run."""

import logging
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from limbeck.amounts import duration
from limbeck.reporting.terminal import metrics_of

log = logging.getLogger(__name__)


class Job(Protocol):
    """A job of a sweep."""

    folder: Any
    """Its run folder; None where the configuration is impossible."""
    outcome: dict[str, Any]
    """Empty until it has ended."""

    @property
    def number(self) -> int:
        """Position in the sweep."""
        ...

    @property
    def name(self) -> str:
        """The overrides that distinguish it from the others."""
        ...


class Watch:
    """Logs the progress of a sweep; a context.

    Parameters
    ----------
    runs
        All runs of the sweep; their ``outcome`` is filled in when they end.
    live
        Keep a line on the terminal up to date; only if no job draws on it.
    """

    def __init__(self, runs: Sequence[Job], *, live: bool) -> None:
        self._runs = runs
        self._start = time.monotonic()
        self._before = sum(bool(run.outcome) for run in runs)
        console = Console(file=sys.stderr)
        self._live = (
            Live(get_renderable=lambda: Text(self.line()), console=console, refresh_per_second=1, transient=True)
            if live and console.is_terminal
            else None
        )

    def __enter__(self) -> "Watch":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def ended(self, run: Job) -> None:
        """Log how a run has ended, and the progress of the sweep."""
        error = run.outcome.get("error")
        if error is not None:
            log.error("[%d] %s failed: %s", run.number + 1, run.name, error)
        elif "seconds" not in run.outcome:
            log.info("[%d] %s: %s is finished", run.number + 1, run.name, run.outcome["folder"])
            return
        else:
            log.info("[%d] %s: %.0f s", run.number + 1, run.name, run.outcome["seconds"])
        log.info(self.line())

    def line(self) -> str:
        """Return one line: done, running, failed, time left, best so far."""
        ended = [run for run in self._runs if run.outcome]
        failed = sum("error" in run.outcome for run in ended)
        running = sum(run.folder is not None and run.folder.busy() for run in self._runs if not run.outcome)
        left = len(self._runs) - len(ended)
        parts = [f"{len(ended) - failed} of {len(self._runs)} runs done"]
        parts += [f"{running} running"] * bool(running) + [f"{failed} failed"] * bool(failed)
        finished = len(ended) - self._before
        if left and finished:
            parts.append(f"about {duration((time.monotonic() - self._start) / finished * left)} left")
        return ", ".join(parts) + self._best(ended)

    def _best(self, ended: Sequence[Job]) -> str:
        rows = [(run.outcome["result"]["rows"][-1], run.name) for run in ended if "result" in run.outcome]
        if not rows:
            return ""
        metric = metrics_of([rows[0][0]])[0]
        row, name = max(rows, key=lambda each: each[0][metric])
        return f"; best {metric} {row[metric]:.4f}: {name}"
