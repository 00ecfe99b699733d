"""Run the trials of a study, several at once, each in its own process."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.artefacts import write_json
from limbeck.config import ConfigError
from limbeck.training.validations import PRUNED, Validated, read
from limbeck.tuning.configurations import Configurations
from limbeck.tuning.on_ray import RayProcess
from limbeck.tuning.process import Process, environment
from limbeck.tuning.settings import Settings
from limbeck.tuning.space import Value, grid
from limbeck.tuning.study import left_running, sampler

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

log = logging.getLogger(__name__)

_POLL = 0.2
"""Seconds between checks of the trials."""
_HOPELESS = 5
"""Number of failures at the start of a study after which it is given up."""


@dataclass(frozen=True)
class Runs:
    """Functions by which the search handles runs."""

    start: Callable[[list[str], Path, dict[str, str]], Process | RayProcess]
    """Maps overrides of a run, file for its output and environment to its process."""
    busy: Callable[[Path], bool]
    """Returns whether a process is working on the run in a folder."""
    value: Callable[[Path], float | None]
    """Maps the folder of a run to its value on the metric; None if the run is not finished."""


@dataclass
class _Active:
    trial: "Trial"
    words: list[str]
    folder: Path
    slot: int
    process: Process | RayProcess | None = None
    reported: set[int] = field(default_factory=set)
    worse: Validated | None = None
    """The validation at which it was pruned."""
    began: float = field(default_factory=time.monotonic)


class Search:
    """A search that can be stopped at any moment, and continued.

    Parameters
    ----------
    settings
        The settings of the study.
    study
        The study in its database.
    configurations
        Maps parameters to runs.
    runs
        Starts runs, and returns their values.
    folder
        Folder of the study.
    total
        Number of all trials.
    ended
        Called with each trial that has ended, the number of ended trials, and the seconds left, if known.
    """

    def __init__(
        self,
        settings: Settings,
        study: "Study",
        configurations: Configurations,
        runs: Runs,
        folder: Path,
        total: int,
        ended: Callable[["FrozenTrial", int, float | None], None],
    ) -> None:
        self._settings = settings
        self._study = study
        self._configurations = configurations
        self._runs = runs
        self._folder = folder
        self._total = total
        self._ended = ended
        self._active: dict[int, _Active] = {}
        self._seconds: list[float] = []
        self._failures: list[str] | None = []

    def run(self) -> None:
        """Run the missing trials.

        Raises
        ------
        ConfigError
            The first few trials all failed.
        """
        began = time.monotonic()
        left = left_running(self._study, self._settings)
        if left:
            log.info("going on with trials %s", ", ".join(str(trial.number) for trial in left))
        try:
            while True:
                timeout = self._settings.timeout
                over = timeout is not None and time.monotonic() - began > timeout
                while not over and len(self._active) < self._settings.workers:
                    if left:
                        self._begin(left.pop(0))
                    elif self._known() < self._total:
                        self._begin(self._ask())
                    else:
                        break
                if not self._active:
                    return
                for active in list(self._active.values()):
                    self._look(active)
                time.sleep(_POLL)
        finally:
            for active in self._active.values():
                if active.process is not None:
                    active.process.stop()

    def _known(self) -> int:
        """Return the number of trials started so far."""
        return sum(trial.state.name != "WAITING" for trial in self._study.get_trials(deepcopy=False))

    def _ask(self) -> "Trial":
        self._study.sampler = sampler(self._settings, self._known())
        return self._study.ask()

    def _begin(self, trial: "Trial") -> None:
        """Draw parameters, compose, and start the run; a configuration that does not compose is a failed trial."""
        words = self._configurations.words(self._configurations.drawn(lambda each: each.draw(trial)))
        refused = self._configurations.refusal(words)
        if refused is not None:
            self._fail(trial, refused)
            return
        folder = self._configurations.planned(words).folder
        trial.set_user_attr("run", str(folder))
        trial.set_user_attr("overrides", words)
        twin = next((other.trial.number for other in self._active.values() if other.folder == folder), None)
        if twin is not None:
            self._fail(trial, f"trial {twin}, which is running, is the same run")
            return
        slot = next(number for number in range(self._settings.workers) if number not in self._active)
        self._active[slot] = _Active(trial, words, folder, slot)

    def _look(self, active: _Active) -> None:
        """Check the progress of a trial."""
        status = active.process.status() if active.process is not None else None
        active.worse = active.worse or self._report(active)
        if status is not None:
            self._conclude(active)
        elif active.process is None and self._runs.busy(active.folder):
            return  # another process trains this run; it is evaluated, or continued, afterwards
        elif active.process is None and self._runs.value(active.folder) is not None:
            self._conclude(active)
        elif active.worse is not None:
            self._prune(active, active.worse)
        elif active.process is None:
            log_file = self._folder / "trials" / f"{active.trial.number:04d}.log"
            seen = environment(self._settings.workers)
            active.process = self._runs.start(active.words, log_file, seen)

    def _report(self, active: _Active) -> Validated | None:
        """Report new validations in order; return the one at which the trial should be pruned, None if there is none.

        The last validation prunes nothing: the training is over by then.
        """
        new = [validated for validated in read(active.folder) if validated.step not in active.reported]
        known = set(self._intermediate(active)) if new else set()
        for validated in new:
            active.reported.add(validated.step)
            if validated.step not in known:
                active.trial.report(validated.value, validated.step)
            if validated.step < validated.of and active.trial.should_prune():
                return validated
        return None

    def _intermediate(self, active: _Active) -> dict[int, float]:
        if active.reported:
            return {}  # only a trial that another process began has reports that this one has not written
        trials = self._study.get_trials(deepcopy=False)
        return trials[active.trial.number].intermediate_values

    def _prune(self, active: _Active, validated: Validated) -> None:
        if active.process is not None:
            active.process.stop()
        if self._runs.value(active.folder) is not None:
            self._conclude(active)  # it finished first
            return
        (active.folder / "error.txt").unlink(missing_ok=True)  # the error of having been ended
        record = {"study": self._study.study_name, "trial": active.trial.number}
        write_json(active.folder / PRUNED, {**record, "step": validated.step, "value": validated.value})
        self._tell(active.trial, active, state="PRUNED")

    def _conclude(self, active: _Active) -> None:
        """Report the value of a run that has ended; without a value it has failed."""
        value = self._runs.value(active.folder)
        if value is not None and not math.isnan(value):
            self._tell(active.trial, active, value=value)
            return
        failed = active.process is not None and active.process.status()
        said = active.process.message() if active.process is not None and failed else f"its value on dev is {value}"
        self._fail(active.trial, said, active)

    def _fail(self, trial: "Trial", message: str, active: _Active | None = None) -> None:
        trial.set_user_attr("error", message)
        self._tell(trial, active, state="FAIL")
        if self._failures is not None:
            self._failures.append(message)
            if len(self._failures) == min(_HOPELESS, self._total):
                raise ConfigError(
                    f"the first {len(self._failures)} trials all failed; the last: {message}\n"
                    f"their logs are in {self._folder / 'trials'}; fix the cause, then choose another name=…"
                )

    def _tell(
        self, trial: "Trial", active: _Active | None, *, value: float | None = None, state: str | None = None
    ) -> None:
        import optuna

        ended: Any = None if state is None else optuna.trial.TrialState[state]
        frozen = self._study.tell(trial, value, state=ended)
        if active is not None:
            del self._active[active.slot]
            if active.process is not None:
                active.process.stop()
                self._seconds.append(time.monotonic() - active.began)
        if state != "FAIL":
            self._failures = None
        trials = self._study.get_trials(deepcopy=False)
        done = sum(each.state.is_finished() for each in trials)
        self._ended(frozen, done, self._left(done))

    def _left(self, done: int) -> float | None:
        if not self._seconds:
            return None
        mean = sum(self._seconds) / len(self._seconds)
        return mean * (self._total - done) / self._settings.workers


def grid_points(configurations: Configurations) -> list[dict[str, Value]]:
    """Return the points of the grid without the parameters that their configurations lack, without duplicates."""
    found: list[dict[str, Value]] = []
    for point in grid(configurations.space):
        kept = configurations.drawn(lambda each, point=point: point[each.key])
        if kept not in found:
            found.append(kept)
    return found
