"""Ranks and pairs of candidates, as tensors."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from limbeck.losses.lists import masked


def ranks_by(scores: Tensor, mask: Tensor) -> Tensor:
    """Rank candidates by score, best first, without gradient: (B, L) → (B, L) int64, 1-based.

    Ties keep the listed order; padding comes after all candidates.
    """
    order = torch.where(mask, scores.detach(), -torch.inf).argsort(dim=-1, descending=True, stable=True)
    places = torch.arange(1, scores.shape[-1] + 1, device=scores.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


def shared_ranks(scores: Tensor, mask: Tensor) -> Tensor:
    """Rank candidates by score without gradient; ties share their mean rank: (B, L) → (B, L) of the scores' type."""
    scores = masked(scores.detach(), mask, fill=-torch.inf)
    order = scores.sort(dim=-1).values.contiguous()
    # Sorted ascending, what is below a score ends where the score begins, what is above begins where it ends.
    below = torch.searchsorted(order, scores.contiguous())
    not_above = torch.searchsorted(order, scores.contiguous(), right=True)
    return scores.shape[-1] - (below + not_above - 1).to(scores.dtype) / 2


def soft_ranks(scores: Tensor, mask: Tensor, temperature: float) -> Tensor:
    r"""Return differentiable ranks: (B, L) → (B, L).

    ```math
    \hat r_i = 1 + \sum_{j \ne i} σ\bigl((s_j - s_i)/τ\bigr)
    ```
    """
    scores = masked(scores, mask, temperature)
    wins = torch.sigmoid(scores.unsqueeze(-2) - scores.unsqueeze(-1))
    return 0.5 + torch.where(mask.unsqueeze(-2), wins, 0.0).sum(-1)  # against itself a score wins 1/2


def pairs_by(key: Tensor, mask: Tensor) -> Tensor:
    """Return (B, L, L) bool: candidate i has the greater key than candidate j, neither being padding."""
    return (key.unsqueeze(-1) > key.unsqueeze(-2)) & mask.unsqueeze(-1) & mask.unsqueeze(-2)


def over_ties(weight: Tensor, scores: Tensor, mask: Tensor) -> Tensor:
    """Return each pair's mean weight over all orders of candidates whose scores tie, without gradient.

    So what depends on ranks does not depend on which of the tied candidates is listed first, and tied pairs still weigh
    something.

    Parameters
    ----------
    weight
        (L, L), symmetric: of a pair whose candidates are ranked at these places, best first.
    scores, mask
        (B, L), what ranks the candidates.

    Returns
    -------
    Tensor
        (B, L, L). Without ties: the weight of the two ranks. It means nothing on the diagonal or under padding.

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
    # No two candidates share a place: of the size² pairs of places of a tied pair, size(size - 1) remain.
    apart = torch.where(place.unsqueeze(-1) == place, 0.0, weight)
    mean = share @ apart @ share.mT
    return torch.where(tied, mean * size / (size - 1).clamp(min=1), mean)


def differences(scores: Tensor, mask: Tensor) -> Tensor:
    """Return (B, L, L) s_i - s_j, in float32 or better; padding counts as 0, so that nothing there is infinite."""
    scores = masked(scores, mask)
    return scores.unsqueeze(-1) - scores.unsqueeze(-2)


def logistic(margins: Tensor) -> Tensor:
    """Return ln(1 + e^-x), exact and with its gradient at any size of x."""
    return -logsigmoid(margins)


def ideal_dcg(gains: Tensor) -> Tensor:
    """Return the (B,) DCG of the best order of (B, L) gains, which are 0 under padding."""
    places = torch.arange(gains.shape[-1], device=gains.device, dtype=gains.dtype)
    return (gains.sort(dim=-1, descending=True).values / torch.log2(places + 2)).sum(-1)
