"""Kullback-Leibler divergence between teacher and student distributions over the candidates."""

from torch import Tensor

from limbeck.losses.lists import divergence, log_softmax
from limbeck.losses.on_scores import Unread, on_scores
from limbeck.losses.ranges import Positive
from limbeck.registry import register


@register("loss", "kl")
@on_scores
def kl(
    student: Tensor,
    teacher: Tensor,
    labels: Unread,
    mask: Tensor,
    *,
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
) -> Tensor:
    r"""KL divergence of the student from the teacher, per query.

    ```math
    \mathrm{KL} = \sum_{i} p_i \ln (p_i / q_i), \quad
    q = \mathrm{softmax}(s/τ_s),\; p = \mathrm{softmax}(t/τ_t)
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
        τ_s and τ_t, > 0. No factor τ² is applied.

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
    Hinton et al., Distilling the Knowledge in a Neural Network, 2015; listwise as in ListNet (Cao et al., ICML 2007).

    Notes
    -----
    Use it for listwise distillation from a teacher that you trust; it is the usual default.

    It has the gradient of ``list_net`` with the teacher as target, and is ``weighted_kl`` without weights.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(kl(zero, teacher, zero, mask).item(), 4)                      # 3/4 ln 3/2 + 1/4 ln 1/2
    0.1308
    """
    log_q = log_softmax(student, mask, student_temperature)
    log_p = log_softmax(teacher, mask, teacher_temperature)
    return divergence(log_p, log_q)
