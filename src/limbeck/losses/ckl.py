"""CKL, the contrastively weighted KL divergence."""

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from limbeck.losses.base import Loss, log_softmax, needed, positive, teacher_distribution
from limbeck.registry import register
from limbeck.types import Batch, StudentOutput

RankAnchor = Literal["best", "first", "mean"]


def anchor_rank(ranks: Tensor, labels: Tensor, mask: Tensor, anchor: RankAnchor) -> Tensor:
    """Return (B, 1) 1/π(d⁺): of the best-ranked positive, the first listed one, or the mean over positives.

    A query without positives gets 0, as if its positive stood at the end of an endless ranking.
    """
    reciprocal = 1.0 / ranks
    is_positive = mask & (labels > 0)
    if anchor == "best":
        return reciprocal.masked_fill(~is_positive, 0.0).amax(-1, keepdim=True)
    if anchor == "first":
        first = is_positive & (is_positive.cumsum(-1) == 1)
        return reciprocal.masked_fill(~first, 0.0).sum(-1, keepdim=True)
    count = is_positive.sum(-1, keepdim=True).clamp(min=1)
    return reciprocal.masked_fill(~is_positive, 0.0).sum(-1, keepdim=True) / count


def ckl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    ranks: Tensor,
    *,
    gamma: float = 5.0,
    alpha: float = 1.0,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    rank_anchor: RankAnchor = "best",
    detach_weights: bool = False,
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
        (B, L) 1-based ranks π on the student's side (first stage or starting student), not the teacher's.
    gamma, alpha
        γ and α with γ > α ≥ 0, so that every exponent γ-β is positive; γ = α = 0 is plain KL.
        The paper's code uses γ = 5, α = 1 for SPLADE and 1.5 for ColBERT.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.
    rank_anchor
        Which positive gives π(d⁺) where there are several: ``best`` ranked, ``first`` listed, or the ``mean`` of 1/π.
    detach_weights
        Treat the weights as constants in the gradient; the authors' code does not.

    Returns
    -------
    Tensor
        (B,) sums over the candidates. The authors' code averages over them instead, which only rescales.
        Without a positive, β_i = α/π(d_i).

    References
    ----------
    Yang, Qiao, He, Yang, Weighted KL-Divergence for Document Ranking Model Refinement, SIGIR 2024.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()              # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> labels, ranks = torch.tensor([[1, 0]]), torch.ones(1, 2, dtype=torch.long)   # equal ranks: β = 0
    >>> round(ckl(zero, teacher, labels, mask, ranks, gamma=2.0, alpha=1.0).item(), 4)   # KL's terms times (1/2)²
    0.0327
    """
    log_q = log_softmax(student, mask, student_temperature)
    p, log_p = teacher_distribution(teacher, mask, teacher_temperature)
    weights = _weights(log_q.detach() if detach_weights else log_q, labels, mask, ranks, gamma, alpha, rank_anchor)
    return (weights * p * (log_p - log_q)).sum(-1)


def _weights(
    log_q: Tensor, labels: Tensor, mask: Tensor, ranks: Tensor, gamma: float, alpha: float, anchor: RankAnchor
) -> Tensor:
    """Return (B, L): (1-q)^γ for positives, q^(γ-β) for negatives."""
    ranks = ranks.to(log_q.dtype).masked_fill(~mask, 1.0)
    beta = alpha * (1.0 / ranks - anchor_rank(ranks, labels, mask, anchor))
    is_positive = mask & (labels > 0)
    # 1-q = -expm1(ln q) keeps its digits where q → 1; the clamp keeps ln(1-q) and its gradient finite at q = 1.
    one_minus_q = (-torch.expm1(log_q)).clamp(min=torch.finfo(log_q.dtype).tiny)
    log_weight = torch.where(is_positive, gamma * one_minus_q.log(), (gamma - beta) * log_q)
    return log_weight.exp()


@register("loss", "ckl")
class CKL(Loss):
    """:func:`ckl` as a term of the objective.

    Parameters
    ----------
    weight
        Factor of the term.
    gamma, alpha, student_temperature, teacher_temperature, rank_anchor, detach_weights
        As in :func:`ckl`.
    """

    needs: ClassVar[tuple[str, ...]] = ("teacher_scores", "ranks")

    def __init__(
        self,
        *,
        weight: float = 1.0,
        gamma: float = 5.0,
        alpha: float = 1.0,
        student_temperature: float = 1.0,
        teacher_temperature: float = 1.0,
        rank_anchor: Literal["best", "first", "mean"] = "best",
        detach_weights: bool = False,
    ) -> None:
        super().__init__(weight=weight)
        if alpha < 0:
            raise ValueError(f"alpha must be >= 0, got {alpha}")
        if not (gamma > alpha or gamma == alpha == 0):
            raise ValueError(
                f"gamma must be > alpha (or both 0, which is plain KL), got gamma={gamma}, alpha={alpha}: "
                "an exponent gamma - beta could reach 0 or below"
            )
        positive("student_temperature", student_temperature)
        positive("teacher_temperature", teacher_temperature)
        if rank_anchor not in get_args(RankAnchor):
            raise ValueError(f"rank_anchor must be one of {', '.join(get_args(RankAnchor))}, got {rank_anchor!r}")
        self.gamma = gamma
        self.alpha = alpha
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.rank_anchor: RankAnchor = rank_anchor
        self.detach_weights = detach_weights

    def per_query(self, output: StudentOutput, batch: Batch) -> Tensor:
        """Return the (B,) values of the queries."""
        return ckl(
            output.scores,
            needed(batch, "teacher_scores"),
            batch.labels,
            batch.mask,
            needed(batch, "ranks"),
            gamma=self.gamma,
            alpha=self.alpha,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
            rank_anchor=self.rank_anchor,
            detach_weights=self.detach_weights,
        )
