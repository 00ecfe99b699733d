"""ADR-MSE: squared rank differences, discounted by rank."""

from typing import Literal

import torch
from torch import Tensor

from limbeck.losses.lists import average
from limbeck.losses.on_scores import Order, Unread, on_scores
from limbeck.losses.ranges import Positive
from limbeck.losses.ranks import shared_ranks, soft_ranks
from limbeck.registry import register


@register("loss", "adr_mse")
@on_scores
def adr_mse(
    student: Tensor,
    teacher: Order,
    labels: Unread,
    mask: Tensor,
    *,
    discount: Literal["log2", "reciprocal"] = "log2",
    temperature: Positive = 1.0,
) -> Tensor:
    r"""Mean discounted squared difference of ranks, per query.

    ```math
    \frac{1}{|D|} \sum_i \frac{(\hat r_i - r_i)^2}{\log_2(r_i + 1)}, \quad
    \hat r_i = 1 + \sum_{j \ne i} σ\bigl((s_j - s_i)/τ\bigr)
    ```

    with r the 1-based rank by the teacher's scores; candidates that the teacher ties share their mean rank.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        Not read; may be None.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    discount
        ``log2``: 1/log₂(r+1), as in the paper. ``reciprocal``: 1/r.
    temperature
        τ > 0 of the soft ranks; 1 is our choice.

    Returns
    -------
    Tensor
        (B,) in squared ranks, ≥ 0; mean over the candidates, 0 for a single candidate.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Schlatt et al., Rank-DistiLLM: Closing the Effectiveness Gap Between Cross-Encoders and LLMs for Passage
    Re-Ranking, ECIR 2025.

    Notes
    -----
    Use it to distil the rankings of a generative re-ranker, with most weight on the top of the list.

    It is ``rank_mse`` with a discount.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> adr_mse(zero, torch.tensor([[2.0, 1.0]]), zero, mask, discount="reciprocal")    # (1/4 + 1/4 · 1/2) / 2
    tensor([0.1875])
    """
    ranks = shared_ranks(teacher, mask)
    weight = 1 / torch.log2(ranks + 1) if discount == "log2" else 1 / ranks
    return average(weight * (soft_ranks(student, mask, temperature) - ranks).square(), mask)
