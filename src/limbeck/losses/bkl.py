"""BKL: KL plus a balancing term in the student's own probabilities."""

import math

import torch
from torch import Tensor

from limbeck.losses.lists import divergence, log_softmax, split
from limbeck.losses.on_scores import on_scores
from limbeck.losses.ranges import NonNegative, Positive
from limbeck.registry import register


@register("loss", "bkl")
@on_scores
def bkl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    beta: NonNegative = 1.92,
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
) -> Tensor:
    r"""Balanced KL, per query.

    ```math
    \mathrm{KL} + β \Bigl( \sum_{j \in D^+} q_j \ln q_j + \frac{1}{\ln 2} \sum_{i \in D^-} q_i \Bigr)
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    beta
        β ≥ 0. In the first author's research code, KL is a mean over the B · n documents of a batch of B lists of n,
        and the added term is b times a sum over the batch. Here KL is a sum over the list, so β = b · B · n: 1.92 for
        b = 0.01 and 32 lists of 6 (SPLADE), 0.96 for b = 0.02 and 8 lists of 6 (ColBERT).
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats; may be negative. A list of one candidate has 0 if it is a positive, β/ln 2 if a negative.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Yang et al., Balanced Knowledge Distillation with Contrastive Learning for Document Re-ranking, ICTIR 2023. The
    formula is that of the first author's research code; it is probably, but not certainly, the paper's.

    Notes
    -----
    Use it as a baseline: it is the predecessor of ``ckl``.

    β = 0 is ``kl``. ``kl_ll`` adds the plain log-likelihood instead.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(bkl(zero, teacher, torch.tensor([[1, 0]]), mask, beta=1.0).item(), 4)   # KL + 1/2 ln 1/2 + 1/2 / ln 2
    0.5056
    """
    log_q = log_softmax(student, mask, student_temperature)
    log_p = log_softmax(teacher, mask, teacher_temperature)
    is_positive, is_negative = split(labels, mask)
    q = log_q.exp()
    balance = torch.where(is_positive, q * log_q, 0.0) + torch.where(is_negative, q / math.log(2), 0.0)
    return divergence(log_p, log_q) + beta * balance
