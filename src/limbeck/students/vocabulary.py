"""The greatest logit of each word over the tokens of a text, without ever holding all logits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from limbeck.types import moved

_CHUNK = 2**25
"""Logits held at once."""


def max_logits(
    states: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    lengths: Sequence[int] | None = None,
    chunk: int = _CHUNK,
) -> Tensor:
    r"""Return $`m_{nv} = b_v + \max_{t} \langle h_{nt}, w_v \rangle`$ over the real tokens t of text n.

    T · V logits a text are computed in chunks; only the greatest is kept, with its token. So is the gradient: it goes
    to that one token, and costs as much as there are gradients that are not zero. Under autocast the products
    are of its type, as in ``nn.Linear``; the result is float32 or better.

    Parameters
    ----------
    states, mask
        (N, T, H) what goes into the decoder, and (N, T), 0 for padding; the first token is always real.
    weight, bias
        (V, H) and (V) of the decoder.
    lengths
        Real tokens of each text, if they are known and stand first: texts of like length are then taken together, and
        no logits are computed for padding.
    chunk
        Logits held at once.

    Returns
    -------
    Tensor
        (N, V).
    """
    # Padding repeats the first token: it changes no maximum.
    states = torch.where(mask.bool().unsqueeze(-1), states, states[:, :1])
    kind = states.device.type
    if torch.is_autocast_enabled(kind):
        half = torch.get_autocast_dtype(kind)
        states, weight = states.to(half), weight.to(half)
    found: Tensor = _MaxLogits.apply(states, weight, _pieces(states, len(weight), lengths, chunk))  # pyright: ignore[reportAssignmentType]
    return found if bias is None else found + bias


def _pieces(states: Tensor, words: int, lengths: Sequence[int] | None, chunk: int) -> list[tuple[Tensor, int]]:
    """Return the rows whose logits are held at once, and the tokens of the longest of them."""
    known = np.full(len(states), states.shape[1]) if lengths is None else np.asarray(lengths)
    order = np.argsort(-known, kind="stable")
    pieces, start = [], 0
    while start < len(order):
        tokens = int(known[order[start]])
        rows = order[start : start + max(1, chunk // (tokens * words))]
        pieces.append((moved(torch.from_numpy(rows), states.device), tokens))
        start += len(rows)
    return pieces


class _MaxLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, pieces: Sequence[tuple[Tensor, int]]) -> Tensor:
        rows, _, width = states.shape
        words = len(weight)
        result = states.new_empty((rows, words), dtype=torch.promote_types(states.dtype, torch.float32))
        chosen = torch.empty((rows, words), dtype=torch.int32, device=states.device)
        with torch.autocast(states.device.type, enabled=False):
            for here, tokens in pieces:
                # Words before texts: the tokens of a text then lie side by side, which is what is reduced over.
                logits = (weight @ states[here, :tokens].reshape(-1, width).mT).view(words, -1, tokens)
                if any(ctx.needs_input_grad):
                    best = logits.max(dim=-1)
                    result[here] = best.values.mT.to(result.dtype)
                    chosen[here] = best.indices.mT.int()
                else:
                    result[here] = logits.amax(dim=-1).mT.to(result.dtype)
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
