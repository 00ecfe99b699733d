"""AdamW with its learning-rate schedule."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from limbeck.registry import register

_SCHEDULES = ("linear", "cosine", "constant")


@register("optim", "adamw")
class AdamW:
    """AdamW with linear warm-up, a learning-rate schedule, and no weight decay of biases and normalisation weights.

    Parameters
    ----------
    suited
        The backbone's default peak learning rate, used if ``lr`` is null.
    lr
        Peak learning rate. With null, it is the backbone's default: 1e-3 for random weights, 2e-5 for pretrained
        weights, 1e-4 for the adapters of a decoder.
    weight_decay
        Weight decay of matrices and embeddings.
    warmup
        Length of the warm-up. Below 1 it is a share of all updates, else a number of updates.
    schedule
        Learning rate after the warm-up. ``linear`` or ``cosine`` decay to 0 at the last update, or ``constant``.
    beta1, beta2
        Decay rates of Adam's first and second moment.
    eps
        Adam's ε, added to the root of the second moment.

    Raises
    ------
    ValueError
        A value is out of range.

    References
    ----------
    Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """

    def __init__(
        self,
        suited: float = 2e-5,
        *,
        lr: float | None = None,
        weight_decay: float = 0.01,
        warmup: float = 0.1,
        schedule: str = "linear",
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
    ) -> None:
        self.lr = suited if lr is None else lr
        for name, value in (("lr", self.lr), ("eps", eps)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be > 0, got {value}")
        for name, value in (("weight_decay", weight_decay), ("warmup", warmup)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be >= 0, got {value}")
        if warmup > 1 and warmup != int(warmup):
            raise ValueError(f"warmup must be a share below 1 or a whole number of steps, got {warmup}")
        if schedule not in _SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(_SCHEDULES)}, got {schedule!r}")
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= beta < 1:
                raise ValueError(f"{name} must be in [0, 1), got {beta}")
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.schedule = schedule
        self.betas = (beta1, beta2)
        self.eps = eps

    def configure(self, module: nn.Module, steps: int, *, fused: bool = True) -> dict[str, Any]:
        """Return Lightning's optimiser and per-step learning-rate schedule.

        Parameters
        ----------
        module
            Module whose trainable parameters are optimised.
        steps
            Updates of the whole training.
        fused
            Use torch's fused AdamW, which updates all parameters in one pass over memory. It does not work with the
            scaled gradients of ``16-mixed``.
        """
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        own = {id(parameter): float(getattr(parameter, "rate", 1.0)) for parameter in trained}
        plain = [parameter for parameter in trained if own[id(parameter)] == 1]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in plain if p.ndim >= 2], "weight_decay": self.weight_decay},
            {"params": [p for p in plain if p.ndim < 2], "weight_decay": 0.0},
        ]
        # A student can set a parameter's relative learning rate (its attribute ``rate``), as for query token weights.
        apart = [p for p in trained if own[id(p)] != 1]
        groups += [{"params": [p], "weight_decay": 0.0, "lr": self.lr * own[id(p)]} for p in apart]
        optimizer = torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=fused)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.factor(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def warm(self, steps: int) -> int:
        """Return the number of warm-up updates in a training of ``steps`` updates."""
        return round(self.warmup * steps) if self.warmup < 1 else int(self.warmup)

    def factor(self, steps: int) -> Callable[[int], float]:
        """Return the function from the number of updates so far to the factor of the peak learning rate."""
        warm = self.warm(steps)

        def at(step: int) -> float:
            if step < warm:
                return (step + 1) / (warm + 1)
            left = max(0.0, (steps - step) / max(1, steps - warm))
            if self.schedule == "linear":
                return left
            return 0.5 * (1 - math.cos(math.pi * left)) if self.schedule == "cosine" else 1.0

        return at
