"""InfoNCE: the contrastive loss over a query's candidates and, optionally, in-batch negatives."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from limbeck.losses.base import Loss
from limbeck.losses.finite import sound
from limbeck.losses.in_batch import other_documents
from limbeck.losses.lists import FLOOR, average, log_softmax, masked, split
from limbeck.losses.on_scores import Unread, on_scores
from limbeck.losses.ranges import Finite, Positive
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput


@on_scores
def info_nce(
    student: Tensor,
    teacher: Unread,
    labels: Tensor,
    mask: Tensor,
    *,
    others: Tensor | None = None,
    others_mask: Tensor | None = None,
    temperature: Positive = 1.0,
) -> Tensor:
    r"""Negative log-likelihood of the positives under the softmax over the candidates, per query.

    ```math
    \frac{1}{|D^+|} \sum_{j \in D^+} -\ln \frac{e^{s_j/τ}}{\sum_{i \in D \cup O} e^{s_i/τ}}
    ```

    Parameters
    ----------
    student
        (B, L) raw scores.
    teacher
        Not read; may be None.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    others
        (B, M) scores of further negatives O; None for no further ones.
    others_mask
        (B, M) bool, True for the entries of ``others`` that count; None counts all.
    temperature
        τ > 0, divides the scores. Usual for normalised embeddings: 0.01 to 0.05.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; 0 for a query without positives. The denominator includes all candidates, the other
        positives too.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018; with in-batch negatives
    Karpukhin et al., Dense Passage Retrieval for Open-Domain Question Answering, EMNLP 2020, equation 2.

    Notes
    -----
    Use it with labels and hard negatives, alone or with a distillation loss.

    In a configuration, ``in_batch`` sets O to the documents of the batch's other queries that are not candidates of the
    query, and ``gather`` adds those of all processes: the loss and, after DDP has averaged, the gradient are then those
    of one process with the whole batch. O leaves out documents that are relevant to the query by the training qrels,
    unless ``mask_positives=false``.

    Examples
    --------
    >>> import torch
    >>> mask, student = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[3.0, 1.0]]).log()
    >>> round(info_nce(student, None, torch.tensor([[1, 0]]), mask).item(), 4)    # -ln 3/4
    0.2877
    """
    log_q = log_softmax(student, mask, temperature)
    is_positive, _ = split(labels, mask)
    values = -average(log_q, is_positive)
    if others is None:
        return values
    others_mask = _mask_of(others, others_mask, len(student))
    # ln Σ over D ∪ O minus ln Σ over D is softplus(ln Σ over O - ln Σ over D).
    own = masked(student, mask, temperature, FLOOR).logsumexp(-1)
    further = masked(others, others_mask, temperature, FLOOR).logsumexp(-1)
    return sound(others_mask, others=others) * (values - logsigmoid(own - further) * is_positive.any(-1))


def _mask_of(others: Tensor, mask: Tensor | None, queries: int) -> Tensor:
    """Return the mask of ``others``, all True if None; raise ``ValueError`` for a wrong shape or type."""
    if not isinstance(others, Tensor) or others.dim() != 2 or len(others) != queries:
        got = tuple(others.shape) if isinstance(others, Tensor) else type(others).__name__
        raise ValueError(f"others must be a tensor (B, M) with B = {queries} queries, got {got}")
    if mask is None:
        return torch.ones_like(others, dtype=torch.bool)
    if mask.dtype != torch.bool or mask.shape != others.shape:
        got = f"{tuple(mask.shape)} of {mask.dtype}"
        raise ValueError(
            f"others_mask must be of type bool and have the shape of others, {tuple(others.shape)}, got {got}"
        )
    return mask


@register("loss", "info_nce")
class InfoNCE(Loss):
    """``info_nce`` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in ``limbeck.losses.base.Loss``.
    temperature
        As in ``info_nce``.
    in_batch
        Add the documents of the batch's other queries as negatives.
    gather
        Add those of all processes too; needs ``in_batch``.
    mask_positives
        Leave out in-batch negatives that are relevant to the query by its qrels. Has no effect without ``in_batch``.
    """

    def __init__(
        self,
        *,
        weight: Finite = 1.0,
        temperature: Positive = 1.0,
        in_batch: bool = False,
        gather: bool = False,
        mask_positives: bool = True,
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.temperature = temperature
        self.in_batch = in_batch
        self.gather = gather
        self.mask_positives = mask_positives
        self.needs = ("embeddings",) if in_batch else ()

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        super().check()
        if self.gather and not self.in_batch:
            raise ValueError("gather needs in_batch=true: without it there is nothing to gather")

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        others, others_mask = None, None
        if self.in_batch:
            others, others_mask = other_documents(output, batch, gather=self.gather, mask_positives=self.mask_positives)
        return info_nce(
            output.scores,
            None,
            batch.labels,
            batch.mask,
            others=others,
            others_mask=others_mask,
            temperature=self.temperature,
        )
