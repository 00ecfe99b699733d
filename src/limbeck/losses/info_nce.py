"""InfoNCE over a query's own candidates: the contrastive loss without a teacher."""

from torch import Tensor

from limbeck.losses.base import Loss, log_softmax, positive
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


def info_nce(
    student: Tensor, teacher: Tensor | None, labels: Tensor, mask: Tensor, *, temperature: float = 1.0
) -> Tensor:
    r"""Negative log-likelihood of the positives under the softmax over the candidates, per query.

    .. math:: \frac{1}{|D^+|} \sum_{j \in D^+} -\ln \frac{e^{s_j/τ}}{\sum_{i \in D} e^{s_i/τ}}

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
    temperature
        τ > 0 divides the scores.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; 0 for a query without positives. The denominator holds all candidates,
        other positives too.

    References
    ----------
    van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018; DPR (Karpukhin et al., 2020).

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[3.0, 1.0]]).log()
    >>> round(info_nce(student, None, torch.tensor([[1, 0]]), mask).item(), 4)    # -ln 3/4
    0.2877
    """
    log_q = log_softmax(student, mask, temperature)
    is_positive = mask & (labels > 0)
    return -log_q.masked_fill(~is_positive, 0.0).sum(-1) / is_positive.sum(-1).clamp(min=1)


@register("loss", "info_nce")
class InfoNCE(Loss):
    """:func:`info_nce` as a term of the objective.

    Parameters
    ----------
    weight
        Factor of the term.
    temperature
        τ > 0.
    """

    def __init__(self, *, weight: float = 1.0, temperature: float = 1.0) -> None:
        super().__init__(weight=weight)
        positive("temperature", temperature)
        self.temperature = temperature

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return info_nce(output.scores, None, batch.labels, batch.mask, temperature=self.temperature)
