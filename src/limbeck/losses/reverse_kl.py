"""Reverse KL: the mode-seeking divergence KL(student || teacher)."""

from torch import Tensor

from limbeck.losses.lists import divergence, log_softmax
from limbeck.losses.on_scores import Unread, on_scores
from limbeck.losses.ranges import Positive
from limbeck.registry import register


@register("loss", "reverse_kl")
@on_scores
def reverse_kl(
    student: Tensor,
    teacher: Tensor,
    labels: Unread,
    mask: Tensor,
    *,
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
) -> Tensor:
    r"""Reverse KL divergence, per query.

    ```math
    \sum_i q_i \ln (q_i / p_i), \quad q = \mathrm{softmax}(s/τ_s),\; p = \mathrm{softmax}(t/τ_t)
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        Not read; may be None.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats, ≥ 0; 0 for equal distributions, so for a single candidate.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    Gu et al., MiniLLM: Knowledge Distillation of Large Language Models, ICLR 2024.

    Notes
    -----
    Use it if the student is too small to learn the teacher's whole distribution and should learn its top.

    It is ``kl`` with student and teacher exchanged; ``js`` lies between the two.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(reverse_kl(zero, teacher, zero, mask).item(), 4)              # 1/2 ln 2/3 + 1/2 ln 2
    0.1438
    """
    log_q = log_softmax(student, mask, student_temperature)
    log_p = log_softmax(teacher, mask, teacher_temperature)
    return divergence(log_q, log_p)
