"""Gradient caching: a batch larger than what memory holds, encoded chunk by chunk, twice."""

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
    """Let students encode so many texts of a batch at once (``in_chunks``); None: all of them."""
    token = _size.set(size)
    try:
        yield
    finally:
        _size.reset(token)


def in_chunks(encode: Callable[[Tokens, Role], Encoding], tokens: Tokens, role: Role) -> Encoding:
    """Encode the texts of a batch so that, within ``chunks_of``, the states of one chunk are in memory at a time.

    Only what the loss reads is kept of a chunk. In the backward pass each chunk is encoded again, with the same
    dropout, and its gradient is added to that of the parameters: the gradient is that of the whole batch.

    Parameters
    ----------
    encode
        Encodes some of the texts.
    tokens, role
        The texts.

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

    ``checkpoint`` saves the random state of the devices of the tensors among its arguments, so that dropout is the same
    again; it does not look into a ``Tokens``.
    """

    def read(input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None, kept: Tensor | None) -> Encoding:
        return encode(Tokens(input_ids, attention_mask, token_type_ids, kept, chunk.lengths), role)

    tensors = (chunk.input_ids, chunk.attention_mask, chunk.token_type_ids, chunk.kept)
    return cast(Encoding, checkpoint(read, *tensors, use_reentrant=False))
