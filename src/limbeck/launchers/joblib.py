"""Run several jobs at once on this machine, in processes of joblib; each gets its own GPU, if there are any."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from limbeck.launchers.base import Job, Outcome, Work
from limbeck.launchers.devices import take
from limbeck.launchers.place import Place
from limbeck.processes import end_with_parent
from limbeck.registry import register

log = logging.getLogger(__name__)


@register("launcher", "joblib")
class Joblib:
    """Several jobs at once on this machine. Processes are reused, so that each imports everything once.

    If a process dies (for example out of memory), the others end, too. Unfinished jobs are then run once more, each
    from its last checkpoint, and fail if a process dies again.

    Parameters
    ----------
    workers
        Number of processes. Without GPUs the processor's threads are divided among them.
    per_device
        Number of processes that may share a GPU; small students leave most of one idle.

    Raises
    ------
    ValueError
        An option is below 1.
    """

    def __init__(self, *, workers: int = 2, per_device: int = 1) -> None:
        for name, value in (("workers", workers), ("per_device", per_device)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        self.at_once = workers
        self.quiet = workers > 1
        self.per_device = per_device

    def run(self, work: Work, jobs: Sequence[Job], folder: Path) -> Iterator[tuple[int, Outcome]]:
        """Run jobs, several at once."""
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import TerminatedWorkerError

        del folder
        left = dict(enumerate(jobs))
        place = Place.here()  # processes of an earlier sweep may have started in another folder
        for again in (True, False):
            calls = [delayed(_made)(work, position, job, self.per_device, place) for position, job in left.items()]
            try:
                parallel = Parallel(
                    n_jobs=min(self.at_once, max(2, len(left))),  # joblib would run a single one in this process
                    backend="loky",
                    return_as="generator_unordered",
                    initializer=end_with_parent,
                    initargs=(os.getpid(),),
                )
                outcomes: Any = parallel(calls)
                for position, outcome in outcomes:
                    del left[position]
                    yield position, outcome
            except TerminatedWorkerError as error:
                log.error("a process of the sweep died: %s", str(error).partition("\n")[0])
            if not left:
                return
            if again:
                log.error("%d jobs are not finished; they are tried once more", len(left))
        for position in left:
            yield position, {"error": "its process, or another one of the sweep, was killed twice (out of memory?)"}


def _made(work: Work, position: int, job: Job, per_device: int, place: Place) -> tuple[int, Outcome]:
    """Do a job in the command's folder, on a device of its own."""
    place.enter()
    try:
        take(per_device)
    except RuntimeError as error:
        return position, {"error": str(error)}
    return position, work(job)
