"""Pads per-query values of different lengths into tensors."""

from collections.abc import Sequence

import numpy as np
import torch

from limbeck.scores.keys import NO_KEY

Column = Sequence[float] | Sequence[int] | np.ndarray
"""One value per candidate."""


def relevant_keys(columns: Sequence[np.ndarray | None]) -> torch.Tensor | None:
    """Pad per-query keys into a (B, P) int64 tensor; None unless all queries have keys."""
    present = [column for column in columns if column is not None]
    if len(present) < len(columns):
        return None
    table = np.full((len(present), max(map(len, present))), NO_KEY, dtype=np.int64)
    for b, column in enumerate(present):
        table[b, : len(column)] = column
    return torch.from_numpy(table)


def fill(columns: Sequence[Column], width: int, padding: float) -> torch.Tensor:
    """Pad per-query values into a (B, width) float32 tensor."""
    table = np.full((len(columns), width), padding, dtype=np.float32)
    for b, column in enumerate(columns):
        table[b, : len(column)] = column
    return torch.from_numpy(table)


def fill_all(columns: Sequence[Column | None], width: int, padding: float) -> torch.Tensor | None:
    """Like ``fill``, but None unless all queries have values, so that no made-up score passes for a real one."""
    present = [column for column in columns if column is not None]
    return fill(present, width, padding) if len(present) == len(columns) else None
