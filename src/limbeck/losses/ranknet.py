"""RankNet over the teacher's order."""

from typing import Any

from torch import Tensor

from limbeck.losses.base import Loss, average, needed, positive, same_dtype
from limbeck.losses.finite import sound
from limbeck.losses.ranking import differences, logistic, pairs_by
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def ranknet(student: Tensor, teacher: Tensor, labels: Tensor, mask: Tensor, *, sigma: float = 1.0) -> Tensor:
    r"""Mean logistic loss over the pairs that the teacher orders, per query.

    .. math:: \frac{1}{|\{(i, j): t_i > t_j\}|} \sum_{t_i > t_j} \ln\bigl(1 + e^{-σ (s_i - s_j)}\bigr)

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L); not used.
    mask
        (B, L) bool, False for padding.
    sigma
        σ > 0, the steepness; 1 as usual.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; mean over pairs. Pairs that the teacher ties do not count; 0 where there is no pair.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Burges et al., Learning to Rank using Gradient Descent, ICML 2005; with a teacher's order as in RankGPT (Sun et
    al., EMNLP 2023).

    Notes
    -----
    When only the teacher's order can be trusted (a generative re-ranker has no scores).

    All pairs count alike; :func:`cl_drd` and :func:`lambda_loss` weight them by rank.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[3.0, 1.0]]).log()
    >>> round(ranknet(student, torch.tensor([[2.0, 1.0]]), student, mask).item(), 4)   # ln(1 + 1/3)
    0.2877
    """
    student, teacher = same_dtype(student, teacher)
    values = average(logistic(differences(sigma * student, mask)), pairs_by(teacher, mask), (-1, -2))
    return sound(mask, student=student, teacher=teacher) * values


@register("loss", "ranknet")
class RankNet(Loss):
    """:func:`ranknet` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    sigma
        As in :func:`ranknet`.
    """

    needs = ("teacher_order",)

    def __init__(
        self,
        *,
        weight: float = 1.0,
        sigma: float = 1.0,
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.sigma = sigma

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        positive("sigma", self.sigma)

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return ranknet(output.scores, needed(batch, "teacher_scores"), batch.labels, batch.mask, sigma=self.sigma)
