"""The collection of a command that names none: that of the run, the candidates or the scores it is given.

A run, a folder of candidates and a score store record the ``data`` node of their configuration. A command that is given
one of them, and no ``data=…``, uses that collection. For a model or a file of unknown origin it raises an error: the
default, the synthetic world, would be wrong.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.config import Config, ConfigError, Node, entries, registered
from limbeck.data.collection import SYNTHETIC
from limbeck.reporting.results.systems import config as config_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

_RECORDS = ("mine.json", "meta.json", "limbeck.json")
"""Files that record the ``data`` node under ``data``: of ``limbeck mine``, of score stores and of exports."""

_MODELS = ("student", "teacher", "candidates")
"""Groups whose nodes may name a model."""


@dataclass(frozen=True)
class Given:
    """An option that names a model, a store or a file which belongs to a collection."""

    key: str
    """The option."""
    value: str
    """The value of the option."""
    data: Config | None
    """Configuration node of the collection; None if it is not known."""


def named(config: "DictConfig", overrides: Sequence[str], *, trains: bool = False) -> list[Given]:
    """Return the options that belong to a collection; none if the configuration chooses a collection itself.

    Parameters
    ----------
    config
        An OmegaConf mapping with ``data``, before students in folders are looked up.
    overrides
        The words typed, and those a sweep adds: ``data=synthetic`` is a choice although it is the default.
    trains
        Whether the student is trained; its backbone may then come from any collection.
    """
    return [] if chosen(config, overrides) else list(_given(config, trains))


def settle(config: "DictConfig", given: Sequence[Given]) -> None:
    """Set the collection of a composed configuration, in place, to that of the options given.

    Raises
    ------
    ConfigError
        The options belong to different collections, or to an unknown one.
    """
    known = [each for each in given if each.data is not None]
    if given and not known:
        raise ConfigError(
            f"data must be given: the collection of {given[0].key}={given[0].value} is unknown\n"
            "give data.collection=FOLDER or an ir_datasets id, or data=synthetic for the built-in synthetic world"
        )
    if not known:
        return
    first = known[0]
    for other in known[1:]:
        if _place(other) != _place(first):
            raise ConfigError(
                f"data must be given: {first.key}={first.value} is of {_name_of(first)}, {other.key}={other.value} of "
                f"{_name_of(other)}\ngive data.collection=… to say which one is meant"
            )
    from omegaconf import OmegaConf, open_dict

    place = Path(_name_of(first)).expanduser()
    if place.is_absolute() and not place.exists():
        raise ConfigError(
            f"data must be given: {first.key}={first.value} is of {place}, where there is no folder any more\n"
            "give data.collection=FOLDER, where it is now"
        )
    log.info("data: %s, the collection of %s=%s (data.collection=… takes another)", _name_of(first), first.key,
             first.value)  # fmt: skip
    with open_dict(config):
        config.data = OmegaConf.create(first.data)


def chosen(config: "DictConfig", overrides: Sequence[str]) -> bool:
    """Return whether a composed configuration chooses its collection, rather than taking the default.

    Parameters
    ----------
    config, overrides
        As in ``named``.
    """
    from omegaconf import OmegaConf

    keys = (word.lstrip("+~").partition("=")[0].partition("@")[0] for word in overrides)
    if any(key == "data" or key.startswith("data.") for key in keys):
        return True
    if not OmegaConf.is_interpolation(config.data, "collection"):  # only in conf/data/default.yaml
        return True
    return OmegaConf.to_container(config.data, resolve=True) != _default()


def _default() -> Config:
    """Return the node ``data=default``."""

    def node(kind: str, name: str) -> Config:
        entry = entries()[kind, name]
        return {"_target_": entry.target, **{item.name: item.default for item in entry.parameters}}

    return {**node("data", "collection"), "collection": SYNTHETIC, "world": node("world", "synthetic")}


# -- what is named ----------------------------------------------------------------------------------------------------


def _given(config: "DictConfig", trains: bool) -> Iterator[Given]:
    from omegaconf import OmegaConf

    for group in _MODELS:
        node = OmegaConf.select(config, group)
        if OmegaConf.is_dict(node):
            beside = config if group == "student" else node
            yield from _of_node(node, beside, group, trained=trains and group == "student")


def _of_node(node: "DictConfig", beside: "DictConfig", key: str, *, trained: bool = False) -> Iterator[Given]:
    """Yield the models, stores and files that a node names; ``beside`` is the node that holds the backbone."""
    kind, name = _part(node)
    student = node if kind == "student" else _child(node, "student")
    prefix = key.removesuffix("student") if kind == "student" else f"{key}."
    if student is not None and _part(student) == ("student", "saved"):
        yield from _folder(f"{prefix}student.folder", _value(student, "folder"))
    elif student is not None:
        yield from _backbone(f"{prefix}backbone.model", _value(_child(beside, "backbone"), "model"), trained)
    elif (kind, name) == ("teacher", "store") or (kind, name) == ("teacher", "run"):
        for path in _list(_value(node, "path")):
            yield from _folder(f"{key}.path", path)
    elif (kind, name) in (("teacher", "causal_lm"), ("teacher", "seq2seq")):
        yield from _backbone(f"{key}.model", _value(node, "model"), trained=False)
    elif (kind, name) == ("candidates", "run"):
        for option in ("file", "train", "dev", "test"):
            yield from _folder(f"{key}.{option}", _value(node, option))
    parts = _child(node, "parts") or {}
    for part in parts:
        yield from _of_node(parts[part], parts[part], f"{key}.parts.{part}")


def _folder(key: str, value: object) -> Iterator[Given]:
    """Yield the option if its path exists; otherwise nothing: the code that opens it raises the error."""
    if value is None:
        return
    if str(value).startswith("package:"):
        yield Given(key, str(value), None)
    elif (path := Path(str(value)).expanduser()).exists():
        yield Given(key, str(value), data_of(path))


def _backbone(key: str, model: object, trained: bool) -> Iterator[Given]:
    """Yield a checkpoint: a run's with its collection. A student that is trained may start from any other."""
    if model is None:
        return
    path = Path(str(model)).expanduser()
    data = data_of(path) if path.exists() else None
    if data is not None or not trained:
        yield Given(key, str(model), data)


def data_of(path: Path) -> Config | None:
    """Return the ``data`` node that a run, a folder of candidates or a score store records.

    Parameters
    ----------
    path
        The folder, or something inside it: a run's ``model``, a checkpoint, a run file.

    Returns
    -------
    dict or None
        None where nothing records it.
    """
    for folder in (path, *path.absolute().parents[:2]):
        if (folder / "config.yaml").is_file():
            data = _of_run(folder)
        else:
            data = next((_recorded(folder / name) for name in _RECORDS if (folder / name).is_file()), None)
        if isinstance(data, Mapping) and data.get("collection"):
            return dict(data)
    return None


def of_folder(folder: Path) -> dict[str, Any]:
    """Return the ``data`` node of a BEIR folder, with its splits."""
    from limbeck.data.opening import Data

    found = Data(collection=str(folder.resolve())).without_absent()
    return {"_target_": "data/collection", "world": None, "collection": found.collection, **found.names,
            "dev_queries": 0, "drop_self": False}  # fmt: skip


def lasting(node: Node, key: str) -> Config:
    """Return a node whose path, if it has one, is absolute."""
    word = node.get(key)
    path = Path(word).expanduser() if isinstance(word, str) and word else None
    return {**node, key: str(path.resolve())} if path is not None and path.exists() else dict(node)


def _of_run(folder: Path) -> object:
    """Return the ``data`` node of a run; a relative path in it starts from the folder in which the run was started."""
    config = config_of(folder) or {}
    data = config.get("data")
    if not isinstance(data, Mapping) or not isinstance(data.get("collection"), str):
        return data
    below = Path(str((config.get("paths") or {}).get("runs", "")), str(config.get("name", "")), folder.name)
    here, count = folder.resolve(), len(below.parts)
    if below.is_absolute() or here.parts[-count:] != below.parts or Path(data["collection"]).expanduser().exists():
        return data
    there = Path(*here.parts[:-count], data["collection"])
    return {**data, "collection": str(there)} if there.exists() else data


def _recorded(file: Path) -> object:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # the code that opens the folder says what is wrong with it
    return found.get("data") if isinstance(found, dict) else None


def _part(node: object) -> tuple[str, str]:
    """Return (kind, name) of a node's part."""
    entry = registered(str(_value(node, "_target_")))
    return ("", "") if entry is None else (entry.kind, entry.name)


def _child(node: object, name: str) -> "DictConfig | None":
    from omegaconf import OmegaConf

    found = _value(node, name)
    return found if OmegaConf.is_dict(found) else None


def _value(node: object, name: str) -> Any:
    """Return an option; None where it is absent or still has to be given."""
    from omegaconf import DictConfig, OmegaConf

    if not isinstance(node, DictConfig) or name not in node or OmegaConf.is_missing(node, name):
        return None
    return OmegaConf.select(node, name)


def _list(value: object) -> list[object]:
    from omegaconf import ListConfig

    return list(value) if isinstance(value, ListConfig) else [value]


def _place(given: Given) -> tuple[str, object]:
    data = given.data or {}
    path = Path(str(data["collection"])).expanduser()
    return str(path.resolve()) if path.exists() else data["collection"], data.get("world")


def _name_of(given: Given) -> str:
    return str((given.data or {})["collection"])
