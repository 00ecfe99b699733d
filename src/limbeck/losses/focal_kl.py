"""Focal KL: KL with less weight on what the student has already got right."""

from typing import Any

from torch import Tensor

from limbeck.losses.base import Loss, needed, not_negative, positive
from limbeck.losses.weighted_kl import complement_power, power, weighted_kl
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def focal_kl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    gamma: float = 2.0,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    r"""KL divergence with the weights of the focal loss, per query.

    .. math:: \sum_{j \in D^+} (1-q_j)^γ p_j \ln\frac{p_j}{q_j} + \sum_{i \in D^-} q_i^γ p_i \ln\frac{p_i}{q_i}

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding.
    gamma
        γ ≥ 0; 0 is plain KL. The focal loss was proposed with γ = 2 (for object detection).
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats; may be negative. 0 for a single candidate.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    The weights: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, equation 4.

    Notes
    -----
    To see what CKL's weighting does without its ranks; needs no candidate ranks.

    :func:`ckl` with α = 0, :func:`weighted_kl` with (1-q)^γ and q^γ, and :func:`kl` for γ = 0.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(focal_kl(zero, teacher, torch.tensor([[1, 0]]), mask).item(), 4)       # KL's terms times (1/2)²
    0.0327
    """
    return weighted_kl(
        student,
        teacher,
        labels,
        mask,
        positive_weight=complement_power(gamma),
        negative_weight=power(gamma),
        student_temperature=student_temperature,
        teacher_temperature=teacher_temperature,
    )


@register("loss", "focal_kl")
class FocalKL(Loss):
    """:func:`focal_kl` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    gamma, student_temperature, teacher_temperature
        As in :func:`focal_kl`.
    """

    needs = ("teacher_scores",)

    def __init__(
        self,
        *,
        weight: float = 1.0,
        gamma: float = 2.0,
        student_temperature: float = 1.0,
        teacher_temperature: float = 1.0,
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.gamma = gamma
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        not_negative("gamma", self.gamma)
        positive("student_temperature", self.student_temperature)
        positive("teacher_temperature", self.teacher_temperature)

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return focal_kl(
            output.scores,
            needed(batch, "teacher_scores"),
            batch.labels,
            batch.mask,
            gamma=self.gamma,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
