"""Masked lists of candidates: softmaxes, sums and means in which padding does not count."""

import torch
from torch import Tensor

FLOOR = -1e30
"""Fills padding instead of -inf: softmax gives 0 too, and no inf - inf arises."""


def at_least_float32(scores: Tensor) -> Tensor:
    """Convert half precision and integers to float32; leave float64."""
    return scores if scores.dtype == torch.float64 else scores.float()


def masked(scores: Tensor, mask: Tensor, temperature: float = 1.0, fill: float = 0.0) -> Tensor:
    """Return scores / temperature in float32 or better, with padding replaced by ``fill``."""
    return torch.where(mask, at_least_float32(scores) / temperature, fill)


def log_softmax(scores: Tensor, mask: Tensor, temperature: float = 1.0) -> Tensor:
    """Return log-probabilities over the candidates of each query.

    Parameters
    ----------
    scores
        (B, L).
    mask
        (B, L) bool, False for padding.
    temperature
        Divides the scores.

    Returns
    -------
    Tensor
        (B, L) in float32 or better; exactly 0 (not -inf) under padding, with zero gradient.
    """
    return torch.where(mask, torch.log_softmax(masked(scores, mask, temperature, FLOOR), dim=-1), 0.0)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Return the (B, L) terms p ln(p/q) from two results of ``log_softmax``; 0 under padding."""
    return log_p.exp() * (log_p - log_q)


def complement(q: Tensor) -> Tensor:
    """Return 1-q plus the machine epsilon of its type, so that it is never 0."""
    return 1 + torch.finfo(q.dtype).eps - q


def split(labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (B, L) masks of the positives (grade > 0) and of the negatives; padding is neither."""
    relevant = labels > 0
    return mask & relevant, mask & ~relevant


def average(values: Tensor, chosen: Tensor, dim: int | tuple[int, ...] = -1) -> Tensor:
    """Return the mean of the chosen entries along ``dim``; 0 if none is chosen."""
    return torch.where(chosen, values, 0.0).sum(dim) / chosen.sum(dim).clamp(min=1)
