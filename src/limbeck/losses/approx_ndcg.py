"""Approximate nDCG: the metric itself, with soft ranks."""

from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.losses.base import Loss, masked, one_of, positive
from limbeck.losses.finite import sound
from limbeck.losses.ranking import ideal_dcg, soft_ranks
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def approx_ndcg(
    student: Tensor,
    teacher: Tensor | None,
    labels: Tensor,
    mask: Tensor,
    *,
    temperature: float = 0.1,
    gain: Literal["exponential", "linear"] = "exponential",
) -> Tensor:
    r"""One minus nDCG with soft ranks, per query.

    .. math:: 1 - \frac{1}{\mathrm{IDCG}} \sum_i \frac{G_i}{\log_2(1 + \hat r_i)}, \quad
              \hat r_i = 1 + \sum_{j \ne i} σ\bigl((s_j - s_i)/τ\bigr)

    Parameters
    ----------
    student
        (B, L) raw scores.
    teacher
        Not used; None will do.
    labels
        (B, L) grades; those below 0 count as 0.
    mask
        (B, L) bool, False for padding.
    temperature
        τ > 0 of the soft ranks; 0.1 as in TensorFlow Ranking.
    gain
        ``exponential``: G = 2^y - 1, as in the paper. ``linear``: G = y, as trec_eval has it.

    Returns
    -------
    Tensor
        (B,) from 0 to 1; 0 for a query without positives.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Qin et al., A General Approximation Framework for Direct Optimization of Information Retrieval Measures, 2010.

    Notes
    -----
    When the labels are graded and complete enough to trust the metric itself.

    :func:`lambda_loss` bounds the same metric by pairs.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> round(approx_ndcg(zero, None, torch.tensor([[1, 0]]), mask).item(), 4)   # soft rank 3/2: 1 - 1/log₂(5/2)
    0.2435
    """
    ranks = soft_ranks(student, mask, temperature)
    grades = masked(labels.to(ranks.dtype), mask, 1.0).clamp(min=0)
    gains = grades if gain == "linear" else torch.exp2(grades) - 1
    ideal = ideal_dcg(gains)
    reached = (gains / torch.log2(1 + ranks)).sum(-1)
    values = torch.where(ideal > 0, 1 - reached / torch.where(ideal > 0, ideal, 1.0), 0.0)
    return sound(mask, student=student, labels=labels) * values


@register("loss", "approx_ndcg")
class ApproxNDCG(Loss):
    """:func:`approx_ndcg` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    temperature, gain
        As in :func:`approx_ndcg`.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        temperature: float = 0.1,
        gain: Literal["exponential", "linear"] = "exponential",
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.temperature = temperature
        self.gain: Literal["exponential", "linear"] = gain

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        positive("temperature", self.temperature)
        one_of("gain", self.gain, ("exponential", "linear"))

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return approx_ndcg(output.scores, None, batch.labels, batch.mask, temperature=self.temperature, gain=self.gain)
