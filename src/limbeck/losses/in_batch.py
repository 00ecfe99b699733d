"""The documents of the other queries of a batch, as further negatives."""

from hashlib import blake2b

import torch
from torch import Tensor

from limbeck.losses.distributed import encodings_of_all, processes, rows_of_all
from limbeck.scoring import dot
from limbeck.types import Batch, Encoding, StudentOutput


def other_documents(output: StudentOutput, batch: Batch, *, gather: bool) -> tuple[Tensor, Tensor]:
    """Score every query against the documents of the batch that are not among its own candidates.

    Parameters
    ----------
    output
        Encoded queries and documents, and what scores them; None scores by their inner product.
    batch
        Which documents are a query's own.
    gather
        Take the documents of all processes. A document that several of them list counts once, and for no query as a
        negative that lists it itself, if the batch has ``document_ids``.

    Returns
    -------
    tuple[Tensor, Tensor]
        (B, M) scores and (B, M) bool: which of them count.
    """
    queries, documents = output.queries, output.documents
    assert queries is not None, "the objective let a student without embeddings pass"
    assert documents is not None, "the objective let a student without embeddings pass"
    keys, own = _keys(batch, len(documents), gather)
    valid = torch.ones_like(keys, dtype=torch.bool)
    if gather:
        documents, valid = encodings_of_all(documents)
        keys, _ = rows_of_all(keys)
        keys = keys.masked_fill(~valid, torch.iinfo(keys.dtype).max)
    counts = valid & ~_among(keys, own, batch.mask)
    score = output.similarity or _dot
    return score(queries, documents), counts


def _dot(queries: Encoding, documents: Encoding) -> Tensor:
    if not isinstance(queries, Tensor) or not isinstance(documents, Tensor):
        raise ValueError("several vectors a text have no inner product: the student must say how it scores them")
    return dot(queries, documents)


def _keys(batch: Batch, rows: int, gather: bool) -> tuple[Tensor, Tensor]:
    """Return (N,) a number for each row of documents and (B, L) the numbers of the candidates; equal is the same."""
    numbers = torch.arange(rows, device=batch.index.device)
    if not gather or processes() == 1:
        return numbers, batch.index
    if not batch.document_ids:
        # Nothing says what is the same document elsewhere: no number may occur twice.
        numbers = numbers + torch.distributed.get_rank() * 2**40
        return numbers, numbers[batch.index]
    own = torch.zeros(batch.index.shape, dtype=torch.int64)
    for row, ids in enumerate(batch.document_ids):
        own[row, : len(ids)] = torch.tensor([_number(document) for document in ids], dtype=torch.int64)
    own = own.to(batch.index.device, non_blocking=True)
    known = torch.where(batch.mask, own, -1)
    return numbers.fill_(-1).scatter_reduce(0, batch.index.flatten(), known.flatten(), "amax"), own


def _number(document: str) -> int:
    """Return 62 bits of a hash: the same in every process, unlike ``hash``."""
    return int.from_bytes(blake2b(document.encode(), digest_size=8).digest(), "little") >> 2


def _among(keys: Tensor, own: Tensor, mask: Tensor) -> Tensor:
    """Return (B, M) bool: column m is a candidate of query b, or the repetition of an earlier column."""
    ordered, order = keys.sort(stable=True)
    again = torch.zeros_like(keys, dtype=torch.bool).scatter_(0, order[1:], ordered[1:] == ordered[:-1])
    place = torch.searchsorted(ordered, own.contiguous()).clamp_(max=len(keys) - 1)
    hits = torch.zeros(len(own), len(keys), dtype=torch.int32, device=keys.device)
    hits.scatter_add_(1, order[place], mask.to(torch.int32))
    return (hits > 0) | again
