"""Names, ids and tags of runs in Weights & Biases, within its limits."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.config import fingerprint, part_name

TAG = 64
"""Maximum length of a W&B tag or run id."""

_PROJECT = 128
"""Maximum length of a W&B project name."""
_NOT_IN_PROJECTS = "/\\#?%:"
"""Characters that W&B does not allow in a project name."""


NOTED = ("commit", "uncommitted_changes", "python", "versions", "device")
"""Keys of env.json that are copied to W&B's configuration, so that runs can be grouped by them."""


def environment(folder: Path) -> dict[str, Any]:
    """Return the content of a run folder's ``env.json``; empty if it cannot be read."""
    try:
        return dict(json.loads((folder / "env.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def check_project(project: str) -> None:
    """Raise ``ValueError`` for a project name that W&B does not allow."""
    if set(project) & set(_NOT_IN_PROJECTS):
        raise ValueError(f"project must have none of the characters {_NOT_IN_PROJECTS}, got {project!r}")
    if not 0 < len(project.strip()) <= len(project) <= _PROJECT:
        raise ValueError(f"project must have 1 to {_PROJECT} characters, got {project!r}")


def identify(name: str, run_id: str) -> str:
    """Return the id of a W&B run: name and run id, with characters and length that W&B allows."""
    plain = re.sub(r"[^\w.-]", "-", name, flags=re.ASCII)
    identity = f"{plain}-{run_id}"
    if plain == name and len(identity) <= TAG:
        return identity
    mark = fingerprint({"name": name})[:8]  # keeps names distinct that become equal when cut
    return f"{plain[: TAG - len(run_id) - len(mark) - 2]}-{mark}-{run_id}"


def tags(config: Mapping[str, Any], own: Sequence[str]) -> list[str]:
    """Return the tags of a run: losses, student, collection, teacher, and the user's tags."""
    teacher = config.get("teacher") or {}
    model = (teacher.get("backbone") or {}).get("model") or teacher.get("path")
    words: list[str] = []
    if "student" in config:  # evaluations have none
        words += [f"loss:{term}" for term in config["loss"]]
        words += [f"student:{part_name(config['student'])}", f"collection:{_short(config['data']['collection'])}"]
    words.append(f"teacher:{_short(model) if isinstance(model, str) else part_name(teacher) if teacher else 'none'}")
    words += own
    return list(dict.fromkeys(word[:TAG] for word in words if word))


def _short(place: str) -> str:
    """Return the last part of a local path; other names (of a hub or ir_datasets) are unchanged."""
    return Path(place).name if Path(place).is_absolute() or Path(place).exists() else place
