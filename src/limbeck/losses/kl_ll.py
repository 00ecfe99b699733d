"""KL plus the log-likelihood of the positives."""

from typing import Any

import torch
from torch import Tensor

from limbeck.losses.base import Loss, log_softmax, needed, not_negative, positive, same_dtype, split
from limbeck.losses.finite import sound
from limbeck.losses.kl import kl
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def kl_ll(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    beta: float = 0.02,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    r"""KL divergence minus the log-likelihood of the positives, per query.

    .. math:: \mathrm{KL} - β \sum_{j \in D^+} \ln q_j

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding.
    beta
        β ≥ 0; no value of a paper is known, the default is BKL's.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; plain KL for a query without positives, 0 for a single candidate.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    A baseline in the research code of Yang et al., SIGIR 2024.

    Notes
    -----
    As the plainest way to add labels to a teacher, a baseline of :func:`ckl`.

    :func:`kl` + β · :func:`info_nce` where a query has one positive (``info_nce`` takes the mean over positives).

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(kl_ll(zero, teacher, torch.tensor([[1, 0]]), mask, beta=1.0).item(), 4)   # KL - ln 1/2
    0.824
    """
    student, teacher = same_dtype(student, teacher)
    log_q = log_softmax(student, mask, student_temperature)
    likelihood = torch.where(split(labels, mask)[0], log_q, 0.0).sum(-1)
    divergence = kl(
        student,
        teacher,
        labels,
        mask,
        student_temperature=student_temperature,
        teacher_temperature=teacher_temperature,
    )
    return sound(mask, labels=labels) * (divergence - beta * likelihood)


@register("loss", "kl_ll")
class KLLL(Loss):
    """:func:`kl_ll` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    beta, student_temperature, teacher_temperature
        As in :func:`kl_ll`.
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
        return kl_ll(
            output.scores,
            needed(batch, "teacher_scores"),
            batch.labels,
            batch.mask,
            beta=self.beta,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
