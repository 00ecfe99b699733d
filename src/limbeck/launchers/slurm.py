"""One SLURM task a job, through submitit: an array, at most so many at once, requeued when time is up."""

import contextlib
import importlib.util
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from limbeck.launchers.base import Job, Outcome, Work
from limbeck.processes import end_with_parent, named
from limbeck.registry import register

_POLL = 2.0
"""Seconds between looks at the jobs."""


class Task:
    """A job as submitit takes it: when its time is up or it is preempted, it is queued again and goes on.

    A class, so that it can be pickled and knows how to be queued again.
    """

    def __init__(self, work: Work, job: Job) -> None:
        self.work = work
        self.job = job

    def __call__(self) -> Outcome:
        """Make the job; without SLURM it ends when the command that has started it is gone."""
        end_with_parent()
        return self.work(self.job)

    def checkpoint(self) -> Any:
        """Return what is queued again: the same job, which goes on from its last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Task(self.work, self.job))


@register("launcher", "slurm")
class Slurm:
    """An array of SLURM jobs, one run each; this command waits for them and may be given again if it is ended.

    Parameters
    ----------
    partition, account
        As SLURM knows them; null for its defaults.
    minutes
        Time of a job. A job that needs longer is queued again and goes on from its last checkpoint.
    at_once
        Jobs of the array that run at the same time.
    gpus, cpus, memory
        Of a job, ``memory`` in GB.
    requeues
        How often a job that ran out of time, or was preempted, is queued again.
    setup
        Shell lines before the job (``module load …``).
    more
        Further options of submitit's SLURM executor, such as ``{slurm_constraint: a100}``.
    cluster
        ``slurm``, or ``local``: the same without SLURM, as processes of this machine, to try things.

    Raises
    ------
    ValueError
        submitit is not installed, a number is below 1, or ``cluster`` is unknown.
    """

    quiet = False  # each job has files of its own

    def __init__(
        self,
        *,
        partition: str | None = None,
        account: str | None = None,
        minutes: int = 1440,
        at_once: int = 8,
        gpus: int = 1,
        cpus: int = 8,
        memory: int = 32,
        requeues: int = 10,
        setup: list[str] = [],  # noqa: B006 - the signature is the schema
        more: Any = None,
        cluster: str = "slurm",
    ) -> None:
        if importlib.util.find_spec("submitit") is None:
            raise ValueError("slurm needs submitit: pip install 'limbeck[slurm]'")
        for name, value in (("minutes", minutes), ("at_once", at_once), ("cpus", cpus), ("memory", memory)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if cluster not in ("slurm", "local"):
            raise ValueError(f"cluster must be slurm or local, got {cluster!r}")
        self.at_once = at_once
        self.cluster = cluster
        self.requeues = requeues
        self.options = {
            "timeout_min": minutes, "mem_gb": memory, "cpus_per_task": cpus, "gpus_per_node": gpus, "tasks_per_node": 1,
            "nodes": 1, "slurm_array_parallelism": at_once, "slurm_partition": partition, "slurm_account": account,
            "slurm_setup": list(setup) or None, **(more or {}),
        }  # fmt: skip

    def run(self, work: Work, jobs: Sequence[Job], folder: Path) -> Iterator[tuple[int, Outcome]]:
        """Submit jobs as one array and wait for them."""
        import submitit

        logs = folder / ".submitit"
        given = {"slurm_max_num_timeout": self.requeues} if self.cluster == "slurm" else {}
        executor = submitit.AutoExecutor(logs, cluster=self.cluster, **given)
        options = {name: value for name, value in self.options.items() if value is not None}
        executor.update_parameters(name=f"limbeck-{folder.name}", **options)
        with named() if self.cluster == "local" else contextlib.nullcontext(), executor.batch():
            submitted = [executor.submit(Task(work, job)) for job in jobs]
        left = dict(enumerate(submitted))
        while left:
            ended = [position for position, job in left.items() if job.done()]
            for position in ended:
                yield position, _outcome(left.pop(position))
            if not ended:
                time.sleep(_POLL)


def _outcome(job: Any) -> Outcome:
    error = job.exception()
    if error is None:
        return job.result()
    return {"error": f"job {job.job_id}: {str(error).strip().splitlines()[-1]} (see {job.paths.stderr})"}
