"""Recognises folders with a student: of limbeck, of sentence-transformers, or of ColBERT's original code."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.backbones import tables
from limbeck.backbones.stanford import is_stanford
from limbeck.config import ConfigError, own_parts, registered

if TYPE_CHECKING:
    from limbeck.backbones.layout import Layout

MARK = "limbeck.json"
"""File in limbeck's model folders with the student's kind and options."""

MODULES = "modules.json"
"""File in folders of sentence-transformers that lists the modules."""

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """A student in a folder."""

    kind: str
    """Registered name of the student."""
    options: Node
    """Options of the student that the folder determines."""
    transformer: Path
    """Folder of the transformer of documents (or of pairs)."""


def read(folder: Path, *, key: str) -> Found:
    """Return kind, options and transformer of the student in a folder.

    Parameters
    ----------
    folder
        The folder of a run, an export, or a model of a supported library.
    key
        Configuration key that named the folder, for messages.

    Raises
    ------
    ConfigError
        The folder does not exist, or holds no supported student.
    """
    if not folder.is_dir():
        hub = re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", str(folder))
        hint = f"; download a model of the hub first: hf download {folder} --local-dir FOLDER" if hub else ""
        raise ConfigError(f"{key}: there is no folder {str(folder)!r}{hint}")
    for place in (folder, folder / "model"):
        if (place / MARK).is_file():
            return _ours(place)
    foreign = _layout(folder)
    if foreign is not None:
        from limbeck.students.foreign import read as understand

        kind, options = understand(foreign)
        return Found(kind, options, foreign.transformer())
    if tables.is_table(folder):
        return Found("dense", tables.options(folder), folder)
    if is_stanford(folder):
        from limbeck.students.late import stanford

        return Found("colbert", stanford(folder), folder)
    if (folder / "config.yaml").is_file():
        raise ConfigError(f"{key}: the run in {str(folder)!r} has no model yet; run its limbeck train command again")
    raise ConfigError(
        f"{key}: {str(folder)!r} holds neither {MARK} nor modules.json: it is not a model of limbeck or "
        "sentence-transformers; for a plain checkpoint choose the student's kind and backbone=pretrained "
        "backbone.model=FOLDER"
    )


def holds(folder: Path) -> bool:
    """Return whether a folder holds a student: a run, an export, or a model of a supported library."""
    ours = any((place / MARK).is_file() for place in (folder, folder / "model"))
    return ours or (folder / MODULES).is_file() or tables.is_table(folder) or is_stanford(folder)


def space_of(folder: Path) -> Node | None:
    """Return the teacher whose embedding space a student's queries were trained into; None if there is none.

    The mapping has ``teacher`` (its name), ``weights`` (the checksum of its weights) and ``losses``.
    """
    marks = (place / MARK for place in (folder, folder / "model") if (place / MARK).is_file())
    return next((json.loads(mark.read_text(encoding="utf-8")).get("space") for mark in marks), None)


def instead(key: str, folder: str) -> str:
    """Return the overrides that load the student in a folder; ``key`` is the key's prefix, such as ``teacher.``."""
    return f"{key.removesuffix('.') or 'student'}=saved {key}student.folder={folder}"


def _ours(place: Path) -> Found:
    try:
        options = dict(json.loads((place / MARK).read_text(encoding="utf-8"))["student"])
        target = options.pop("_target_")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{place / MARK} cannot be read: {error!r}; save or export the model again") from error
    entry = registered(str(target))
    if entry is not None and entry.kind == "student":
        exported = _layout(place)
        return Found(entry.name, options, place if exported is None else exported.transformer())
    raise ConfigError(f"{place / MARK} is of a student {target}, which is not known here\n{own_parts()}")


def _layout(folder: Path) -> "Layout | None":
    if not (folder / MODULES).is_file():
        return None
    from limbeck.backbones.layout import layout  # needs torch, which composing a configuration must not import

    return layout(folder)
