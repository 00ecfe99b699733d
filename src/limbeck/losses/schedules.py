"""Schedules of a loss's options over the training steps.

```yaml
loss:
  ckl:
    schedules:
      gamma: {kind: linear, start: 2.0, end: 5.0, steps: 1000}
      weight: {kind: step, values: [0.0, 1.0], at: [500]}
```

| kind | keys | value at step n |
|---|---|---|
| constant | ``value`` | value |
| linear | ``start``, ``end``, ``steps`` | linear from start (n = 0) to end (n = steps), then end |
| cosine | ``start``, ``end``, ``steps`` | half a cosine wave from start (n = 0) to end (n = steps), then end |
| step | ``values``, ``at`` | ``values[i]``, where i is the number of steps in ``at`` that are ≤ n |

A schedule is a pure function of the step, so a resumed training continues exactly.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from limbeck.losses.ranges import plain

_KEYS = {
    "constant": ("value",),
    "linear": ("start", "end", "steps"),
    "cosine": ("start", "end", "steps"),
    "step": ("values", "at"),
}


@dataclass(frozen=True)
class Schedule:
    """A schedule: steps from ``values[i]`` to ``values[i+1]`` at ``at[i]``, or a ramp between two values."""

    kind: str
    values: tuple[float, ...]
    at: tuple[int, ...]

    @property
    def last(self) -> int:
        """The step at which the value reaches its end."""
        return self.at[-1] if self.at else 0

    def __call__(self, step: int) -> float:
        """Return the value at a step."""
        if self.kind in ("constant", "step"):
            return self.values[sum(step >= border for border in self.at)]
        start, end = self.values
        if step >= self.last:
            return end
        share = step / self.last
        if self.kind == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return start + (end - start) * share


def parse(name: str, node: Any) -> Schedule:
    """Read one schedule of a configuration.

    Parameters
    ----------
    name
        The option that follows the schedule.
    node
        The schedule's mapping, with the key ``kind``.

    Raises
    ------
    ValueError
        A key is unknown or missing, or a value has a wrong type; the message begins with ``schedules.NAME``.
    """
    where = f"schedules.{name}"
    kind = node.get("kind") if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or kind not in _KEYS:
        raise ValueError(f"{where} must be a mapping with kind: one of {', '.join(_KEYS)}; got {node!r}")
    keys = _KEYS[kind]
    for key in node:
        if key not in (*keys, "kind"):
            raise ValueError(f"{where}.{key} is unknown; a schedule of kind {kind} has {', '.join(keys)}")
    for key in keys:
        if key not in node:
            raise ValueError(f"{where}.{key} is missing; a schedule of kind {kind} has {', '.join(keys)}")
    if kind == "constant":
        return Schedule(kind, (_number(f"{where}.value", node["value"]),), ())
    if kind == "step":
        values = tuple(_number(f"{where}.values", value) for value in _list(f"{where}.values", node["values"]))
        borders = tuple(_count(f"{where}.at", value) for value in _list(f"{where}.at", node["at"]))
        if len(values) != len(borders) + 1:
            raise ValueError(f"{where}.values must be one more than the steps in at, got {len(values)}, {len(borders)}")
        if any(later <= earlier for earlier, later in pairwise(borders)):
            raise ValueError(f"{where}.at must increase, got {list(borders)}")
        return Schedule(kind, values, borders)
    start, end = (_number(f"{where}.{key}", node[key]) for key in ("start", "end"))
    return Schedule(kind, (start, end), (_count(f"{where}.steps", node["steps"]),))


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number, got {value!r}")
    return float(value)


def _count(where: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{where} must be a whole number of steps >= 1, got {value!r}")
    return value


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where} must be a list, got {value!r}")
    return list(value)


class Schedulable(Protocol):
    """A loss whose options ``Scheduled`` can set."""

    @property
    def annotations(self) -> Mapping[str, Any]:
        """Option → its annotation."""
        ...

    def check(self) -> None:
        """Raise ``ValueError`` if an option is out of range."""


class Scheduled:
    """The schedules of one loss.

    Parameters
    ----------
    schedules
        Option → mapping of the configuration.
    """

    def __init__(self, schedules: Any) -> None:
        if not isinstance(schedules, Mapping):
            raise ValueError(f"schedules must map options to schedules, got {schedules!r}")
        self._schedules = {name: parse(name, node) for name, node in schedules.items()}
        self._whole: set[str] = set()

    @property
    def names(self) -> list[str]:
        """The options that follow a schedule."""
        return list(self._schedules)

    def bind(self, loss: Schedulable) -> None:
        """Check that the scheduled options exist, are numeric, and stay in range at every step.

        Raises
        ------
        ValueError
            One does not; the message begins with ``schedules.NAME``.
        """
        kinds = {name: plain(annotation) for name, annotation in loss.annotations.items()}
        numeric = [name for name, kind in kinds.items() if kind in (int, float)]
        for name in self._schedules:
            if name not in kinds:
                raise ValueError(f"schedules.{name} is no option of this loss; numeric ones: {', '.join(numeric)}")
            if name not in numeric:
                raise ValueError(f"schedules.{name} is not numeric; numeric options: {', '.join(numeric)}")
            assert hasattr(loss, name), f"{type(loss).__name__} must keep its option {name} under that name"
        self._whole = {name for name in self._schedules if kinds[name] is int}
        # Check every step, not only the ends: a range may depend on another scheduled option.
        for step in range(max((schedule.last for schedule in self._schedules.values()), default=-1) + 1):
            self._check(loss, step)

    def _check(self, loss: Schedulable, step: int) -> None:
        for name in self._whole:
            if not self._schedules[name](step).is_integer():
                raise ValueError(f"schedules.{name} must give whole numbers, at step {step} it is not one")
        self.apply(loss, step)
        try:
            loss.check()
        except ValueError as error:
            named = str(error).split(" ")[0]
            guilty = named if named in self._schedules else next(iter(self._schedules))
            raise ValueError(f"schedules.{guilty} is out of range at step {step}: {error}") from error

    def apply(self, loss: Schedulable, step: int) -> None:
        """Set the options to their values at a step."""
        for name, schedule in self._schedules.items():
            value = schedule(step)
            setattr(loss, name, int(value) if name in self._whole else value)
