"""CKL, the contrastively weighted KL divergence."""

from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from limbeck.losses.base import Loss, needed, not_negative, one_of, positive
from limbeck.losses.finite import sound
from limbeck.losses.ranking import shared_ranks
from limbeck.losses.weighted_kl import complement, weighted_sum
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput

RankAnchor = Literal["best", "first", "mean"]
RankSource = Literal["stored", "student"]


def ckl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    ranks: Tensor | None = None,
    *,
    gamma: float = 5.0,
    alpha: float = 1.0,
    rank_source: RankSource = "stored",
    rank_anchor: RankAnchor = "best",
    detach_weights: bool = False,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    r"""Contrastively weighted KL divergence, per query.

    .. math::
        \mathrm{CKL} = \sum_{j \in D^+} (1-q_j)^γ p_j \ln\frac{p_j}{q_j}
                     + \sum_{i \in D^-} q_i^{γ-β_i} p_i \ln\frac{p_i}{q_i}, \quad
        β_i = α \left(\frac{1}{π(d_i)} - \frac{1}{π(d^+)}\right)

    with q and p the student's and the teacher's softmax over the candidates. A positive that the student already ranks
    high and a negative that it already ranks low count little. Terms with q > p are negative, so the sum may be too.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding.
    ranks
        (B, L) 1-based ranks π on the student's side (first stage or starting student), not the teacher's; not read
        with ``rank_source="student"``.
    gamma, alpha
        γ and α with γ > α ≥ 0, so that every exponent γ-β is positive; γ = α = 0 is plain KL.
        The authors' code uses γ = 5, α = 1 for SPLADE and 1.5 for ColBERT.
    rank_source
        ``stored`` takes ``ranks``; ``student`` ranks the list by the current student scores, without gradient;
        candidates that tie share their mean rank.
    rank_anchor
        Which positive gives π(d⁺) where there are several: ``best`` ranked, ``first`` listed, or the ``mean`` of 1/π.
        The authors' code takes the first listed; what the paper does is not known.
    detach_weights
        Treat the weights as constants in the gradient; the authors' code does not.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0; 1 in the authors' code.
    reduction
        Over the candidates of a query: ``sum``, or the ``mean``, as the authors' code has it.

    Returns
    -------
    Tensor
        (B,) in nats. Without a positive, β_i = α/π(d_i); of a single candidate, 0.

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Yang, Qiao, He, Yang, Weighted KL-Divergence for Document Ranking Model Refinement, SIGIR 2024.

    Notes
    -----
    When the student is already trained (with MarginMSE, say) and the teacher is not always right.

    :func:`weighted_kl` with the weights above. α = 0 is :func:`focal_kl`, γ = α = 0 is :func:`kl`. The authors use it
    alone, without a contrastive term and without FLOPS.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()              # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> labels, ranks = torch.tensor([[1, 0]]), torch.ones(1, 2, dtype=torch.long)   # equal ranks: β = 0
    >>> round(ckl(zero, teacher, labels, mask, ranks, gamma=2.0, alpha=1.0).item(), 4)   # KL's terms times (1/2)²
    0.0327
    """
    factor: Tensor | float = 1.0
    if alpha:
        if rank_source == "student":
            ranks = shared_ranks(student, mask)
        assert ranks is not None, "rank_source 'stored' reads ranks"
        factor = sound(mask, ranks=ranks)
        ranks = torch.where(mask, ranks, 1)
    values = weighted_sum(
        student,
        teacher,
        labels,
        mask,
        weights=partial(_weights, ranks=ranks, gamma=gamma, alpha=alpha, anchor=rank_anchor),
        temperatures=(student_temperature, teacher_temperature),
        detach_weights=detach_weights,
        reduction=reduction,
    )
    return factor * values


def _weights(
    lb_q: Tensor, q: Tensor, side: Tensor, *, ranks: Tensor | None, gamma: float, alpha: float, anchor: RankAnchor
) -> tuple[Tensor, Tensor]:
    """Return lb w and its slope of (1-q)^γ for positives and q^(γ-β) for negatives.

    It is ``complement_power`` and ``power`` of the general form in one, in half the time.
    """
    if alpha:
        assert ranks is not None
        reciprocal = ranks.to(q.dtype).clamp(min=1).reciprocal_()
        difference = reciprocal.sub_(anchor_rank(reciprocal * side, side, anchor))
        exponent = torch.rsub(difference.addcmul_(difference, side, value=-1), gamma, alpha=alpha)  # γ for positives
    else:
        exponent = torch.full_like(q, gamma)
    rest = complement(q)
    slope = torch.addcdiv(exponent, side, rest, value=-gamma)  # of a positive, γ - γ/(1-q) = -γ q/(1-q)
    return torch.lerp(lb_q, rest.log2_(), side, out=rest).mul_(exponent), slope


def anchor_rank(reciprocal: Tensor, side: Tensor, anchor: RankAnchor) -> Tensor:
    """Return (B, 1) 1/π(d⁺): of the best-ranked positive, the first listed one, or the mean over positives.

    A query without positives gets 0, as if its positive stood at the end of an endless ranking.

    Parameters
    ----------
    reciprocal
        (B, L) 1/π of the positives, 0 elsewhere.
    side
        (B, L) 1 for positives, 0 elsewhere.
    anchor
        Which positive.
    """
    if anchor == "best":
        return reciprocal.amax(-1, keepdim=True)
    if anchor == "first":
        return (reciprocal * (side.cumsum(-1) == 1)).sum(-1, keepdim=True)
    return reciprocal.sum(-1, keepdim=True) / side.sum(-1, keepdim=True).clamp(min=1)


@register("loss", "ckl")
class CKL(Loss):
    """:func:`ckl` as a term of the objective.

    Parameters
    ----------
    weight, schedules
        As in :class:`~limbeck.losses.base.Loss`.
    gamma, alpha, rank_source, rank_anchor, detach_weights, student_temperature, teacher_temperature, reduction
        As in :func:`ckl`.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        gamma: float = 5.0,
        alpha: float = 1.0,
        rank_source: Literal["stored", "student"] = "stored",
        rank_anchor: Literal["best", "first", "mean"] = "best",
        detach_weights: bool = False,
        student_temperature: float = 1.0,
        teacher_temperature: float = 1.0,
        reduction: Literal["sum", "mean"] = "sum",
        schedules: Any = None,
    ) -> None:
        super().__init__(weight=weight, schedules=schedules)
        self.gamma = gamma
        self.alpha = alpha
        self.rank_source: RankSource = rank_source
        self.rank_anchor: RankAnchor = rank_anchor
        self.detach_weights = detach_weights
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.reduction: Literal["sum", "mean"] = reduction
        self.needs = ("teacher_scores", "ranks") if rank_source == "stored" else ("teacher_scores",)

    def check(self) -> None:
        """Raise ``ValueError`` for options out of range."""
        not_negative("alpha", self.alpha)
        not_negative("gamma", self.gamma)
        if not (self.gamma > self.alpha or self.gamma == self.alpha == 0):
            raise ValueError(
                f"gamma must be > alpha (or both 0, which is plain KL), got gamma={self.gamma}, alpha={self.alpha}: "
                "an exponent gamma - beta could reach 0 or below"
            )
        one_of("rank_source", self.rank_source, get_args(RankSource))
        one_of("rank_anchor", self.rank_anchor, get_args(RankAnchor))
        positive("student_temperature", self.student_temperature)
        positive("teacher_temperature", self.teacher_temperature)
        one_of("reduction", self.reduction, ("sum", "mean"))

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return ckl(
            output.scores,
            needed(batch, "teacher_scores"),
            batch.labels,
            batch.mask,
            batch.ranks,
            gamma=self.gamma,
            alpha=self.alpha,
            rank_source=self.rank_source,
            rank_anchor=self.rank_anchor,
            detach_weights=self.detach_weights,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
            reduction=self.reduction,
        )
