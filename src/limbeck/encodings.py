"""Compact encodings of many texts: dense vectors, sparse weights, or several vectors per text.

A ranker returns and reads padded tensors (``limbeck.types.Encoding``). The encodings of a collection are flat arrays:
in main memory, on a device, or in memory-mapped files.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self, get_args

import torch
from torch import Tensor

from limbeck.flat import cut, offsets_of, places_of, spans
from limbeck.types import Encoding, Vectors

Kind = Literal["dense", "sparse", "multi"]
"""One vector per text, weights of some words of a vocabulary, or several vectors per text."""

DType = Literal["float32", "float16"]
"""Type of stored values."""

DTYPES: Mapping[DType, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}


class Rows:
    """Encodings of N texts; see its three kinds."""

    kind: ClassVar[Kind]

    def __len__(self) -> int:
        raise NotImplementedError

    def take(self, rows: slice | Tensor) -> Encoding:
        """Return some of them, padded for a ranker's ``similarity``."""
        raise NotImplementedError

    def part(self, start: int, stop: int) -> Self:
        """Return a contiguous piece, without copying."""
        raise NotImplementedError

    def arrays(self) -> dict[str, Tensor]:
        """Return their arrays by name; ``rows`` is the inverse."""
        raise NotImplementedError

    @property
    def width(self) -> int:
        """Components of a vector, or words of the vocabulary."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Bytes of all arrays."""
        return sum(array.numel() * array.element_size() for array in self.arrays().values())

    def to(self, device: torch.device | str) -> "Rows":
        """Return a copy on a device."""
        return rows(self.kind, {name: value.to(device) for name, value in self.arrays().items()}, self.width)

    def float(self) -> "Rows":
        """Return them with float32 values."""
        return self.stored("float32")

    def stored(self, dtype: DType) -> "Rows":
        """Return them with values of a type; unchanged if they have it."""
        arrays = self.arrays()
        return rows(self.kind, arrays | {"values": arrays["values"].to(DTYPES[dtype])}, self.width)


class DenseRows(Rows):
    """One vector per text.

    Parameters
    ----------
    values
        (N, D).
    """

    kind = "dense"

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    @property
    def width(self) -> int:
        """D."""
        return self.values.shape[1]

    def take(self, rows: slice | Tensor) -> Tensor:
        """Return (n, D)."""
        return self.values[rows]

    def part(self, start: int, stop: int) -> "DenseRows":
        """Return a contiguous piece."""
        return DenseRows(self.values[start:stop])

    def arrays(self) -> dict[str, Tensor]:
        """Return ``values``."""
        return {"values": self.values}


class SparseRows(Rows):
    """Weights of the words that occur, in compressed sparse row format.

    Parameters
    ----------
    offsets
        (N + 1,) int64: the words of text n are at ``offsets[n]:offsets[n + 1]``.
    columns
        (nnz,) int32 numbers of the words, ascending within a text.
    values
        (nnz,) their weights.
    width
        Size V of the vocabulary.
    """

    kind = "sparse"

    def __init__(self, offsets: Tensor, columns: Tensor, values: Tensor, width: int) -> None:
        self.offsets = offsets
        self.columns = columns
        self.values = values
        self._width = width

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def width(self) -> int:
        """V."""
        return self._width

    def take(self, rows: slice | Tensor) -> Tensor:
        """Return (n, V), with zeros for other words."""
        places, owners, count = places_of(self.offsets, rows)
        table = self.values.new_zeros((count, self._width))
        table[owners, self.columns[places].long()] = self.values[places]
        return table

    def part(self, start: int, stop: int) -> "SparseRows":
        """Return a contiguous piece."""
        offsets, chosen = cut(self.offsets, start, stop)
        return SparseRows(offsets, self.columns[chosen], self.values[chosen], self._width)

    def arrays(self) -> dict[str, Tensor]:
        """Return ``offsets``, ``columns`` and ``values``."""
        return {"offsets": self.offsets, "columns": self.columns, "values": self.values}


class MultiRows(Rows):
    """Several vectors per text.

    Parameters
    ----------
    offsets
        (N + 1,) int64: the vectors of text n are at ``offsets[n]:offsets[n + 1]``.
    values
        (S, D) the vectors of all texts.
    """

    kind = "multi"

    def __init__(self, offsets: Tensor, values: Tensor) -> None:
        self.offsets = offsets
        self.values = values

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def width(self) -> int:
        """D."""
        return self.values.shape[1]

    def take(self, rows: slice | Tensor) -> Vectors:
        """Return (n, T, D) padded to the longest of them."""
        starts, counts = spans(self.offsets, rows)
        position = torch.arange(int(counts.max()) if len(counts) else 0, device=starts.device)
        mask = position < counts.unsqueeze(1)
        places = (starts.unsqueeze(1) + position).clamp_(max=len(self.values) - 1).view(-1)
        values = self.values.index_select(0, places)  # takes a third of the time of assigning the vectors
        values.index_fill_(0, (~mask).view(-1).nonzero().view(-1), 0)
        return Vectors(values.view(*mask.shape, self.width), mask)

    def part(self, start: int, stop: int) -> "MultiRows":
        """Return a contiguous piece."""
        offsets, chosen = cut(self.offsets, start, stop)
        return MultiRows(offsets, self.values[chosen])

    def arrays(self) -> dict[str, Tensor]:
        """Return ``offsets`` and ``values``."""
        return {"offsets": self.offsets, "values": self.values}


def check_dtype(dtype: str) -> None:
    """Raise ``ValueError`` for an unknown type of values."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")


def rows(kind: Kind, arrays: Mapping[str, Tensor], width: int | None = None) -> Rows:
    """Return rows of a kind, from their arrays.

    Parameters
    ----------
    kind
        As ``Rows.kind``.
    arrays
        As ``Rows.arrays()`` returns them.
    width
        Size of the vocabulary; only sparse rows need it.

    Raises
    ------
    ValueError
        The kind is unknown, or sparse rows have no width.
    """
    if kind == "dense":
        return DenseRows(**arrays)
    if kind == "multi":
        return MultiRows(**arrays)
    if kind != "sparse":
        raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    if width is None:
        raise ValueError("sparse rows need the size of the vocabulary as width")
    return SparseRows(**arrays, width=width)


def compact(encoded: Encoding, kind: Kind) -> Rows:
    """Return a ranker's encodings of N texts without padding and zeros."""
    if isinstance(encoded, Vectors):
        counts = encoded.mask.sum(1)
        return MultiRows(offsets_of(counts), encoded.values[encoded.mask])
    if kind == "dense":
        return DenseRows(encoded)
    present = encoded != 0
    columns = present.nonzero()[:, 1].to(torch.int32)
    return SparseRows(offsets_of(present.sum(1)), columns, encoded[present], encoded.shape[1])


def join(parts: Sequence[Rows]) -> Rows:
    """Concatenate rows of one kind.

    Raises
    ------
    ValueError
        There are no rows.
    """
    if not parts:
        raise ValueError("nothing to join")
    first = parts[0]
    if len(parts) == 1:
        return first
    arrays = [part.arrays() for part in parts]
    joined = {name: torch.cat([each[name] for each in arrays]) for name in arrays[0] if name != "offsets"}
    if "offsets" in arrays[0]:
        joined["offsets"] = offsets_of(torch.cat([each["offsets"].diff() for each in arrays]))
    return rows(first.kind, joined, first.width)


def reorder(encoded: Rows, order: Tensor) -> Rows:
    """Return rows in another order, or some of them; ``order`` has (n,) positions."""
    arrays = encoded.arrays()
    if "offsets" not in arrays:
        return rows(encoded.kind, {"values": arrays["values"][order]}, encoded.width)
    places, owners, count = places_of(arrays["offsets"], order)
    taken = {name: value.index_select(0, places) for name, value in arrays.items() if name != "offsets"}
    taken["offsets"] = offsets_of(torch.bincount(owners, minlength=count))
    return rows(encoded.kind, taken, encoded.width)


def not_finite(encoded: Rows) -> int | None:
    """Return the number of the first text with a value that is NaN or infinite; None if there is none."""
    arrays = encoded.arrays()
    wrong = (~torch.isfinite(arrays["values"])).nonzero()
    if not len(wrong):
        return None
    first = wrong[:1, 0]
    if "offsets" not in arrays:
        return int(first)
    return int(torch.searchsorted(arrays["offsets"].contiguous(), first, right=True)) - 1
