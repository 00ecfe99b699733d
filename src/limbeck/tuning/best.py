"""The best trial as a YAML of ``conf/experiment``: the groups it selected, and the keys it set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from limbeck.config import ConfigError

_LEFT_OUT = ("name", "paths", "logger", "force", "hydra", "launcher", "dry_run")
"""Keys that control where and how a run is stored are not part of the best configuration."""

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Word:
    """The parts of an override."""

    text: str
    key: str
    """Key or group."""
    value: Any
    group: bool
    deletes: bool


def check(words: Sequence[Word]) -> None:
    """Raise ``ConfigError`` for an override that an experiment cannot hold."""
    for word in words:
        if word.deletes or "@" in word.key:
            raise ConfigError(
                f"{word.text}: limbeck tune takes only overrides key=value, as its best.yaml cannot hold others"
            )


def experiment(
    words: Sequence[Word], compose: Callable[[Sequence[str]], Node], *, name: str, header: Sequence[str]
) -> str:
    """Return the YAML that composes the same configuration as some overrides.

    Parameters
    ----------
    words
        Overrides of ``limbeck train``; later ones take precedence.
    compose
        Maps overrides to the composed configuration as plain containers, with interpolations.
    name
        Name of the runs.
    header
        Comment lines.
    """
    groups = {word.key: word for word in words if word.group}
    defaults: list[Any] = []
    if (base := groups.get("experiment")) is not None and base.value is not None:
        defaults.append(f"/experiment/{base.value}")
    defaults += [{f"override /{key}": word.value} for key, word in groups.items() if key not in ("experiment", "debug")]
    debug = groups.get("debug")
    if debug is not None and debug.value is not None:
        defaults.append(f"/debug/{debug.value}")
    alone = compose([word.text for word in groups.values()])
    whole = compose([word.text for word in words])
    body = {key: value for key, value in _set(alone, whole).items() if key not in _LEFT_OUT}
    lines = ["# @package _global_", *(f"# {line}" for line in header)]
    text = yaml.safe_dump({"defaults": [*defaults, "_self_"], "name": name}, sort_keys=False, allow_unicode=True)
    if body:
        text += yaml.safe_dump(body, sort_keys=False, allow_unicode=True)
    return "\n".join(lines) + "\n" + text


def _set(alone: Node, whole: Node) -> dict[str, Any]:
    """Return, nested, the values of one mapping that differ from another's."""
    found: dict[str, Any] = {}
    for key, value in whole.items():
        before = alone.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = _set(before, value)
            if inner:
                found[key] = inner
        elif key not in alone or value != before or type(value) is not type(before):
            found[key] = value
    return found
