"""RankMSE: the student's soft ranks learn the teacher's ranks."""

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
        Not read; may be None.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    temperature
        τ > 0 of the soft ranks; 1 is our choice. With a small τ only candidates of similar scores have a gradient.

    Returns
    -------
    Tensor
        (B,) in squared ranks, ≥ 0; mean over the candidates, 0 for a single candidate. For student scores equal to the
        teacher's it tends to 0 only as τ → 0.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Soft ranks: Qin et al., A General Approximation Framework for Direct Optimization of Information Retrieval
    Measures, 2010.

    Notes
    -----
    Use it if only the teacher's ranking can be trusted, and all of the ranking matters.

    It is ``adr_mse`` without the discount.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> rank_mse(zero, torch.tensor([[2.0, 1.0]]), zero, mask)              # soft ranks 3/2, 3/2; ranks 1, 2
    tensor([0.2500])
    """
    difference = soft_ranks(student, mask, temperature) - shared_ranks(teacher, mask)
    return average(difference.square(), mask)
