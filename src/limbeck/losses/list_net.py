"""ListNet: cross-entropy between top-one distributions."""

from typing import Any, Literal

from torch import Tensor

from limbeck.losses.base import Loss, at_least_float32, log_softmax, one_of, positive, teacher_distribution
from limbeck.losses.finite import sound
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def list_net(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    mask: Tensor,
    *,
    target: Literal["teacher", "labels"] = "teacher",
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    r"""Cross-entropy of the student's softmax under the target's, per query.

    .. math:: -\sum_i p_i \ln q_i, \quad q = \mathrm{softmax}(s/τ_s),\; p = \mathrm{softmax}(t/τ_t)

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached, and None will do with ``target="labels"``.
    labels
        (B, L) grades; read with ``target="labels"``.
    mask
        (B, L) bool, False for padding.
    target
        What t is: the ``teacher``'s scores or the ``labels``.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0. For the teacher as student it is the teacher's entropy, not 0; 0 for a single candidate.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Cao et al., Learning to Rank: From Pairwise Approach to Listwise Approach, ICML 2007 (k = 1).

    Notes
    -----
    When a paper reports ListNet, or grades instead of a teacher are to be followed listwise.

    :func:`kl` plus the entropy of the target, so with the teacher its gradient is KL's.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(list_net(zero, teacher, zero, mask).item(), 4)                # -ln 1/2 whatever p
    0.6931
    """
    student = at_least_float32(student)
    aim = labels if target == "labels" else teacher
    assert aim is not None, "target 'teacher' reads the teacher's scores"
    p, _ = teacher_distribution(aim.to(student.dtype), mask, teacher_temperature)
    values = -(p * log_softmax(student, mask, student_temperature)).sum(-1)
    return sound(mask, student=student, **{target: aim}) * values


@register("loss", "list_net")
class ListNet(Loss):
    """:func:`list_net` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    target, student_temperature, teacher_temperature
        As in :func:`list_net`.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        target: Literal["teacher", "labels"] = "teacher",
        student_temperature: float = 1.0,
        teacher_temperature: float = 1.0,
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.target: Literal["teacher", "labels"] = target
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.needs = ("teacher_scores",) if target == "teacher" else ()

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        one_of("target", self.target, ("teacher", "labels"))
        positive("student_temperature", self.student_temperature)
        positive("teacher_temperature", self.teacher_temperature)

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return list_net(
            output.scores,
            batch.teacher_scores,
            batch.labels,
            batch.mask,
            target=self.target,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
