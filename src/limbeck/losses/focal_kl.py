"""Focal KL: KL with less weight on candidates that the student already scores correctly."""

import torch
from torch import Tensor

from limbeck.losses.lists import complement, divergence, log_softmax, split
from limbeck.losses.on_scores import on_scores
from limbeck.losses.ranges import NonNegative, Positive
from limbeck.registry import register


@register("loss", "focal_kl")
@on_scores
def focal_kl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    gamma: NonNegative = 2.0,
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
) -> Tensor:
    r"""KL divergence with the weights of the focal loss, per query.

    ```math
    \sum_{j \in D^+} (1-q_j)^γ p_j \ln\frac{p_j}{q_j} + \sum_{i \in D^-} q_i^γ p_i \ln\frac{p_i}{q_i}
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    gamma
        γ ≥ 0; 0 is plain KL. The paper on the focal loss has γ = 2 (for object detection).
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.

    Returns
    -------
    Tensor
        (B,) in nats; may be negative. 0 for a single candidate.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    The weights: Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, equation 4.

    Notes
    -----
    Use it as an ablation of ``ckl``, or instead of it without first-stage ranks.

    It is ``ckl`` with α = 0, and ``weighted_kl`` with (1-q)^γ and q^γ. γ = 0 is ``kl``.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                          # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> round(focal_kl(zero, teacher, torch.tensor([[1, 0]]), mask).item(), 4)       # KL's terms times (1/2)²
    0.0327
    """
    log_q = log_softmax(student, mask, student_temperature)
    log_p = log_softmax(teacher, mask, teacher_temperature)
    is_positive, _ = split(labels, mask)
    weight = torch.where(is_positive, complement(log_q.exp()) ** gamma, (gamma * log_q).exp())  # q^γ = e^(γ ln q)
    return weight * divergence(log_p, log_q)
