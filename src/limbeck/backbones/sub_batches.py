"""Padded sub-batches of similar length, for transformers without packing; of fixed shapes for compiled ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.backbones.families import most_tokens
from limbeck.config import ConfigError
from limbeck.types import Tokens, moved

_BUCKET = 32
"""Step of the sub-batch widths of a compiled backbone, so that few shapes are compiled."""

_SHAPES = 64
"""Maximum number of compiled shapes (buckets of queries and documents, in training and evaluation); torch's is 8."""

_SUB_BATCH_TOKENS = 2048
"""Maximum tokens of a sub-batch, including padding."""


def inputs(model: nn.Module, tokens: Tokens) -> dict[str, Tensor]:
    """Return the arguments of a Hugging Face model, with ``token_type_ids`` only if it has segment embeddings."""
    result = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
    if tokens.token_type_ids is not None and getattr(model.config, "type_vocab_size", 0) > 1:
        result["token_type_ids"] = tokens.token_type_ids
    return result


def in_sub_batches(model: nn.Module, tokens: Tokens, read: Callable[[Tokens], Tensor]) -> Tensor:
    """Apply a function to padded sub-batches of texts of similar length; return the results in the texts' order.

    Parameters
    ----------
    model
        The transformer, for its maximum length and whether it is compiled.
    tokens
        The texts.
    read
        Function from (n, T) tokens to an (n, …) tensor.
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
    """Compile a student's transformers with ``torch.compile``, once for each bucket of lengths.

    Texts are then read in padded sub-batches of few shapes: each bucket has a fixed width and number of texts.
    """
    transformers: list[Any] = [each for each in student.children() if hasattr(each, "set_attn_implementation")]
    if not transformers:
        raise ConfigError("trainer.compile: a static backbone has nothing to compile; set it to false")
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, _SHAPES)
    for model in transformers:
        base: Any = model.base_model
        if base._supports_sdpa:
            model.set_attn_implementation("sdpa")
        base.compile(dynamic=False, backend=backend)


def is_compiled(model: nn.Module) -> bool:
    """Return whether a transformer was compiled by ``compiled``."""
    return getattr(model, "base_model", model)._compiled_call_impl is not None
