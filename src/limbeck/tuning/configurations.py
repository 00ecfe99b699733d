"""The configuration of a trial: the base as it was typed, and what the trial sets."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError
from limbeck.tuning.space import Parameter, Value

_CONTEXTS = 64
"""Combinations of choices in which a key is looked for before it is refused."""

Compose = Callable[[Sequence[str]], Any]
"""Overrides of ``limbeck train`` → composed configuration, with its interpolations."""


@dataclass(frozen=True)
class Planned:
    """One run that a trial is."""

    config: dict[str, Any]
    """Plain containers."""
    folder: Path


Plan = Callable[[Any, Sequence[str]], Planned]
"""Composed configuration, and its overrides → the run it is."""


class Configurations:
    """Configurations of a study.

    Parameters
    ----------
    base
        Overrides of ``limbeck train`` that all trials share.
    space
        What is searched, choices first.
    compose, plan
        Hydra, and what the program makes of a composed configuration.
    explain
        Puts an error of Hydra in the user's words; None if it is none.

    Raises
    ------
    Exception
        The base itself does not compose; whatever Hydra says of it.
    ConfigError
        A key of the space does not take its values, whatever is chosen for the others.
    """

    def __init__(
        self,
        base: Sequence[str],
        space: Sequence[Parameter],
        compose: Compose,
        plan: Plan,
        explain: Callable[[Exception], str | None],
    ) -> None:
        self.base = list(base)
        self.space = list(space)
        self._compose = compose
        self._plan = plan
        self._explain = explain
        self._refused: dict[tuple[str, ...], str | None] = {}
        self.planned_base = self.planned([])
        for parameter in self.space:
            self._check(parameter)

    def composed(self, words: Sequence[str]) -> Any:
        """Return the base with some overrides, not yet resolved."""
        return self._compose([*self.base, *words])

    def planned(self, words: Sequence[str]) -> Planned:
        """Return the run that the base with some overrides is."""
        return self._plan(self.composed(words), [*self.base, *words])

    def refusal(self, words: Sequence[str]) -> str | None:
        """Return why the base does not compose with some overrides; None if it does."""
        key = tuple(words)
        if key not in self._refused:
            self._refused[key] = None
            try:
                self.composed(words)
            except Exception as error:
                message = self._explain(error)
                if message is None:
                    raise
                self._refused[key] = message
        return self._refused[key]

    def drawn(self, draw: Callable[[Parameter], Value]) -> dict[str, Value]:
        """Draw the parameters that the configuration has: ``loss.ckl.gamma`` only where ``loss`` has a term ``ckl``.

        Parameters
        ----------
        draw
            Returns the value of a parameter.
        """
        values: dict[str, Value] = {}
        chosen: list[str] = []
        for parameter in self.space:
            if self.refusal([*chosen, parameter.override(parameter.extremes()[0])]) is not None:
                continue
            values[parameter.key] = draw(parameter)
            if parameter.kind == "choice":
                chosen.append(parameter.override(values[parameter.key]))
        return values

    def words(self, values: dict[str, Value]) -> list[str]:
        """Return the overrides that set some values."""
        return [each.override(values[each.key]) for each in self.space if each.key in values]

    def _check(self, parameter: Parameter) -> None:
        """Raise ``ConfigError`` unless each extreme value composes with some choice of the others."""
        for value in parameter.extremes():
            word = parameter.override(value)
            first = self.refusal([word])
            if first is not None and all(
                self.refusal([*context, word]) for context in itertools.islice(self._contexts(parameter), _CONTEXTS)
            ):
                raise ConfigError(f"tune.space.{parameter.key}: {word} is refused: {first}")

    def _contexts(self, but: Parameter) -> Iterator[list[str]]:
        others = [each for each in self.space if each.kind == "choice" and each is not but]
        for values in itertools.product(*(each.values for each in others)):
            yield [each.override(value) for each, value in zip(others, values, strict=True)]
