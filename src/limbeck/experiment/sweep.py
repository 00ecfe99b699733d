"""Run a sweep: compose its jobs, skip the finished ones, run the rest with a launcher, and print a table.

Several commands may work on one sweep, on any machines that share its folder: a run that another command has started is
left to it, and waited for at the end.
"""

import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.config import Config, ConfigError, FailedError, Node
from limbeck.experiment.messages import explain
from limbeck.experiment.run_folder import RunFolder, console
from limbeck.experiment.train import finished, plan, train
from limbeck.launchers.base import Launcher
from limbeck.locks import BusyError

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

_POLL = 1.0
"""Seconds between looks at runs of other processes."""


@dataclass(frozen=True)
class Composed:
    """A job as composed by Hydra."""

    config: "DictConfig"
    swept: list[str]
    """Overrides that distinguish it from other jobs."""
    overrides: list[str]
    """All overrides of the job."""


@dataclass(eq=False)
class Run:
    """One job of the sweep."""

    number: int
    job: Config
    """What the launcher receives."""
    folder: RunFolder | None = None
    """None where the configuration is impossible."""
    outcome: Config = field(default_factory=dict)
    """``result`` or ``error``, once it has ended."""
    state: str | None = None
    """With ``dry_run``: the state of the run, in words."""

    @property
    def name(self) -> str:
        """The overrides that distinguish it from the others."""
        return " ".join(self.job["swept"])


_runs: list[Run] = []
"""All runs of the sweep in this process so far; a sweeper may ask for more after it has seen some."""


def launch(composed: Sequence[Composed], command: Sequence[str]) -> list[float | None]:
    """Run the jobs of a sweep.

    Parameters
    ----------
    composed
        The jobs.
    command
        The command as typed.

    Returns
    -------
    list
        The first metric of each job's student; None where it failed.
    """
    from limbeck.config import build
    from limbeck.reporting.watch import Watch

    console()
    first = composed[0].config
    if len({each.config.paths.runs for each in composed}) > 1:
        raise ConfigError("paths.runs must be the same for all jobs of a sweep")
    launcher = build(_plain(first.launcher), key="launcher")
    runs = [_run(len(_runs) + number, each, command) for number, each in enumerate(composed)]
    _runs.extend(runs)
    if first.dry_run:
        for run in runs:
            run.state = _state(run)
        show_plan(runs)
        return [None] * len(runs)
    folder = Path(first.paths.runs) / first.name
    once = _first_of_each(runs)
    for run in (run for run in runs if run not in once):
        log.info("[%d] %s is the same run as another one of the sweep", run.number + 1, run.name)
        run.outcome = next(each for each in once if _same(each, run)).outcome  # the same dict: both get the result
    with Watch(_runs, live=launcher.quiet) as watch:
        for run in once:
            if run.outcome:
                watch.ended(run)
        mine = [run for run in once if not run.outcome]
        while mine:
            for run, outcome in _pass(launcher, mine, folder):
                if "busy" not in outcome:
                    run.outcome |= outcome
                    watch.ended(run)
            # Wait for runs of other processes, and run them here if those die.
            mine = _free([run for run in once if not run.outcome])
    return [_value(run) for run in runs]


def _run(number: int, each: Composed, command: Sequence[str]) -> Run:
    job: Config = {"swept": each.swept, "overrides": each.overrides, "command": list(command), "number": number}
    job["name"] = each.config.name
    run = Run(number, job)
    try:
        if each.config.trainer.devices * each.config.trainer.num_nodes > 1:
            raise ConfigError(
                "a sweep uses one device a run: set trainer.devices=1 trainer.num_nodes=1 "
                "(several processes of one run would each start the whole sweep again)"
            )
        job["config"], run.folder = plan(each.config, each.overrides)
        job["folder"] = str(run.folder.path)
        result = finished(job["config"], run.folder)
        if result is not None:
            run.outcome = {"folder": job["folder"], "result": result}
    except Exception as error:
        run.outcome = {"error": _told(error)}
    return run


def _same(one: Run, other: Run) -> bool:
    return one is other or (
        one.folder is not None and other.folder is not None and one.folder.path == other.folder.path
    )


def _first_of_each(runs: Sequence[Run]) -> list[Run]:
    """Return runs without duplicates, which arise where two overrides mean the same."""
    return [run for position, run in enumerate(runs) if not any(_same(run, each) for each in runs[:position])]


def _pass(launcher: Launcher, runs: Sequence[Run], folder: Path) -> Iterator[tuple[Run, Node]]:
    for position, outcome in launcher.run(work, [run.job | {"quiet": launcher.quiet} for run in runs], folder):
        yield runs[position], outcome


def _free(runs: Sequence[Run]) -> list[Run]:
    """Wait until another process has released one of the runs, and return the released ones."""
    if runs:
        log.info("%d runs are being run by other processes; waiting for them", len(runs))
    while runs:
        free = [run for run in runs if run.folder is not None and not run.folder.busy()]
        if free:
            return free
        time.sleep(_POLL)
    return []


def work(job: Node) -> Config:
    """Do one job, in any process; a failure is recorded in the result."""
    from limbeck.reporting.results.finished import check_whole

    console(job["quiet"])
    log.info("\n[%d] %s", job["number"] + 1, " ".join(job["swept"]))
    sys.argv = job["command"]  # recorded in env.json
    start = time.monotonic()
    folder = RunFolder(Path(job["folder"]))
    try:
        result = train(job["config"], folder, job["overrides"], wait=False)
        assert result is not None, "one process a run"
        check_whole(result.get("sets") or {})
    except BusyError as error:
        return {"busy": str(error)}
    except Exception as error:
        return {"error": _told(error), "seconds": time.monotonic() - start}
    return {"folder": job["folder"], "result": result, "seconds": time.monotonic() - start}


def _told(error: Exception) -> str:
    return explain(error) or f"{type(error).__name__}: {error}"


def _plain(node: "DictConfig") -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(node, resolve=True)


def _value(run: Run) -> float | None:
    from limbeck.reporting.terminal import metrics_of

    if "result" not in run.outcome:
        return None
    row = run.outcome["result"]["rows"][-1]
    return row[metrics_of([row])[0]]


def show_plan(runs: Sequence[Run]) -> None:
    """Print the runs of a sweep with id and state, without running any."""
    from limbeck.reporting.terminal import show_words

    rows = [
        {"run": run.name or run.job["name"], "id": "" if run.folder is None else run.folder.path.name, "": run.state}
        for run in runs
    ]
    missing = sum("result" not in run.outcome for run in _first_of_each(runs))
    show_words(rows, f"{runs[0].job['name']}: {len(runs)} runs, {missing} to run")


def _state(run: Run) -> str:
    if "error" in run.outcome:
        return f"impossible: {run.outcome['error']}"
    assert run.folder is not None
    return "finished" if run.outcome else run.folder.state()


@contextmanager
def collected() -> Iterator[list[dict[str, Any]]]:
    """Collect the outcomes of one sweep in this context; the list is filled at its end, and empty without a sweep.

    Yields
    ------
    list
        For each job ``overrides``, ``name`` and ``folder``; ``result`` or ``error``, or with ``dry_run`` its ``state``.
    """
    _runs.clear()
    outcomes: list[dict[str, Any]] = []
    try:
        yield outcomes
        for run in _runs:
            own = {"overrides": run.job["swept"], "name": run.job["name"], "folder": run.job.get("folder")}
            outcomes.append({**own, **(run.outcome if run.state is None else {"state": run.state})})
    finally:
        _runs.clear()


def check(outcomes: Sequence[Mapping[str, Any]]) -> None:
    """Raise ``FailedError`` if a job has failed."""
    failed = [outcome for outcome in outcomes if "error" in outcome]
    if failed:
        listed = "\n".join(f"  {' '.join(outcome['overrides'])}: {outcome['error']}" for outcome in failed)
        raise FailedError(
            f"{len(failed)} of {len(outcomes)} runs failed; the same command runs only what is missing\n{listed}"
        )
