"""The types of a verb's own options; constructors give those of the parts' options."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from limbeck.config import Config, ConfigError, Node
from limbeck.evaluation.spelling import check_metrics
from limbeck.launchers.devices import ACCELERATORS

_LARGEST_SEED = 2**32 - 1

Read = Callable[[object], object]
"""Converts a value of an option; raises ``ValueError`` with what the option must be."""


def _text(value: object) -> str:
    """Return a word or a path as text; Hydra reads ``out=5`` as a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise ValueError("a word or a path")
    if str(value) == "~" or str(value).startswith("~/"):
        raise ValueError(f"a path without ~, which only shells read, as {Path.home()}{str(value)[1:]}")
    return str(value)


def _texts(value: object) -> str | list[str]:
    if isinstance(value, list):
        return [_text(each) for each in value]
    return _text(value)


def _named_texts(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(name): _texts(each) for name, each in value.items()}
    try:
        return _texts(value)
    except ValueError:
        raise ValueError("a path, a list of paths, or a mapping from names to paths") from None


def _list(value: object) -> list[str]:
    if not isinstance(value, list):
        raise ValueError(f"a list, as [{value}]" if isinstance(value, str) else "a list of words")
    return [_text(each) for each in value]


def _metrics(value: object) -> list[str]:
    """Return the names of metrics in limbeck's spelling."""
    named = _list(value)
    try:
        return check_metrics(named)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _accelerator(value: object) -> str:
    if value not in ACCELERATORS:
        raise ValueError(f"one of {', '.join(ACCELERATORS)}")
    return str(value)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _whole(least: int, most: int | None = None) -> Read:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least or (most and value > most):
            raise ValueError(f">= {least}" + (f" and <= {most}" if most else ""))
        return value

    return read


def _factor(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError("a number > 0")
    return float(value)


_OPTIONS: dict[str, Read] = {
    **dict.fromkeys(
        ("name", "out", "index", "qrels", "first_stage", "split", "shard", "dtype", "query_encoder"), _text
    ),
    "accelerator": _accelerator,
    **dict.fromkeys(("kind", "collection", "on_error", "duplicates", "baseline"), _text),
    **dict.fromkeys(("run", "run_file", "compare"), _named_texts),
    **dict.fromkeys(("path", "splits"), _texts),
    "metrics": _metrics,
    "scale": _factor,
    **dict.fromkeys(("bf16", "force", "show", "dry_run", "partial", "mix_commits", "mix_data"), _flag),
    **dict.fromkeys(("depth", "limit", "devices", "part_size", "shard_size", "threads"), _whole(1)),
    **dict.fromkeys(("timed", "moved", "calibration"), _whole(0)),
    "seed": _whole(0, _LARGEST_SEED),
}

_OPTIONAL = (
    "qrels", "first_stage", "shard", "kind", "collection", "baseline", "run", "run_file", "compare", "splits",
    "metrics", "scale", "query_encoder",
)  # fmt: skip
"""Options that may be null in every verb."""


def typed(plain: Node, *, optional: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> Config:
    """Return a verb's configuration with its own options checked and converted.

    Parameters
    ----------
    plain
        Plain containers.
    optional
        Options that may be null in this verb, though not in others.
    required
        Options that must not be null in this verb, though they may in others.

    Raises
    ------
    ConfigError
        An option has a value of the wrong type or out of range; the message names it and says what it must be.
    """
    checked = dict(plain)
    for key, value in plain.items():
        if key in _OPTIONS:
            null = key in optional or (key in _OPTIONAL and key not in required)
            checked[key] = _one(key, value, _OPTIONS[key], null)
    if isinstance(plain.get("paths"), Mapping):
        checked["paths"] = {name: _one(f"paths.{name}", each, _text, False) for name, each in plain["paths"].items()}
    sets = (plain.get("eval") or {}).get("sets")
    if not isinstance(sets, Mapping | None) or not all(isinstance(each, Mapping) for each in (sets or {}).values()):
        raise ConfigError(f"eval.sets must hold sets by name, as eval=folder and eval=beir_13 do, got {sets!r}")
    return checked


def _one(key: str, value: object, read: Read, null: bool) -> object:
    if value is None and null:
        return None
    try:
        return read(value)
    except ConfigError:
        raise  # says more than the message below
    except ValueError as error:
        raise ConfigError(f"{key} must be {error}{' or null' if null else ''}, got {value!r}") from None
