"""Give Hydra, besides YAML files, a typed schema of each registered part and an option that selects it by name.

Nothing heavy is imported here: signatures are read from the sources.
"""

from collections.abc import Iterable
from dataclasses import field, make_dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from limbeck.config import entries, home
from limbeck.registry import Entry

OPTIONS = {
    kind: kind
    for kind in (
        "backbone", "backend", "candidates", "format", "launcher", "logger", "loss", "optim", "sampler",
        "student", "teacher",
    )
} | {"fusion": "eval/fusion", "callback": "callbacks"}  # fmt: skip
"""Kinds of parts that are selected by name, and the group of each on the command line: ``loss=ckl``."""

_SEVERAL = ("loss", "callback")
"""Kinds of which a configuration may have several, each in its own node."""

_STORED: dict[tuple[str, str], Entry] = {}
"""Parts whose schemas are in Hydra's store, which outlives a call."""


def generated() -> dict[tuple[str, str], dict[str, str]]:
    """Return the options that need no YAML: (group, name) → entry in the defaults list.

    They are the registered parts with the defaults of their signatures. A part with further nodes (a teacher's student)
    needs a YAML, which names these.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for entry in entries().values():
        if entry.kind in OPTIONS and not entry.parts:
            place = entry.name if entry.kind in _SEVERAL else "_here_"
            found[OPTIONS[entry.kind], entry.name] = {f"/schema/{entry.kind}@{place}": entry.name}
        if entry.kind == "candidates" and "parts" not in entry.parts:  # a fusion cannot be part of a fusion
            found["candidates/parts", entry.name] = {f"/candidates@{entry.name}": entry.name}
    return found


def store_schemas(folders: Iterable[Path] = ()) -> None:
    """Give Hydra a typed node ``schema/KIND: NAME`` for each registered part, and ``GROUP: NAME`` if there is no YAML.

    Parameters
    ----------
    folders
        Folders of the user's YAML files, which take precedence over generated options.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    for key, entry in entries().items():
        if _STORED.get(key) != entry:
            store.store(group=f"schema/{entry.kind}", name=entry.name, node=_schema(entry))
            _STORED[key] = entry
    files = (home() / "conf", *folders)
    for (group, name), default in generated().items():
        stored = reduce(lambda place, part: place.setdefault(part, {}), group.split("/"), store.repo)
        if any((folder / group / f"{name}.yaml").is_file() for folder in files):
            # Hydra refuses an option that is both in a file and in its store, which may hold one from an earlier call.
            stored.pop(f"{name}.yaml", None)
        elif f"{name}.yaml" not in stored:
            store.store(group=group, name=name, node={"defaults": [default, "_self_"]})


def _schema(entry: Entry) -> type:
    from omegaconf import MISSING

    columns: list[tuple[str, Any, Any]] = [("_target_", str, field(default=entry.target))]
    for item in entry.parameters:
        default = MISSING if item.default is ... else item.default
        if isinstance(default, list | dict):
            columns.append((item.name, item.type, field(default_factory=default.copy)))
        else:
            columns.append((item.name, item.type, field(default=default)))
    columns += [(part, Any, field(default=None)) for part in entry.parts]
    return make_dataclass(entry.name, columns)
