"""Check of ``backbone.model`` for a folder that holds a whole student, of which only the transformer is loaded."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.backbones import hub
from limbeck.backbones.layout import layout
from limbeck.backbones.sources import PACKAGE, locate
from limbeck.config import ConfigError
from limbeck.students.folders import Found, holds, instead, read

log = logging.getLogger(__name__)

_FREE = {"query_length", "document_length", "scale", "learn_scale", "matryoshka"}
"""Options that are not compared: lengths, and options that sentence-transformers does not have."""


def check(
    kind: str, student: Mapping[str, Any], model: str, revision: str | None = None, *, key: str, trains: bool
) -> None:
    """Compare the options of a student with those of the student that ``backbone.model`` holds, if any.

    Parameters
    ----------
    kind
        Name of the configured student.
    student
        Options of the configured student.
    model
        ``backbone.model``: a hub name or a folder.
    revision
        ``backbone.revision``: commit or tag on the hub.
    key
        Prefix of the student's and the backbone's keys, such as ``teacher.``.
    trains
        Whether the student is trained; differences are then a warning, else an error.

    Raises
    ------
    ConfigError
        The student differs from the one in the folder, and is not trained.
    """
    on_hub = hub.is_name(model)
    try:
        folder = hub.described(model, revision) if on_hub else home(model)
    except ValueError as error:
        raise ConfigError(f"{key}backbone.{error}") from None
    if folder is None:
        return
    left = _left(kind, student, folder, key)
    if not left:
        return
    if on_hub:
        pinned = "" if revision is None else f" --revision {revision}"
        what = f"from the model on the hub: {left}"
        remedy = f"hf download {model}{pinned} --local-dir FOLDER, then {instead(key, 'FOLDER')}"
    else:
        whole = model if model.startswith(PACKAGE) else str(folder)
        what, remedy = f"from the folder: {left}", instead(key, whole)
    message = f"{key}backbone.model={model} loads only the transformer {what}. To load the whole student: {remedy}"
    if not trains:
        raise ConfigError(message)
    log.warning("%s", message)


def home(model: str) -> Path | None:
    """Return the folder of the student that ``backbone.model`` names or lies in; None if there is no student."""
    folder = Path(locate(model)) if model.startswith(PACKAGE) else Path(model)
    if holds(folder):
        return folder
    for place in (folder.parent, folder.parent.parent):  # a transformer in a subfolder of a Router
        found = layout(place)
        if found is not None:
            parts = [module.folder.resolve() for module in (*found.documents, *found.queries)]
            return place if folder.resolve() in parts else None
    return None


def _left(kind: str, student: Mapping[str, Any], folder: Path, key: str) -> str:
    """Describe how a student differs from the one in a folder; empty if it does not."""
    try:
        found: Found = read(folder, key=f"{key}backbone.model")
    except ConfigError as error:
        return str(error)
    if found.kind != kind:
        return f"it holds a {found.kind}, not a {kind}"
    differing = {
        name: value
        for name, value in found.options.items()
        if name not in _FREE and name in student and not _same(student[name], value)
    }
    said = [f"{name} is {_word(there)} there, {_word(student[name])} here" for name, there in differing.items()]
    return "; ".join(said)


def _same(ours: Any, theirs: Any) -> bool:
    """Return whether two values of an option are equivalent; ``auto`` matches everything."""
    return ours == theirs or ours == "auto" or (ours in (None, "") and theirs in (None, ""))


def _word(value: Any) -> str:
    return "none" if value in (None, "", []) else repr(value) if isinstance(value, str) else str(value)
