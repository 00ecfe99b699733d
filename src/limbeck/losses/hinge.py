"""Pairwise hinge: every positive above every negative by a margin."""

from typing import Any

from torch import Tensor

from limbeck.losses.base import Loss, average, positive, split
from limbeck.losses.finite import sound
from limbeck.losses.ranking import differences
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def hinge(student: Tensor, teacher: Tensor | None, labels: Tensor, mask: Tensor, *, margin: float = 1.0) -> Tensor:
    r"""Mean hinge over the pairs of a positive and a negative, per query.

    .. math:: \frac{1}{|D^+||D^-|} \sum_{j \in D^+} \sum_{i \in D^-} \max(0, m - (s_j - s_i))

    Parameters
    ----------
    student
        (B, L) raw scores.
    teacher
        Not used; None will do.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding.
    margin
        m > 0 in score units; 1 as usual.

    Returns
    -------
    Tensor
        (B,) in score units, ≥ 0; 0 for a query without positives or without negatives.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Herbrich et al., Large Margin Rank Boundaries for Ordinal Regression, 2000.

    Notes
    -----
    As a baseline without a teacher; pairs that are right by the margin give no gradient.

    :func:`margin_mse` asks for the teacher's margin instead of one margin for all.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[0.75, 0.5]])
    >>> hinge(student, None, torch.tensor([[1, 0]]), mask)                              # 1 - 1/4
    tensor([0.7500])
    """
    is_positive, is_negative = split(labels, mask)
    pairs = is_positive.unsqueeze(-1) & is_negative.unsqueeze(-2)
    values = average((margin - differences(student, mask)).relu(), pairs, (-1, -2))
    return sound(mask, student=student, labels=labels) * values


@register("loss", "hinge")
class Hinge(Loss):
    """:func:`hinge` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    margin
        As in :func:`hinge`.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        margin: float = 1.0,
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.margin = margin

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        positive("margin", self.margin)

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return hinge(output.scores, None, batch.labels, batch.mask, margin=self.margin)
