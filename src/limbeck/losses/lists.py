"""Masked lists of candidates: softmaxes, sums and means in which padding does not count."""

import torch
from torch import Tensor

FLOOR = -1e30
"""In place of -inf under padding: as low in every softmax, but without inf - inf."""


def at_least_float32(scores: Tensor) -> Tensor:
    """Lift half precision and integers to float32; float64 stays."""
    return scores if scores.dtype == torch.float64 else scores.float()


def masked(scores: Tensor, mask: Tensor, temperature: float = 1.0, fill: float = 0.0) -> Tensor:
    """Return scores over a temperature in float32 or better, ``fill`` under padding, where anything may be."""
    return torch.where(mask, at_least_float32(scores) / temperature, fill)


def log_softmax(scores: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
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


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return the (B, L) terms p ln(p/q) from two results of ``log_softmax``; 0 under padding, as both are there."""
    return log_p.exp() * (log_p - log_q)


def complement(q: Tensor) -> Tensor:
    """Return 1-q, up by the spacing of numbers next to 1 that it is uncertain by: it never reaches 0."""
    return 1 + torch.finfo(q.dtype).eps - q


def split(labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (B, L) masks of the positives (grade > 0) and of the negatives; padding is neither."""
    relevant = labels > 0
    return mask & relevant, mask & ~relevant


def average(values: Tensor, chosen: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    """Return the mean of the chosen entries, 0 where none is."""
    return torch.where(chosen, values, 0.0).sum(dim) / chosen.sum(dim).clamp(min=1)
