"""What every loss shares: masks, distributions, checks, the thin module."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from limbeck.types import Batch, StudentOutput


class Loss(nn.Module):
    """Thin module over a pure function; its value is the mean over queries of the per-query values.

    A subclass says in ``needs`` which optional fields of the batch it reads, so that missing data is an error before
    the first step.

    Parameters
    ----------
    weight
        Factor of this term in the objective; any finite number, 0 keeps the term as a measurement.
    """

    needs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

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
    """Raise ``ValueError`` unless an option is a positive number."""
    if not value > 0:
        raise ValueError(f"{name} must be > 0, got {value}")


def at_least_float32(scores: Tensor) -> Tensor:
    """Lift half precision to float32; float64 stays."""
    return scores if scores.dtype == torch.float64 else scores.float()


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
    lifted = at_least_float32(scores).masked_fill(~mask, 0.0) / temperature
    floor = torch.finfo(lifted.dtype).min
    return torch.log_softmax(lifted.masked_fill(~mask, floor), dim=-1).masked_fill(~mask, 0.0)


def teacher_distribution(teacher: Tensor, mask: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return (p, ln p) of the detached teacher, (B, L) each; both 0 under padding."""
    log_p = log_softmax(teacher.detach(), mask, temperature)
    return log_p.exp().masked_fill(~mask, 0.0), log_p
