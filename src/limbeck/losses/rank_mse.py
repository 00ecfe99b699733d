"""RankMSE: the student's soft ranks copy the teacher's ranks."""

from typing import Any

from torch import Tensor

from limbeck.losses.base import Loss, average, needed, positive, same_dtype
from limbeck.losses.finite import sound
from limbeck.losses.ranking import shared_ranks, soft_ranks
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def rank_mse(student: Tensor, teacher: Tensor, labels: Tensor, mask: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""Mean squared difference of ranks, per query.

    .. math:: \frac{1}{|D|} \sum_i (\hat r_i - r_i)^2, \quad \hat r_i = 1 + \sum_{j \ne i} σ\bigl((s_j - s_i)/τ\bigr)

    with r the 1-based rank by the teacher's scores; candidates that the teacher ties share their mean rank.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L); not used.
    mask
        (B, L) bool, False for padding.
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
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Soft ranks: Qin et al., A General Approximation Framework for Direct Optimization of Information Retrieval
    Measures, 2010.

    Notes
    -----
    When only the teacher's order can be trusted, and the whole order matters.

    :func:`adr_mse` without the discount.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> rank_mse(zero, torch.tensor([[2.0, 1.0]]), zero, mask)              # soft ranks 3/2, 3/2; ranks 1, 2
    tensor([0.2500])
    """
    student, teacher = same_dtype(student, teacher)
    difference = soft_ranks(student, mask, temperature) - shared_ranks(teacher, mask)
    return sound(mask, student=student, teacher=teacher) * average(difference.square(), mask)


@register("loss", "rank_mse")
class RankMSE(Loss):
    """:func:`rank_mse` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    temperature
        As in :func:`rank_mse`.
    """

    needs = ("teacher_order",)

    def __init__(
        self,
        *,
        weight: float = 1.0,
        temperature: float = 1.0,
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.temperature = temperature

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        positive("temperature", self.temperature)

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return rank_mse(
            output.scores, needed(batch, "teacher_scores"), batch.labels, batch.mask, temperature=self.temperature
        )
