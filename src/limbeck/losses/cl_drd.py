"""CL-DRD: a curriculum over the teacher's order, from coarse groups to fine."""

import torch
from torch import Tensor

from limbeck.losses.lists import average
from limbeck.losses.on_scores import Order, Unread, on_scores
from limbeck.losses.ranges import Count
from limbeck.losses.ranks import differences, logistic, over_ties, pairs_by
from limbeck.registry import register


@register("loss", "cl_drd")
@on_scores
def cl_drd(student: Tensor, teacher: Order, labels: Unread, mask: Tensor, *, top: Count = 5) -> Tensor:
    r"""Logistic loss over the pairs of one stage of the curriculum, weighted as in LambdaRank, per query.

    ```math
    \frac{1}{|P|} \sum_{(i, j) \in P} \Bigl|\frac{1}{π_i} - \frac{1}{π_j}\Bigr|
    \ln\bigl(1 + e^{-(s_i - s_j)}\bigr), \quad P = \{(i, j): g(i) < g(j)\}
    ```

    π is the rank by the current student scores (no gradient); where these tie, the weight is its mean over all orders
    of the tied candidates. g groups the candidates by their rank r under the teacher: each of the best ``top`` is a
    group (g = r), the better half of the rest is one more, the others are the last. Of an odd rest the better half is
    the smaller one, as in the authors' 5 + 12 + 13. So a stage with a greater ``top`` asks for a finer order.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        Not read; None will do.
    mask
        (B, L) bool, False for padding; None where there is none.
    top
        K ≥ 1, how many of the teacher's best are ordered one by one.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0, mean over pairs; 0 where there is no pair (a single candidate, all tied by the teacher).

    Raises
    ------
    ValueError
        An input or option is not as described (``limbeck.losses.on_scores``). A number that is read is not finite;
        ``limbeck.losses.finite`` says when it is NaN in the result instead.

    References
    ----------
    Zeng, Zamani, Vinay, Curriculum Learning for Dense Retrieval Distillation, SIGIR 2022.

    Notes
    -----
    To follow the teacher's order step by step, when lists are long (the authors' have 30 candidates).

    In a configuration, the stages are a schedule of ``top``; ``conf/loss/cl_drd.yaml`` has K = 5, then 10 from step
    10,000 and 30 from step 20,000. The authors' code trains the stages one after another, each on other lists, with
    graded lists of 5, 10, 20 and 30 to choose from; when to go on is a choice of ours, and so is the mean per query
    where theirs is over the batch.
    For K = L all pairs of the teacher's order count, as in ``ranknet``, with weights.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[3.0, 1.0]]).log()
    >>> round(cl_drd(student, torch.tensor([[2.0, 1.0]]), student, mask, top=1).item(), 4)   # (1 - 1/2) ln(1 + 1/3)
    0.1438
    """
    rank = 1 + pairs_by(teacher, mask).sum(-2)  # 1 + how many are above: candidates that the teacher ties share a group
    border = top + (mask.sum(-1, keepdim=True) - top).div(2, rounding_mode="floor")
    group = torch.where(rank <= top, rank, torch.where(rank <= border, top + 1, top + 2))
    inverse = 1 / torch.arange(1, student.shape[-1] + 1, device=student.device, dtype=student.dtype)
    weight = over_ties((inverse.unsqueeze(-1) - inverse).abs(), student, mask)
    return average(weight * logistic(differences(student, mask)), pairs_by(-group, mask), (-1, -2))
