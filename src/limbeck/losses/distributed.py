"""Sum and gather tensors over all processes, with gradients that are correct after DDP's averaging.

Each process computes its own loss, and DDP averages the gradients over processes. The backward pass of both functions
sums the gradients that all processes' losses have with respect to a value, so the average is the gradient of the mean
loss. Without a process group the functions return their input.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from limbeck.types import Encoding, Vectors


def processes() -> int:
    """Return the number of processes; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the sum over processes of a tensor that has the same shape on each; every process gets the sum."""
    return _Sum.apply(values) if processes() > 1 else values  # pyright: ignore[reportReturnType]


@torch.no_grad()
def totals_over_processes(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the sums over processes of named tensors of one dtype, in one all-reduce, without gradient."""
    if processes() == 1:
        return dict(values)
    flat = torch.cat([value.flatten() for value in values.values()])
    dist.all_reduce(flat)
    parts = flat.split([value.numel() for value in values.values()])
    return {name: part.view_as(value) for (name, value), part in zip(values.items(), parts, strict=True)}


def rows_of_all(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Gather the (N, …) rows of all processes; N may differ between processes.

    Returns
    -------
    tuple[Tensor, Tensor]
        (P · M, …) rows of process 0, then 1, …, each padded to M, the greatest N; and (P · M,) bool, False for padding.
        With several processes this synchronises with the device, to read M.
    """
    if processes() == 1:
        return rows, torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    mine = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(mine) for _ in range(processes())]
    dist.all_gather(counts, mine)
    numbers = torch.cat(counts)
    most = int(numbers.max())
    padded = pad(rows, (0, 0) * (rows.dim() - 1) + (0, most - len(rows)))
    gathered = _Gather.apply(padded)
    valid = torch.arange(most, device=rows.device) < numbers.unsqueeze(-1)
    return gathered, valid.flatten()  # pyright: ignore[reportReturnType]


def encodings_of_all(encoded: Encoding) -> tuple[Encoding, Tensor]:
    """Gather the encoded texts of all processes as ``rows_of_all`` does; multi-vector texts are padded alike."""
    if isinstance(encoded, Tensor):
        return rows_of_all(encoded)
    if processes() == 1:
        return encoded, torch.ones(len(encoded), dtype=torch.bool, device=encoded.mask.device)
    most = torch.tensor([encoded.mask.shape[1]], device=encoded.mask.device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    missing = int(most) - encoded.mask.shape[1]
    values, valid = rows_of_all(pad(encoded.values, (0, 0, 0, missing)))
    mask, _ = rows_of_all(pad(encoded.mask, (0, missing)).to(torch.uint8))
    return Vectors(values, mask.bool()), valid


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        total = values.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        del ctx
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.size = len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.size
        return total[start : start + ctx.size]
