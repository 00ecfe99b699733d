"""The class that makes any loss on scores a term of the objective."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from limbeck.losses.base import Loss
from limbeck.losses.on_scores import Contract, contract, terms
from limbeck.types import Batch, StudentOutput


class Term(Loss):
    """A loss on scores with its options, a weight and schedules.

    Parameters
    ----------
    function
        The loss, decorated with ``on_scores``.
    weight, schedules
        As in ``limbeck.losses.base.Loss``.
    options
        Keyword-only parameters of the function; they become attributes, so that schedules can set them.

    Raises
    ------
    ValueError
        An option is unknown, or out of range at any step of its schedule; or the function returns NaN or infinity for
        a small test batch.
    TypeError
        The function is not decorated, or does not return one number for each query.

    Examples
    --------
    >>> from limbeck.losses import ckl
    >>> Term(ckl, gamma=2.0).needs
    ('teacher_scores', 'ranks')
    >>> Term(ckl, rank_source="student").needs
    ('teacher_scores',)
    """

    def __init__(
        self, function: Callable[..., Tensor], *, weight: float = 1.0, schedules: Any = None, **options: Any
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.function = function
        known = self.contract.defaults
        for name in options.keys() - known:
            raise ValueError(f"{name} is no option of {self.contract.name}; it has {', '.join(known) or 'none'}")
        for name, default in known.items():
            if name not in options and default is inspect.Parameter.empty:
                raise ValueError(f"{name} must be given: {self.contract.name} has no default for it")
            setattr(self, name, options.get(name, default))

    @property
    def contract(self) -> Contract:
        """Inputs and options of the function."""
        return contract(self.function)

    @property
    def annotations(self) -> Mapping[str, Any]:
        """Option → annotation (its type and range)."""
        return {"weight": float, **self.contract.annotations, "schedules": Any}

    @property
    def options(self) -> dict[str, Any]:
        """Option of the function → current value."""
        return {name: getattr(self, name) for name in self.contract.defaults}

    @property
    def needs(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Optional fields of a batch that the function reads at any step of training."""
        constant = {name: value for name, value in self.options.items() if name not in self._scheduled.names}
        return self.contract.needs(constant)

    def settle(self) -> None:
        """Check the options at every step, and call the function on a small batch."""
        super().settle()
        self._try()

    def check(self) -> None:
        """Raise ``ValueError`` if an option is out of range; the message begins with its name."""
        self.contract.check_options(self.options)

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return self.function(**self._columns(output, batch), **self.options)

    def per_candidate(self, output: StudentOutput, batch: Batch) -> Tensor | None:
        """Return the (B, L) terms that sum to the values of the queries; None if the loss has no such terms."""
        return terms(self.function)(**self._columns(output, batch), **self.options)

    def _columns(self, output: StudentOutput, batch: Batch) -> dict[str, Tensor | None]:
        columns = {
            "student": output.scores,
            "teacher": batch.teacher_scores,
            "labels": batch.labels,
            "mask": batch.mask,
            "ranks": batch.ranks,
        }
        return {name: columns[name] for name in self.contract.inputs}

    def _try(self) -> None:
        """Call the function on two lists of two candidates, to find errors before training."""
        falling = torch.tensor([[2.0, 1.0], [0.5, 0.0]])
        labels, mask = torch.tensor([[1.0, 0.0]]).expand(2, 2), torch.ones(2, 2, dtype=torch.bool)
        columns = {"student": falling.flip(0), "teacher": falling, "labels": labels, "mask": mask, "ranks": 3 - falling}
        found = self.function(**{name: columns[name] for name in self.contract.inputs}, **self.options)
        if not found.isfinite().all():
            raise ValueError(
                f"{self.contract.name} must return finite numbers; for the scores {columns['student'].tolist()} of the "
                f"student it returned {found.tolist()}"
            )
