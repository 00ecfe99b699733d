"""Results of finished runs and evaluations: per-query values and runs, by set, of every system."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from limbeck.config import ConfigError
from limbeck.evaluation.per_query import read_per_query
from limbeck.reporting.results.systems import Named, config, find, named_folder, result

Node = Mapping[str, Any]


BESIDE = {"first_stage": "first stage", "teacher": "teacher"}
"""Systems that are evaluated besides students, with their names in tables."""


@dataclass(frozen=True)
class Place:
    """Where one system's results on one set are."""

    per_query: Path
    run: Path
    teacher: Path | None
    """Per-query values of the teacher; None if there are none."""
    data: Node | None
    """Configuration node of the collection whose split ``test`` or ``split`` was evaluated; None if unknown."""
    split: str
    prefix: str
    """Start of the file names of all systems on this set: ``PREFIX.SYSTEM.parquet``."""

    def beside(self, system: str) -> "Place":
        """Return where another system's results on the same set are."""
        per_query = self.per_query.with_name(f"{self.prefix}.{system}.parquet")
        run = self.per_query.parents[1] / "runs" / f"{self.prefix}.{system}.trec"
        return replace(self, per_query=per_query, run=run)

    def metrics(self) -> list[str]:
        """Return the names of the metrics."""
        try:
            return [name for name in pq.read_schema(self.per_query).names if name != "query_id"]
        except OSError as error:
            raise ConfigError(f"{self.per_query} cannot be read ({error}); evaluate the system again") from None


@dataclass(frozen=True)
class Member:
    """A system with its results."""

    name: str
    """Equal for systems that differ only by seed."""
    seed: int | None
    places: Mapping[str, Place]
    """Set → where its results are."""


def check_whole(sets: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ``ConfigError`` if sets of an evaluation are missing, with the reason of each."""
    missing = {name: each["missing"] for name, each in sets.items() if "missing" in each}
    if missing:
        reasons = "\n".join(f"  {', '.join(names)}: {reason}" for reason, names in _by_reason(missing).items())
        raise ConfigError(
            f"{len(missing)} of {len(sets)} sets are missing; the same command tries them again\n{reasons}"
        )


def _by_reason(missing: Mapping[str, str]) -> dict[str, list[str]]:
    """Return reason → sets; reasons that differ only in the set's name are merged, without the name."""
    alike: dict[str, list[str]] = {}
    for name, reason in missing.items():
        alike.setdefault(re.sub(r"'[^']*'", "'…'", reason.replace(f".{name}.", ".NAME.")), []).append(name)
    return {shared if len(names) > 1 else missing[names[0]]: names for shared, names in alike.items()}


def whole(record: Node | None) -> bool:
    """Return whether a run or an evaluation is finished, with no set missing."""
    return record is not None and not any("missing" in each for each in (record.get("sets") or {}).values())


def members(given: Any, *, key: str, root: Path | None = None) -> list[Member]:
    """Return the systems that an option names.

    Parameters
    ----------
    given
        One of these, a list of them, or a mapping from names to them: a run folder or a folder of runs (their
        students), the folder of an evaluation (all its systems), or ``FOLDER/SYSTEM`` (one of these).
    key
        The option, for messages.
    root
        Folder of all sweeps, in which ``given`` may be a name.

    Raises
    ------
    ConfigError
        There is no such folder or system, or it is not finished.
    """
    if isinstance(given, Mapping):
        named = {str(name): members([item], key=key, root=root) for name, item in given.items()}
        return [Member(name, each.seed, each.places) for name, found in named.items() for each in found]
    found: list[Member] = []
    runs: list[str] = []
    for word in [given] if isinstance(given, str) else given:
        path = named_folder(str(word), root)
        evaluation = _evaluation_of(path)
        if evaluation is None:
            runs.append(str(path))
        else:
            found += _of_evaluation(*evaluation, key=key)
    return found + [_of_run(each) for each in (find(runs, key=key) if runs else [])]


def _evaluation_of(path: Path) -> tuple[Path, str | None] | None:
    """Return the folder of an evaluation and the system that a path names; None if it names no evaluation."""
    for folder, system in ((path, None), (path.parent, path.name)):
        if (folder / "result.json").is_file() and "systems" in result(folder):
            return folder, system
    return None


def _of_evaluation(folder: Path, system: str | None, *, key: str) -> list[Member]:
    record = result(folder)
    systems = record["systems"]
    if system is not None and system not in systems:
        raise ConfigError(f"{key}: {folder} has no system {system!r}; it has {', '.join(systems)}")
    return [
        Member(each["name"], each["seed"], _places(folder, name, record["sets"], each.get("file")))
        for name, each in systems.items()
        if system in (None, name)
    ]


def _places(folder: Path, name: str, sets: Mapping[str, Node], file: str | None = None) -> dict[str, Place]:
    found = {}
    for group, entry in sets.items():
        path = folder / "per_query" / f"{group}.{name}.parquet"
        if "missing" in entry or not path.is_file():
            continue
        teacher = folder / "per_query" / f"{group}.teacher.parquet"
        run = Path(file) if file else folder / "runs" / f"{group}.{name}.trec"
        found[group] = Place(path, run, teacher if teacher.is_file() else None, entry.get("data"), "test", group)
    return found


def _of_run(named: Named) -> Member:
    if not named.run:
        raise ConfigError(
            f"{named.path} is a model, not a finished run: evaluate it first (limbeck evaluate run={named.path} eval=…)"
        )
    record = result(named.path)
    split = record["split"]
    folder = named.path / "per_query"
    teacher = folder / f"{split}.teacher.parquet"
    own = Place(
        folder / f"{split}.student.parquet",
        named.path / "runs" / f"{split}.student.trec",
        teacher if teacher.is_file() else None,
        config(named.path)["data"],
        split,
        split,
    )
    others = _places(named.path, "student", record.get("sets") or {})
    return Member(named.name, named.seed, {own_set(record): own, **others})


def beside(systems: Sequence[Member], system: str, *, key: str) -> Member:
    """Return the first stage, or the teacher, evaluated besides some systems.

    Parameters
    ----------
    systems
        Systems that all have the same one on the same set.
    system
        A key of ``BESIDE``.
    key
        The option that asks for it, for messages.

    Raises
    ------
    ConfigError
        A system was evaluated without it, or the systems have different ones.
    """
    places: dict[str, Place] = {}
    for each in systems:
        for group, place in each.places.items():
            found = place.beside(system)
            folder = found.per_query.parents[1]
            if not found.per_query.is_file():
                raise ConfigError(f"{key}: {folder} has no {BESIDE[system]} on {group}: it was not evaluated there")
            first = places.setdefault(group, found)
            metric = first.metrics()[0]
            if read_per_query(first.per_query, metric) != read_per_query(found.per_query, metric):
                raise ConfigError(
                    f"{key}: {first.per_query.parents[1]} and {folder} have different ones on {group}; compare the "
                    f"runs of one {BESIDE[system]} at a time"
                )
    itself = [each.name for each in systems if any(each.places.get(group) == place for group, place in places.items())]
    return Member(itself[0] if itself else BESIDE[system], None, places)


def own_set(record: Node) -> str:
    """Return the name, among a run's sets, of the collection that the run was trained on.

    Parameters
    ----------
    record
        Contents of the run's ``result.json``.
    """
    collection = Path(record["collection"]).name
    return collection if record["split"] == "test" else f"{collection} {record['split']}"


@dataclass(frozen=True)
class Group:
    """One set: per-query values of every system, one mapping per seed."""

    values: dict[str, dict[str, list[dict[str, float]]]]
    """Metric → system → values, one mapping per seed."""
    teacher: dict[str, dict[str, float]] | None
    """Metric → values of the teacher; None if there is none, or if systems have different ones."""
    places: dict[str, Place]
    """System → where its results are (of the first seed)."""


def gathered(systems: Sequence[Member], metrics: Sequence[str] | None) -> dict[str, Group]:
    """Return the common sets and metrics of several systems, by set.

    Parameters
    ----------
    systems
        At least one.
    metrics
        Metrics to keep; None keeps all that every system of a set has.

    Raises
    ------
    ConfigError
        The systems have no set in common, or a wanted metric was not computed.
    """
    names = list(dict.fromkeys(system.name for system in systems))
    groups: dict[str, Group] = {}
    for group in dict.fromkeys(group for system in systems for group in system.places):
        of_group = [(system.name, system.places[group]) for system in systems if group in system.places]
        if len({name for name, _ in of_group}) < min(2, len(names)):
            continue
        groups[group] = _group(group, of_group, metrics)
    if not groups:
        raise ConfigError(f"{', '.join(names)} have no evaluated collection in common")
    return groups


def _group(group: str, of_group: Sequence[tuple[str, Place]], metrics: Sequence[str] | None) -> Group:
    known = [place.metrics() for _, place in of_group]
    chosen = [metric for metric in known[0] if all(metric in each for each in known)] if metrics is None else metrics
    for metric in chosen:
        for (name, place), each in zip(of_group, known, strict=True):
            if metric not in each:
                raise ConfigError(
                    f"metrics has {metric}, which was not computed for {name} on {group} (it has {', '.join(each)}); "
                    f"evaluate its run file: limbeck evaluate run_file={place.run} qrels=… metrics=[{metric}]"
                )
    values: dict[str, dict[str, list[dict[str, float]]]] = {metric: {} for metric in chosen}
    for name, place in of_group:
        for metric in chosen:
            values[metric].setdefault(name, []).append(read_per_query(place.per_query, metric))
    places: dict[str, Place] = {}
    for name, place in of_group:
        places.setdefault(name, place)
    return Group(values, _teacher([place for _, place in of_group]), places)


def _teacher(places: Sequence[Place]) -> dict[str, dict[str, float]] | None:
    paths = [place.teacher for place in places if place.teacher is not None]
    if len(paths) < len(places):
        return None
    names = [name for name in pq.read_schema(paths[0]).names if name != "query_id"]
    found = {name: read_per_query(paths[0], name) for name in names}
    for path in set(paths[1:]):
        if read_per_query(path, names[0]) != found[names[0]]:
            return None  # several teachers: no common measure of quality
    return found
