"""Labels of table rows: values of configuration keys, and names of parts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck import labels
from limbeck.config import ConfigError, fingerprint, part_name
from limbeck.reporting.results.systems import flatten

PARTS = ("loss", "student", "teacher", "backbone")
"""Row keys that select a whole part, which is shown by its name."""

NOTHING = "–"
"""Shown for a key that a run does not have."""

_ABSENT = object()


@dataclass(frozen=True)
class Value:
    """One run's value of a row key."""

    name: str
    options: str = ""
    """Options that distinguish it from others of the same name."""

    @property
    def text(self) -> str:
        """Name and options, which distinguish it from all others."""
        return f"{self.name} ({self.options})" if self.options else self.name

    def means(self, word: str) -> bool:
        """Return whether a word of a table's YAML stands for this value."""
        return word in (self.name, self.text)

    def label(self, own: Mapping[str, str], key: str = "") -> str:
        """Return its label in the table's YAML (``own``), else its usual label."""
        if self.text in own:
            return own[self.text]
        name = own.get(self.name) or labels.value(key, self.name)
        return f"{name} ({labels.options(self.options)})" if self.options else name


def text(value: Any) -> str:
    """Return a configuration value as tables show it.

    Examples
    --------
    >>> text(5.0), text(True), text("a"), text([1, 2])
    ('5', 'true', 'a', '[1, 2]')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.10g}"
    return json.dumps(value, ensure_ascii=False, default=str)


def values(configs: Sequence[Mapping[str, Any]], key: str, shown: Sequence[str]) -> list[Value]:
    """Return each run's value of a row key.

    Parameters
    ----------
    configs
        The runs' configurations.
    key
        ``loss``, ``student``, ``teacher``, ``backbone``, or a dotted key.
    shown
        All row keys of the table: their values are not repeated.

    Raises
    ------
    ConfigError
        No run has the key.
    """
    if key in PARTS:
        nodes = [config.get(key) or {} for config in configs]
        inside = [each.removeprefix(f"{key}.") for each in shown if each.startswith(f"{key}.")]
        return named([(_name(key, node), node) for node in nodes], inside)
    found = [_at(config, key) for config in configs]
    if all(each is _ABSENT for each in found):
        raise ConfigError(f"table.rows: no run has the key {key!r}")
    return [Value(NOTHING) if each is _ABSENT else Value(text(each)) for each in found]


def named(parts: Sequence[tuple[str, Mapping[str, Any]]], shown: Sequence[str] = ()) -> list[Value]:
    """Return parts with the options that distinguish those of the same name.

    Parameters
    ----------
    parts
        Name and configuration node of each; duplicates are allowed.
    shown
        Dotted options to leave out.
    """
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    prints = [fingerprint(node) for _, node in parts]
    for (name, node), each in zip(parts, prints, strict=True):
        groups.setdefault(name, {})[each] = node
    distinct = {name: _distinct(nodes, shown) for name, nodes in groups.items()}
    return [Value(name, distinct[name][each]) for (name, _), each in zip(parts, prints, strict=True)]


def _distinct(nodes: Mapping[str, Mapping[str, Any]], shown: Sequence[str]) -> dict[str, str]:
    """Return fingerprint → options in which each node differs from the others."""
    flat: dict[str, dict[str, Any]] = {}
    for each, node in nodes.items():
        flat[each] = {}
        flatten(node, "", flat[each])
    keys = list(dict.fromkeys(key for each in flat.values() for key in each))
    varied = [
        key
        for key in keys
        if key not in shown and len({fingerprint([key in each, each.get(key)]) for each in flat.values()}) > 1
    ]
    short = {key: key.rpartition(".")[2] for key in varied}
    words = {key: key if list(short.values()).count(short[key]) > 1 else short[key] for key in varied}
    brief = {each: _options(words, options, brief=True) for each, options in flat.items()}
    full = {each: _options(words, options, brief=False) for each, options in flat.items()}
    return brief if len(set(brief.values())) == len(set(full.values())) else full


def _options(words: Mapping[str, str], options: Mapping[str, Any], *, brief: bool) -> str:
    parts = []
    for key, word in words.items():
        value = options.get(key, _ABSENT)
        if value is _ABSENT or (brief and (value is None or value is False)):
            continue
        parts.append(word if brief and value is True else f"{word}={text(value)}")
    return ", ".join(parts)


def _name(key: str, node: Mapping[str, Any]) -> str:
    if key == "loss":
        return "+".join(node) or "none"
    return part_name(node)


def _at(config: Mapping[str, Any], key: str) -> Any:
    node: Any = config
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return _ABSENT
        node = node[name]
    return node
