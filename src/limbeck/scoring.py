"""Similarities of embeddings as pure functions."""

import torch
from torch import Tensor


def dot(queries: Tensor, documents: Tensor) -> Tensor:
    """Return all inner products: (B, D) × (N, D) → (B, N), in float32 or better whatever autocast says.

    16-bit scores tie where embeddings differ, and ties change both losses and metrics. Of normalised embeddings these
    are the cosines.
    """
    with torch.autocast(queries.device.type, enabled=False):
        return _lift(queries) @ _lift(documents).mT


def _lift(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def pick(matrix: Tensor, index: Tensor) -> Tensor:
    """Pick each query's candidates out of all products: (B, N), index (B, L) → (B, L)."""
    return torch.gather(matrix, 1, index)
