"""What a folder with a student holds: ours, one of sentence-transformers, or one of ColBERT's own code."""

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
"""File in a model folder of ours that says what kind of student it holds."""

MODULES = "modules.json"
"""File of a folder of sentence-transformers that lists its modules."""

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """What a folder holds."""

    kind: str
    """Name of the student."""
    options: Node
    """Options of the student that the folder fixes."""
    transformer: Path
    """Folder of the transformer that reads documents (or pairs)."""


def read(folder: Path, *, key: str) -> Found:
    """Look at what lies in a folder.

    Raises
    ------
    ConfigError
        Nothing that is known lies there.
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
        raise ConfigError(f"{key}: the run in {str(folder)!r} has no model yet; give its limbeck train command again")
    raise ConfigError(
        f"{key}: {str(folder)!r} holds neither {MARK} nor modules.json: it is no model of limbeck's or "
        "sentence-transformers'; for a plain checkpoint choose the student's kind and backbone=pretrained "
        "backbone.model=FOLDER"
    )


def holds(folder: Path) -> bool:
    """Return whether a folder says which student lies in it: a run's, an export, a library's, ColBERT's."""
    ours = any((place / MARK).is_file() for place in (folder, folder / "model"))
    return ours or (folder / MODULES).is_file() or tables.is_table(folder) or is_stanford(folder)


def space_of(folder: Path) -> Node | None:
    """Return the space of another encoder that a student in a folder was brought into; None if it is in its own.

    It has ``weights``, a checksum of that encoder, ``teacher``, its name, and ``losses``.
    """
    marks = (place / MARK for place in (folder, folder / "model") if (place / MARK).is_file())
    return next((json.loads(mark.read_text(encoding="utf-8")).get("space") for mark in marks), None)


def instead(key: str, folder: str) -> str:
    """Return the overrides that take the student in a folder; ``key`` is the prefix of the student's, ``teacher.``."""
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
    from limbeck.backbones.layout import layout  # needs torch, which a configuration is composed without

    return layout(folder)
