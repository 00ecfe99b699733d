r"""The general form: a KL divergence whose terms are weighted by the student's own probabilities.

KL, CKL and the focal variant are this sum with other weight functions. It is computed, value and gradient together, by
one autograd function in closed form: plain autograd would take about three times as long.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.losses.base import FLOOR, at_least_float32, masked

Weight = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(ln q, q) → (ln w, ∂ ln w / ∂ ln q), each (B, L) or broadcastable to it; entries under padding do not matter."""

_LOG2_E = 1.4426950408889634


def unweighted(log_q: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Return w = 1: plain KL."""
    del q
    zero = log_q.new_zeros(())
    return zero, zero


def power(exponent: Tensor | float) -> Weight:
    """Return w = q^k, small where the student gives little; k a number or (B, L)."""

    def weight(log_q: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        del q
        k = exponent if isinstance(exponent, Tensor) else log_q.new_full((), exponent)
        return k * log_q, k

    return weight


def complement_power(exponent: float) -> Weight:
    """Return w = (1-q)^k, small where the student gives much."""

    def weight(log_q: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        # Below the spacing of numbers next to 1, 1-q can only be 0: the clamp keeps its logarithm finite there.
        rest = (1 - q).clamp_(min=torch.finfo(log_q.dtype).eps / 4)
        slope = (q / rest).mul_(-exponent)
        return rest.log_().mul_(exponent), slope

    return weight


def by_autograd(log_weight: Callable[[Tensor], Tensor]) -> Weight:
    """Make a weight of any differentiable, elementwise ln w(ln q), for experiments: autograd finds the slope."""

    def weight(log_q: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        del q
        with torch.enable_grad():
            at = log_q.detach().requires_grad_()
            value = log_weight(at)
            (slope,) = torch.autograd.grad(value.sum(), at)
        return value.detach(), slope

    return weight


def weighted_kl(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    positive_weight: Weight = unweighted,
    negative_weight: Weight = unweighted,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
    detach_weights: bool = False,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    r"""KL divergence with a weight on every term, per query.

    .. math:: \sum_{j \in D^+} w^+(q_j)\, p_j \ln\frac{p_j}{q_j} + \sum_{i \in D^-} w^-(q_i)\, p_i \ln\frac{p_i}{q_i},
              \quad q = \mathrm{softmax}(s/τ_s),\; p = \mathrm{softmax}(t/τ_t)

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        (B, L) grades; > 0 is a positive.
    mask
        (B, L) bool, False for padding.
    positive_weight, negative_weight
        w⁺ and w⁻: ``unweighted``, ``power(k)``, ``complement_power(k)``, ``by_autograd(f)`` or your own ``Weight``.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0.
    detach_weights
        Treat the weights as constants in the gradient.
    reduction
        Over the candidates of a query: ``sum``, or ``mean`` over those that are no padding.

    Returns
    -------
    Tensor
        (B,) in nats. Terms with q > p are negative, so the sum may be too. Its gradient with respect to s_i is
        (a_i - q_i Σ_k a_k) / τ_s with a_k = w_k p_k (ln(p_k/q_k) · ∂ ln w_k / ∂ ln q_k - 1).

    References
    ----------
    The sum of Yang et al., SIGIR 2024, with the weights left open.

    Notes
    -----
    For experiments with weights of your own; in Python only.

    Without weights it is :func:`kl`, with (1-q)^γ and q^(γ-β) :func:`ckl`, with β = 0 :func:`focal_kl`.

    Examples
    --------
    >>> import torch
    >>> mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2)
    >>> teacher = torch.tensor([[3.0, 1.0]]).log()                  # p = (3/4, 1/4), q = (1/2, 1/2)
    >>> value = weighted_kl(zero, teacher, torch.tensor([[1, 0]]), mask, negative_weight=power(2.0))
    >>> round(value.item(), 4)                                      # 3/4 ln 3/2 + (1/2)² 1/4 ln 1/2
    0.2608
    """
    student = at_least_float32(student)
    valid = number(mask, student.dtype)
    return weighted_sum(
        student,
        teacher,
        positives(labels, valid),
        valid,
        mask,
        weights=(positive_weight, negative_weight),
        temperatures=(student_temperature, teacher_temperature),
        detach_weights=detach_weights,
        reduction=reduction,
    )


def weighted_sum(
    student: Tensor,
    teacher: Tensor,
    side: Tensor,
    valid: Tensor,
    mask: Tensor,
    *,
    weights: tuple[Weight, Weight],
    temperatures: tuple[float, float],
    detach_weights: bool,
    reduction: str,
) -> Tensor:
    """Return :func:`weighted_kl` for those who have its masks as numbers; the student in float32 or better."""
    values = _WeightedKL.apply(student, teacher.detach(), side, valid, mask, weights, temperatures, detach_weights)
    assert isinstance(values, Tensor)
    return values / mask.sum(-1).clamp(min=1) if reduction == "mean" else values


def positives(labels: Tensor, valid: Tensor) -> Tensor:
    """Return (B, L) 1 for positives (grade > 0), 0 for negatives and padding.

    By arithmetic, as comparisons and conversions of bool tensors take several times as long.
    """
    return labels.sign().clamp_(min=0).to(valid.dtype).mul_(valid)


class _WeightedKL(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        side: Tensor,
        valid: Tensor,
        mask: Tensor,
        weights: tuple[Weight, Weight],
        temperatures: tuple[float, float],
        detach: bool,
    ) -> Tensor:
        # Much is done in place: at this size the time goes into moving memory.
        log_q = torch.log_softmax(masked(student, mask, temperatures[0], FLOOR), dim=-1)
        log_p = torch.log_softmax(masked(teacher.to(student.dtype), mask, temperatures[1], FLOOR), dim=-1)
        q = (log_q * _LOG2_E).exp2_()  # so e^x takes a third of the time, and no more where it underflows
        logarithm, slope = _combine(weights, log_q, q, side)
        scaled = log_p * _LOG2_E if logarithm is None else logarithm.add_(log_p).mul_(_LOG2_E)
        mass = scaled.exp2_().mul_(valid)
        terms = log_p.sub_(log_q).mul_(mass)
        values = terms.sum(-1)
        if ctx.needs_input_grad[0]:
            a = mass.neg_() if slope is None or detach else mass.neg_().addcmul_(slope, terms)
            gradient = a.addcmul_(q, a.sum(-1, keepdim=True), value=-1)
            ctx.save_for_backward(gradient if temperatures[0] == 1.0 else gradient.div_(temperatures[0]))
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():
            raise RuntimeError("the weighted KL losses have no second derivative: create_graph=True is not possible")
        (gradient,) = ctx.saved_tensors
        return gradient * grad.unsqueeze(-1), None, None, None, None, None, None, None


def _combine(
    weights: tuple[Weight, Weight], log_q: Tensor, q: Tensor, side: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """Return (B, L) ln w and its slope, of positives and negatives each their own; None without weights."""
    if weights == (unweighted, unweighted):
        return None, None
    (positive, positive_slope), (negative, negative_slope) = (weight(log_q, q) for weight in weights)
    # lerp with 0 and 1 picks exactly, in a third of the time of where.
    return torch.lerp(negative, positive, side), torch.lerp(negative_slope, positive_slope, side)


def number(chosen: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a bool mask as 0 and 1 of a floating type (through bytes, which converts four times faster)."""
    return chosen.view(torch.uint8).to(dtype)
