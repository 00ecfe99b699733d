"""The configuration of a trial: the overrides as typed, and those of the trial."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError
from limbeck.tuning.space import Parameter, Value

_CONTEXTS = 64
"""Most combinations of choices in which a key is searched before it is refused."""

Compose = Callable[[Sequence[str]], Any]
"""Maps overrides of ``limbeck train`` to the composed configuration, with its interpolations."""


@dataclass(frozen=True)
class Planned:
    """The run of a trial."""

    config: dict[str, Any]
    """Plain containers."""
    folder: Path


Plan = Callable[[Any, Sequence[str]], Planned]
"""Maps a composed configuration and its overrides to its run."""


class Configurations:
    """The configurations of a study.

    Parameters
    ----------
    base
        Overrides of ``limbeck train`` that all trials share.
    space
        The parameters, choices first.
    compose
        Composes a configuration.
    plan
        Maps a composed configuration to its run.
    explain
        Returns the message for an error of Hydra; None for other errors.

    Raises
    ------
    Exception
        The base itself does not compose: Hydra's error.
    ConfigError
        A key of the space does not accept its values, whatever is chosen for the others.
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
        """Return the base with some overrides, with its interpolations."""
        return self._compose([*self.base, *words])

    def planned(self, words: Sequence[str]) -> Planned:
        """Return the run of the base with some overrides."""
        return self._plan(self.composed(words), [*self.base, *words])

    def refusal(self, words: Sequence[str]) -> str | None:
        """Return why the base with some overrides does not compose; None if it does."""
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
        """Draw the parameters that the configuration has: ``loss.ckl.gamma`` only if ``loss`` has a term ``ckl``.

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
