"""Approximate nDCG: the metric itself, with soft ranks."""

from typing import Literal

import torch
from torch import Tensor

from limbeck.losses.lists import masked
from limbeck.losses.on_scores import Unread, on_scores
from limbeck.losses.ranges import Positive
from limbeck.losses.ranks import ideal_dcg, soft_ranks
from limbeck.registry import register


@register("loss", "approx_ndcg")
@on_scores
def approx_ndcg(
    student: Tensor,
    teacher: Unread,
    labels: Tensor,
    mask: Tensor,
    *,
    temperature: Positive = 0.1,
    gain: Literal["exponential", "linear"] = "exponential",
) -> Tensor:
    r"""One minus nDCG with soft ranks, per query.

    ```math
    1 - \frac{1}{\mathrm{IDCG}} \sum_i \frac{G_i}{\log_2(1 + \hat r_i)}, \quad
    \hat r_i = 1 + \sum_{j \ne i} σ\bigl((s_j - s_i)/τ\bigr)
    ```

    Parameters
    ----------
    student
        (B, L) raw scores.
    teacher
        Not read; may be None.
    labels
        (B, L) grades; grades below 0 count as 0.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    temperature
        τ > 0 of the soft ranks; 0.1 as in TensorFlow Ranking.
    gain
        ``exponential``: G = 2^y - 1, as in the paper. ``linear``: G = y, as in trec_eval.

    Returns
    -------
    Tensor
        (B,) from 0 to 1; 0 for a query without positives.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Qin et al., A General Approximation Framework for Direct Optimization of Information Retrieval Measures, 2010.

    Notes
    -----
    Use it when the labels are graded and complete enough to optimise nDCG directly.

    ``lambda_loss`` is a pairwise bound on the same metric.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> round(approx_ndcg(zero, None, torch.tensor([[1, 0]]), mask).item(), 4)   # soft rank 3/2: 1 - 1/log₂(5/2)
    0.2435
    """
    ranks = soft_ranks(student, mask, temperature)
    grades = masked(labels, mask).clamp(min=0)
    gains = grades if gain == "linear" else torch.exp2(grades) - 1
    reached, ideal = (gains / torch.log2(1 + ranks)).sum(-1), ideal_dcg(gains)
    return torch.where(ideal > 0, 1 - reached / torch.where(ideal > 0, ideal, 1.0), 0.0)
