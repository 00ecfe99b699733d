"""Packing: a transformer encodes the texts of a batch without padding, as one row of tokens.

Only attention depends on which text a token belongs to. It is computed for groups of texts of similar length, or, on
GPUs in 16 bits, by one kernel for all texts. Backbones that do not support packing read padded sub-batches of similar
length. The states of a text and the gradient of the batch are the same in all cases.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.backbones.decoders import is_decoder
from limbeck.backbones.dropout import dropped_attention, quicken
from limbeck.backbones.families import most_tokens, position_padding
from limbeck.backbones.sub_batches import in_sub_batches, inputs, is_compiled
from limbeck.types import Tokens, moved

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

NAME = "limbeck"
"""Name of this module's attention in transformers' registry."""

_LIKE = 1.125
"""Maximum ratio of the longest to the shortest text of a group (or ``_FEW`` tokens more)."""
_FEW = 8

_GROUP_TOKENS = 2048
"""Maximum tokens of a group on CPUs, so that groups fit into the cache; groups on GPUs are not limited."""

_FULL = 0.95
"""Share of tokens that are not padding above which, without dropout, padded texts are a few per cent faster."""

_TRIED = 160
"""Length of the text that tests whether a backbone supports packing: longer than local attention windows."""


@dataclass(frozen=True)
class Group:
    """Consecutive texts of similar length in the packed row."""

    tokens: int
    """Number of tokens of all texts together."""
    texts: int
    """Number of texts."""
    width: int
    """Number of tokens of the longest text."""
    places: Tensor | None = None
    """Indices of the tokens in the flattened padded group (texts · width); None if all texts have equal length."""
    mask: Tensor | None = None
    """(texts, 1, 1, width), False for padding."""


@dataclass(frozen=True)
class Layout:
    """Positions of the texts in the packed row, shortest text first."""

    groups: Sequence[Group]
    bounds: Tensor
    """(N + 1,) int32: start of each text, and end of the last."""
    longest: int
    """Tokens of the longest text."""


def enable(model: "PreTrainedModel") -> bool:
    """Switch a model to packing if test texts then have the same states as with padding.

    Returns
    -------
    bool
        Whether the model supports packing.
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    quicken(model)
    base: Any = model.base_model
    # Decoders build their own masks (causal, sliding window), so they read padded sub-batches instead.
    if base.config._attn_implementation != "sdpa" or is_decoder(base.config):
        return False
    if NAME not in ALL_ATTENTION_FUNCTIONS:
        ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)
        ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    if _alike(base):
        return True
    model.set_attn_implementation("sdpa")
    log.info("attention: %s reads padded texts, in sub-batches of similar length", type(model).__name__)
    return False


@torch.no_grad()
def _alike(base: Any) -> bool:
    """Return whether test texts have the same states packed and padded."""
    long = min(_TRIED, most_tokens(base) or _TRIED)
    lengths = [long, long // 2, long // 2]
    mask = torch.arange(long) < torch.tensor(lengths).unsqueeze(1)
    pad = base.config.pad_token_id or 0
    ids = torch.arange(3 * long).view(3, long) % base.config.vocab_size
    ids = ids.where(ids != pad, (pad + 1) % base.config.vocab_size).where(mask, pad)
    tokens = Tokens(ids, mask.long(), lengths=lengths)
    training = base.training
    base.eval()
    try:
        return torch.allclose(_padded(base, tokens)[mask], _packed(base, tokens)[mask], atol=1e-4)
    except (TypeError, ValueError, RuntimeError, IndexError):  # it takes no position_ids, or has its own attention
        return False
    finally:
        base.train(training)


def states(model: nn.Module, tokens: Tokens) -> Tensor:
    """Return the last hidden states of a transformer, (N, T, D); padding holds arbitrary numbers."""
    base: Any = getattr(model, "base_model", model)
    if tokens.lengths is None:  # other tokens attend to padding
        return _padded(base, tokens)
    if base.config._attn_implementation == NAME:
        full = sum(tokens.lengths) > _FULL * tokens.input_ids.numel()
        return _padded(base, tokens) if full and not base.training else _packed(base, tokens)
    if min(tokens.lengths) == tokens.input_ids.shape[1] and not is_compiled(base):
        return _padded(base, tokens)
    width = tokens.input_ids.shape[1]
    return in_sub_batches(base, tokens, lambda some: _filled_to(width, _padded(base, some)))


def _filled_to(width: int, part: Tensor) -> Tensor:
    return F.pad(part, (0, 0, 0, width - part.shape[1])) if part.shape[1] < width else part[:, :width]


def _padded(base: Any, tokens: Tokens) -> Tensor:
    given = inputs(base, tokens)
    if base.config._attn_implementation == NAME and getattr(base.config, "sliding_window", None) is None:
        # A 4-D mask; for a 2-D mask, transformers checks whether it is needed, which synchronises with the device.
        given["attention_mask"] = tokens.attention_mask.bool()[:, None, None]
    return base(**given).last_hidden_state


def _packed(base: Any, tokens: Tokens) -> Tensor:
    assert tokens.lengths is not None, "the collator gives lengths"
    device = tokens.input_ids.device
    rows, width = tokens.input_ids.shape
    lengths = np.asarray(tokens.lengths, dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    bounds = np.concatenate(([0], lengths[order].cumsum()))
    positions = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths[order])
    places = moved(torch.from_numpy(np.repeat(order * width, lengths[order]) + positions), device)
    offset = position_padding(base)
    given = {
        name: value.flatten()[places].unsqueeze(0)
        for name, value in inputs(base, tokens).items()
        if name != "attention_mask"
    }
    position_ids = torch.from_numpy(positions + (0 if offset is None else offset + 1))
    given["position_ids"] = moved(position_ids, device).unsqueeze(0)
    layout = Layout(
        list(_groups(lengths[order], bounds, device)),
        moved(torch.from_numpy(bounds.astype(np.int32)), device),
        int(lengths.max()),
    )
    found = base(**given, layout=layout).last_hidden_state[0]
    return found.new_zeros(rows * width, found.shape[1]).index_copy(0, places, found).view(rows, width, -1)


def _groups(lengths: np.ndarray, bounds: np.ndarray, device: torch.device) -> Iterator[Group]:
    """Split texts, sorted by length, into groups."""
    start = 0
    while start < len(lengths):
        most = max(lengths[start] * _LIKE, lengths[start] + _FEW)
        end = int(np.searchsorted(lengths, most, side="right"))
        if device.type == "cpu":
            end = min(end, start + max(1, int(_GROUP_TOKENS // lengths[start])))
        width, texts = int(lengths[end - 1]), end - start
        tokens = int(bounds[end] - bounds[start])
        if lengths[start] == width:
            yield Group(tokens, texts, width)
        else:
            mask = np.arange(width) < lengths[start:end, None]
            places = moved(torch.from_numpy(np.flatnonzero(mask)), device)
            yield Group(tokens, texts, width, places, moved(torch.from_numpy(mask), device)[:, None, None])
        start = end


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention, as transformers calls it: (1, heads, tokens, head width) → (1, tokens, heads, head width)."""
    if layout is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )  # pyright: ignore[reportReturnType]
    q, k, v = (each[0].transpose(0, 1) for each in (query, key, value))
    if q.is_cuda and q.dtype in (torch.float16, torch.bfloat16) and not dropout:
        return _one_kernel(q, k, v, layout, scaling, sliding_window).unsqueeze(0), None
    # One split: the backward pass of each slice would add a gradient of the size of the whole row.
    qs, ks, vs = (each.split([group.tokens for group in layout.groups]) for each in (q, k, v))
    parts = [
        _of_group(group, its_q, its_k, its_v, dropout, scaling, sliding_window)
        for group, its_q, its_k, its_v in zip(layout.groups, qs, ks, vs, strict=True)
    ]
    return torch.cat(parts).unsqueeze(0), None


def _of_group(
    group: Group, q: Tensor, k: Tensor, v: Tensor, dropout: float, scale: float | None, window: int | None
) -> Tensor:
    """Return the attention of the texts of a group, (tokens, heads, head width)."""
    heads, width = q.shape[1:]
    shape = (group.texts, group.width, heads, width)

    def filled(flat: Tensor) -> Tensor:
        if group.places is not None:
            flat = flat.new_zeros(group.texts * group.width, heads, width).index_copy(0, group.places, flat)
        return flat.reshape(shape).transpose(1, 2)

    mask = group.mask
    if window is not None and group.width > window:
        there = torch.arange(group.width, device=q.device)
        near = (there - there.unsqueeze(1)).abs() < window
        mask = near if mask is None else mask & near
    given = filled(q), filled(k), filled(v)
    if dropout and q.device.type == "cpu":
        found = dropped_attention(*given, mask, dropout, scale=scale)
    else:
        found = F.scaled_dot_product_attention(*given, mask, dropout, scale=scale)
    flat = found.transpose(1, 2).reshape(-1, heads, width)
    return flat if group.places is None else flat[group.places]


def _one_kernel(q: Tensor, k: Tensor, v: Tensor, layout: Layout, scale: float | None, window: int | None) -> Tensor:
    """Return the attention of all texts, by flash attention for sequences of different lengths."""
    from torch.nn.attention.varlen import varlen_attn

    sides = (-1, -1) if window is None else (window - 1, window - 1)
    bounds, longest = layout.bounds, layout.longest
    found = varlen_attn(q, k, v, bounds, bounds, longest, longest, scale=scale, window_size=sides)
    assert isinstance(found, Tensor), "varlen_attn returns only the output unless asked for more"
    return found
