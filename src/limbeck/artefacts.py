"""Files made once and reused while their inputs are the same.

An artefact is a folder ``CACHE/KIND/FINGERPRINT`` with ``meta.json``, which tells all inputs. It appears by one rename
when it is whole, so a killed process leaves nothing that counts; a lock makes processes that need it at the same time
build it once.
"""

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from limbeck.config import fingerprint

log = logging.getLogger(__name__)


class Artefacts:
    """A cache folder.

    Parameters
    ----------
    root
        Made if it is absent.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, kind: str, inputs: Mapping[str, Any]) -> Path | None:
        """Return the artefact's folder if it is there; nothing is built."""
        target = self.root / kind / fingerprint(inputs)
        return target if (target / "meta.json").exists() else None

    def folder(
        self, kind: str, inputs: Mapping[str, Any], build: Callable[[Path], object], *, label: str | None = None
    ) -> Path:
        """Return the artefact's folder, built if it is not there.

        Parameters
        ----------
        kind
            ``candidates``, ``scores``, …
        inputs
            All that the content depends on, as plain containers, fingerprints of other artefacts included.
        build
            Fills an empty folder.
        label
            What to say while it is built; None builds silently.
        """
        target = self.root / kind / fingerprint(inputs)
        if (target / "meta.json").exists():
            if label:
                log.info("%s: reused from %s", label, target)
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if (target / "meta.json").exists():
                return target
            unfinished = target.with_name(f"{target.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            start = time.perf_counter()
            build(unfinished)
            seconds = time.perf_counter() - start
            meta = {"kind": kind, "inputs": inputs, "seconds": round(seconds, 2)}
            write_json(unfinished / "meta.json", meta)
            os.rename(unfinished, target)
        if label:
            log.info("%s: %.1f s", label, seconds)
        return target


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that is either whole or not there. What is not finite becomes null: JSON has no word for it."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump(_finite(value), file, indent=2, ensure_ascii=False, default=str, allow_nan=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
