"""Projected KL: KL to the distribution nearest to the teacher's in which the positives have their share."""

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

    In closed form, with P = Σ p_j over the positives: where P < m, each positive has r = p·m/P and each negative
    r = p·(1-m)/(1-P); elsewhere r = p, plain KL. So the positives' teacher scores rise together until the positives
    have the share m; the teacher's order among the positives, and among the negatives, stays.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding; None where there is none.
    mass
        m, 0 < m < 1.
    against
        What has the rest: `all` negatives together, or the `best` negative alone, against the best positive. The
        latter asks for p⁺/(p⁺ + p⁻) ≥ m, in scores t⁺ - t⁻ ≥ τ_t ln(m/(1-m)): 1/2 lets no negative stand above the
        best positive.
    evidence
        Whether m follows the teacher's own order, query by query. `none`: it does not. `order`: m is multiplied by
        the share of the pairs of a positive and a negative that the teacher has the wrong way round (ties count half),
        so a teacher that puts all positives first is not corrected at all, one at chance by half of m, and one that
        puts them last by m. For lists of one positive this is (rank - 1)/(L - 1), its rank against chance.
        `student`: m is at most what the student gives the positives by now (detached), so the teacher never pulls them
        below where other queries have brought them, and is corrected nowhere else.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; plain KL for a query without positives or without negatives, 0 for a single candidate.

    Raises
    ------
    ValueError
        An input or option is not as described (`limbeck.losses.on_scores`). A number that is read is not finite;
        `limbeck.losses.finite` says when it is NaN in the result instead.

    References
    ----------
    Ours, of no paper. Near to it is knowledge adjustment (Wen, Lai, Qian, Preparing Lessons: Improve Knowledge
    Distillation with Better Supervision, 2019), which moves probability to the labelled class where the teacher is
    wrong: by swapping it with the best class (probability shift), or by mixing p with a smoothed label. The projection
    moves as little as m asks for, in KL. Label smoothing is its limit for a teacher that knows nothing: m for the
    positives, the rest spread evenly.

    Notes
    -----
    When some of the teacher's lists are wrong and the labels are complete. A relevant document without a label is
    pushed down with the negatives, the more the larger m is.

    `kl` for m → 0. Unlike `ckl` it changes what the student is to reach, not how much each term counts.

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
    lift = (target - odds(t)).clamp(min=0)  # 0 where the positives have their share
    lift = torch.where(is_positive.any(-1) & is_negative.any(-1), lift, 0.0).unsqueeze(-1)
    return divergence(log_softmax(t + lift * is_positive, mask), log_q)


def _odds(scores: Tensor, is_positive: Tensor, is_negative: Tensor, *, best: bool) -> Tensor:
    """Return ln(P / (1 - P)), with P the share of the positives, or of the best one beside the best negative; (B,)."""
    strength = torch.amax if best else torch.logsumexp
    positive, negative = (torch.where(each, scores, FLOOR) for each in (is_positive, is_negative))
    return strength(positive, -1) - strength(negative, -1)


def _wrong(scores: Tensor, is_positive: Tensor, is_negative: Tensor) -> Tensor:
    """Return for each query the share of pairs (positive, negative) that stand the wrong way round, ties half; (B,)."""
    above = scores.unsqueeze(-1) - scores.unsqueeze(-2)  # (B, positive, negative)
    pairs = is_positive.unsqueeze(-1) & is_negative.unsqueeze(-2)
    return average((1 - above.sign()) / 2, pairs, (-2, -1))
