"""RankNet: a logistic loss on the pairs that the teacher orders."""

from torch import Tensor

from limbeck.losses.lists import average
from limbeck.losses.on_scores import Order, Unread, on_scores
from limbeck.losses.ranges import Positive
from limbeck.losses.ranks import differences, logistic, pairs_by
from limbeck.registry import register


@register("loss", "ranknet")
@on_scores
def ranknet(student: Tensor, teacher: Order, labels: Unread, mask: Tensor, *, sigma: Positive = 1.0) -> Tensor:
    r"""Mean logistic loss over the pairs that the teacher orders, per query.

    ```math
    \frac{1}{|\{(i, j): t_i > t_j\}|} \sum_{t_i > t_j} \ln\bigl(1 + e^{-σ (s_i - s_j)}\bigr)
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        Not read; may be None.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    sigma
        σ > 0, the steepness; 1 is usual.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; mean over pairs, without those that the teacher ties. 0 without pairs.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Burges et al., Learning to Rank using Gradient Descent, ICML 2005; with a teacher's order as in RankGPT (Sun et
    al., EMNLP 2023).

    Notes
    -----
    Use it if only the teacher's ranking can be trusted (a generative re-ranker gives no scores).

    All pairs have the same weight; ``cl_drd`` and ``lambda_loss`` weight pairs by rank.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[3.0, 1.0]]).log()
    >>> round(ranknet(student, torch.tensor([[2.0, 1.0]]), student, mask).item(), 4)   # ln(1 + 1/3)
    0.2877
    """
    return average(logistic(sigma * differences(student, mask)), pairs_by(teacher, mask), (-1, -2))
