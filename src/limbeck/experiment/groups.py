"""Groups of the configuration on the command line, as in ``teacher=store``: check the names before Hydra does."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError, home
from limbeck.experiment.words import read
from limbeck.schemas import generated

_INNER = ("student", "backbone")
"""Groups within a teacher or a first stage, chosen as ``backbone@teacher.backbone=tiny``."""


def without_null(verb: str, words: Sequence[str]) -> list[str]:
    """Return words without ``group=null`` where the verb has null there anyway, as in ``limbeck search backend=null``.

    Parameters
    ----------
    verb
        Name of the verb, and of its configuration.
    words
        The words after the verb. Words that are no overrides are passed on.

    Raises
    ------
    ConfigError
        A group is given null, a number, or a list with such a value, and not the name of one of its parts; or a part
        within another one is chosen as if it were an option, as in ``teacher.backbone=tiny``.
    """
    kept: list[str] = []
    groups: list[str] = []
    for word in words:
        override = read(word)  # None for an option of Hydra, and for unreadable words, about which Hydra complains
        if override is None or override.is_delete() or not (names := options(override.key_or_group)):
            if override is not None and override.package is None:
                _check_inner(word, override)
            kept.append(word)
            groups.append("")
            continue
        group = override.key_or_group
        if override.value() is None and defaults(verb).get(group, "") is None:
            left = [place for place, each in enumerate(groups) if each != group]
            kept, groups = [kept[place] for place in left], [groups[place] for place in left]
            continue
        _check(word, group, override, names)
        kept.append(word)
        groups.append(group)
    return kept


def options(group: str) -> list[str]:
    """Return the names that a group takes: YAML files of limbeck and registered parts; empty for an unknown group.

    Parameters
    ----------
    group
        As in ``GROUP=NAME``: ``loss``, ``eval/fusion``.
    """
    if not group or "." in group:
        return []  # a key
    folder = home() / group if group == "sweeps" else home() / "conf" / group
    files = {path.stem for path in folder.glob("*.yaml")}
    return sorted(files | {name for each, name in generated() if each == group})


def defaults(verb: str) -> dict[str, Any]:
    """Return the groups of a verb, each with its default.

    Parameters
    ----------
    verb
        Name of the verb, and of its configuration.
    """
    path = home() / "conf" / f"{verb}.yaml"
    found: dict[str, Any] = {}
    for each in _listed(path, path.stat().st_mtime_ns):
        if isinstance(each, dict):
            found |= {group: name for group, name in each.items() if options(group)}
        elif each != "_self_":
            found |= defaults(each)
    return found


@cache
def _listed(path: Path, changed: int) -> list[Any]:
    """Return the defaults list of a file; ``changed``, the time of its last change, is part of the cache's key."""
    import yaml

    del changed
    return yaml.safe_load(path.read_text(encoding="utf-8"))["defaults"]


def _check_inner(word: str, override: Any) -> None:
    """Refuse the name of a part where its options belong; Hydra's and OmegaConf's messages do not help."""
    key = override.key_or_group
    outer, _, group = key.rpartition(".")
    slashed = key.replace(".", "/")
    if not outer or not (group in _INNER or options(slashed)) or override.is_sweep_override():
        return
    value = word.partition("=")[2]
    if value and not isinstance(override.value(), dict | None):
        choice = f"{slashed}={value}" if options(slashed) else f"{group}@{key}={value}"
        raise ConfigError(f"{word}: {key} holds the options of a part; the part itself is chosen by {choice}")


def _check(word: str, group: str, override: Any, names: list[str]) -> None:
    values = override.value()
    if override.is_sweep_override():
        values = getattr(values, "list", [])
    elif isinstance(values, dict):
        return  # options of the part are given, not another part
    elif not isinstance(values, list):
        values = [values]
    for value in values:
        if value is None or isinstance(value, bool | int | float):
            none = f"; {group}=none leaves it out" if "none" in names and value is None else ""
            raise ConfigError(f"{word}: {group} takes the name of a part{none}\nchoose from: {', '.join(names)}")
