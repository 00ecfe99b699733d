r"""Weighted KL: a KL divergence whose terms are weighted by functions of the student's probabilities."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from limbeck.losses.lists import complement, log_softmax, split
from limbeck.losses.on_scores import on_scores
from limbeck.losses.ranges import Positive

Weight = Callable[[Tensor], Tensor]
"""Differentiable function from (B, L) probabilities q to (B, L) weights w(q)."""


def unweighted(q: Tensor) -> Tensor:
    """Return w(q) = 1: plain KL."""
    return torch.ones_like(q)


def power(exponent: Tensor | float) -> Weight:
    """Return w(q) = q^k, for a number k or a (B, L) tensor.

    q is clamped to the smallest normal number, so that the gradient is finite for k < 1.
    """
    return lambda q: q.clamp(min=torch.finfo(q.dtype).tiny) ** exponent


def complement_power(exponent: Tensor | float) -> Weight:
    """Return w(q) = (1-q)^k, for a number k or a (B, L) tensor."""
    return lambda q: complement(q) ** exponent


@on_scores
def weighted_kl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    positive_weight: Weight = unweighted,
    negative_weight: Weight = unweighted,
    student_temperature: Positive = 1.0,
    teacher_temperature: Positive = 1.0,
    detach_weights: bool = False,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    r"""KL divergence with a weight on every term, per query.

    ```math
    \sum_{j \in D^+} w^+(q_j)\, p_j \ln\frac{p_j}{q_j} + \sum_{i \in D^-} w^-(q_i)\, p_i \ln\frac{p_i}{q_i},
    \quad q = \mathrm{softmax}(s/τ_s),\; p = \mathrm{softmax}(t/τ_t)
    ```

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding; None if nothing is padded.
    positive_weight, negative_weight
        w⁺ and w⁻: ``unweighted``, ``power(k)``, ``complement_power(k)``, or your own function from (B, L)
        probabilities to (B, L) weights.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.
    detach_weights
        Treat the weights as constants in the gradient.
    reduction
        Over the candidates of a query: ``sum`` or ``mean``, without padding.

    Returns
    -------
    Tensor
        (B,) in nats. Terms with q > p are negative, so the sum may be too.

    Raises
    ------
    ValueError
        An input or option is not as described above (see ``limbeck.losses.on_scores``), or an input that is read holds
        NaN or infinity (see ``limbeck.losses.finite``: in training and on a GPU the result is NaN instead).

    References
    ----------
    The sum of Yang et al., SIGIR 2024, for any weights.

    Notes
    -----
    Use it in Python to experiment with your own weights; it is not an option of a configuration.

    Without weights it is ``kl``, with (1-q)^γ and q^(γ-β) ``ckl``, with (1-q)^γ and q^γ ``focal_kl``.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                  # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> value = weighted_kl(zero, teacher, torch.tensor([[1, 0]]), mask, negative_weight=lambda q: q**2)
    >>> round(value.item(), 4)                                      # 3/4 ln 3/2 + (1/2)² 1/4 ln 1/2
    0.2608
    """
    log_q = log_softmax(student, mask, student_temperature)
    log_p = log_softmax(teacher, mask, teacher_temperature)
    q, (is_positive, _) = log_q.exp(), split(labels, mask)
    weight = torch.where(is_positive, positive_weight(q), negative_weight(q))
    weight = weight.detach() if detach_weights else weight
    terms = torch.where(mask, weight * log_p.exp() * (log_p - log_q), 0.0)
    return terms / mask.sum(-1, keepdim=True).clamp(min=1) if reduction == "mean" else terms
