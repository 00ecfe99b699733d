"""Ranks and pairs of candidates, as tensors."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from limbeck.losses.lists import masked


def ranks_by(scores: Tensor, mask: Tensor) -> Tensor:
    """Return (B, L) int64 ranks of (B, L) scores: 1 is the best, without gradient.

    Tied candidates are ranked in the order in which they are listed; padding comes last.
    """
    order = torch.where(mask, scores.detach(), -torch.inf).argsort(dim=-1, descending=True, stable=True)
    places = torch.arange(1, scores.shape[-1] + 1, device=scores.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


def shared_ranks(scores: Tensor, mask: Tensor) -> Tensor:
    """Return (B, L) ranks of (B, L) scores in the scores' type, without gradient; ties share their mean rank."""
    scores = masked(scores.detach(), mask, fill=-torch.inf)
    order = scores.sort(dim=-1).values.contiguous()
    # In ascending order, lower scores end where this score begins; higher scores begin where it ends.
    below = torch.searchsorted(order, scores.contiguous())
    not_above = torch.searchsorted(order, scores.contiguous(), right=True)
    return scores.shape[-1] - (below + not_above - 1).to(scores.dtype) / 2


def soft_ranks(scores: Tensor, mask: Tensor, temperature: float) -> Tensor:
    r"""Return (B, L) differentiable ranks of (B, L) scores.

    ```math
    \hat r_i = 1 + \sum_{j \ne i} σ\bigl((s_j - s_i)/τ\bigr)
    ```
    """
    scores = masked(scores, mask, temperature)
    wins = torch.sigmoid(scores.unsqueeze(-2) - scores.unsqueeze(-1))
    return 0.5 + torch.where(mask.unsqueeze(-2), wins, 0.0).sum(-1)  # the sum includes σ(0) = 1/2 of a score and itself


def pairs_by(key: Tensor, mask: Tensor) -> Tensor:
    """Return (B, L, L) bool: candidate i has a greater key than candidate j, and neither is padding."""
    return (key.unsqueeze(-1) > key.unsqueeze(-2)) & mask.unsqueeze(-1) & mask.unsqueeze(-2)


def over_ties(weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Return each pair's weight by rank; for ties, its mean over all orders of the tied candidates. No gradient.

    So weights do not depend on the order in which tied candidates are listed, and tied pairs have a weight too.

    Parameters
    ----------
    weight
        (L, L), symmetric: the weight of a pair by the ranks of its candidates, best first.
    scores
        (B, L) scores that rank the candidates.
    mask
        (B, L) bool, False for padding.

    Returns
    -------
    Tensor
        (B, L, L). The diagonal and padding hold arbitrary numbers.

    Examples
    --------
    >>> weight = torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]])
    >>> over_ties(weight, torch.tensor([[0.5, 0.5, 9.0]]), torch.ones(1, 3, dtype=torch.bool))[0, 2]  # (1 + 2) / 2
    tensor([1.5000, 1.5000, 0.0000])
    """
    scores = scores.detach()
    first = pairs_by(scores, mask).sum(-2).unsqueeze(-1)
    tied = (scores.unsqueeze(-1) == scores.unsqueeze(-2)) & mask.unsqueeze(-1) & mask.unsqueeze(-2)
    size = tied.sum(-1, keepdim=True)
    place = torch.arange(scores.shape[-1], device=scores.device)
    share = ((first <= place) & (place < first + size)).to(weight.dtype) / size.clamp(min=1)
    # Two candidates never share a rank: of the size² pairs of ranks of a tied pair, size(size - 1) are possible.
    apart = torch.where(place.unsqueeze(-1) == place, 0.0, weight)
    mean = share @ apart @ share.mT
    return torch.where(tied, mean * size / (size - 1).clamp(min=1), mean)


def differences(scores: Tensor, mask: Tensor) -> Tensor:
    """Return (B, L, L) s_i - s_j in float32 or better; padding counts as score 0, so no difference is infinite."""
    scores = masked(scores, mask)
    return scores.unsqueeze(-1) - scores.unsqueeze(-2)


def logistic(margins: Tensor) -> Tensor:
    """Return ln(1 + e^-x), without overflow of value or gradient for any x."""
    return -logsigmoid(margins)


def ideal_dcg(gains: Tensor) -> Tensor:
    """Return the (B,) ideal DCG of (B, L) gains, which are 0 under padding."""
    places = torch.arange(gains.shape[-1], device=gains.device, dtype=gains.dtype)
    return (gains.sort(dim=-1, descending=True).values / torch.log2(places + 2)).sum(-1)
