"""A backbone taken alone out of a folder that holds a whole student: what is left behind is said, or refused."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from limbeck.backbones.sources import PACKAGE, locate
from limbeck.config import ConfigError
from limbeck.students.folders import Found, holds, instead, read

log = logging.getLogger(__name__)

_FREE = {"query_length", "document_length", "scale", "learn_scale", "matryoshka"}
"""Options in which a student may differ from its folder: lengths, and what sentence-transformers does not have."""


def check(kind: str, student: Mapping[str, Any], model: str, *, key: str, trains: bool) -> None:
    """Compare a student with the folder that its backbone is taken from, if that holds a student.

    Parameters
    ----------
    kind, student
        Name and options of the student that is built.
    model
        ``backbone.model``: a hub name or a folder.
    key
        Prefix of the student's and the backbone's keys, as ``teacher.``.
    trains
        The student is trained: differences are logged as a warning. Others are refused.

    Raises
    ------
    ConfigError
        Nothing trains the student, and it is not the one in the folder.
    """
    try:
        folder = Path(locate(model)) if model.startswith(PACKAGE) else Path(model)
    except ValueError as error:
        raise ConfigError(f"{key}backbone.{error}") from None
    if not holds(folder):
        return
    left = _left(kind, student, folder, key)
    if not left:
        return
    what = f"{key}backbone.model={model} takes the transformer alone out of the folder: {left}"
    message = f"{what}. {instead(key, model)} takes the whole of it"
    if not trains:
        raise ConfigError(message)
    log.warning("%s", message)


def _left(kind: str, student: Mapping[str, Any], folder: Path, key: str) -> str:
    """Return in words how a student differs from the one in a folder; nothing if it does not."""
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
    """Return whether an option says the same; ``auto`` takes what the vocabulary has."""
    return ours == theirs or ours == "auto" or (ours in (None, "") and theirs in (None, ""))


def _word(value: Any) -> str:
    return "none" if value in (None, "", []) else repr(value) if isinstance(value, str) else str(value)
