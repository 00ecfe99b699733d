"""CL-DRD: a curriculum over the teacher's order, from coarse groups to fine."""

from typing import Any

import torch
from torch import Tensor

from limbeck.losses.base import Loss, average, needed, same_dtype
from limbeck.losses.finite import sound
from limbeck.losses.ranking import differences, logistic, over_ties, pairs_by
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def cl_drd(student: Tensor, teacher: Tensor, labels: Tensor, mask: Tensor, *, top: int = 5) -> Tensor:
    r"""Logistic loss over the pairs of one stage of the curriculum, weighted as in LambdaRank, per query.

    .. math:: \frac{1}{|P|} \sum_{(i, j) \in P} \Bigl|\frac{1}{π_i} - \frac{1}{π_j}\Bigr|
              \ln\bigl(1 + e^{-(s_i - s_j)}\bigr), \quad P = \{(i, j): g(i) < g(j)\}

    π is the rank by the current student scores (no gradient); where these tie, the weight is its mean over all orders
    of the tied candidates. g groups the candidates by their rank r under the teacher: each of the best ``top`` is a
    group (g = r), the better half of the rest is one more, the others are the last. Of an odd rest the better half is
    the smaller one, as in the authors' 5 + 12 + 13. So a stage with a greater ``top`` asks for a finer order.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L); not used.
    mask
        (B, L) bool, False for padding.
    top
        K ≥ 1, how many of the teacher's best are ordered one by one.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0, mean over pairs; 0 where there is no pair (a single candidate, all tied by the teacher).

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Zeng, Zamani, Vinay, Curriculum Learning for Dense Retrieval Distillation, SIGIR 2022.

    Notes
    -----
    To follow the teacher's order step by step, when lists are long (the authors' have 30 candidates).

    In a configuration, ``top`` is a list with one K a stage and ``starts`` says at which step each stage begins. The
    authors' code trains the stages one after another, each on lists of its own, with graded lists of 5, 10, 20 and 30
    to choose from; when to go on is a choice of ours, and so is the mean per query where theirs is over the batch.
    For K = L all pairs of the teacher's order count, as in :func:`ranknet`, with weights.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[3.0, 1.0]]).log()
    >>> round(cl_drd(student, torch.tensor([[2.0, 1.0]]), student, mask, top=1).item(), 4)   # (1 - 1/2) ln(1 + 1/3)
    0.1438
    """
    student, teacher = same_dtype(student, teacher)
    # 1 + how many stand above: candidates that the teacher ties fall into the same group.
    rank = 1 + pairs_by(teacher, mask).sum(-2)
    border = top + (mask.sum(-1, keepdim=True) - top).div(2, rounding_mode="floor")
    group = torch.where(rank <= top, rank, torch.where(rank <= border, top + 1, top + 2))
    inverse = 1 / torch.arange(1, student.shape[-1] + 1, device=student.device, dtype=student.dtype)
    weight = over_ties((inverse.unsqueeze(-1) - inverse).abs(), student, mask)
    values = average(weight * logistic(differences(student, mask)), pairs_by(-group, mask), (-1, -2))
    return sound(mask, student=student, teacher=teacher) * values


@register("loss", "cl_drd")
class CLDRD(Loss):
    """:func:`cl_drd` as a term of the objective, its stage a function of the step.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    top
        K of each stage.
    starts
        The step at which each stage begins; the first is 0.
    """

    needs = ("teacher_order",)

    def __init__(
        self,
        *,
        weight: float = 1.0,
        top: list[int] = [5, 10, 30],  # noqa: B006 - read as the schema's default, copied below
        starts: list[int] = [0, 10000, 20000],  # noqa: B006
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.top = list(top)
        self.starts = list(starts)
        self.stage = 0

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        if not self.top or any(k < 1 for k in self.top):
            raise ValueError(f"top must be a list of numbers >= 1, got {self.top}")
        rising = all(earlier < later for earlier, later in zip(self.starts, self.starts[1:], strict=False))
        if len(self.starts) != len(self.top) or self.starts[0] != 0 or not rising:
            raise ValueError(f"starts must rise from 0 and have one step for each stage of top, got {self.starts}")

    def at(self, step: int) -> None:
        """Set what depends on the step: schedules, and the stage."""
        super().at(step)
        self.stage = sum(step >= start for start in self.starts) - 1

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        teacher = needed(batch, "teacher_scores")
        return cl_drd(output.scores, teacher, batch.labels, batch.mask, top=self.top[self.stage])
