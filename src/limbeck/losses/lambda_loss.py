"""LambdaLoss: NDCG-Loss2++, a pairwise bound on nDCG."""

import math

import torch
from torch import Tensor

from limbeck.losses.lists import masked
from limbeck.losses.on_scores import Unread, on_scores
from limbeck.losses.ranges import NonNegative, Positive
from limbeck.losses.ranks import differences, ideal_dcg, logistic, over_ties, pairs_by
from limbeck.registry import register


@register("loss", "lambda_loss")
@on_scores
def lambda_loss(
    student: Tensor,
    teacher: Unread,
    labels: Tensor,
    mask: Tensor,
    *,
    mu: NonNegative = 10.0,
    sigma: Positive = 1.0,
) -> Tensor:
    r"""NDCG-Loss2++, per query.

    ```math
    \sum_{y_i > y_j} (ρ_{ij} + μ δ_{ij})\, |G_i - G_j| \log_2\bigl(1 + e^{-σ (s_i - s_j)}\bigr), \quad
    ρ_{ij} = \Bigl|\frac{1}{D_i} - \frac{1}{D_j}\Bigr|, \;
    δ_{ij} = \Bigl|\frac{1}{D(|π_i - π_j|)} - \frac{1}{D(|π_i - π_j| + 1)}\Bigr|
    ```

    with D(k) = log₂(1+k), D_i = D(π_i), π_i the rank by the current student scores (no gradient) and
    G_i = (2^{y_i} - 1) / maxDCG. For tied student scores, ρ + μδ is its mean over all orders of the tied candidates.

    Parameters
    ----------
    student
        (B, L) raw scores.
    teacher
        Not read; may be None.
    labels
        (B, L) grades y; grades below 0 count as 0.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    mu
        μ ≥ 0, weight of NDCG-Loss2 relative to LambdaRank (μ = 0); 10 in the paper.
    sigma
        σ > 0; 1 in the paper.

    Returns
    -------
    Tensor
        (B,) in bits, ≥ 0; sum over pairs. 0 for a query without positives or whose grades are all equal.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Wang et al., The LambdaLoss Framework for Ranking Metric Optimization, CIKM 2018, section 6.

    Notes
    -----
    Use it with graded labels to optimise nDCG if the gradients of ``approx_ndcg`` vanish.

    It is RankNet on the labels, with weights that depend on the ranks.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[0.5, 0.5]])
    >>> round(lambda_loss(student, None, torch.tensor([[1, 0]]), mask, mu=1.0).item(), 4)   # 2 (1 - 1/log₂ 3) · log₂ 2
    0.7381
    """
    grades = masked(labels, mask).clamp(min=0)
    gains = torch.exp2(grades) - 1
    gains = gains / ideal_dcg(gains).clamp(min=torch.finfo(gains.dtype).tiny).unsqueeze(-1)
    place = torch.arange(1, student.shape[-1] + 1, device=student.device, dtype=student.dtype)
    inverse = 1 / torch.log2(1 + place)
    rho = (inverse.unsqueeze(-1) - inverse).abs()
    distance = (place.unsqueeze(-1) - place).abs().clamp(min=1)
    delta = 1 / torch.log2(1 + distance) - 1 / torch.log2(2 + distance)
    weight = over_ties(rho + mu * delta, student, mask) * (gains.unsqueeze(-1) - gains.unsqueeze(-2)).abs()
    losses = weight * logistic(sigma * differences(student, mask)) / math.log(2)
    return torch.where(pairs_by(grades, mask), losses, 0.0).sum((-1, -2))
