"""Jensen-Shannon divergence: bounded and symmetric."""

import math

import torch
from torch import Tensor

from limbeck.losses.lists import divergence, log_softmax
from limbeck.losses.on_scores import Unread, on_scores
from limbeck.losses.ranges import Positive, Share
from limbeck.registry import register


@register("loss", "js")
@on_scores
def js(
    student: Tensor,
    teacher: Tensor,
    labels: Unread,
    mask: Tensor,
    *,
    beta: Share = 0.5,
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
) -> Tensor:
    r"""Jensen-Shannon divergence, generalised by β, per query.

    ```math
    β\, \mathrm{KL}(p \| m) + (1-β)\, \mathrm{KL}(q \| m), \quad m = β p + (1-β) q
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        Not read; may be None.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    beta
        Weight of the teacher in the mixture, 0 < β < 1; 1/2 is the symmetric divergence.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, from 0 (equal distributions, or a single candidate) to ln 2.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Lin, Divergence Measures Based on the Shannon Entropy, 1991; generalised as in Agarwal et al., On-Policy
    Distillation of Language Models, ICLR 2024.

    Notes
    -----
    Use it if extreme teacher scores make KL unstable: it is bounded.

    Divided by β it tends to ``kl`` for β → 0; divided by 1-β, to ``reverse_kl`` for β → 1.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(js(zero, teacher, zero, mask).item(), 4)    # m = (5/8, 3/8): (3/4 ln 6/5 + 1/4 ln 2/3 + 1/2 ln 16/15) / 2
    0.0338
    """
    log_q = log_softmax(student, mask, student_temperature)
    log_p = log_softmax(teacher, mask, teacher_temperature)
    log_m = torch.where(mask, torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta)), 0.0)
    return beta * divergence(log_p, log_m) + (1 - beta) * divergence(log_q, log_m)
