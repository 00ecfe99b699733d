"""Files built once and reused while their inputs are the same.

An artefact is a folder ``CACHE/KIND/FINGERPRINT`` with ``meta.json``: all inputs, and the sizes of its files. It
appears by one rename when it is whole, so a killed process leaves nothing that counts; a lock lets processes that need
it at the same time build it once. Whoever reuses it compares the sizes first: a damaged artefact is named and built
again. What takes long is built by parts, which the next process goes on with.
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
        Made if it is absent. It may be read-only if all that is needed is there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, inputs: Mapping[str, Any]) -> Path:
        """Return where the artefact is, or would be."""
        return self.root / kind / fingerprint(inputs)

    def find(self, kind: str, inputs: Mapping[str, Any]) -> Path | None:
        """Return the artefact's folder if it is there and undamaged; nothing is built."""
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
        """Return the artefact's folder, built if it is not there or damaged.

        Parameters
        ----------
        kind
            ``candidates``, ``scores``, …
        inputs
            All that the content depends on, as plain containers, fingerprints of other artefacts included.
        build
            Fills a folder, which is empty unless there are parts.
        label
            What to say while it is built; None builds silently.
        parts
            What a killed ``build`` has left is given to the next one, which takes of it what is whole: each of its
            files must be whole or absent, or ``build`` must see how far it is.
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
    """Return what is wrong with an artefact in words; None if all its files are there with the sizes they had.

    Contents are not read. Artefacts of earlier versions have no record of sizes and count as whole.
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
        with locked(grown / ".parts.lock", f"{kind} in {grown}"):  # whoever deletes the other lock damages nothing
            if not _is_there(target):
                fill(grown)
                os.rename(grown, target)
    else:
        whole_folder(target, fill, is_whole=lambda: _is_there(target))
    return seconds


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of all files but for locks, in which their holders write."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(folder)): path.stat().st_size for path in files}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that is either whole or not there. What is not finite becomes null: JSON has no word for it."""
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
