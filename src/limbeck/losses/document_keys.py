"""Which documents of a batch, or of the batches of several processes, are the same."""

import torch
from torch import Tensor

from limbeck.losses.distributed import processes, rows_of_all
from limbeck.scores.keys import signed_keys
from limbeck.types import Batch

_NOWHERE = torch.iinfo(torch.int64).max
"""A number that is no document's."""


def document_keys(batch: Batch, rows: int, *, gather: bool) -> Tensor:
    """Return (N,) int64, a number for each of N documents; equal numbers are the same document.

    Parameters
    ----------
    batch
        Its ``document_keys`` are taken if it has them, else they are computed from its ``document_ids``. With neither,
        every row is a document of its own.
    rows
        N.
    gather
        Numbers must be comparable with those of the other processes.
    """
    if batch.document_keys is not None:
        return batch.document_keys
    numbers = torch.arange(rows, device=batch.index.device)
    if not gather or processes() == 1:
        return numbers
    if not batch.document_ids:
        # Nothing says what is the same document elsewhere: no number may occur twice.
        return numbers + torch.distributed.get_rank() * 2**40
    own = torch.zeros(batch.index.shape, dtype=torch.int64)
    for row, ids in enumerate(batch.document_ids):
        own[row, : len(ids)] = torch.from_numpy(signed_keys(ids))
    places = torch.where(batch.mask, batch.index, rows)  # padding goes into a row behind the last, which is cut off
    own = own.to(batch.index.device, non_blocking=True)
    return numbers.new_full((rows + 1,), _NOWHERE).scatter(0, places.flatten(), own.flatten())[:rows]


def keys_of_all(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (M,) keys of the documents of all processes, and (M,) bool, False for what pads them."""
    gathered, valid = rows_of_all(keys)
    return gathered.masked_fill(~valid, _NOWHERE), valid


def copies(keys: Tensor) -> Tensor:
    """Return (N,) int64: how many processes have each of this process's distinct documents."""
    everywhere = keys_of_all(keys)[0].sort().values
    return torch.searchsorted(everywhere, keys, right=True) - torch.searchsorted(everywhere, keys)
