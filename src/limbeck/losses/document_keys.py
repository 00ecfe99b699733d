"""Integer keys that identify the same document in a batch and across the batches of several processes."""

import torch
from torch import Tensor

from limbeck.losses.distributed import processes, rows_of_all
from limbeck.scores.keys import signed_keys
from limbeck.types import Batch

_NOWHERE = torch.iinfo(torch.int64).max
"""Key of padding; no document has it."""


def document_keys(batch: Batch, rows: int, *, gather: bool) -> Tensor:
    """Return the (N,) int64 keys of N documents; equal keys are the same document.

    Parameters
    ----------
    batch
        Its ``document_keys`` are returned if it has them. Else the keys are row numbers, or, if they must be comparable
        between processes, computed from ``document_ids``. With neither field, every row is a different document.
    rows
        N, the number of documents.
    gather
        Whether keys must be comparable with those of other processes.
    """
    if batch.document_keys is not None:
        return batch.document_keys
    numbers = torch.arange(rows, device=batch.index.device)
    if not gather or processes() == 1:
        return numbers
    if not batch.document_ids:
        # Documents cannot be matched across processes: make the keys of each process distinct.
        return numbers + torch.distributed.get_rank() * 2**40
    own = torch.zeros(batch.index.shape, dtype=torch.int64)
    for row, ids in enumerate(batch.document_ids):
        own[row, : len(ids)] = torch.from_numpy(signed_keys(ids))
    places = torch.where(batch.mask, batch.index, rows)  # padding goes to an extra last row, which is cut off
    own = own.to(batch.index.device, non_blocking=True)
    return numbers.new_full((rows + 1,), _NOWHERE).scatter(0, places.flatten(), own.flatten())[:rows]


def keys_of_all(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (M,) keys of the documents of all processes, and (M,) bool, False for padding."""
    gathered, valid = rows_of_all(keys)
    return gathered.masked_fill(~valid, _NOWHERE), valid


def copies(keys: Tensor) -> Tensor:
    """Return (N,) int64: the number of processes that have each of this process's distinct documents."""
    everywhere = keys_of_all(keys)[0].sort().values
    return torch.searchsorted(everywhere, keys, right=True) - torch.searchsorted(everywhere, keys)
