"""A cache of files that are built once and reused while their inputs are the same.

An artefact is a folder ``CACHE/KIND/FINGERPRINT`` with ``meta.json``: all inputs, and the sizes of its files. It
appears by one rename when it is complete, so that a killed process leaves no incomplete artefact; under a lock,
processes that need it at the same time build it once. Before reuse the sizes are compared: a damaged artefact is
reported and built again. Long builds are made in parts, from which the next process continues.
"""

import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from limbeck.config import fingerprint
from limbeck.locks import locked
from limbeck.unfinished import clear, set_aside, whole_file, whole_folder

log = logging.getLogger(__name__)

_META = "meta.json"


class Artefacts:
    """A cache folder.

    Parameters
    ----------
    root
        Created if it is missing. It may be read-only if nothing has to be built.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, inputs: Mapping[str, Any]) -> Path:
        """Return the path of the artefact, which need not exist."""
        return self.root / kind / fingerprint(inputs)

    def find(self, kind: str, inputs: Mapping[str, Any]) -> Path | None:
        """Return the artefact's folder if it exists and is undamaged; nothing is built."""
        target = self.path(kind, inputs)
        return target if _is_there(target) and damage(target) is None else None

    def folder(
        self,
        kind: str,
        inputs: Mapping[str, Any],
        build: Callable[[Path], object],
        *,
        label: str | None = None,
        parts: bool = False,
    ) -> Path:
        """Return the artefact's folder; it is built if it is missing or damaged.

        Parameters
        ----------
        kind
            ``candidates``, ``scores``, …
        inputs
            Everything its content depends on, as plain containers, with fingerprints of other artefacts.
        build
            Fills a folder, which is empty unless ``parts`` is set.
        label
            Logged while it is built; None logs nothing.
        parts
            Keep the files of a killed ``build`` for the next one, which continues from them: each file must be complete
            or absent, or ``build`` must find out how far it got.
        """
        target = self.path(kind, inputs)
        if self.find(kind, inputs):
            if label:
                log.info("%s: reused from %s", label, target)
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(Path(f"{target}.lock"), label or f"{kind} in {target}"):
            if _is_there(target):
                harm = damage(target)
                if harm is None:
                    return target
                log.warning("%s is damaged (%s): it is built again", target, harm)
                set_aside(target)
            seconds = _build(target, kind, inputs, build, parts=parts)
        if label:
            log.info("%s: %.1f s", label, seconds)
        return target


def damage(folder: Path) -> str | None:
    """Return a description of an artefact's damage; None if all its files exist with their recorded sizes.

    Contents are not read. Artefacts of earlier versions have no recorded sizes and count as undamaged.
    """
    try:
        sizes = json.loads((folder / _META).read_text(encoding="utf-8")).get("files", {})
    except (OSError, ValueError, AttributeError) as error:
        return f"{_META} cannot be read: {error}"
    for name, size in sizes.items():
        try:
            found = (folder / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found:,} bytes, not {size:,}"
    return None


def _is_there(target: Path) -> bool:
    return (target / _META).exists()


def _build(
    target: Path, kind: str, inputs: Mapping[str, Any], build: Callable[[Path], object], *, parts: bool
) -> float:
    """Build an artefact and return the seconds it took."""
    start = time.perf_counter()
    seconds = 0.0

    def fill(path: Path) -> None:
        nonlocal seconds
        build(path)
        clear(path)
        seconds = time.perf_counter() - start
        meta = {"kind": kind, "inputs": inputs, "seconds": round(seconds, 2), "files": _sizes(path)}
        write_json(path / _META, meta)

    if parts:
        grown = target.with_name(f".{target.name}.parts")
        grown.mkdir(exist_ok=True)
        with locked(grown / ".parts.lock", f"{kind} in {grown}"):  # in this folder, where nobody deletes it alone
            if not _is_there(target):
                fill(grown)
                os.rename(grown, target)
    else:
        whole_folder(target, fill, is_whole=lambda: _is_there(target))
    return seconds


def _sizes(folder: Path) -> dict[str, int]:
    """Return the sizes of all files except locks, whose contents change."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically. Numbers that are not finite become null, as JSON cannot represent them."""
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        json.dump(_finite(value), file, indent=2, ensure_ascii=False, default=str, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
