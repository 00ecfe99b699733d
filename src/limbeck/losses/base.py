"""What every loss shares: the contract, masks, distributions, checks."""

import math
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.losses.schedules import Scheduled
from limbeck.types import Batch, StudentOutput

FLOOR = -1e30
"""Stands for -inf under padding: as low in every softmax, but without inf - inf."""


class Loss(nn.Module):
    """Thin module over a pure function; its value is the mean over queries of the per-query values.

    A subclass stores its options under their own names, says in ``needs`` which optional fields it reads (so that
    missing data is an error before the first step), and checks ranges in :meth:`check`. It holds no state: what
    follows a schedule is a pure function of the step, set by :meth:`at`, so nothing has to be checkpointed.

    Parameters
    ----------
    weight
        Factor of this term in the objective; any finite number, 0 keeps the term as a measurement.
    schedules
        Mapping from option to schedule, for any numeric option, ``weight`` too: see :mod:`limbeck.losses.schedules`.
        Typed Any, as OmegaConf lets no command line fill a typed mapping.
    """

    needs: tuple[str, ...] = ()
    """Of ``teacher_scores``, ``teacher_order``, ``ranks``, ``embeddings`` and ``term_weights``. A loss that needs no
    more of the teacher than the order of its scores can learn from a teacher of which only the ranks can be trusted."""

    def __init__(self, *, weight: float = 1.0, schedules: Any = None) -> None:
        super().__init__()
        self.weight = weight
        self._scheduled = Scheduled({} if schedules is None else schedules)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let every constructor end with :meth:`settle`, so that no loss can forget its checks."""
        super().__init_subclass__(**kwargs)
        constructor = cls.__dict__.get("__init__")
        if constructor is None:
            return

        @wraps(constructor)
        def construct(self: Loss, *args: Any, **kwargs: Any) -> None:
            constructor(self, *args, **kwargs)
            if type(self).__init__ is construct:
                self.settle()

        cls.__init__ = construct

    def settle(self) -> None:
        """Check the options, and every value the schedules give them; end at step 0. Runs after the constructor."""
        if not math.isfinite(self.weight):
            raise ValueError(f"weight must be a finite number, got {self.weight}")
        self.check()
        self._scheduled.bind(self)
        self.at(0)

    def check(self) -> None:
        """Raise ``ValueError``, beginning with the option's name, for options out of range."""

    def at(self, step: int) -> None:
        """Set what depends on the step; called before each step with the number of updates done so far."""
        self._scheduled.apply(self, step)

    def forward(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch, unweighted."""
        return self.per_query(output, batch).mean()

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        raise NotImplementedError


def needed(batch: Batch, field: str) -> Tensor:
    """Return a field that the objective has made sure of before training."""
    value = getattr(batch, field)
    assert value is not None, f"the objective let a batch without {field} pass"
    return value


def positive(name: str, value: float) -> None:
    """Raise ``ValueError`` unless an option is a positive, finite number."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be > 0, got {value}")


def not_negative(name: str, value: float) -> None:
    """Raise ``ValueError`` unless an option is a finite number of at least 0."""
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be >= 0, got {value}")


def share(name: str, value: float) -> None:
    """Raise ``ValueError`` unless an option lies between 0 and 1, neither included."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ``ValueError`` unless an option is one of a few words."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def at_least_float32(scores: Tensor) -> Tensor:
    """Lift half precision and integers to float32; float64 stays."""
    return scores if scores.dtype == torch.float64 else scores.float()


def same_dtype(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Lift the student to float32 or better and bring the detached teacher to the same type."""
    student = at_least_float32(student)
    return student, teacher.detach().to(student.dtype)


def masked(scores: Tensor, mask: Tensor, temperature: float, fill: float = 0.0) -> Tensor:
    """Return scores over a temperature in float32 or better, ``fill`` under padding (whatever stood there)."""
    lifted = at_least_float32(scores)
    if temperature != 1.0:
        lifted = lifted / temperature
    return torch.where(mask, lifted, fill)


def log_softmax(scores: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Log-probabilities over the candidates of each query.

    Parameters
    ----------
    scores, mask
        (B, L).
    temperature
        Divides the scores.

    Returns
    -------
    Tensor
        (B, L) in float32 or better; exactly 0 (not -inf) under padding, with zero gradient.
    """
    return torch.where(mask, torch.log_softmax(masked(scores, mask, temperature, FLOOR), dim=-1), 0.0)


def teacher_distribution(teacher: Tensor, mask: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return (p, ln p) of the detached teacher, (B, L) each; both 0 under padding."""
    log_p = log_softmax(teacher.detach(), mask, temperature)
    return torch.where(mask, log_p.exp(), 0.0), log_p


def split(labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (B, L) masks of the positives (grade > 0) and of the negatives; padding is neither."""
    relevant = labels > 0
    return mask & relevant, mask & ~relevant


def average(values: Tensor, chosen: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    """Return the mean of the chosen entries, 0 where none is."""
    return torch.where(chosen, values, 0.0).sum(dim) / chosen.sum(dim).clamp(min=1)
