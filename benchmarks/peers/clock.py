"""What each measured process tells of itself; the same code in every environment, so it needs no package.

A worker is given one job as JSON and prints one line of JSON at its end. Jobs have at least ``started`` (the time at
which the process was started), ``warmup``, ``steps`` and ``threads``.
"""

import json
import os
import resource
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Job = dict[str, Any]

_PROCESSES = str(Path(__file__).parents[2] / "src" / "limbeck" / "processes.py")
"""The one module of ours that needs no package either."""


def job() -> Job:
    """Return what this process is asked to do; it ends with the process that asks."""
    runpy.run_path(_PROCESSES)["end_with_parent"]()
    return json.loads(sys.argv[1])


class Clock:
    """Times steps: those that warm up are not counted.

    Parameters
    ----------
    asked
        The job.
    wait
        Waits for the device, where there is one to wait for.
    """

    def __init__(self, asked: Job, wait: Callable[[], object] = lambda: None) -> None:
        self._started = float(asked["started"])
        self._warmup = int(asked["warmup"])
        self._last = self._warmup + int(asked["steps"])
        self._wait = wait
        self._done = 0
        self._first = 0.0
        self._begin: tuple[float, float, float | None] | None = None
        self._end: tuple[float, float, float | None] | None = None

    def tick(self) -> None:
        """Tell that a step is done."""
        self._done += 1
        if self._done in (1, self._warmup, self._last):
            self._wait()
        if self._done == 1:
            self._first = time.time() - self._started
        if self._done == self._warmup:
            self._begin = _now()
        if self._done == self._last:
            self._end = _now()

    def tell(self, items: int, **more: Any) -> None:
        """Print the result.

        Parameters
        ----------
        items
            What all counted steps have worked on: queries, documents or pairs.
        more
            What else to tell.
        """
        assert self._begin is not None, f"{self._done} steps, {self._last} were asked for"
        assert self._end is not None, f"{self._done} steps, {self._last} were asked for"
        wall, own = self._end[0] - self._begin[0], self._end[1] - self._begin[1]
        others = None
        if self._begin[2] is not None and self._end[2] is not None:
            cores = len(os.sched_getaffinity(0))
            others = max(0.0, self._end[2] - self._begin[2] - own) / (wall * cores)
        measured = {
            "rate": items / wall,
            "seconds": wall,
            "cores": own / wall,
            "first": self._first,
            "peak": _peak(),
            "others": others,
            **more,
        }
        print(json.dumps(measured), flush=True)


def _peak() -> float:
    """Return the largest memory of this process so far, in MB.

    ``ru_maxrss`` begins with what the parent had when it started the process, so it is the second choice.
    """
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1000
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1000)


def _now() -> tuple[float, float, float | None]:
    """Return the time, this process's processor time, and that of the cores it may use, all in seconds."""
    return time.perf_counter(), time.process_time(), _busy()


def _busy() -> float | None:
    """Return the seconds that the cores of this process were busy, with whatever; None where nobody tells."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            lines = [line.split() for line in file]
        mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    except (OSError, AttributeError):
        return None
    ticks = 0
    for name, *columns in lines:
        if name in mine:
            user, nice, system, _, _, irq, soft, steal = map(int, columns[:8])
            ticks += user + nice + system + irq + soft + steal
    return ticks / os.sysconf("SC_CLK_TCK")
