"""Ranges of options, as annotations: ``gamma: NonNegative = 5.0``.

The decorator ``on_scores`` and the terms of the objective check them. In the static schema of the configuration
(``limbeck.registry``) they are plain numbers.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin


@dataclass(frozen=True)
class Range:
    """Allowed numbers of an option; ``words`` describes them in error messages."""

    words: str
    low: float = -math.inf
    high: float = math.inf
    closed: bool = False
    """Whether ``low`` itself is allowed; ``high`` is never allowed."""

    def __repr__(self) -> str:
        return self.words

    def check(self, name: str, value: Any) -> None:
        """Raise ``ValueError`` if the value is out of range; the message begins with the option's name."""
        if not (self.low < value < self.high or (self.closed and value == self.low)):
            raise ValueError(f"{name} must be {self.words}, got {value}")


@dataclass(frozen=True)
class OneOf:
    """Allowed strings of an option."""

    choices: tuple[str, ...]

    def check(self, name: str, value: Any) -> None:
        """Raise ``ValueError`` if the value is not among the choices; the message begins with the option's name."""
        if value not in self.choices:
            raise ValueError(f"{name} must be one of {', '.join(self.choices)}, got {value!r}")


Finite = Annotated[float, Range("a finite number")]
Positive = Annotated[float, Range("> 0", low=0)]
NonNegative = Annotated[float, Range(">= 0", low=0, closed=True)]
Share = Annotated[float, Range("between 0 and 1", low=0, high=1)]
Count = Annotated[int, Range("a whole number >= 1", low=1, closed=True)]
WholeNonNegative = Annotated[int, Range("a whole number >= 0", low=0, closed=True)]


def plain(annotation: Any) -> Any:
    """Return the type of an option without its range."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def rule(annotation: Any) -> Range | OneOf | None:
    """Return the values that an annotation allows; None if it allows everything.

    Examples
    --------
    >>> rule(Share)
    between 0 and 1
    >>> rule(Literal["teacher", "labels"])
    OneOf(choices=('teacher', 'labels'))
    """
    if get_origin(annotation) is Literal:
        return OneOf(get_args(annotation))
    return next((each for each in getattr(annotation, "__metadata__", ()) if isinstance(each, Range)), None)
