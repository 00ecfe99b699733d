"""BKL: KL balanced by a term of the student's own probabilities."""

import math
from typing import Any

import torch
from torch import Tensor

from limbeck.losses.base import Loss, log_softmax, needed, not_negative, positive, same_dtype, split
from limbeck.losses.finite import sound
from limbeck.losses.kl import kl
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def bkl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    beta: float = 0.02,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    r"""Balanced KL, per query.

    .. math:: \mathrm{KL} + β \Bigl( \sum_{j \in D^+} q_j \ln q_j + \frac{1}{\ln 2} \sum_{i \in D^-} q_i \Bigr)

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding.
    beta
        β ≥ 0; the first author's research code has 0.01 to 0.02.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats; may be negative. 0 for a single positive, β/ln 2 for a single negative.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Yang et al., Balanced Knowledge Distillation with Contrastive Learning for Document Re-ranking, ICTIR 2023. The
    formula is that of the first author's research code; that it is the paper's is likely, not certain.

    Notes
    -----
    As the predecessor to compare :func:`ckl` with.

    :func:`kl` for β = 0; :func:`kl_ll` adds the plain log-likelihood instead.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(bkl(zero, teacher, torch.tensor([[1, 0]]), mask, beta=1.0).item(), 4)   # KL + 1/2 ln 1/2 + 1/2 / ln 2
    0.5056
    """
    student, teacher = same_dtype(student, teacher)
    log_q = log_softmax(student, mask, student_temperature)
    is_positive, is_negative = split(labels, mask)
    q = log_q.exp()
    balance = torch.where(is_positive, q * log_q, 0.0) + torch.where(is_negative, q / math.log(2), 0.0)
    divergence = kl(
        student,
        teacher,
        labels,
        mask,
        student_temperature=student_temperature,
        teacher_temperature=teacher_temperature,
    )
    return sound(mask, labels=labels) * (divergence + beta * balance.sum(-1))


@register("loss", "bkl")
class BKL(Loss):
    """:func:`bkl` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    beta, student_temperature, teacher_temperature
        As in :func:`bkl`.
    """

    needs = ("teacher_scores",)

    def __init__(
        self,
        *,
        weight: float = 1.0,
        beta: float = 0.02,
        student_temperature: float = 1.0,
        teacher_temperature: float = 1.0,
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.beta = beta
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        not_negative("beta", self.beta)
        positive("student_temperature", self.student_temperature)
        positive("teacher_temperature", self.teacher_temperature)

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return bkl(
            output.scores,
            needed(batch, "teacher_scores"),
            batch.labels,
            batch.mask,
            beta=self.beta,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
