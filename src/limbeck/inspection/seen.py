"""The input and the output of a check.

A check is a function ``name(seen, *, option=default, …) -> Finding | None``, registered as ``@register("check", NAME)``
with a severity. Its docstring says in the first paragraph what it catches, in the second why that ruins a run, and
under ``Remedy`` what to do; docs/reference/checks.md is written from it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from limbeck.data.pool import Pool
from limbeck.inspection.entropy import Softmax
from limbeck.inspection.losses import LossView
from limbeck.inspection.measures import Measures

Severity = Literal["warning", "error"]
Function = TypeVar("Function", bound=Callable[..., Any])

FEW = 5
"""With fewer lists than these, "nearly every list" means nothing."""


class Finding(NamedTuple):
    """The finding of a check: figures, and the remedy."""

    message: str
    remedy: str


@dataclass(frozen=True)
class Seen:
    """The input of the checks."""

    pool: Pool
    """Pool with scores, NaN where missing."""
    measures: Measures
    objective: Sequence[LossView]
    """How the losses read the scores."""
    meta: Mapping[str, Any]
    """Provenance of the scores; empty if there is none."""
    collection_fingerprint: str | None
    """Fingerprint of the training data."""
    first_stage_scores: np.ndarray | None
    """The first stage's scores, row by row; NaN where it has none."""

    @cached_property
    def softmax(self) -> Softmax:
        """The teacher's distributions."""
        return Softmax(self.pool)

    @property
    def temperatures(self) -> dict[float, list[str]]:
        """Teacher temperature → names of the losses that take a softmax at it."""
        found: dict[float, list[str]] = {}
        for view in self.objective:
            if view.teacher_temperature is not None:
                found.setdefault(view.teacher_temperature, []).append(view.name)
        return found

    @property
    def raw(self) -> list[str]:
        """Names of the losses that read the raw numbers."""
        return [view.name for view in self.objective if view.raw_differences]

    @property
    def values(self) -> list[str]:
        """Names of the losses that read more than the order."""
        return [view.name for view in self.objective if view.uses_values]


def severity(of: Severity) -> Callable[[Function], Function]:
    """Set how serious a finding of the check is: a warning is logged, an error stops the training."""

    def mark(function: Function) -> Function:
        function.severity = of  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return mark


def percent(value: float) -> str:
    """Return a share in percent, never rounded to 0 or 100 % unless it is exact."""
    for digits in (0, 1, 2):
        text = f"{value:.{digits}%}"
        if value in (0.0, 1.0) or float(text[:-1]) not in (0.0, 100.0):
            return text
    return "under 0.01%" if value < 0.5 else "over 99.99%"


def known(values: np.ndarray) -> np.ndarray:
    """Return the values that are not NaN."""
    return values[~np.isnan(values)]
