"""Reads the label column of a batch: teacher scores, grades and ranks of the documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.integrations.sentence_transformers.columns import NUMBERS


@dataclass(frozen=True)
class Targets:
    """Numbers of B queries with up to L documents each."""

    numbers: Mapping[str, Tensor]
    """``scores``, ``labels`` and ``ranks``, if the data have them: (B, L) float32, NaN for padding."""
    lengths: list[int]
    """Number of documents of each query, including the padding of ``ListColumns``."""
    mask: Tensor
    """(B, L) bool, False for padding."""


def read(label: Tensor | Sequence[Tensor] | None, plain: str) -> Targets | None:
    """Read a label column; return None without one.

    Parameters
    ----------
    label
        A (B, L) tensor with one number per document, or (B, 3, L) as packed by ``ListColumns``. For cross-encoders, a
        list of (L_b,) or (3, L_b) tensors.
    plain
        Meaning of a single number per document: ``scores`` or ``labels``.

    Raises
    ------
    ValueError
        The column has another shape.
    """
    if label is None:
        return None
    rows = list(label)
    shapes = {tuple(row.shape[:-1]) for row in rows}
    if shapes not in ({()}, {(len(NUMBERS),)}) or rows[0].ndim == 0:
        raise ValueError(
            "the label column must hold a list for each query, one number per document (or the output of "
            f"ListColumns), got {'single numbers' if rows[0].ndim == 0 else [tuple(row.shape) for row in rows]}"
        )
    lengths = [row.shape[-1] for row in rows]
    width = max(lengths)
    values = torch.stack([F.pad(row.float(), (0, width - row.shape[-1]), value=torch.nan) for row in rows])
    mask = torch.arange(width, device=values.device) < torch.tensor(lengths, device=values.device).unsqueeze(1)
    if values.ndim == 2:
        return Targets({plain: values}, lengths, mask)
    there = ~values.isnan()
    given = there.any(-1).any(0).tolist()
    numbers = {name: values[:, place] for place, name in enumerate(NUMBERS) if given[place]}
    return Targets(numbers, lengths, mask & there.any(1))
