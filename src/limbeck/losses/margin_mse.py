"""MarginMSE: the student copies the teacher's margins between positives and negatives."""

from typing import Any

import torch
from torch import Tensor

from limbeck.losses.base import Loss, needed, same_dtype, split
from limbeck.losses.finite import sound
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def margin_mse(student: Tensor, teacher: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    r"""Mean squared difference of margins, per query.

    .. math:: \frac{1}{|D^+||D^-|} \sum_{j \in D^+} \sum_{i \in D^-} \bigl((s_j - s_i) - (t_j - t_i)\bigr)^2

    Parameters
    ----------
    student, teacher
        (B, L) raw scores, the teacher's not squashed into [0, 1]; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding.

    Returns
    -------
    Tensor
        (B,) in squared score units, ≥ 0; 0 for a query without positives or without negatives.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Hofstätter et al., Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation, 2020.

    Notes
    -----
    To train from scratch on a teacher's raw scores; the usual start of a student that :func:`ckl` then refines.

    :func:`mse` without its dependence on the level of the scores.

    With d = s - t the mean over pairs is the variance of d over the positives, plus that over the negatives, plus the
    squared difference of their means: no pair is ever formed, so time and memory grow with L, not with L².

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[2.0, 1.0]])
    >>> margin_mse(student, torch.tensor([[5.0, 1.0]]), torch.tensor([[1, 0]]), mask)   # (1 - 4)²
    tensor([9.])
    """
    student, teacher = same_dtype(student, teacher)
    sides = split(labels, mask)
    difference = torch.where(mask, student - teacher, 0.0)
    shares = [side / side.sum(-1, keepdim=True, dtype=difference.dtype).clamp(min=1) for side in sides]
    means = [(share * difference).sum(-1, keepdim=True) for share in shares]
    within = difference - torch.where(sides[0], *means)
    value = (sum(shares) * within.square()).sum(-1) + (means[0] - means[1]).square().squeeze(-1)
    values = torch.where(sides[0].any(-1) & sides[1].any(-1), value, 0.0)
    return sound(mask, student=student, teacher=teacher, labels=labels) * values


@register("loss", "margin_mse")
class MarginMSE(Loss):
    """:func:`margin_mse` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    """

    needs = ("teacher_scores",)

    def __init__(
        self,
        *,
        weight: float = 1.0,
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return margin_mse(output.scores, needed(batch, "teacher_scores"), batch.labels, batch.mask)
