"""A transformer reads the texts of a batch padded, in sub-batches of like length; of fixed shapes if it is compiled."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.backbones.families import most_tokens
from limbeck.config import ConfigError
from limbeck.types import Tokens, moved

_BUCKET = 32
"""Widths of the sub-batches of a compiled backbone are multiples of it: each shape is compiled once."""

_SHAPES = 64
"""Shapes a model may be compiled for: buckets, in training and not, of queries and of documents; torch stops at 8."""

_SUB_BATCH_TOKENS = 2048
"""Tokens of a sub-batch, padding included, for backbones that are read padded."""


def inputs(model: nn.Module, tokens: Tokens) -> dict[str, Tensor]:
    """Return the arguments of a Hugging Face model; segment numbers only where it has embeddings for them."""
    result = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
    if tokens.token_type_ids is not None and getattr(model.config, "type_vocab_size", 0) > 1:
        result["token_type_ids"] = tokens.token_type_ids
    return result


def in_sub_batches(model: nn.Module, tokens: Tokens, read: Callable[[Tokens], Tensor]) -> Tensor:
    """Read a batch in texts of like length, padded, longest first; returns what is read of them in their own order.

    Parameters
    ----------
    model
        Who reads.
    tokens
        The texts.
    read
        (n, T) tokens → (n, …).
    """
    if tokens.lengths is None:
        return read(tokens)
    static, most = is_compiled(model), most_tokens(model)
    order = np.argsort(tokens.lengths, kind="stable")[::-1].tolist()
    parts, start = [], 0
    while start < len(order):
        width = max(1, tokens.lengths[order[start]])
        if static:
            width = min(-(-width // _BUCKET) * _BUCKET, most or tokens.input_ids.shape[1] + _BUCKET)
        count = max(1, _SUB_BATCH_TOKENS // width)
        chosen = order[start : start + count]
        spare = [chosen[0]] * (count - len(chosen)) if static else []
        parts.append(read(tokens.rows(chosen + spare, width))[: len(chosen)])
        start += len(chosen)
    return torch.cat(parts)[moved(torch.tensor(order).argsort(), tokens.input_ids.device)]


def compiled(student: nn.Module, backend: str = "inductor") -> None:
    """Let ``torch.compile`` make kernels of a student's transformers, one for each bucket of lengths.

    Texts are then read padded, in sub-batches of few shapes: each bucket has a width and a number of texts.
    """
    transformers: list[Any] = [each for each in student.children() if hasattr(each, "set_attn_implementation")]
    if not transformers:
        raise ConfigError("trainer.compile: a table of vectors has nothing to compile; set it to false")
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, _SHAPES)
    for model in transformers:
        base: Any = model.base_model
        if base._supports_sdpa:
            model.set_attn_implementation("sdpa")
        base.compile(dynamic=False, backend=backend)


def is_compiled(model: nn.Module) -> bool:
    """Return whether ``compiled`` was called for a transformer."""
    return getattr(model, "base_model", model)._compiled_call_impl is not None
