"""Dropout on processors, where drawing the random numbers of attention would cost more than its products."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def kept(shape: torch.Size, rate: float) -> tuple[Tensor, float]:
    """Draw which values dropout keeps, from 16 random bits each of the default generator.

    Returns
    -------
    Tensor
        Bool; a value is dropped with probability round(rate · 2¹⁶) / 2¹⁶.
    float
        1 / (1 - that probability), by which the kept ones are multiplied.
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

    as ``torch.nn.functional.scaled_dot_product_attention`` has it, which on processors draws each random number with a
    generator for real numbers.

    Parameters
    ----------
    query, key, value
        (N, heads, T, width of a head) on a processor.
    mask
        Bool, broadcast to (N, heads, T, T): False where nothing attends. Each row needs a token to attend to.
    dropout
        Rate in (0, 1).
    scale
        None: 1 / √width.
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
            # With D' = D(softmax'), the gradient of a softmax: w ∘ (g - Σ w g), and w ∘ keep ∘ g is g times dropped.
            flow = dropped.mul_(grad @ value.mT)
            of_scores = flow.addcmul_(weights, flow.sum(-1, keepdim=True), value=-1).to(grad.dtype)
            of_query = (of_scores @ key) * ctx.scale
            of_key = of_scores.mT @ (query * ctx.scale)
        return of_query, of_key, of_value, None, None, None


class Dropout(nn.Dropout):
    """Dropout that draws 16 bits a value on processors; elsewhere the usual one."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop values at random while training."""
        if not self.training or not self.p or input.device.type != "cpu":
            return super().forward(input)
        keep, factor = kept(input.shape, self.p)
        return input * (keep * torch.tensor(factor, dtype=input.dtype))


def quicken(model: nn.Module) -> None:
    """Make all dropout of a model the quick one."""
    for module in model.modules():
        if type(module) is nn.Dropout and module.p < 1:
            module.__class__ = Dropout
