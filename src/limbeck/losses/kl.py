"""Kullback-Leibler divergence between teacher and student distributions over the candidates."""

from typing import ClassVar

from torch import Tensor

from limbeck.losses.base import Loss, log_softmax, needed, positive, teacher_distribution
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
        (B,) in nats, ≥ 0; 0 where the distributions are equal.

    References
    ----------
    Hinton et al., Distilling the Knowledge in a Neural Network, 2015; listwise as in ListNet (Cao et al., ICML 2007).

    Examples
    --------
    >>> import torch
    >>> mask = torch.ones(1, 2, dtype=torch.bool)
    >>> zero, teacher = torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]).log()   # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(kl(zero, teacher, zero, mask).item(), 4)                        # 3/4 ln 3/2 + 1/4 ln 1/2
    0.1308
    """
    log_q = log_softmax(student, mask, student_temperature)
    p, log_p = teacher_distribution(teacher, mask, teacher_temperature)
    return (p * (log_p - log_q)).sum(-1)


@register("loss", "kl")
class KL(Loss):
    """:func:`kl` as a term of the objective.

    Parameters
    ----------
    weight
        Factor of the term.
    student_temperature, teacher_temperature
        τ_s and τ_t.
    """

    needs: ClassVar[tuple[str, ...]] = ("teacher_scores",)

    def __init__(
        self, *, weight: float = 1.0, student_temperature: float = 1.0, teacher_temperature: float = 1.0
    ) -> None:
        super().__init__(weight=weight)
        positive("student_temperature", student_temperature)
        positive("teacher_temperature", teacher_temperature)
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature

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
