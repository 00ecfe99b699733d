"""Run one SLURM task per job, with submitit: an array with limited parallelism, requeued when its time is up."""

import contextlib
import importlib.util
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError
from limbeck.launchers.base import Job, Outcome, Work
from limbeck.processes import end_with_parent, named
from limbeck.registry import register

_POLL = 2.0
"""Seconds between looks at the jobs."""


class Task:
    """A job for submitit; when its time is up or it is preempted, it is queued again and continues.

    A class, so that it can be pickled, and requeued by submitit.
    """

    def __init__(self, work: Work, job: Job) -> None:
        self.work = work
        self.job = job

    def __call__(self) -> Outcome:
        """Do the job; without SLURM it ends when the process that started it is gone."""
        end_with_parent()
        return self.work(self.job)

    def checkpoint(self) -> Any:
        """Return the job to queue again: the same one, which continues from its last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Task(self.work, self.job))


@register("launcher", "slurm")
class Slurm:
    """An array of SLURM jobs, one run each; this command waits for them, and may be run again if it was ended.

    Parameters
    ----------
    partition, account
        SLURM's names of them; null for its defaults.
    minutes
        Time limit of a job. A job that needs longer is queued again and continues from its last checkpoint.
    at_once
        Jobs of the array that run at the same time.
    gpus, cpus, memory
        Resources of a job, ``memory`` in GB.
    requeues
        How often a job that ran out of time, or was preempted, is queued again.
    setup
        Shell lines before the job (``module load …``).
    more
        Further options of submitit's SLURM executor, such as ``{slurm_constraint: a100}``.
    cluster
        ``slurm``, or ``local``: the same without SLURM, as processes of this machine, for trying out.

    Raises
    ------
    ValueError
        submitit is not installed, a number is below 1, ``cluster`` is unknown, or submitit refuses an option.
    """

    quiet = False  # each job logs into its own files

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
        for name, value in (("gpus", gpus), ("requeues", requeues)):
            if value < 0:
                raise ValueError(f"{name} must be >= 0, got {value}")
        if not isinstance(more, Mapping | None):
            raise ValueError(f"more must be null or options of submitit, as {{slurm_constraint: a100}}, got {more!r}")
        self.at_once = at_once
        self.cluster = cluster
        self.requeues = requeues
        self.options = {
            "timeout_min": minutes, "mem_gb": memory, "cpus_per_task": cpus, "gpus_per_node": gpus, "tasks_per_node": 1,
            "nodes": 1, "slurm_array_parallelism": at_once, "slurm_partition": partition, "slurm_account": account,
            "slurm_setup": list(setup) or None, **(more or {}),
        }  # fmt: skip
        _check_options(self.options)

    def run(self, work: Work, jobs: Sequence[Job], folder: Path) -> Iterator[tuple[int, Outcome]]:
        """Submit jobs as one array, and wait for them."""
        import submitit
        from submitit.core.utils import FailedJobError

        logs = folder / ".submitit"
        given = {"slurm_max_num_timeout": self.requeues} if self.cluster == "slurm" else {}
        try:
            executor = submitit.AutoExecutor(logs, cluster=self.cluster, **given)
        except RuntimeError as error:  # there is no srun
            raise ConfigError(
                f"launcher=slurm: {error}; run the command where SLURM's commands are available, or choose "
                "launcher=joblib or launcher.cluster=local"
            ) from None
        options = {name: value for name, value in self.options.items() if value is not None}
        executor.update_parameters(name=f"limbeck-{folder.name}", **options)
        try:
            with named() if self.cluster == "local" else contextlib.nullcontext(), executor.batch():
                submitted = [executor.submit(Task(work, job)) for job in jobs]
        except FailedJobError as error:
            said = " ".join(str(error).split())
            raise ConfigError(
                f"launcher: SLURM refuses the jobs: {said}; look at launcher.partition, account, minutes, gpus, cpus, "
                "memory and more"
            ) from None
        left = dict(enumerate(submitted))
        while left:
            ended = [position for position, job in left.items() if job.done()]
            for position in ended:
                yield position, _outcome(left.pop(position))
            if not ended:
                time.sleep(_POLL)


def _check_options(options: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for options that submitit does not have, or of another type."""
    import submitit

    if "name" in options:
        raise ValueError("more cannot hold name: jobs are named after the sweep; set name=…")
    try:  # the local executor checks SLURM's options, too, without SLURM
        with tempfile.TemporaryDirectory() as folder:  # it would create the folder
            submitit.AutoExecutor(folder, cluster="local").update_parameters(
                **{name: value for name, value in options.items() if value is not None}
            )
    except (NameError, AssertionError, TypeError, ValueError) as error:
        first = str(error).split("\n")[0]
        raise ValueError(f"more is refused by submitit: {first}") from None


def _outcome(job: Any) -> Outcome:
    error = job.exception()
    if error is None:
        return job.result()
    return {"error": f"job {job.job_id}: {str(error).strip().splitlines()[-1]} (see {job.paths.stderr})"}
