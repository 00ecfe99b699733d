"""Reverse KL: the student's divergence from the teacher, mode-seeking."""

from typing import Any

from torch import Tensor

from limbeck.losses.base import Loss, log_softmax, needed, positive, same_dtype, teacher_distribution
from limbeck.losses.finite import sound
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def reverse_kl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    r"""Reverse KL divergence, per query.

    .. math:: \sum_i q_i \ln (q_i / p_i), \quad q = \mathrm{softmax}(s/τ_s),\; p = \mathrm{softmax}(t/τ_t)

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L); not used.
    mask
        (B, L) bool, False for padding.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; 0 where the distributions are equal, so for a single candidate.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Gu et al., MiniLLM: Knowledge Distillation of Large Language Models, ICLR 2024.

    Notes
    -----
    When the student is too small to follow the whole teacher and should get its top right.

    :func:`kl` with the roles exchanged; :func:`js` lies between the two.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(reverse_kl(zero, teacher, zero, mask).item(), 4)              # 1/2 ln 2/3 + 1/2 ln 2
    0.1438
    """
    student, teacher = same_dtype(student, teacher)
    log_q = log_softmax(student, mask, student_temperature)
    _, log_p = teacher_distribution(teacher, mask, teacher_temperature)
    # Under padding both logarithms are 0, and so is the term.
    return sound(mask, student=student, teacher=teacher) * (log_q.exp() * (log_q - log_p)).sum(-1)


@register("loss", "reverse_kl")
class ReverseKL(Loss):
    """:func:`reverse_kl` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    student_temperature, teacher_temperature
        As in :func:`reverse_kl`.
    """

    needs = ("teacher_scores",)

    def __init__(
        self,
        *,
        weight: float = 1.0,
        student_temperature: float = 1.0,
        teacher_temperature: float = 1.0,
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        positive("student_temperature", self.student_temperature)
        positive("teacher_temperature", self.teacher_temperature)

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return reverse_kl(
            output.scores,
            needed(batch, "teacher_scores"),
            batch.labels,
            batch.mask,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
