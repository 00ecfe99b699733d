"""A loss on scores with fixed options: the object that ``limbeck.losses.laws`` tests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor

from limbeck.losses.on_scores import contract
from limbeck.losses.worlds import Columns


@dataclass(frozen=True)
class Case:
    """A loss on scores with fixed options."""

    function: Callable[..., Tensor]
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, data: Columns) -> Tensor:
        """Return the (B,) values."""
        return self.function(**{name: data.get(name) for name in contract(self.function).inputs}, **self.options)

    def value_and_gradient(self, data: Columns) -> tuple[Tensor, Tensor]:
        """Return the (B,) values and the (B, L) gradient of their sum."""
        student = data["student"].clone().requires_grad_()
        values = self({**data, "student": student})
        return values.detach(), torch.autograd.grad(values.sum(), student)[0]

    def reads(self) -> list[str]:
        """Return the names of the inputs that the loss reads with these options."""
        what = contract(self.function)
        return what.reads({**what.defaults, **self.options})

    def columns(self, data: Columns) -> list[Tensor]:
        """Return the inputs in the order of the loss's parameters."""
        return [data[name] for name in contract(self.function).inputs]


def cases(function: Callable[..., Tensor]) -> list[Case]:
    """Return the loss with its default options, and with each other choice of each ``Literal`` option."""
    what = contract(function)
    words = {name: get_args(kind) for name, kind in what.annotations.items() if get_origin(kind) is Literal}
    others = [{name: word} for name, choices in words.items() for word in choices if word != what.defaults[name]]
    return [Case(function, options) for options in ({}, *others)]
