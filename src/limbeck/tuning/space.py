"""The search space: keys of the configuration, each with its possible values.

A parameter is one of

    {kind: float, low: 0.5, high: 9}             uniform; with step: 0.5, on that grid
    {kind: log, low: 1e-5, high: 1e-3}           uniform in the logarithm
    {kind: int, low: 1, high: 8}                 whole numbers; with step: low, low + step, …
    {kind: choice, values: ["[kl]", "[ckl]"]}    words after ``key=``; also whole groups
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.config import ConfigError

if TYPE_CHECKING:
    from optuna.trial import Trial

_OPTIONS = {
    "float": ("low", "high", "step"),
    "log": ("low", "high"),
    "int": ("low", "high", "step"),
    "choice": ("values",),
}
_OPTIONAL = ("step",)
_DIGITS = 6
"""Significant digits of a number in a run's configuration: nobody types more."""

_LARGEST = 2**53
"""Largest integer: Optuna's samplers draw integers as floats."""
_MOST_POINTS = 100_000
"""Most points of a grid; all are put into the study's queue."""

Value = float | int | str


@dataclass(frozen=True)
class Parameter:
    """A key with its possible values."""

    key: str
    kind: str
    low: float = 0
    high: float = 0
    step: float | None = None
    values: tuple[str, ...] = ()
    """For a choice: the words after ``key=``."""

    def override(self, value: Value) -> str:
        """Return the override that sets the key to a value; numbers have six significant digits."""
        if isinstance(value, float):
            value = float(f"{value:.{_DIGITS}g}")
        return f"{self.key}={value}"

    def extremes(self) -> list[Value]:
        """Return the values that test whether the key accepts the parameter: every choice, or both ends."""
        if self.kind == "choice":
            return list(self.values)
        return [int(self.low), int(self.high)] if self.kind == "int" else [float(self.low), float(self.high)]

    def draw(self, trial: "Trial") -> Value:
        """Draw a value with Optuna, or return the value that the trial already has."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.key, self.values)
        if self.kind == "int":
            return trial.suggest_int(self.key, int(self.low), int(self.high), step=int(self.step or 1))
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.kind == "log")

    def points(self) -> list[Value]:
        """Return all values, for a grid.

        Raises
        ------
        ConfigError
            There are infinitely many, or more than a study can try.
        """
        if self.kind == "choice":
            return list(self.values)
        if self.kind == "log" or (self.kind == "float" and self.step is None):
            raise ConfigError(
                f"tune.space.{self.key}: tune.sampler=grid takes choices, integers and floats with a step; "
                "give {kind: choice, values: […]}"
            )
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + 1e-9) + 1
        if count > _MOST_POINTS:
            raise ConfigError(
                f"tune.space.{self.key}: tune.sampler=grid would have {count} values; give a larger step: there "
                f"may be {_MOST_POINTS}"
            )
        if self.kind == "int":
            return [int(self.low) + number * int(step) for number in range(count)]
        return [float(f"{self.low + number * step:.12g}") for number in range(count)]

    def described(self) -> dict[str, Any]:
        """Return the parameter as plain containers, to compare studies."""
        if self.kind == "choice":
            return {"kind": self.kind, "values": list(self.values)}
        return {"kind": self.kind, "low": self.low, "high": self.high, "step": self.step}


def parse(space: Any) -> list[Parameter]:
    """Return the parameters of ``tune.space``, choices first, since the others may depend on them.

    Raises
    ------
    ConfigError
        It is empty, or an entry is no parameter; the message names it.
    """
    if not isinstance(space, Mapping) or not space:
        raise ConfigError(
            "tune.space must be given: a mapping from keys of the configuration, "
            "as 'tune.space={optim.lr: {kind: log, low: 1e-5, high: 1e-3}}', or a preset, as tuning=ckl"
        )
    found = [_parameter(str(key), node) for key, node in space.items()]
    return sorted(found, key=lambda each: each.kind != "choice")


def _parameter(key: str, node: Any) -> Parameter:
    where = f"tune.space.{key}"
    if not isinstance(node, Mapping) or "kind" not in node:
        raise ConfigError(f"{where} must be a mapping with a kind, as {{kind: float, low: 0, high: 1}}, got {node!r}")
    kind = node["kind"]
    if not isinstance(kind, str) or kind not in _OPTIONS:
        raise ConfigError(f"{where}.kind must be one of {', '.join(_OPTIONS)}, got {kind!r}")
    for name in node:
        if name != "kind" and name not in _OPTIONS[kind]:
            raise ConfigError(f"{where}.{name} is no option of kind {kind}, which has {', '.join(_OPTIONS[kind])}")
    for name in _OPTIONS[kind]:
        if name not in node and name not in _OPTIONAL:
            raise ConfigError(f"{where}.{name} must be given for kind {kind}")
    if kind == "choice":
        return Parameter(key, kind, values=_choices(where, node["values"]))
    numbers = {name: _number(f"{where}.{name}", node.get(name), kind) for name in ("low", "high")}
    low, high = numbers["low"], numbers["high"]
    if not low < high:
        raise ConfigError(f"{where}: low must be < high, got {low} and {high}")
    if not math.isfinite(high - low):
        raise ConfigError(f"{where}: high - low must be finite, got {low} and {high}")
    if kind == "log" and low <= 0:
        raise ConfigError(f"{where}.low must be > 0 for kind log, got {low}")
    step = None if node.get("step") is None else _number(f"{where}.step", node["step"], kind)
    if step is not None and not 0 < step <= high - low:
        raise ConfigError(f"{where}.step must be > 0 and <= high - low, got {step}")
    return Parameter(key, kind, low, high, step)


def _number(where: str, value: Any, kind: str) -> float:
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ConfigError(f"{where} must be between -2^53 and 2^53, where numbers of samplers are exact, got {value}")
    types = (int,) if kind == "int" else (int, float)
    if isinstance(value, bool) or not isinstance(value, types) or not math.isfinite(value):
        raise ConfigError(f"{where} must be a {'whole ' if kind == 'int' else ''}number, got {value!r}")
    return value


def _choices(where: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) < 2:
        raise ConfigError(f"{where}.values must be a list of two values or more, got {values!r}")
    texts = tuple(_text(value) for value in values)
    if len(set(texts)) < len(texts):
        raise ConfigError(f"{where}.values must differ from one another, got {', '.join(texts)}")
    return texts


def _text(value: Any) -> str:
    """Return a value as typed after ``key=``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    return str(value)


def grid(space: Sequence[Parameter]) -> list[dict[str, Value]]:
    """Return every combination; the last parameter varies fastest.

    Raises
    ------
    ConfigError
        There are more than a study can try, or a parameter has no finite grid.
    """
    points = [each.points() for each in space]
    if (count := math.prod(map(len, points))) > _MOST_POINTS:
        raise ConfigError(f"tune.space has {count} combinations; tune.sampler=grid takes at most {_MOST_POINTS}")
    return [dict(zip((each.key for each in space), values, strict=True)) for values in itertools.product(*points)]
