"""MSE: the student copies the teacher's scores."""

from typing import Any

import torch
from torch import Tensor

from limbeck.losses.base import Loss, average, needed, same_dtype
from limbeck.losses.finite import sound
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def mse(student: Tensor, teacher: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    r"""Mean squared difference of scores, per query.

    .. math:: \frac{1}{|D|} \sum_i (s_i - t_i)^2

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L); not used.
    mask
        (B, L) bool, False for padding.

    Returns
    -------
    Tensor
        (B,) in squared score units, ≥ 0; mean over the candidates.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Ba and Caruana, Do Deep Nets Really Need to be Deep?, NeurIPS 2014.

    Notes
    -----
    When the student should reproduce the scores themselves, level and scale included (a cross-encoder's, say).

    Not shift-invariant; :func:`margin_mse` is.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[2.0, 1.0]])
    >>> mse(student, torch.tensor([[5.0, 2.0]]), student, mask)                         # (3² + 1²) / 2
    tensor([5.])
    """
    student, teacher = same_dtype(student, teacher)
    values = average(torch.where(mask, student - teacher, 0.0).square(), mask)
    return sound(mask, student=student, teacher=teacher) * values


@register("loss", "mse")
class MSE(Loss):
    """:func:`mse` as a term of the objective.

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
        return mse(output.scores, needed(batch, "teacher_scores"), batch.labels, batch.mask)
