"""Jensen-Shannon divergence: bounded and symmetric."""

import math
from typing import Any

import torch
from torch import Tensor

from limbeck.losses.base import Loss, log_softmax, needed, positive, same_dtype, share, teacher_distribution
from limbeck.losses.finite import sound
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def js(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    beta: float = 0.5,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    r"""Jensen-Shannon divergence, generalised by β, per query.

    .. math:: β\, \mathrm{KL}(p \| m) + (1-β)\, \mathrm{KL}(q \| m), \quad m = β p + (1-β) q

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L); not used.
    mask
        (B, L) bool, False for padding.
    beta
        Share of the teacher in the mixture, 0 < β < 1; 1/2 is the symmetric divergence.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, from 0 (equal distributions, a single candidate) to ln 2.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Lin, Divergence Measures Based on the Shannon Entropy, 1991; generalised as in Agarwal et al., On-Policy
    Distillation of Language Models, ICLR 2024.

    Notes
    -----
    When single wild teacher scores make KL unstable: it is bounded.

    Over β it tends to :func:`kl` (β → 0) and to :func:`reverse_kl` (β → 1), each after division by β or 1-β.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(js(zero, teacher, zero, mask).item(), 4)    # m = (5/8, 3/8): (3/4 ln 6/5 + 1/4 ln 2/3 + 1/2 ln 16/15) / 2
    0.0338
    """
    student, teacher = same_dtype(student, teacher)
    log_q = log_softmax(student, mask, student_temperature)
    p, log_p = teacher_distribution(teacher, mask, teacher_temperature)
    log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    terms = beta * p * (log_p - log_m) + (1 - beta) * log_q.exp() * (log_q - log_m)
    return sound(mask, student=student, teacher=teacher) * torch.where(mask, terms, 0.0).sum(-1)


@register("loss", "js")
class JS(Loss):
    """:func:`js` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    beta, student_temperature, teacher_temperature
        As in :func:`js`.
    """

    needs = ("teacher_scores",)

    def __init__(
        self,
        *,
        weight: float = 1.0,
        beta: float = 0.5,
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
        share("beta", self.beta)
        positive("student_temperature", self.student_temperature)
        positive("teacher_temperature", self.teacher_temperature)

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return js(
            output.scores,
            needed(batch, "teacher_scores"),
            batch.labels,
            batch.mask,
            beta=self.beta,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
