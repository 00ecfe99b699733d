"""Similarities of embeddings as pure functions."""

import torch
from torch import Tensor

from limbeck.types import Vectors

_CHUNK, _CPU_CHUNK = 2**25, 2**20
"""Most inner products of token vectors in memory at once, on a GPU and on a CPU: there 4 MB, to stay in its cache."""


def dot(queries: Tensor, documents: Tensor) -> Tensor:
    """Return all inner products: (B, D) × (N, D) → (B, N), in float32 or better, even under autocast.

    Different embeddings may have equal 16-bit scores, and such ties change both losses and metrics. For normalised
    embeddings these are cosines.
    """
    with torch.autocast(queries.device.type, enabled=False):
        return _lift(queries) @ _lift(documents).mT


def dot_pairs(queries: Tensor, documents: Tensor) -> Tensor:
    """Return the inner product of each query with one document: (P, D) × (P, D) → (P,), as precise as ``dot``."""
    with torch.autocast(queries.device.type, enabled=False):
        return (_lift(queries) * _lift(documents)).sum(-1)


def maxsim(queries: Vectors, documents: Vectors, *, chunk: int | None = None) -> Tensor:
    r"""Return the late interaction of every query with every document, in float32 or better, even under autocast.

    ```math
    s(q, d) = \sum_{i} \max_{j} \langle q_i, d_j \rangle
    ```

    over the vectors that the masks keep; a document or query without vectors scores 0.

    Parameters
    ----------
    queries, documents
        (B, T, D) and (N, T', D).
    chunk
        Most inner products in memory at once; does not change the result. None chooses it for the device.

    Returns
    -------
    Tensor
        (B, N).

    References
    ----------
    Khattab and Zaharia, ColBERT, SIGIR 2020.
    """
    kind = queries.values.device.type
    if chunk is None:
        chunk = _CPU_CHUNK if kind == "cpu" else _CHUNK
    with torch.autocast(kind, enabled=False):
        left, right = _lift(queries.values), _lift(documents.values)
        count, length, width = left.shape
        if right.shape[1] == 0:
            return left.new_zeros((count, len(documents)))
        step = max(1, chunk // max(1, count * length * right.shape[1]))
        columns = []
        for start in range(0, len(documents), step):
            there, mask = right[start : start + step], documents.mask[start : start + step]
            products = left.reshape(-1, width) @ there.reshape(-1, width).mT
            products = products.view(count, length, *mask.shape).masked_fill_(~mask, -torch.inf)
            # `amax` is faster, but with a gradient it would keep all products in memory.
            best = products.max(-1).values if products.requires_grad else products.amax(-1)
            columns.append((best.masked_fill(~mask.any(1), 0.0) * queries.mask.unsqueeze(-1)).sum(1))
        return torch.cat(columns, dim=1) if columns else left.new_zeros((count, 0))


def maxsim_pairs(queries: Vectors, documents: Vectors) -> Tensor:
    """Return the late interaction of each query with one document, as defined in ``maxsim``.

    Parameters
    ----------
    queries, documents
        (P, T, D) and (P, T', D).

    Returns
    -------
    Tensor
        (P,).
    """
    with torch.autocast(queries.values.device.type, enabled=False):
        left, right = _lift(queries.values), _lift(documents.values)
        if right.shape[1] == 0:
            return left.new_zeros(len(left))
        products = (left @ right.mT).masked_fill(~documents.mask.unsqueeze(1), -torch.inf)
        best = products.amax(-1).masked_fill(~documents.mask.any(1, keepdim=True), 0.0)
        return (best * queries.mask).sum(1)


def _lift(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def pick(matrix: Tensor, index: Tensor) -> Tensor:
    """Pick each query's candidates out of all products: (B, N), index (B, L) → (B, L)."""
    return torch.gather(matrix, 1, index)
