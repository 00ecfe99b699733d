"""Binary cross-entropy: every candidate on its own, without a softmax."""

from typing import Any, Literal

from torch import Tensor

from limbeck.losses.base import Loss, average, masked, one_of, positive
from limbeck.losses.finite import sound
from limbeck.losses.ranking import logistic
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def bce(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    mask: Tensor,
    *,
    target: Literal["teacher", "labels"] = "teacher",
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Tensor:
    r"""Binary cross-entropy, per query.

    .. math:: \frac{1}{|D|} \sum_i -y_i \ln σ(s_i/τ_s) - (1-y_i) \ln(1 - σ(s_i/τ_s)), \quad y_i = σ(t_i/τ_t)

    Parameters
    ----------
    student, teacher
        (B, L) raw scores, taken as logits; the teacher is detached, and None will do with ``target="labels"``.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding.
    target
        ``teacher``: soft targets y = σ(t/τ_t). ``labels``: y = 1 for positives, else 0.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; mean over the candidates. For the teacher as student it is the targets' entropy, not 0.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    With labels: Nogueira and Cho, Passage Re-ranking with BERT, 2019, equation 1.

    Notes
    -----
    For cross-encoder students whose scores should be read as probabilities.

    Not shift-invariant. Pointwise, as :func:`mse` is.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> round(bce(zero, torch.tensor([[3.0, 1.0]]), zero, mask).item(), 4)       # -ln 1/2 whatever the targets
    0.6931
    >>> round(bce(torch.tensor([[3.0, 1.0]]).log(), None, torch.tensor([[1, 0]]), mask, target="labels").item(), 4)
    0.4904
    """
    # In the last example the probabilities are 3/4 and 1/2: (-ln 3/4 - ln 1/2) / 2.
    student = masked(student, mask, student_temperature)
    if target == "labels":
        soft = (labels > 0).to(student.dtype)
    else:
        assert teacher is not None, "target 'teacher' reads the teacher's scores"
        soft = masked(teacher.detach().to(student.dtype), mask, teacher_temperature).sigmoid()
    read = {"student": student, target: labels if target == "labels" else teacher}
    return sound(mask, **read) * average(soft * logistic(student) + (1 - soft) * logistic(-student), mask)


@register("loss", "bce")
class BCE(Loss):
    """:func:`bce` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    target, student_temperature, teacher_temperature
        As in :func:`bce`.
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
        return bce(
            output.scores,
            batch.teacher_scores,
            batch.labels,
            batch.mask,
            target=self.target,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
