"""Projected KL: KL to the distribution closest to the teacher's that gives the positives enough probability."""

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from limbeck.losses.lists import FLOOR, average, divergence, log_softmax, masked, split
from limbeck.losses.on_scores import on_scores
from limbeck.losses.ranges import Positive, Share
from limbeck.registry import register


@register("loss", "projected_kl")
@on_scores
def projected_kl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    mass: Share = 0.5,
    against: Literal["all", "best"] = "all",
    evidence: Literal["none", "order", "student"] = "none",
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
) -> Tensor:
    r"""KL divergence from a teacher that is corrected where it contradicts the labels, per query.

    ```math
    \sum_{i \in D} r_i \ln\frac{r_i}{q_i}, \qquad
    r = \underset{r'}{\mathrm{arg\,min}} \; \mathrm{KL}(r' \| p) \text{ such that } \sum_{j \in D^+} r'_j \ge m
    ```

    In closed form, with P = Σ p_j over the positives: if P < m, positives have r = p·m/P and negatives
    r = p·(1-m)/(1-P); else r = p, plain KL. The correction adds one constant to the teacher scores of all positives, so
    it changes the teacher's order neither among the positives nor among the negatives.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    mass
        m, 0 < m < 1: the least probability of the positives.
    against
        `all`: P is the probability of all positives among all candidates. `best`: P is the probability of the best
        positive against the best negative, p⁺/(p⁺ + p⁻). Then P ≥ m means t⁺ - t⁻ ≥ τ_t ln(m/(1-m)); with m = 1/2 no
        negative has a higher corrected score than the best positive.
    evidence
        How m depends on the query. `none`: it does not. `order`: m is multiplied by the share of (positive, negative)
        pairs that the teacher orders wrongly (ties count half). A teacher that ranks all positives first is then not
        corrected; one at chance with m/2; one that ranks them last with m. With one positive the share is
        (rank - 1)/(L - 1). `student`: m is capped at the probability that the student now gives the positives
        (detached), so a correction never raises the teacher's probability of them above the student's.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; plain KL for a query without positives or without negatives, 0 for a single candidate.

    Raises
    ------
    ValueError
        An input or option is not as described above (see `limbeck.losses.on_scores`), or an input that is read holds
        NaN or infinity (see `limbeck.losses.finite`: in training and on a GPU the result is NaN instead).

    References
    ----------
    Ours; not from a paper. It is close to knowledge adjustment (Wen, Lai, Qian, Preparing Lessons: Improve Knowledge
    Distillation with Better Supervision, 2019), which moves probability to the labelled class if the teacher is wrong:
    it swaps the labelled with the best class (probability shift), or mixes p with a smoothed label. The projection is
    the smallest change in KL that reaches m. For a uniform teacher it is label smoothing: m for the positives, the
    rest spread evenly over the negatives.

    Notes
    -----
    Use it if the teacher ranks some lists wrongly and the labels are complete. It lowers relevant documents without a
    label like any negative, more so with larger m. If the negatives are the student's own first ranks, and the labels
    hold documents that it ranks far below, keep one positive a query (`pool.positives=1`); with all of them a warm
    ColBERT lost 19 % on NFCorpus (docs/results/regret.md).

    It tends to `kl` for m → 0. Unlike `ckl` it changes the target distribution, not the weights of the terms.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[1.0, 3.0]]).log()                          # p = (1/4, 3/4), q = (1/2, 1/2)
    >>> round(projected_kl(zero, teacher, torch.tensor([[1, 0]]), mask, mass=0.6).item(), 4)   # r = (.6, .4)
    0.0201
    """
    log_q = log_softmax(student, mask, student_temperature)
    is_positive, is_negative = split(labels, mask)
    t = masked(teacher, mask, teacher_temperature)
    odds = partial(_odds, is_positive=is_positive, is_negative=is_negative, best=against == "best")
    target = torch.full_like(t[..., 0], math.log(mass / (1 - mass)))
    if evidence == "order":
        target = torch.logit(mass * _wrong(t, is_positive, is_negative))
    elif evidence == "student":
        target = torch.minimum(target, odds(log_q.detach()))
    lift = (target - odds(t)).clamp(min=0).unsqueeze(-1)  # 0 if the positives have probability m already
    return divergence(log_softmax(t + lift * is_positive, mask), log_q)


def _odds(scores: Tensor, is_positive: Tensor, is_negative: Tensor, *, best: bool) -> Tensor:
    """Return (B,) ln(P / (1 - P)), P the probability of the positives, or of the best against the best negative."""
    strength = torch.amax if best else torch.logsumexp
    positive, negative = (torch.where(each, scores, FLOOR) for each in (is_positive, is_negative))
    return strength(positive, -1) - strength(negative, -1)


def _wrong(scores: Tensor, is_positive: Tensor, is_negative: Tensor) -> Tensor:
    """Return (B,) the share of (positive, negative) pairs that the scores order wrongly; ties count half."""
    above = scores.unsqueeze(-1) - scores.unsqueeze(-2)  # (B, positive, negative)
    pairs = is_positive.unsqueeze(-1) & is_negative.unsqueeze(-2)
    return average((1 - above.sign()) / 2, pairs, (-2, -1))
