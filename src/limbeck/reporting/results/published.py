"""Figures published by others, which tables show separately from ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limbeck.config import ConfigError


@dataclass(frozen=True)
class Published:
    """One system of a publication."""

    system: str
    source: str
    """The publication and its table."""
    values: Mapping[str, Mapping[str, float]]
    """Set → metric → value."""


def published(given: Any, *, key: str) -> list[Published]:
    """Return the published systems in a table's YAML.

    Parameters
    ----------
    given
        A list of mappings with ``system``, ``source`` and ``values``; None for none.
    key
        Key of the list, for messages.

    Raises
    ------
    ConfigError
        An entry is missing, or a value is no number between 0 and 1; the message names the key.
    """
    if given is None:
        return []
    if not isinstance(given, list):
        raise ConfigError(f"{key} must be a list of mappings with system, source and values")
    return [_one(each, f"{key}[{number}]") for number, each in enumerate(given)]


def _one(given: Any, key: str) -> Published:
    wanted = {"system", "source", "values"}
    if not isinstance(given, Mapping) or set(given) != wanted:
        raise ConfigError(f"{key} must have just the keys {', '.join(sorted(wanted))}, got {given!r}")
    for name in ("system", "source"):
        if not isinstance(given[name], str) or not given[name].strip():
            raise ConfigError(f"{key}.{name} must be text: figures without it cannot be traced")
    if not isinstance(given["values"], Mapping):
        raise ConfigError(f"{key}.values must be a mapping, set → metric → number")
    values: dict[str, dict[str, float]] = {}
    for group, metrics in given["values"].items():
        if not isinstance(metrics, Mapping):
            raise ConfigError(f"{key}.values.{group} must be a mapping, metric → number")
        for metric, value in metrics.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ConfigError(f"{key}.values.{group}.{metric} must lie between 0 and 1, got {value!r}")
            values.setdefault(str(group), {})[str(metric)] = float(value)
    return Published(given["system"], given["source"], values)
