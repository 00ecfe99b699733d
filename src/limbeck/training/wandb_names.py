"""How runs are called in Weights & Biases, and what it takes as a name."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.config import fingerprint, part_name

TAG = 64
"""Characters that W&B allows a tag, and an id."""

_PROJECT = 128
"""Characters that W&B allows the name of a project, and"""
_NOT_IN_PROJECTS = "/\\#?%:"
"""those that it refuses there."""


NOTED = ("commit", "uncommitted_changes", "python", "versions", "device")
"""What of env.json is also in W&B's configuration, so that runs can be grouped by it."""


def environment(folder: Path) -> dict[str, Any]:
    """Return what is in a run folder's ``env.json``; nothing where it is not there."""
    try:
        return dict(json.loads((folder / "env.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def check_project(project: str) -> None:
    """Raise a ``ValueError`` for a project that W&B would refuse."""
    if set(project) & set(_NOT_IN_PROJECTS):
        raise ValueError(f"project must have none of the characters {_NOT_IN_PROJECTS}, got {project!r}")
    if not 0 < len(project.strip()) <= len(project) <= _PROJECT:
        raise ValueError(f"project must have 1 to {_PROJECT} characters, got {project!r}")


def identify(name: str, run_id: str) -> str:
    """Return the id of a W&B run: name and run id, without what W&B refuses in an id, and not longer than it allows."""
    plain = re.sub(r"[^\w.-]", "-", name, flags=re.ASCII)
    identity = f"{plain}-{run_id}"
    if plain == name and len(identity) <= TAG:
        return identity
    mark = fingerprint({"name": name})[:8]  # names that differ only in what is cut or replaced stay apart
    return f"{plain[: TAG - len(run_id) - len(mark) - 2]}-{mark}-{run_id}"


def tags(config: Mapping[str, Any], own: Sequence[str]) -> list[str]:
    """Return the tags of a run: loss terms, student, collection, teacher, and the user's own."""
    teacher = config.get("teacher") or {}
    model = (teacher.get("backbone") or {}).get("model") or teacher.get("path")
    words: list[str] = []
    if "student" in config:  # an evaluation has none
        words += [f"loss:{term}" for term in config["loss"]]
        words += [f"student:{part_name(config['student'])}", f"collection:{_short(config['data']['collection'])}"]
    words.append(f"teacher:{_short(model) if isinstance(model, str) else part_name(teacher) if teacher else 'none'}")
    words += own
    return list(dict.fromkeys(word[:TAG] for word in words if word))


def _short(place: str) -> str:
    """Return the last word of a path or of a hub's name; ids of ir_datasets stay whole."""
    return Path(place).name if Path(place).is_absolute() or Path(place).exists() else place
