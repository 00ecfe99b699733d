"""Gradient caching: encodes a batch in chunks, twice, so that large batches fit into memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from limbeck.text.collate import Role
from limbeck.types import Encoding, Tokens, Vectors

_size: ContextVar[int | None] = ContextVar("texts of a chunk", default=None)


@contextmanager
def chunks_of(size: int | None) -> Iterator[None]:
    """Set the number of texts that ``in_chunks`` encodes at once; None encodes all."""
    token = _size.set(size)
    try:
        yield
    finally:
        _size.reset(token)


def in_chunks(encode: Callable[[Tokens, Role], Encoding], tokens: Tokens, role: Role) -> Encoding:
    """Encode the texts of a batch; within ``chunks_of``, with the activations of only one chunk in memory.

    Only the encodings of a chunk are stored. The backward pass encodes each chunk again with the same dropout, and
    accumulates the parameters' gradients, so the gradient is that of the whole batch.

    Parameters
    ----------
    encode
        Function that encodes a chunk.
    tokens
        The texts.
    role
        ``query`` or ``document``.

    References
    ----------
    Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, RepL4NLP 2021 (GradCache).
    """
    size = _size.get()
    if size is None or len(tokens) <= size or not torch.is_grad_enabled():
        return encode(tokens, role)
    width = tokens.input_ids.shape[1]
    there = range(len(tokens))
    parts = [_twice(encode, tokens.rows(there[start : start + size], width), role) for start in there[::size]]
    if isinstance(parts[0], Tensor):
        return torch.cat(cast(list[Tensor], parts))
    several = cast(list[Vectors], parts)
    return Vectors(torch.cat([part.values for part in several]), torch.cat([part.mask for part in several]))


def _twice(encode: Callable[[Tokens, Role], Encoding], chunk: Tokens, role: Role) -> Encoding:
    """Encode a chunk now, and again in the backward pass.

    ``checkpoint`` restores the random state of the devices of its tensor arguments, for the same dropout. It does not
    look inside a ``Tokens``, so the tensors are passed one by one.
    """

    def read(input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, kept: Tensor | None) -> Encoding:
        return encode(Tokens(input_ids, attention_mask, token_type_ids, kept, chunk.lengths), role)

    tensors = (chunk.input_ids, chunk.attention_mask, chunk.token_type_ids, chunk.kept)
    return cast(Encoding, checkpoint(read, *tensors, use_reentrant=False))
