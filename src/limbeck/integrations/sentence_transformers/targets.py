"""What the label column of a batch says of the documents."""

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
    """Of ``scores``, ``labels`` and ``ranks`` those that the data have: (B, L) float32, NaN for padding."""
    lengths: list[int]
    """Documents of each query, padding of ``ListColumns`` included."""
    mask: Tensor
    """(B, L) bool, False for padding."""


def read(label: Tensor | Sequence[Tensor] | None, plain: str) -> Targets | None:
    """Read a label column; None stays None.

    Parameters
    ----------
    label
        (B, L), one number a document, or (B, 3, L) as
        ``ListColumns`` packs it; as a tensor, or as a list of tensors
        (L_b) or (3, L_b), as the collator of cross-encoders has it.
    plain
        What one number a document is: ``scores`` or ``labels``.

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
            "the label column must hold a list for each query, one number for each of its documents (or what "
            f"ListColumns makes), got {'single numbers' if rows[0].ndim == 0 else [tuple(row.shape) for row in rows]}"
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
