"""BKL: KL balanced by a term of the student's own probabilities."""

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
        (B, L) bool, False for padding; None where there is none.
    beta
        β ≥ 0. The first author's research code takes KL as a mean over all B · n documents of a batch of B lists of n,
        and the added term as a sum over the batch, with b. Here KL is a sum over the list, so β = b · B · n: 1.92 for
        its b = 0.01 with 32 lists of 6 (SPLADE), 0.96 for its b = 0.02 with 8 lists of 6 (ColBERT).
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats; may be negative. 0 for a single positive, β/ln 2 for a single negative.

    Raises
    ------
    ValueError
        An input or option is not as described (``limbeck.losses.on_scores``). A number that is read is not finite;
        ``limbeck.losses.finite`` says when it is NaN in the result instead.

    References
    ----------
    Yang et al., Balanced Knowledge Distillation with Contrastive Learning for Document Re-ranking, ICTIR 2023. The
    formula is that of the first author's research code; that it is the paper's is likely, not certain.

    Notes
    -----
    As the predecessor to compare ``ckl`` with.

    ``kl`` for β = 0; ``kl_ll`` adds the plain log-likelihood instead.

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
