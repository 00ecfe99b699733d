"""The runs that a page is about: what each was made of, what it found, and which did not end."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError, fingerprint, identity
from limbeck.results.finished import Place, members
from limbeck.results.systems import config, find, result
from limbeck.tables import is_of, metrics_of

_FREE = ("seed", "name", "force", "sweeps", "launcher", "paths.", "logger", "hydra")
"""Overrides that say nothing of what a configuration is."""


@dataclass(frozen=True)
class Run:
    """A finished run."""

    path: Path
    label: str
    """Of its configuration, among those of its own collection; of runs that differ by seed alone, the same."""
    name: str
    """The same with the collection before it, if the runs have several."""
    seed: int | None
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    env: Mapping[str, Any]
    places: Mapping[str, Place]
    """Set → where its results lie; its own collection first."""

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.path.name

    @property
    def overrides(self) -> list[str]:
        """What it was made from."""
        return list(self.env.get("overrides") or [])

    @property
    def own(self) -> str:
        """The set that is its own collection."""
        return next(iter(self.places))

    def rows(self, group: str) -> list[Mapping[str, Any]]:
        """Return the rows of all systems on a set."""
        return list(self.result["rows"] if group == self.own else self.result["sets"][group]["rows"])

    def values(self, group: str) -> dict[str, float]:
        """Return the metrics of the student, after its last stage, on a set."""
        row = next((row for row in self.rows(group) if row["key"] == "student"), None)
        return {} if row is None else {metric: row[metric] for metric in metrics_of([row])}


@dataclass(frozen=True)
class Unfinished:
    """A run without a result, or one that lacks sets."""

    id: str
    overrides: Sequence[str]
    state: str
    reason: str


@dataclass(frozen=True)
class Sweep:
    """All runs of a folder."""

    name: str
    runs: Sequence[Run]
    """Finished ones, seeds of a configuration together, otherwise as they were made."""
    unfinished: Sequence[Unfinished]

    @property
    def sets(self) -> list[str]:
        """The sets that any run was evaluated on: own collections first."""
        own = [run.own for run in self.runs]
        return list(dict.fromkeys([*own, *(group for run in self.runs for group in run.places)]))

    def on(self, group: str) -> dict[str, list[Run]]:
        """Return the runs on a set by configuration."""
        found: dict[str, list[Run]] = {}
        for run in self.runs:
            if group in run.places:
                found.setdefault(run.name, []).append(run)
        return found

    def own(self) -> dict[str, dict[str, list[Run]]]:
        """Return the runs by their own collection, and by configuration."""
        found: dict[str, dict[str, list[Run]]] = {}
        for run in self.runs:
            found.setdefault(run.own, {}).setdefault(run.name, []).append(run)
        return found

    def varied(self) -> dict[str, dict[str, str]]:
        """Return override → run id → value, of overrides that are not the same in all runs."""
        given: dict[str, dict[str, str]] = {}
        for run in self.runs:
            split = (word.lstrip("+~").partition("=") for word in run.overrides)
            given[run.id] = {key: value for key, _, value in split}
        keys = dict.fromkeys(key for each in given.values() for key in each if not key.startswith(_FREE))
        columns = {key: {name: each.get(key, "") for name, each in given.items()} for key in keys}
        return {key: _short(values) for key, values in columns.items() if len(set(values.values())) > 1}


def read(folder: Path) -> Sweep:
    """Read the runs in a folder.

    Raises
    ------
    ConfigError
        There is no such folder, nothing in it is a run, or a file of a finished run cannot be read.
    """
    if not folder.is_dir():
        known = sorted(each.name for each in folder.parent.glob("*") if each.is_dir())
        there = f"; there are {', '.join(known)}" if known else ""
        raise ConfigError(f"name: there is no folder {folder}{there}")
    alone = (folder / "config.yaml").is_file()
    folders = [folder] if alone else sorted(each.parent for each in folder.glob("*/config.yaml"))
    if not folders:
        raise ConfigError(f"name: {folder} holds no runs; limbeck train name={folder.name} … makes some")
    done = [each for each in folders if (each / "result.json").is_file()]
    done.sort(key=lambda each: ((each / "result.json").stat().st_mtime_ns, each))
    runs = _finished(done) if done else []
    return Sweep(folder.name, runs, [*_incomplete(runs), *(_unfinished(each) for each in folders if each not in done)])


def _finished(paths: Sequence[Path]) -> list[Run]:
    """Return runs in the order of their paths, but seeds of a configuration together."""
    given = [str(path) for path in paths]
    found = {
        named.path: member for named, member in zip(find(given, key="name"), members(given, key="name"), strict=True)
    }
    by_collection: dict[str, list[Path]] = {}
    for path in paths:
        by_collection.setdefault(next(iter(found[path].places)), []).append(path)
    runs: list[Run] = []
    for collection, own in by_collection.items():
        configs = {path: config(path) for path in own}
        names = {each.path: each.name for each in find([str(path) for path in own], key="name")}
        if len({fingerprint({**identity(each), "seed": None}) for each in configs.values()}) == 1:
            # Nothing tells them apart but the seed, and a single thing is named by what it is.
            names = dict.fromkeys(own, "+".join(configs[own[0]].get("loss") or {}) or "student")
        for path in sorted(own, key=lambda path: (list(names.values()).index(names[path]), found[path].seed or 0)):
            name = f"{collection}: {names[path]}" if len(by_collection) > 1 else names[path]
            member = found[path]
            runs.append(
                Run(path, names[path], name, member.seed, configs[path], result(path), _env(path), member.places)
            )
    return runs


def _env(path: Path) -> dict[str, Any]:
    """Return what a run was made with; empty if it was not noted, or not to the end."""
    try:
        return json.loads((path / "env.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _incomplete(runs: Sequence[Run]) -> list[Unfinished]:
    return [
        Unfinished(run.id, run.overrides, f"lacks {group}", str(told["missing"]))
        for run in runs
        for group, told in (run.result.get("sets") or {}).items()
        if "missing" in told
    ]


def _unfinished(path: Path) -> Unfinished:
    overrides = _env(path).get("overrides") or []
    error = path / "error.txt"
    if error.is_file():
        lines = error.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return Unfinished(path.name, overrides, "failed", lines[-1].strip() if lines else "error.txt is empty")
    return Unfinished(path.name, overrides, "unfinished", "no result and no error: it is at work, or it was killed")


def labels(runs: Iterable[Run]) -> dict[str, str]:
    """Return the configurations' names with what to call them beside one another: without a collection they share."""
    known = list(runs)
    alike = len({run.own for run in known}) == 1
    return {run.name: run.label if alike else run.name for run in known}


def _short(values: dict[str, str]) -> dict[str, str]:
    """Return values without the folders of paths, if they can still be told apart."""
    last = {name: value.rstrip("/").rpartition("/")[2] for name, value in values.items()}
    paths = all(value.startswith(("/", ".", "~")) for value in values.values())
    return last if paths and len(set(last.values())) == len(set(values.values())) else values


def first_metric(configurations: Mapping[str, Sequence[Run]], group: str) -> str | None:
    """Return the metric that a set is told by: the first one that all its runs have."""
    known = [run.values(group) for runs in configurations.values() for run in runs]
    return next((metric for metric in known[0] if all(metric in each for each in known)), None) if known else None


def references(runs: Sequence[Run], group: str) -> list[Mapping[str, Any]]:
    """Return the rows of the other systems on a set (first stage, teacher), each once."""
    found: list[Mapping[str, Any]] = []
    for row in (row for run in runs for row in run.rows(group)):
        if not is_of(row, "student") and not is_of(row, "start") and row not in found:
            found.append(row)
    return found
