"""Fast dropout on CPUs, where torch's random numbers for attention weights cost more than attention itself."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def kept(shape: torch.Size, rate: float) -> tuple[Tensor, float]:
    """Draw a dropout mask from 16 random bits per value of the default generator.

    Returns
    -------
    Tensor
        Bool, True for kept values; a value is dropped with probability p = round(rate · 2¹⁶) / 2¹⁶.
    float
        Factor 1 / (1 - p) of the kept values.
    """
    dropped = round(rate * 2**16)
    count = shape.numel()
    bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
    return (bits >= dropped - 2**15).view(shape), 2**16 / (2**16 - dropped)


def dropped_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, *, scale: float | None = None
) -> Tensor:
    r"""Scaled dot-product attention with dropout of the attention weights.

    ```math
    D(\mathrm{softmax}(\mathrm{scale} \cdot Q K^\top))\, V
    ```

    where D is dropout, as in ``torch.nn.functional.scaled_dot_product_attention``, which on CPUs draws a real number
    for each weight.

    Parameters
    ----------
    query, key, value
        (N, heads, T, head width), on a CPU.
    mask
        Bool, broadcastable to (N, heads, T, T), True where a token (row) attends to a token (column); None for no mask.
        Each row needs a True.
    dropout
        Rate in (0, 1).
    scale
        Factor of the products; None is 1 / √(head width).
    """
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    return _Attention.apply(query, key, value, mask, dropout, factor)  # pyright: ignore[reportReturnType]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, rate: float, scale: float
    ) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            weights = (query * scale) @ key.mT
            weights = weights.to(torch.promote_types(weights.dtype, torch.float32))
            if mask is not None:
                weights.masked_fill_(~mask, -torch.inf)
            torch.softmax(weights, -1, out=weights)
            keep, ctx.factor = kept(weights.shape, rate)
            ctx.save_for_backward(query, key, value, weights, keep)
            ctx.scale = scale
            return (weights * keep).to(value.dtype) @ (value * ctx.factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        query, key, value, weights, keep = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            grad = grad * ctx.factor
            dropped = weights * keep
            of_value = dropped.to(grad.dtype).mT @ grad
            # Gradient of the softmax w for the gradient g of w: w ∘ (g - Σ w g). Here g = keep ∘ (grad · valueᵀ).
            flow = dropped.mul_(grad @ value.mT)
            of_scores = flow.addcmul_(weights, flow.sum(-1, keepdim=True), value=-1).to(grad.dtype)
            of_query = (of_scores @ key) * ctx.scale
            of_key = of_scores.mT @ (query * ctx.scale)
        return of_query, of_key, of_value, None, None, None


class Dropout(nn.Dropout):
    """Dropout that draws 16 bits per value on CPUs; torch's dropout on other devices."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop values at random while training."""
        if not self.training or not self.p or input.device.type != "cpu":
            return super().forward(input)
        keep, factor = kept(input.shape, self.p)
        return input * (keep * torch.tensor(factor, dtype=input.dtype))


def quicken(model: nn.Module) -> None:
    """Replace all dropout modules of a model by the fast one."""
    for module in model.modules():
        if type(module) is nn.Dropout and module.p < 1:
            module.__class__ = Dropout
