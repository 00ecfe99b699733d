"""In-batch negatives: the documents of the other queries of a batch."""

import torch
from torch import Tensor

from limbeck.losses.distributed import encodings_of_all, rows_of_all
from limbeck.losses.document_keys import document_keys, keys_of_all
from limbeck.scores.keys import NO_KEY, signed_keys
from limbeck.similarity import dot
from limbeck.types import Batch, Encoding, StudentOutput


def other_documents(
    output: StudentOutput, batch: Batch, *, gather: bool, mask_positives: bool = True
) -> tuple[Tensor, Tensor]:
    """Score every query against the documents of the batch that are not among its own candidates.

    Parameters
    ----------
    output
        Encoded queries and documents, and their similarity function; None is the inner product.
    batch
        The candidates of each query, and the documents known to be relevant to it.
    gather
        Take the documents of all processes. If the batch has ``document_keys`` or ``document_ids``, a document in
        several processes counts once, and never as an in-batch negative of a query that has it as a candidate.
    mask_positives
        Leave out documents of other queries that are relevant to the query by its qrels (the batch's ``positives``).
        Without qrels: those labelled positive for the same query id elsewhere in the batch (``query_ids``).

    Returns
    -------
    tuple[Tensor, Tensor]
        (B, M) scores and (B, M) bool, True for in-batch negatives of the query.
    """
    queries, documents = output.queries, output.documents
    assert queries is not None, "the objective let a student without embeddings pass"
    assert documents is not None, "the objective let a student without embeddings pass"
    keys = document_keys(batch, len(documents), gather=gather)
    own, real = keys[batch.index], batch.mask
    left_out = [(own, real), *([_positives(batch, own, gather)] if mask_positives else [])]
    valid = torch.ones_like(keys, dtype=torch.bool)
    if gather:
        documents, _ = encodings_of_all(documents)
        keys, valid = keys_of_all(keys)
    wanted, there = (torch.cat(parts, 1) for parts in zip(*left_out, strict=True))
    counts = valid & ~_among(keys, wanted, there)
    score = output.similarity or _dot
    return score(queries, documents), counts


def _dot(queries: Encoding, documents: Encoding) -> Tensor:
    if not isinstance(queries, Tensor) or not isinstance(documents, Tensor):
        raise ValueError("several vectors a text have no inner product: the student must say how it scores them")
    return dot(queries, documents)


def _positives(batch: Batch, own: Tensor, gather: bool) -> tuple[Tensor, Tensor]:
    """Return (B, P) keys of documents that are relevant to each query, and (B, P) bool, False for padding."""
    if batch.positives is not None and batch.document_keys is not None:
        return batch.positives, batch.positives != NO_KEY
    if not batch.query_ids:
        return own[:, :0], batch.mask[:, :0]
    queries = torch.from_numpy(signed_keys(batch.query_ids)).to(own.device, non_blocking=True)
    asking = queries.unsqueeze(1).expand_as(own).flatten()
    documents, labelled = own.flatten(), (batch.mask & (batch.labels > 0)).flatten()
    if gather:
        asking, valid = rows_of_all(asking)
        documents = rows_of_all(documents)[0]
        labelled = rows_of_all(labelled.to(torch.uint8))[0].bool() & valid
    return documents.expand(len(own), -1), labelled & (asking == queries.unsqueeze(1))


def _among(keys: Tensor, wanted: Tensor, there: Tensor) -> Tensor:
    """Return (B, M) bool: whether key m is one of the wanted keys of query b, or repeats an earlier key."""
    ordered, order = keys.sort(stable=True)
    again = torch.zeros_like(keys, dtype=torch.bool).scatter_(0, order[1:], ordered[1:] == ordered[:-1])
    place = torch.searchsorted(ordered, wanted.contiguous()).clamp_(max=len(keys) - 1)
    found = there & (ordered[place] == wanted)
    hits = torch.zeros(len(wanted), len(keys), dtype=torch.int32, device=keys.device)
    hits.scatter_add_(1, order[place], found.to(torch.int32))
    return (hits > 0) | again
