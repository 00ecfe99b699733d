"""KL plus the log-likelihood of the positives."""

import torch
from torch import Tensor

from limbeck.losses.lists import divergence, log_softmax, split
from limbeck.losses.on_scores import on_scores
from limbeck.losses.ranges import NonNegative, Positive
from limbeck.registry import register


@register("loss", "kl_ll")
@on_scores
def kl_ll(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    beta: NonNegative = 1.92,
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
) -> Tensor:
    r"""KL divergence minus the log-likelihood of the positives, per query.

    ```math
    \mathrm{KL} - β \sum_{j \in D^+} \ln q_j
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
        β ≥ 0. The first author's research code has b = 0.01 and a KL that is a mean over the B · n documents of a batch
        of B lists of n. Here KL is a sum over the list, so β = b · B · n: 1.92 for 32 lists of 6, as in ``bkl``.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; plain KL for a query without positives, 0 for a single candidate.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    A baseline in the research code of Yang et al., SIGIR 2024.

    Notes
    -----
    Use it as the simplest combination of labels and teacher, and as a baseline for ``ckl``.

    For queries with one positive it is ``kl`` + β · ``info_nce`` (``info_nce`` takes the mean over positives).

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(kl_ll(zero, teacher, torch.tensor([[1, 0]]), mask, beta=1.0).item(), 4)   # KL - ln 1/2
    0.824
    """
    log_q = log_softmax(student, mask, student_temperature)
    log_p = log_softmax(teacher, mask, teacher_temperature)
    is_positive, _ = split(labels, mask)
    return divergence(log_p, log_q) - beta * torch.where(is_positive, log_q, 0.0)
