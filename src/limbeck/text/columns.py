"""Values of queries, of unequal number, as tensors."""

from collections.abc import Sequence

import numpy as np
import torch

from limbeck.scores.keys import NO_KEY

Column = Sequence[float] | Sequence[int] | np.ndarray
"""One value a candidate."""


def relevant_keys(columns: Sequence[np.ndarray | None]) -> torch.Tensor | None:
    """Stack keys of unequal number into (B, P) int64, or return None unless every query has them."""
    present = [column for column in columns if column is not None]
    if len(present) < len(columns):
        return None
    table = np.full((len(present), max(map(len, present))), NO_KEY, dtype=np.int64)
    for b, column in enumerate(present):
        table[b, : len(column)] = column
    return torch.from_numpy(table)


def fill(columns: Sequence[Column], width: int, padding: float) -> torch.Tensor:
    """Stack per-query values of unequal number into (B, width) float32, the rest filled."""
    table = np.full((len(columns), width), padding, dtype=np.float32)
    for b, column in enumerate(columns):
        table[b, : len(column)] = column
    return torch.from_numpy(table)


def fill_all(columns: Sequence[Column | None], width: int, padding: float) -> torch.Tensor | None:
    """As ``fill``, or None unless every query has the values: an invented score must not pass for a real one."""
    present = [column for column in columns if column is not None]
    return fill(present, width, padding) if len(present) == len(columns) else None
