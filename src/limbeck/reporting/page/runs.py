"""The runs of a page: the configuration and results of each, and those that did not finish."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError
from limbeck.labels import configuration as written
from limbeck.reporting.results.finished import Place, members, own_set
from limbeck.reporting.results.sweep import Finished, collect
from limbeck.reporting.results.systems import find
from limbeck.reporting.terminal import is_of, metrics_of
from limbeck.training.validations import PRUNED


@dataclass(frozen=True)
class TrainingRun:
    """A finished run and its names."""

    finished: Finished
    label: str
    """Name of its configuration among those on the same collection; equal for runs that differ only by seed."""
    name: str
    """The same, with the collection before it if the runs have several."""
    places: Mapping[str, Place]
    """Set → where its results are."""

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.finished.path

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.finished.path.name

    @property
    def seed(self) -> int:
        """Seed of weights, order, lists and dropout."""
        return self.finished.seed

    @property
    def overrides(self) -> list[str]:
        """Overrides of its configuration."""
        return list(self.finished.env.get("overrides") or [])

    @property
    def own(self) -> str:
        """Name of its own collection as a set."""
        return own_set(self.finished.result)

    def values(self, group: str) -> dict[str, float]:
        """Return the metrics of the student, after its last stage, on a set."""
        row = self.finished.sets[group].rows.get("student")
        return {} if row is None else {metric: row[metric] for metric in metrics_of([row])}


@dataclass(frozen=True)
class Unfinished:
    """A run without a result, or with missing sets."""

    id: str
    env: Mapping[str, Any]
    """Contents of ``env.json``; empty if the run ended before writing it."""
    state: str
    reason: str


@dataclass(frozen=True)
class Sweep:
    """All runs of a folder, at least one of them finished."""

    name: str
    runs: Sequence[TrainingRun]
    """Finished runs, grouped by collection and by configuration, otherwise in the order in which they were started."""
    unfinished: Sequence[Unfinished]

    @property
    def sets(self) -> list[str]:
        """All sets on which a run was evaluated; own collections first."""
        own = [run.own for run in self.runs]
        return list(dict.fromkeys([*own, *(group for run in self.runs for group in run.places)]))

    def on(self, group: str) -> dict[str, list[TrainingRun]]:
        """Return the runs on a set by configuration."""
        return _by_name(run for run in self.runs if group in run.places)

    def own(self) -> dict[str, dict[str, list[TrainingRun]]]:
        """Return the runs by their own collection, and by configuration."""
        collections = dict.fromkeys(run.own for run in self.runs)
        return {group: _by_name(run for run in self.runs if run.own == group) for group in collections}


def read(folder: Path) -> Sweep:
    """Read the runs in a folder.

    Raises
    ------
    ConfigError
        There is no such folder, no run in it is finished, or a file of a finished run cannot be read.
    """
    if not folder.is_dir():
        known = sorted(each.name for each in folder.parent.glob("*") if each.is_dir())
        there = f"; there are {', '.join(known)}" if known else ""
        raise ConfigError(f"name: there is no folder {folder}{there}")
    swept = collect([folder.name], folder.parent, key="name")
    left = [_unfinished(path) for path in (*swept.failed, *swept.unfinished)]
    return Sweep(folder.name, _named(swept.runs), [*_incomplete(swept.runs), *left])


def _named(finished: Sequence[Finished]) -> list[TrainingRun]:
    """Return runs with their names, seeds of a configuration together."""
    given = [str(each.path) for each in finished]
    paths = [named.path for named in find(given, key="name")]
    places = {path: member.places for path, member in zip(paths, members(given, key="name"), strict=True)}
    by_collection: dict[str, list[Finished]] = {}
    for each in finished:
        by_collection.setdefault(own_set(each.result), []).append(each)
    runs: list[TrainingRun] = []
    for collection, own in by_collection.items():
        labels = _labels(own)
        order = list(dict.fromkeys(labels.values()))
        for each in sorted(own, key=lambda each: (order.index(labels[each.path]), each.seed)):
            label = labels[each.path]
            name = f"{collection}: {label}" if len(by_collection) > 1 else label
            runs.append(TrainingRun(each, label, name, places[each.path]))
    return runs


def _labels(runs: Sequence[Finished]) -> dict[Path, str]:
    """Return the names of configurations; a single one is named by its loss."""
    if len({each.what for each in runs}) == 1:
        return {each.path: "+".join(each.config.get("loss") or {}) or "student" for each in runs}
    given = [str(each.path) for each in runs]
    names = {named.path: named.name for named in find(given, key="name")}
    return {each.path: names[each.path] for each in runs}


def _incomplete(runs: Sequence[Finished]) -> list[Unfinished]:
    return [
        Unfinished(run.path.name, run.env, f"lacks {group}", str(entry["missing"]))
        for run in runs
        for group, entry in (run.result.get("sets") or {}).items()
        if "missing" in entry
    ]


def _unfinished(path: Path) -> Unfinished:
    try:
        env = dict(json.loads((path / "env.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        env = {}
    if (path / PRUNED).is_file():  # its process was ended, which may also have left an error
        return Unfinished(path.name, env, "ended early", "by a study (limbeck tune), which pruned it")
    error = path / "error.txt"
    if error.is_file():
        lines = error.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return Unfinished(path.name, env, "failed", lines[-1].strip() if lines else "error.txt is empty")
    return Unfinished(path.name, env, "unfinished", "no result and no error: it is running, or it was killed")


def _by_name(runs: Iterable[TrainingRun]) -> dict[str, list[TrainingRun]]:
    found: dict[str, list[TrainingRun]] = {}
    for run in runs:
        found.setdefault(run.name, []).append(run)
    return found


def labels(runs: Iterable[TrainingRun]) -> dict[str, str]:
    """Return configurations' names → shorter names for figures, without a collection that all share."""
    known = list(runs)
    alike = len({run.own for run in known}) == 1
    plain = {run.name: run.label if alike else run.name for run in known}
    shown = {name: written(each) for name, each in plain.items()}
    return shown if len(set(shown.values())) == len(set(plain.values())) else plain


def fits(baseline: str, run: TrainingRun) -> bool:
    """Return whether a baseline (a configuration's name, a run's id, or overrides) means a run."""
    names = (run.name, run.label, run.id, written(run.name), written(run.label))
    return baseline in names or set(baseline.split()) <= set(run.overrides)


def chosen(configurations: Mapping[str, Sequence[TrainingRun]], group: str, baseline: str | None) -> str | None:
    """Return the baseline configuration on a set; None if it was not evaluated there.

    Parameters
    ----------
    configurations
        Configurations on the set.
    group
        The set, for messages.
    baseline
        The user's choice; None takes the first configuration.

    Raises
    ------
    ConfigError
        The baseline fits runs of several configurations.
    """
    if baseline is None:
        return next(iter(configurations))
    found = [name for name, runs in configurations.items() if any(fits(baseline, run) for run in runs)]
    if len(found) > 1:
        raise ConfigError(f"baseline: {baseline!r} fits several configurations on {group}: {', '.join(found)}")
    return found[0] if found else None


def first_metric(configurations: Mapping[str, Sequence[TrainingRun]], group: str) -> str | None:
    """Return the metric by which a set is compared: the first one that all its runs have."""
    known = [run.values(group) for runs in configurations.values() for run in runs]
    return next((metric for metric in known[0] if all(metric in each for each in known)), None)


def references(runs: Sequence[TrainingRun], group: str) -> list[Mapping[str, Any]]:
    """Return the rows of the other systems on a set (first stage, teacher), without duplicates."""
    found: list[Mapping[str, Any]] = []
    for row in (row for run in runs for row in run.finished.sets[group].rows.values()):
        if not is_of(row, "student") and not is_of(row, "start") and row not in found:
            found.append(row)
    return found
