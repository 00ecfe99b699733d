"""Run one Ray task per job, on a running cluster, or on one that is started on this machine for the command."""

import importlib.util
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError
from limbeck.launchers.base import Job, Outcome, Work
from limbeck.launchers.place import Place
from limbeck.registry import register

log = logging.getLogger(__name__)

_FIXED = ("num_cpus", "num_gpus", "max_retries", "num_returns", "retry_exceptions")
"""Options of a task that have keys of their own, or would break a job."""


@register("launcher", "ray")
class Ray:
    """One Ray task per job, placed by the resources it needs; jobs of a node that dies move to other nodes.

    A job that moves continues from its last checkpoint. All nodes need Limbeck and a shared file system; a job runs in
    the folder of the command. Environment variables that affect the work (``LIMBECK_…``, ``HF_…``, ``WANDB_…`` and the
    like) are passed on, except those whose names sound like secrets.

    Parameters
    ----------
    address
        Address of a cluster, as ``HOST:6379``; null takes that of ``RAY_ADDRESS``, or one that runs on this machine, or
        starts one here for this command.
    cpus, gpus
        Resources of a job; fractions share a device. ``gpus`` null takes 1 if the cluster has GPUs, else 0.
    retries
        How often a job is started again after its process or node has died.
    more
        Further options of Ray's tasks, such as ``{memory: 8000000000, resources: {a100: 1}}``.

    Raises
    ------
    ValueError
        Ray is not installed, a number is negative, or Ray refuses ``more``.
    """

    quiet = True  # several jobs run at once, none on this terminal

    def __init__(
        self,
        *,
        address: str | None = None,
        cpus: float = 1.0,
        gpus: float | None = None,
        retries: int = 3,
        more: Any = None,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise ValueError("ray needs Ray: pip install 'limbeck[ray]'")
        for name, value in (("cpus", cpus), ("gpus", gpus or 0), ("retries", retries)):
            if value < 0:
                raise ValueError(f"{name} must be >= 0, got {value}")
        for name, value in (("cpus", cpus), ("gpus", gpus or 0)):
            if value > 1 and value % 1:
                raise ValueError(f"{name} must be a whole number or below 1, got {value}")
        if not isinstance(more, Mapping | None):
            raise ValueError(
                f"more must be null or options of Ray's tasks, as {{resources: {{a100: 1}}}}, got {more!r}"
            )
        self.address = address
        self.gpus = gpus
        self.options: dict[str, Any] = {"num_cpus": cpus, "max_retries": retries, **(more or {})}
        _check_options(more or {}, {**self.options, "num_gpus": gpus or 0})

    def run(self, work: Work, jobs: Sequence[Job], folder: Path) -> Iterator[tuple[int, Outcome]]:
        """Submit all jobs to Ray, and wait for them."""
        del folder
        import ray

        with self.connected():
            task, place = self.task(_made), Place.here()
            left = {task.remote(work, job, place): position for position, job in enumerate(jobs)}
            while left:
                (ended,), _ = ray.wait(list(left), num_returns=1)
                yield left.pop(ended), _outcome(ended)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Connect to the cluster in this context; a cluster that was started here ends with it.

        Raises
        ------
        ConfigError
            There is no cluster at the address, or one started here is too small for a job.
        """
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here sends no usage reports
        ours = not ray.is_initialized()
        if ours:
            try:
                found: Any = ray.init(self.address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError, RuntimeError) as error:
                said = " ".join(str(error).split())
                raise ConfigError(
                    f"launcher.address={self.address}: {said}; start a cluster by ray start --head, give its address, "
                    "or null for one on this machine"
                ) from None
            log.info("Ray: %s, %s", found.address_info["address"], _words(ray.cluster_resources()))
        try:
            self._check_room()
            yield
        finally:
            if ours:
                ray.shutdown()

    def task(self, function: Any) -> Any:
        """Return a function as a Ray task with the resources of a job; needs a connection."""
        import ray

        return ray.remote(**self._wanted())(function)

    def _wanted(self) -> dict[str, Any]:
        import ray

        gpus = float(ray.cluster_resources().get("GPU", 0) > 0) if self.gpus is None else self.gpus
        return {**self.options, "num_gpus": gpus}

    def _check_room(self) -> None:
        """Warn if no node is large enough for a job: Ray would silently wait for one that joins."""
        import ray

        wanted = self._wanted()
        asked = {"CPU": wanted["num_cpus"], "GPU": wanted["num_gpus"], **(wanted.get("resources") or {})}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(all(node.get(name, 0) >= value for name, value in asked.items()) for node in nodes):
            there = "; ".join(_words(node) for node in nodes)
            log.warning(
                "launcher: no node has %s (there are: %s); jobs wait until one joins. Lower launcher.cpus or gpus",
                _words(asked),
                there,
            )


def _made(work: Work, job: Job, place: Place) -> Outcome:
    """Do a job in a process of Ray."""
    place.enter()
    return work(job)


def _outcome(ended: Any) -> Outcome:
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(ended)
    except RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return {"error": f"Ray: {type(error).__name__}: {lines[-1] if lines else 'no message'}"}


def _check_options(more: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` for options that Ray's tasks do not have, or with invalid values."""
    fixed = [name for name in more if name in _FIXED]
    if fixed:
        raise ValueError(f"more cannot hold {fixed[0]}: set cpus, gpus or retries")
    import ray

    try:
        ray.remote(**options)(_made)
    except (ValueError, TypeError) as error:
        raise ValueError(f"more is refused by Ray: {str(error).splitlines()[0]}") from None


def _words(resources: Mapping[str, Any]) -> str:
    """Return resources in words, without Ray's entries for single nodes."""
    known = {"CPU": "CPUs", "GPU": "GPUs"}
    own = {
        known.get(name, name): value
        for name, value in resources.items()
        if name in known or not (":" in name or name.endswith("memory"))
    }
    return ", ".join(f"{value:g} {name}" for name, value in own.items() if value) or "nothing"
