"""Read all finished runs of sweeps, and check whether they may be in one table."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError, fingerprint, identity
from limbeck.reporting.results.finished import own_set
from limbeck.reporting.results.systems import config, named_folder, result


@dataclass(frozen=True)
class Evaluated:
    """One run's results on one set."""

    fingerprint: str | None
    """Fingerprint of the collection's contents."""
    rows: Mapping[str, Mapping[str, Any]]
    """Key of the system → its row of the result."""
    prefix: Path
    """Per-query values are in ``PREFIX.KEY.parquet``."""


@dataclass(frozen=True)
class Finished:
    """A finished run."""

    path: Path
    config: Mapping[str, Any]
    env: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Seed of weights, order, lists and dropout."""
        return int(self.config["seed"])

    @cached_property
    def sets(self) -> dict[str, Evaluated]:
        """Set → results; sets that could not be opened are left out."""
        folder = self.path / "per_query"
        record = self.result
        rows = {row["key"]: row for row in record["rows"]}
        found = {own_set(record): Evaluated(record.get("collection_fingerprint"), rows, folder / record["split"])}
        for name, each in (record.get("sets") or {}).items():
            if "missing" not in each:
                rows = {row["key"]: row for row in each["rows"]}
                found[name] = Evaluated(each.get("fingerprint"), rows, folder / name)
        return found

    @cached_property
    def computed(self) -> dict[str, Any]:
        """The configuration without the seed, with the collection's fingerprint in place of its path."""
        own = {key: value for key, value in identity(self.config).items() if key != "seed"}
        content = self.result.get("collection_fingerprint")
        return {**own, "data": {**own["data"], "collection": content}} if content else own

    @cached_property
    def what(self) -> str:
        """Fingerprint of ``computed``."""
        return fingerprint(self.computed)


@dataclass
class Swept:
    """The contents of the folders of sweeps."""

    runs: list[Finished] = field(default_factory=list)
    """Finished runs, without duplicates."""
    repeated: int = 0
    """Number of duplicates of ``runs`` in other folders."""
    failed: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """Folders that do not exist."""
    missing: dict[str, list[str]] = field(default_factory=dict)
    """Set → reasons why runs could not be evaluated on it."""


def collect(names: Sequence[str], root: Path, *, key: str, partial: bool = False) -> Swept:
    """Read the finished runs of sweeps.

    Parameters
    ----------
    names
        Names of folders of runs below ``root``, or paths of folders of runs, or of single runs.
    root
        Folder of all sweeps.
    key
        Key of the names, for messages.
    partial
        List folders that do not exist, instead of raising an error.

    Raises
    ------
    ConfigError
        A folder does not exist or has no finished run, or a file of a run cannot be read; the message names it.
    """
    swept = Swept()
    seen: set[tuple[str, int]] = set()
    for name in names:
        folder = named_folder(name, root)
        if not folder.is_dir():
            if not partial:
                raise ConfigError(
                    f"{key}: there is neither {root / name} nor {name}; limbeck train sweeps={Path(name).name} makes "
                    "it, paths.runs=DIR says where sweeps lie, partial=true makes the table of what there is"
                )
            swept.absent.append(name)
            continue
        for path in _run_folders(folder):
            _add(path, swept, seen, key)
    if not swept.runs:
        raise ConfigError(f"{key}: no finished run in {', '.join(names)} below {root}{_unfinished(swept)}")
    return swept


def _run_folders(folder: Path) -> list[Path]:
    if (folder / "config.yaml").is_file():
        return [folder]
    # In the order in which the runs were started: their ids are hashes.
    found = [path.parent for path in folder.glob("*/config.yaml")]
    return sorted(found, key=lambda path: ((path / "config.yaml").stat().st_mtime_ns, path.name))


def _add(path: Path, swept: Swept, seen: set[tuple[str, int]], key: str) -> None:
    if not (path / "result.json").is_file():
        (swept.failed if (path / "error.txt").is_file() else swept.unfinished).append(path)
        return
    record = result(path)
    if "systems" in record:
        raise ConfigError(f"{key}: {path} is an evaluation; tables are built from runs of limbeck train")
    run = Finished(path, config(path), _env(path), record)
    try:
        mark = (run.what, run.seed)
        run.sets  # noqa: B018 - read here, so that what is wrong is named with its file
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: config.yaml and result.json are not those of a run of limbeck train ({error!r}); run it again"
        ) from None
    if mark in seen:
        swept.repeated += 1
        return
    seen.add(mark)
    swept.runs.append(run)
    for name, each in (record.get("sets") or {}).items():
        if "missing" in each and each["missing"] not in swept.missing.setdefault(name, []):
            swept.missing[name].append(each["missing"])


def _env(path: Path) -> dict[str, Any]:
    file = path / "env.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None


def _unfinished(swept: Swept) -> str:
    counts = [f"{len(each)} {word}" for word, each in _left(swept).items() if each]
    return f" ({', '.join(counts)})" if counts else ""


def _left(swept: Swept) -> dict[str, list[Path]]:
    return {"failed": swept.failed, "unfinished": swept.unfinished}


def remarks(swept: Swept) -> list[str]:
    """Return sentences on runs in the folders that are not in the table."""
    sentences = [f"No folder yet: {', '.join(swept.absent)}."] if swept.absent else []
    sentences += [f"Left out, {word}: {_paths(paths)}." for word, paths in _left(swept).items() if paths]
    if swept.repeated:
        sentences.append(f"{swept.repeated} runs are in several folders; each is counted once.")
    for name, reasons in swept.missing.items():
        sentences.append(f"{name} could not be evaluated by some runs: {'; '.join(reasons)}.")
    return sentences


def commits(runs: Iterable[Finished]) -> dict[str, list[Finished]]:
    """Return the runs by the state of the code that ran them, in words."""
    found: dict[str, list[Finished]] = {}
    for run in runs:
        commit = run.env.get("commit")
        changed = " with uncommitted changes" if run.env.get("uncommitted_changes") else ""
        found.setdefault(f"commit {commit[:12]}{changed}" if commit else "unknown commit", []).append(run)
    return found


def check_commits(runs: Sequence[Finished]) -> None:
    """Raise ``ConfigError`` if runs come from several states of the code; the message lists the runs of each."""
    found = commits(runs)
    if len(found) > 1:
        raise ConfigError(
            f"the runs are of {len(found)} states of the code; mix_commits=true makes the table nevertheless\n"
            + _which(found)
        )


def check_data(runs: Sequence[Finished], sets: Iterable[str]) -> None:
    """Raise ``ConfigError`` if a set had different contents in different runs; the message lists the runs of each."""
    for name in sets:
        found: dict[str, list[Finished]] = {}
        for run in runs:
            if name in run.sets:
                found.setdefault(f"fingerprint {run.sets[name].fingerprint}", []).append(run)
        if len(found) > 1:
            raise ConfigError(
                f"{name} had {len(found)} different contents; mix_data=true makes the table nevertheless\n"
                + _which(found)
            )


def _which(found: Mapping[str, Sequence[Finished]]) -> str:
    return "\n".join(f"  {word}: {_paths([run.path for run in runs])}" for word, runs in found.items())


def _paths(paths: Sequence[Path], most: int = 8) -> str:
    """Return the number of runs, and their paths; of many in one folder only the first few."""
    by_sweep: dict[str, list[str]] = {}
    for path in paths:
        by_sweep.setdefault(path.parent.name, []).append(path.name)
    groups = [
        f"{name}/{{{','.join(ids[:most])}{',…' if len(ids) > most else ''}}}" if len(ids) > 1 else f"{name}/{ids[0]}"
        for name, ids in by_sweep.items()
    ]
    return f"{len(paths)} run{'s' if len(paths) > 1 else ''}: {' '.join(groups)}"
