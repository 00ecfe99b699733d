"""Groups of the configuration on the command line: ``teacher=store``. They take names; Hydra refuses the rest late."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError, home


def without_null(verb: str, words: Sequence[str]) -> list[str]:
    """Return words without ``group=null`` where null is what the verb has anyway, as ``limbeck search backend=null``.

    Parameters
    ----------
    verb
        Name of the verb, and of its configuration.
    words
        What follows it. Those that are no overrides are passed on.

    Raises
    ------
    ConfigError
        A group is given null, a number or a list with such things, and not the name of one of its parts.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    kept: list[str] = []
    groups: list[str] = []
    for word in words:
        try:
            override = OverridesParser.create().parse_override(word)
        except HydraException:
            override = None  # an option of Hydra, or unreadable: Hydra says so
        folder = None if override is None or override.is_delete() else _folder(override.key_or_group)
        if override is None or folder is None:
            kept.append(word)
            groups.append("")
            continue
        group = override.key_or_group
        if override.value() is None and group in _null_by_default(verb):
            left = [place for place, each in enumerate(groups) if each != group]
            kept, groups = [kept[place] for place in left], [groups[place] for place in left]
            continue
        _check(word, group, override, folder)
        kept.append(word)
        groups.append(group)
    return kept


def _folder(group: str) -> Path | None:
    """Return the folder that holds the parts of a group; None for what is no group of ours."""
    folder = home() / group if group == "sweeps" else home() / "conf" / group
    return folder if group and any(folder.glob("*.yaml")) else None


def _null_by_default(verb: str) -> set[str]:
    import yaml

    path = home() / "conf" / f"{verb}.yaml"
    defaults = yaml.safe_load(path.read_text(encoding="utf-8")).get("defaults", [])
    return {name for each in defaults if isinstance(each, dict) for name, value in each.items() if value is None}


def _check(word: str, group: str, override: Any, folder: Path) -> None:
    values = override.value()
    if override.is_sweep_override():
        values = getattr(values, "list", [])
    elif isinstance(values, dict):
        return  # options of the part, not another part
    elif not isinstance(values, list):
        values = [values]
    for value in values:
        if value is None or isinstance(value, bool | int | float):
            names = sorted(path.stem for path in folder.glob("*.yaml"))
            none = f"; {group}=none goes without" if "none" in names and value is None else ""
            raise ConfigError(f"{word}: {group} takes the name of a part{none}\nchoose from: {', '.join(names)}")
