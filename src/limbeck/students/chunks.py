"""Gradient caching: a batch larger than what memory holds, encoded chunk by chunk, twice."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from limbeck.text.collate import Role
from limbeck.types import Encoding, Tokens, Vectors


def in_chunks(encode: Callable[[Tokens, Role], Encoding], tokens: Tokens, role: Role, size: int | None) -> Encoding:
    """Encode the texts of a batch so that the states of one chunk are in memory at a time.

    Only what the loss reads is kept of a chunk. In the backward pass each chunk is encoded again, with the same
    dropout, and its gradient is added to that of the parameters: the gradient is that of the whole batch.

    Parameters
    ----------
    encode
        Encodes some of the texts.
    tokens, role
        The texts.
    size
        Texts of a chunk; None encodes all at once, and once.

    References
    ----------
    Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, RepL4NLP 2021 (GradCache).
    """
    if size is None or len(tokens) <= size or not torch.is_grad_enabled():
        return encode(tokens, role)
    width = tokens.input_ids.shape[1]
    there = range(len(tokens))
    parts = [
        cast(Encoding, checkpoint(encode, tokens.rows(there[start : start + size], width), role, use_reentrant=False))
        for start in there[::size]
    ]
    if isinstance(parts[0], Tensor):
        return torch.cat(cast(list[Tensor], parts))
    several = cast(list[Vectors], parts)
    return Vectors(torch.cat([part.values for part in several]), torch.cat([part.mask for part in several]))
