"""CKL, the contrastively weighted KL divergence."""

from typing import Annotated, Literal

import torch
from torch import Tensor

from limbeck.losses.lists import average, complement, log_softmax, split
from limbeck.losses.on_scores import Unless, on_scores
from limbeck.losses.ranges import NonNegative, Positive
from limbeck.losses.ranks import shared_ranks
from limbeck.registry import register

Ranks = Annotated[Tensor, Unless(alpha=0, rank_source="student")]
RankAnchor = Literal["best", "first", "mean"]


def _exponents(gamma: float, alpha: float) -> None:
    if not (gamma > alpha or gamma == alpha == 0):
        raise ValueError(
            f"gamma must be > alpha (or both 0, which is plain KL), got gamma={gamma}, alpha={alpha}: "
            "an exponent gamma - beta could reach 0 or below"
        )


@register("loss", "ckl")
@on_scores(check=_exponents, by_listing={"rank_anchor": "first"})
def ckl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    ranks: Ranks | None = None,
    *,
    gamma: NonNegative = 5.0,
    alpha: NonNegative = 1.0,
    rank_source: Literal["stored", "student"] = "stored",
    rank_anchor: Literal["best", "first", "mean"] = "best",
    positive_exponent: Literal["gamma", "rank"] = "gamma",
    negative_log: Literal["probability", "complement"] = "probability",
    detach_weights: bool = False,
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    r"""Contrastively weighted KL divergence, per query.

    ```math
    \mathrm{CKL} = \sum_{j \in D^+} (1-q_j)^γ p_j \ln\frac{p_j}{q_j}
                 + \sum_{i \in D^-} q_i^{γ-β_i} p_i \ln\frac{p_i}{q_i}, \quad
    β_i = α \left(\frac{1}{π(d_i)} - \frac{1}{π(d^+)}\right)
    ```

    with q and p the student's and the teacher's softmax over the candidates. Positives to which the student already
    gives a high probability, and negatives to which it gives a low one, have a small weight. Terms with q > p are
    negative, so the sum may be too.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    ranks
        (B, L) 1-based ranks π of the candidates in the first stage or by the initial student, not by the teacher. Not
        read if ``rank_source="student"`` or ``alpha=0``.
    gamma, alpha
        γ and α with γ > α ≥ 0, so that every exponent γ-β is positive; γ = α = 0 is plain KL.
        The authors' code has γ = 5, and α = 1 for SPLADE, α = 1.5 for ColBERT.
    rank_source
        ``stored`` takes π from ``ranks``. ``student`` ranks the list by the current student scores, without gradient;
        tied candidates share their mean rank.
    rank_anchor
        How 1/π(d⁺) is chosen if there are several positives: from the ``best`` ranked, from the ``first`` listed, or
        as the ``mean`` of 1/π. The authors' code takes the first listed; the paper does not say.
    positive_exponent
        Exponent k of a positive's weight (1-q)^k. ``gamma``: k = γ, as in the formula. ``rank``: k = γ-β, as for
        negatives, so k = γ for d⁺ and k ≥ γ for lower-ranked positives; the authors' code does this.
    negative_log
        Logarithm of a negative's term. ``probability``: ln(p/q). ``complement``: ln((1-p)/(1-q)), a variant in the
        authors' code that can only lower a negative's score.
    detach_weights
        Treat the weights as constants in the gradient; the authors' code does not.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0; 1 in the authors' code.
    reduction
        Over the candidates of a query: ``sum``, or ``mean`` as in the authors' code.

    Returns
    -------
    Tensor
        (B,) in nats. Without positives, β_i = α/π(d_i). 0 for a single candidate.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Yang, Qiao, He, Yang, Weighted KL-Divergence for Document Ranking Model Refinement, SIGIR 2024.

    Notes
    -----
    Use it to refine a trained student (trained with MarginMSE, say) with a teacher that is not always right.

    It is ``weighted_kl`` with the weights above; α = 0 is ``focal_kl``, γ = α = 0 is ``kl``. The authors use it
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
    log_q = log_softmax(student, mask, student_temperature)
    log_p = log_softmax(teacher, mask, teacher_temperature)
    is_positive, _ = split(labels, mask)
    pi = shared_ranks(student, mask) if rank_source == "student" else ranks
    beta = 0.0 if alpha == 0 or pi is None else alpha * above_positive(pi, is_positive, mask, rank_anchor)
    p, q, k = log_p.exp(), log_q.exp(), gamma - beta
    weight = torch.where(is_positive, complement(q) ** (k if positive_exponent == "rank" else gamma), (k * log_q).exp())
    weight = weight.detach() if detach_weights else weight
    ratio = log_p - log_q
    if negative_log == "complement":
        ratio = torch.where(is_positive, ratio, complement(p).log() - complement(q).log())
    terms = weight * p * ratio
    return terms / mask.sum(-1, keepdim=True).clamp(min=1) if reduction == "mean" else terms


def above_positive(ranks: Tensor, is_positive: Tensor, mask: Tensor, anchor: RankAnchor) -> Tensor:
    """Return (B, L) 1/π(d_i) - 1/π(d⁺): positive for candidates ranked above d⁺, negative for those below.

    For a query without positives, 1/π(d⁺) is 0.

    Parameters
    ----------
    ranks, is_positive, mask
        (B, L).
    anchor
        How 1/π(d⁺) is chosen: from the best ranked positive, the first listed, or as the mean of 1/π over all.
    """
    reciprocal = 1 / torch.where(mask, ranks, 1.0)
    if anchor == "mean":
        return reciprocal - average(reciprocal, is_positive).unsqueeze(-1)
    candidates = is_positive if anchor == "best" else is_positive & (is_positive.cumsum(-1) == 1)
    return reciprocal - torch.where(candidates, reciprocal, 0.0).amax(-1, keepdim=True)
