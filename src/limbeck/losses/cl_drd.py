"""CL-DRD: pairwise loss on groups of the teacher's ranking, refined in stages."""

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

    π is the rank by the current student scores (no gradient); for ties, the weight is its mean over all orders of the
    tied candidates. g is a candidate's group by its teacher rank r: each of the best ``top`` candidates is a group of
    one (g = r), the better half of the remaining candidates is the next group, the other half the last. If their number
    is odd, the better half is the smaller one, as in the authors' 5 + 12 + 13. A greater ``top`` is a finer order.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        Not read; may be None.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    top
        K ≥ 1, number of best candidates to order. Each of the teacher's best K is a group of its own.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; mean over pairs. 0 without pairs: a single candidate, or a teacher that ties all.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Zeng, Zamani, Vinay, Curriculum Learning for Dense Retrieval Distillation, SIGIR 2022.

    Notes
    -----
    Use it to learn the ranking of a teacher in stages, with long lists (the authors have 30 candidates).

    In a configuration, the stages are a schedule of ``top``: ``conf/loss/cl_drd.yaml`` has K = 5, then 10 from step
    10,000 and 30 from step 20,000. The authors' code trains each stage on other lists, with K of 5, 10, 20 or 30. The
    steps at which K changes are our choice, and so is the mean over the pairs of a query; theirs is over the batch.
    K = L takes all pairs that the teacher orders, as ``ranknet`` does, but weighted.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[3.0, 1.0]]).log()
    >>> round(cl_drd(student, torch.tensor([[2.0, 1.0]]), student, mask, top=1).item(), 4)   # (1 - 1/2) ln(1 + 1/3)
    0.1438
    """
    rank = 1 + pairs_by(teacher, mask).sum(-2)  # candidates that the teacher ties share a group
    border = top + (mask.sum(-1, keepdim=True) - top).div(2, rounding_mode="floor")
    group = torch.where(rank <= top, rank, torch.where(rank <= border, top + 1, top + 2))
    inverse = 1 / torch.arange(1, student.shape[-1] + 1, device=student.device, dtype=student.dtype)
    weight = over_ties((inverse.unsqueeze(-1) - inverse).abs(), student, mask)
    return average(weight * logistic(differences(student, mask)), pairs_by(-group, mask), (-1, -2))
