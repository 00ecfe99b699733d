"""The maximum logit of each vocabulary entry over the tokens of a text, without storing all logits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limbeck.types import moved

_CHUNK, _CPU_CHUNK = 2**25, 2**22
"""Logits in memory at once, on a GPU and on a CPU: there 16 MB, which stay in its cache until they are reduced."""


def max_logits(
    states: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    lengths: Sequence[int] | None = None,
    chunk: int | None = None,
) -> Tensor:
    r"""Return $`m_{nv} = b_v + \max_{t} \langle h_{nt}, w_v \rangle`$ over the tokens t of text n, without padding.

    The T · V logits of a text are computed in chunks, which keep only the maximum and its token. The gradient goes only
    to that token; its cost grows with the number of gradients that are not 0. Under autocast the products have its
    dtype, as in ``nn.Linear``; the result is float32 or better.

    Parameters
    ----------
    states
        (N, T, H) inputs of the decoder.
    mask
        (N, T), 0 for padding; the first token must not be padding.
    weight
        (V, H) weight of the decoder.
    bias
        (V,) bias of the decoder; None for no bias.
    lengths
        Number of tokens of each text without padding, if padding follows the text: texts of similar length are then
        computed together, without logits for padding.
    chunk
        Number of logits in memory at once; None chooses it for the device.

    Returns
    -------
    Tensor
        (N, V).
    """
    # Replace padding by the first token, which does not change the maximum.
    states = torch.where(mask.bool().unsqueeze(-1), states, states[:, :1])
    kind = states.device.type
    if torch.is_autocast_enabled(kind):
        half = torch.get_autocast_dtype(kind)
        states, weight = states.to(half), weight.to(half)
    if chunk is None:
        chunk = _CPU_CHUNK if kind == "cpu" else _CHUNK
    pieces = _pieces(states, len(weight), lengths, chunk)
    found: Tensor
    if torch.is_grad_enabled() and (states.requires_grad or weight.requires_grad):
        found = _MaxLogits.apply(states, weight, pieces)  # pyright: ignore[reportAssignmentType]
    else:
        found = _maxima(states, weight, pieces)
    return found if bias is None else found + bias


def _pieces(states: Tensor, words: int, lengths: Sequence[int] | None, chunk: int) -> list[tuple[Tensor, int]]:
    """Return the chunks: their rows, and the length of the longest text of each."""
    known = np.full(len(states), states.shape[1]) if lengths is None else np.asarray(lengths)
    order = np.argsort(-known, kind="stable")
    pieces, start = [], 0
    while start < len(order):
        tokens = int(known[order[start]])
        rows = order[start : start + max(1, chunk // (tokens * words))]
        pieces.append((moved(torch.from_numpy(rows), states.device), tokens))
        start += len(rows)
    return pieces


def _maxima(
    states: Tensor, weight: Tensor, pieces: Sequence[tuple[Tensor, int]], chosen: Tensor | None = None
) -> Tensor:
    """Return (N, V) the maxima; ``chosen`` (N, V) receives the token of each, which costs a third more."""
    width, words = states.shape[-1], len(weight)
    result = states.new_empty((len(states), words), dtype=torch.promote_types(states.dtype, torch.float32))
    with torch.autocast(states.device.type, enabled=False):
        for here, tokens in pieces:
            # Put vocabulary entries first, so that the tokens of a text, over which it reduces, are contiguous.
            logits = (weight @ states[here, :tokens].reshape(-1, width).mT).view(words, -1, tokens)
            if chosen is None:
                result[here] = logits.amax(dim=-1).mT.to(result.dtype)
            else:
                best = logits.max(dim=-1)
                result[here] = best.values.mT.to(result.dtype)
                chosen[here] = best.indices.mT.int()
    return result


class _MaxLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, pieces: Sequence[tuple[Tensor, int]]) -> Tensor:
        chosen = torch.empty((len(states), len(weight)), dtype=torch.int32, device=states.device)
        result = _maxima(states, weight, pieces, chosen)
        ctx.save_for_backward(states, weight, chosen)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        states, weight, chosen = ctx.saved_tensors
        rows, tokens, width = states.shape
        where = grad.nonzero(as_tuple=True)
        values = grad[where]
        places = where[0] * tokens + chosen[where].long()
        flat = states.reshape(-1, width).to(grad.dtype)
        with torch.autocast(states.device.type, enabled=False):
            of_states = _product(places, where[1], values, weight.to(grad.dtype), rows * tokens)
            of_weight = _product(where[1], places, values, flat, len(weight))
        return of_states.view_as(states).to(states.dtype), of_weight.to(weight.dtype), None


def _product(rows: Tensor, columns: Tensor, values: Tensor, dense: Tensor, count: int) -> Tensor:
    """Return S · dense for the sparse (count, len(dense)) S with values at (rows, columns)."""
    order = rows.argsort(stable=True)
    offsets = torch.nn.functional.pad(torch.bincount(rows, minlength=count).cumsum(0), (1, 0))
    sparse = torch.sparse_csr_tensor(
        offsets, columns[order], values[order], (count, len(dense)), check_invariants=False
    )
    return sparse @ dense
