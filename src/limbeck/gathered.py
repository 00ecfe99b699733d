"""Collect encodings that are computed in any order, and return them in the order of the texts."""

from collections.abc import Sequence

import torch
from torch import Tensor

from limbeck.encodings import Kind, Rows, reorder, rows
from limbeck.flat import offsets_of

_TAKEN = 1024
"""Texts put in order at once."""


class Gathered:
    """Collects the encodings of N texts, which come in any order, a few at a time.

    They are copied at once: kept among larger arrays that are freed, they would keep that memory from being used again.

    Parameters
    ----------
    count
        Number of texts, N.
    """

    def __init__(self, count: int) -> None:
        self._kind: Kind | None = None
        self._width = 0
        self._arrays: dict[str, Tensor] = {}
        self._places = torch.empty(count, dtype=torch.long)
        self._counts = torch.empty(count, dtype=torch.long)
        self._texts = self._filled = 0

    def add(self, encoded: Rows, places: Sequence[int]) -> None:
        """Add the encodings of some texts.

        Parameters
        ----------
        encoded
            (n,) rows, all of one kind and width.
        places
            (n,) positions of the texts among the N.
        """
        self._kind, self._width = encoded.kind, encoded.width
        arrays, where = encoded.arrays(), torch.tensor(places)
        if "offsets" not in arrays:
            if not self._arrays:
                self._arrays = {"values": arrays["values"].new_empty((len(self._places), encoded.width))}
            self._arrays["values"][where.to(arrays["values"].device)] = arrays["values"]
            return
        texts = self._texts + len(places)
        self._places[self._texts : texts] = where
        self._counts[self._texts : texts] = arrays.pop("offsets").diff()
        self._texts, end = texts, self._filled + len(arrays["values"])
        for name, value in arrays.items():
            self._arrays[name] = self._with_room(self._arrays.get(name), value, end)
            self._arrays[name][self._filled : end] = value
        self._filled = end

    def _with_room(self, there: Tensor | None, value: Tensor, wanted: int) -> Tensor:
        """Return an array with room for ``wanted`` entries or, if texts stay similar, for those of all texts."""
        if there is not None and wanted <= len(there):
            return there
        more = value.new_empty((int(1.1 * wanted * max(1.0, len(self._places) / self._texts)) + 1, *value.shape[1:]))
        if there is not None:
            more[: self._filled] = there[: self._filled]
        return more

    def rows(self) -> Rows:
        """Return all encodings in the order of the texts.

        Raises
        ------
        ValueError
            There are none.
        """
        if self._kind is None:
            raise ValueError("nothing to join")
        if not self._texts:
            return rows(self._kind, self._arrays, self._width)
        device = self._arrays["values"].device
        came, order = offsets_of(self._counts).to(device), self._places.to(device).argsort()
        offsets = offsets_of(came.diff()[order])
        flat = rows(self._kind, {"offsets": came, **self._arrays}, self._width)
        found = {name: value.new_empty((self._filled, *value.shape[1:])) for name, value in self._arrays.items()}
        for start in range(0, len(order), _TAKEN):  # positions of entries take four times the memory of sparse weights
            taken = reorder(flat, order[start : start + _TAKEN]).arrays()
            first, last = int(offsets[start]), int(offsets[min(start + _TAKEN, len(order))])
            for name, value in found.items():
                value[first:last] = taken[name]
        return rows(self._kind, {"offsets": offsets, **found}, self._width)
