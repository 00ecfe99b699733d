"""Kullback-Leibler divergence between teacher and student distributions over the candidates."""

from typing import Any

from torch import Tensor

from limbeck.losses.base import Loss, needed, positive
from limbeck.losses.weighted_kl import weighted_kl
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def kl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    r"""KL divergence of the student from the teacher, per query.

    .. math:: \mathrm{KL} = \sum_{i} p_i \ln (p_i / q_i), \quad
              q = \mathrm{softmax}(s/τ_s),\; p = \mathrm{softmax}(t/τ_t)

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L); not used.
    mask
        (B, L) bool, False for padding.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0. No factor τ² is applied.

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
    Hinton et al., Distilling the Knowledge in a Neural Network, 2015; listwise as in ListNet (Cao et al., ICML 2007).

    Notes
    -----
    The default of listwise distillation, when the teacher is to be copied as it is.

    The same gradient as :func:`list_net` with the teacher as target; :func:`weighted_kl` without weights.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(kl(zero, teacher, zero, mask).item(), 4)                      # 3/4 ln 3/2 + 1/4 ln 1/2
    0.1308
    """
    return weighted_kl(
        student,
        teacher,
        labels,
        mask,
        student_temperature=student_temperature,
        teacher_temperature=teacher_temperature,
    )


@register("loss", "kl")
class KL(Loss):
    """:func:`kl` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    student_temperature, teacher_temperature
        As in :func:`kl`.
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
        return kl(
            output.scores,
            needed(batch, "teacher_scores"),
            batch.labels,
            batch.mask,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
