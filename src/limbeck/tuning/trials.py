"""Ask, train, tell: the trials of a study, several at once, each in a process of its own."""

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
"""Seconds between looks at the trials."""
_HOPELESS = 5
"""Failures, with nothing else before them, after which a study is given up."""


@dataclass(frozen=True)
class Runs:
    """What the search needs to know of runs."""

    start: Callable[[list[str], Path, dict[str, str]], Process | RayProcess]
    """Overrides of a run, file for what it says, environment → its process."""
    busy: Callable[[Path], bool]
    """Whether some process makes the run in a folder now."""
    value: Callable[[Path], float | None]
    """Folder of a run → the value it is judged by; None if it is not finished."""


@dataclass
class _Active:
    trial: "Trial"
    words: list[str]
    folder: Path
    slot: int
    process: Process | RayProcess | None = None
    reported: set[int] = field(default_factory=set)
    worse: Validated | None = None
    """Where it fell behind."""
    began: float = field(default_factory=time.monotonic)


class Search:
    """A search that can be ended at any moment, and gone on with.

    Parameters
    ----------
    settings
        The settings of the study.
    study
        As its database records it.
    configurations
        From parameters to runs.
    runs
        From runs to values.
    folder
        Of the study.
    total
        Number of trials in all.
    ended
        Called with each trial that has ended, how many have, and the seconds that are left, if known.
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
        """Make the trials that are missing.

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
        """Count the trials that have begun, ever."""
        return sum(trial.state.name != "WAITING" for trial in self._study.get_trials(deepcopy=False))

    def _ask(self) -> "Trial":
        self._study.sampler = sampler(self._settings, self._known())
        return self._study.ask()

    def _begin(self, trial: "Trial") -> None:
        """Draw, compose, and take a place; a configuration that does not compose has failed."""
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
            self._fail(trial, f"trial {twin}, which is at work, is the same run")
            return
        slot = next(number for number in range(self._settings.workers) if number not in self._active)
        self._active[slot] = _Active(trial, words, folder, slot)

    def _look(self, active: _Active) -> None:
        """See how a trial is getting on."""
        status = active.process.status() if active.process is not None else None
        active.worse = active.worse or self._report(active)
        if status is not None:
            self._conclude(active)
        elif active.process is None and self._runs.busy(active.folder):
            return  # someone trains this very run; it is judged, or gone on with, when they have done
        elif active.process is None and self._runs.value(active.folder) is not None:
            self._conclude(active)
        elif active.worse is not None:
            self._prune(active, active.worse)
        elif active.process is None:
            log_file = self._folder / "trials" / f"{active.trial.number:04d}.log"
            seen = environment(self._settings.workers)
            active.process = self._runs.start(active.words, log_file, seen)

    def _report(self, active: _Active) -> Validated | None:
        """Report new validations in order; return the one at which the trial should end, None if there is none.

        The last validation ends nothing: by then the training is done.
        """
        known = set(self._intermediate(active))
        for validated in read(active.folder):
            if validated.step in active.reported:
                continue
            active.reported.add(validated.step)
            if validated.step not in known:
                active.trial.report(validated.value, validated.step)
            if validated.step < validated.of and active.trial.should_prune():
                return validated
        return None

    def _intermediate(self, active: _Active) -> dict[int, float]:
        if active.reported:
            return {}  # only a trial that another process began has reports that we have not written
        trials = self._study.get_trials(deepcopy=False)
        return trials[active.trial.number].intermediate_values

    def _prune(self, active: _Active, validated: Validated) -> None:
        if active.process is not None:
            active.process.stop()
        if self._runs.value(active.folder) is not None:
            self._conclude(active)  # it was quicker
            return
        (active.folder / "error.txt").unlink(missing_ok=True)  # of having been ended
        record = {"study": self._study.study_name, "trial": active.trial.number}
        write_json(active.folder / PRUNED, {**record, "step": validated.step, "value": validated.value})
        self._tell(active.trial, active, state="PRUNED")

    def _conclude(self, active: _Active) -> None:
        """Tell the value of a run that has ended; without one it has failed."""
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
                    f"what each said lies in {self._folder / 'trials'}; once that is mended, give another name=…"
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
    """Return the points of the grid without the parameters that their configurations lack, each once."""
    found: list[dict[str, Value]] = []
    for point in grid(configurations.space):
        kept = configurations.drawn(lambda each, point=point: point[each.key])
        if kept not in found:
            found.append(kept)
    return found
