r"""The general form: a KL divergence whose terms are weighted by the student's own probabilities.

KL, CKL and the focal variant are this sum with other weight functions. It is computed, value and gradient together, by
one autograd function in closed form: plain autograd would take about three times as long.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.losses.base import FLOOR, at_least_float32
from limbeck.losses.finite import sound

Weight = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(lb q, q) → (lb w, ∂ lb w / ∂ lb q), each (B, L) or broadcastable to it; entries under padding do not matter.

The logarithms are binary: 2^x takes a third of the time of e^x, and no more where it underflows. lb w is a tensor of
its own, as it is overwritten.
"""

Weights = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(lb q, q, side) → the same of positives and negatives in one, (B, L) each; side is 1 for positives, else 0."""

_LB_E = 1.4426950408889634
_LN_2 = 0.6931471805599453

_select = torch.ops.aten.threshold_backward.default


def unweighted(lb_q: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Return w = 1: plain KL."""
    del q
    zero = lb_q.new_zeros(())
    return zero, zero


def power(exponent: Tensor | float) -> Weight:
    """Return w = q^k, small where the student gives little; k a number or (B, L)."""

    def weight(lb_q: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        del q
        k = exponent if isinstance(exponent, Tensor) else lb_q.new_full((), exponent)
        return k * lb_q, k

    return weight


def complement_power(exponent: float) -> Weight:
    """Return w = (1-q)^k, small where the student gives much."""

    def weight(lb_q: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        rest = complement(q)
        slope = (q / rest).mul_(-exponent)
        return rest.log2_().mul_(exponent), slope

    return weight


def by_autograd(log_weight: Callable[[Tensor], Tensor]) -> Weight:
    """Make a weight of any differentiable, elementwise ln w(ln q), for experiments: autograd finds the slope."""

    def weight(lb_q: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        del q
        with torch.inference_mode(mode=False), torch.enable_grad():
            at = (lb_q * _LN_2).requires_grad_()
            value = log_weight(at)
            (slope,) = torch.autograd.grad(value.sum(), at)
        return value.detach() * _LB_E, slope

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

    Raises
    ------
    ValueError
        A number that is read is not finite; :mod:`limbeck.losses.finite` says when it is NaN in the result instead.

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
    return weighted_sum(
        student,
        teacher,
        labels,
        mask,
        weights=_by_side(positive_weight, negative_weight),
        temperatures=(student_temperature, teacher_temperature),
        detach_weights=detach_weights,
        reduction=reduction,
    )


def weighted_sum(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    weights: Weights | None,
    temperatures: tuple[float, float],
    detach_weights: bool,
    reduction: str,
) -> Tensor:
    """Return :func:`weighted_kl` for weights that know of both sides; None weighs every term with 1."""
    values = _WeightedKL.apply(
        at_least_float32(student), teacher.detach(), labels, mask, weights, temperatures, detach_weights
    )
    assert isinstance(values, Tensor)
    factor = sound(mask, student=student, teacher=teacher, labels=None if weights is None else labels)
    return factor * (values / mask.sum(-1).clamp(min=1) if reduction == "mean" else values)


class _WeightedKL(torch.autograd.Function):
    # At B=512, L=64 on a CPU half of the time goes into calling some forty operations and the other half into touching
    # memory. So there are no more of either than needed: masks are numbers, sums are shared, much is done in place,
    # and autograd, which has nothing to record here, is left out by the inference mode.

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        mask: Tensor,
        weights: Weights | None,
        temperatures: tuple[float, float],
        detach: bool,
    ) -> Tensor:
        with torch.inference_mode():
            valid = mask.view(torch.uint8).to(student.dtype)  # through bytes, which converts four times faster
            padding = torch.rsub(valid, 1)
            lb_q = _log_softmax(student, valid, padding, temperatures[0]).mul_(_LB_E)
            q = lb_q.exp2()
            lb_w, slope = None, None
            if weights is not None:
                side = where_positive(labels.to(student.dtype), valid)
                lb_w, slope = weights(lb_q, q, side)
            ln_p = _log_softmax(teacher.to(student.dtype), valid, padding, temperatures[1])
            mass = ln_p * _LB_E if lb_w is None else lb_w.add_(ln_p, alpha=_LB_E)
            mass = mass.exp2_().mul_(valid)
            terms = ln_p.sub_(lb_q, alpha=_LN_2).mul_(mass)
            if ctx.needs_input_grad[0]:
                a = mass if slope is None or detach else mass.addcmul_(slope, terms, value=-1)
                # An attribute, as a tensor of the inference mode cannot be saved for backward.
                ctx.gradient = a.addcmul_(q, a.sum(-1, keepdim=True), value=-1)
                ctx.scale = -1 / temperatures[0]
        return terms.sum(-1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if torch.is_grad_enabled():
            raise RuntimeError("the weighted KL losses have no second derivative: create_graph=True is not possible")
        return ctx.gradient * (grad * ctx.scale).unsqueeze(-1), None, None, None, None, None, None


def _by_side(positive: Weight, negative: Weight) -> Weights | None:
    """Join the weights of positives and of negatives; None if there are none."""
    if positive is unweighted and negative is unweighted:
        return None

    def weights(lb_q: Tensor, q: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        # lerp with 0 and 1 picks exactly, in a third of the time of where.
        (lb_positive, positive_slope), (lb_negative, negative_slope) = (each(lb_q, q) for each in (positive, negative))
        return torch.lerp(lb_negative, lb_positive, side), torch.lerp(negative_slope, positive_slope, side)

    return weights


def complement(q: Tensor) -> Tensor:
    """Return 1-q, up by the spacing of numbers next to 1 that it is uncertain by, so that its logarithm is finite."""
    return torch.rsub(q, 1 + torch.finfo(q.dtype).eps)


def _log_softmax(scores: Tensor, valid: Tensor, padding: Tensor, temperature: float) -> Tensor:
    scores = where_positive(valid, scores if temperature == 1.0 else scores / temperature)
    return torch.log_softmax(scores.add_(padding, alpha=FLOOR), dim=-1)


def where_positive(condition: Tensor, values: Tensor) -> Tensor:
    """Return the values where a number of the same type is > 0, and 0 elsewhere, were it NaN there.

    The backward of a threshold is this very selection, in vector code: a quarter of the time of where.
    """
    return _select(values, condition, 0)
