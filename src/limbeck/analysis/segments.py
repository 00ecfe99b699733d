"""Reduce lists of different lengths, stored one after another in flat arrays, without a loop over the lists."""

import numpy as np


class Segments:
    """Start and end of each list.

    Parameters
    ----------
    lengths
        (Q,) number of rows of each list, in order; a list may be empty.
    """

    def __init__(self, lengths: np.ndarray) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.offsets = np.concatenate(([0], np.cumsum(self.lengths)))
        self.ids = np.repeat(np.arange(len(self.lengths)), self.lengths)
        self._filled = self.lengths > 0
        self._starts = self.offsets[:-1][self._filled]

    def __len__(self) -> int:
        return len(self.lengths)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the (Q,) sums; 0 for an empty list."""
        return self._reduce(np.add, values, 0.0)

    def max(self, values: np.ndarray) -> np.ndarray:
        """Return the (Q,) maxima; NaN for an empty list."""
        return self._reduce(np.maximum, values, np.nan)

    def min(self, values: np.ndarray) -> np.ndarray:
        """Return the (Q,) minima; NaN for an empty list."""
        return self._reduce(np.minimum, values, np.nan)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the (Q,) means; NaN for an empty list."""
        return np.divide(self.sum(values), self.lengths, out=np.full(len(self), np.nan), where=self._filled)

    def _reduce(self, function: np.ufunc, values: np.ndarray, empty: float) -> np.ndarray:
        result = np.full(len(self), empty)
        if len(self._starts):  # reduceat returns the next row for an empty list: empty lists are left out
            result[self._filled] = function.reduceat(np.asarray(values, dtype=np.float64), self._starts)
        return result

    def order(self, *keys: np.ndarray) -> np.ndarray:
        """Return the rows, list after list, each sorted by the keys (the first decides), ascending and stable."""
        return np.lexsort((*reversed(keys), self.ids))

    def positions(self, order: np.ndarray) -> np.ndarray:
        """Return the 1-based position of each row in its list, given the order of all rows."""
        places = np.empty(len(order), dtype=np.int64)
        places[order] = np.arange(len(order)) - self.offsets[self.ids] + 1
        return places

    def groups(self, order: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return the group of each sorted row, (N,) from 0, where rows with equal keys form a group."""
        if not len(order):
            return np.empty(0, dtype=np.int64)
        ids, values = self.ids[order], key[order]
        return np.concatenate(([0], np.cumsum((ids[1:] != ids[:-1]) | (values[1:] != values[:-1]))))

    def average_ranks(self, order: np.ndarray, key: np.ndarray) -> np.ndarray:
        """Return the rank of each row in its list; rows with equal keys get the mean of their positions."""
        groups = self.groups(order, key)
        places = self.positions(order)[order]
        means = np.bincount(groups, weights=places) / np.maximum(np.bincount(groups), 1)
        ranks = np.empty(len(order))
        ranks[order] = means[groups]
        return ranks
