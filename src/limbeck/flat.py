"""Lists of different lengths in one flat array: list i has the entries ``offsets[i]:offsets[i + 1]``."""

import torch
from torch import Tensor


def offsets_of(counts: Tensor) -> Tensor:
    """Return the offsets of lists with these numbers of entries, and the end of the last list."""
    return torch.nn.functional.pad(counts.cumsum(0), (1, 0))


def cut(offsets: Tensor, start: int, stop: int) -> tuple[Tensor, slice]:
    """Return the offsets of lists ``start`` to ``stop``, counted from their first entry, and their entries' slice."""
    some = offsets[start : stop + 1]
    first, last = (int(some[0]), int(some[-1])) if len(some) else (0, 0)
    return some - first, slice(first, last)


def spans(offsets: Tensor, chosen: slice | Tensor) -> tuple[Tensor, Tensor]:
    """Return the first entry and the number of entries of each chosen list."""
    starts = offsets[:-1][chosen]
    return starts, offsets[1:][chosen] - starts


def places_of(offsets: Tensor, chosen: slice | Tensor) -> tuple[Tensor, Tensor, int]:
    """Return positions of the chosen lists' entries, each entry's number among these lists, and their number."""
    starts, counts = spans(offsets, chosen)
    owners = torch.repeat_interleave(torch.arange(len(counts), device=offsets.device), counts)
    within = torch.arange(len(owners), device=offsets.device) - (counts.cumsum(0) - counts)[owners]
    return starts[owners] + within, owners, len(counts)
