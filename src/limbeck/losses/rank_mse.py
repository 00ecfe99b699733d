"""RankMSE: the student's soft ranks copy the teacher's ranks."""

from torch import Tensor

from limbeck.losses.lists import average
from limbeck.losses.on_scores import Order, Unread, on_scores
from limbeck.losses.ranges import Positive
from limbeck.losses.ranks import shared_ranks, soft_ranks
from limbeck.registry import register


@register("loss", "rank_mse")
@on_scores
def rank_mse(student: Tensor, teacher: Order, labels: Unread, mask: Tensor, *, temperature: Positive = 1.0) -> Tensor:
    r"""Mean squared difference of ranks, per query.

    ```math
    \frac{1}{|D|} \sum_i (\hat r_i - r_i)^2, \quad \hat r_i = 1 + \sum_{j \ne i} σ\bigl((s_j - s_i)/τ\bigr)
    ```

    with r the 1-based rank by the teacher's scores; candidates that the teacher ties share their mean rank.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        Not read; None will do.
    mask
        (B, L) bool, False for padding; None where there is none.
    temperature
        τ > 0 of the soft ranks; small is sharp, with gradient only between near neighbours. 1 is our choice.

    Returns
    -------
    Tensor
        (B,) in squared ranks, ≥ 0; mean over the candidates, 0 for a single one. Tends to 0 for the teacher as student
        only as τ → 0.

    Raises
    ------
    ValueError
        An input or option is not as described (``limbeck.losses.on_scores``). A number that is read is not finite;
        ``limbeck.losses.finite`` says when it is NaN in the result instead.

    References
    ----------
    Soft ranks: Qin et al., A General Approximation Framework for Direct Optimization of Information Retrieval
    Measures, 2010.

    Notes
    -----
    When only the teacher's order can be trusted, and the whole order matters.

    ``adr_mse`` without the discount.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> rank_mse(zero, torch.tensor([[2.0, 1.0]]), zero, mask)              # soft ranks 3/2, 3/2; ranks 1, 2
    tensor([0.2500])
    """
    difference = soft_ranks(student, mask, temperature) - shared_ranks(teacher, mask)
    return average(difference.square(), mask)
