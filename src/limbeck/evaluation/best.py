"""The best documents of each query, gathered piece by piece in memory that does not grow with the collection."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from limbeck.types import Ranking, order

Names = Callable[[np.ndarray], list[str]]
"""Document ids of global row numbers."""


class Best:
    """Keeps the best ``depth`` of all that it is shown, for B queries.

    Order and ties are those of :func:`limbeck.types.order`, so the result does not depend on how a collection is cut
    or in which order its pieces come.

    Parameters
    ----------
    queries
        B.
    depth
        Documents kept for each query.
    names
        Looks document ids up; asked only for documents that may be among the best.
    """

    def __init__(self, queries: int, depth: int, names: Names) -> None:
        self.depth = depth
        self._names = names
        self._border = np.full(queries, -np.inf, dtype=np.float32)
        self._kept: list[Ranking] = [Ranking([], np.empty(0, dtype=np.float32)) for _ in range(queries)]
        self._waiting: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(queries)]
        self._size = np.zeros(queries, dtype=np.int64)

    def add(self, queries: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> None:
        """Show it some documents.

        Parameters
        ----------
        queries, rows, scores
            Number of the query, row of the document and float32 score, one of each a pair; queries ascending. No
            pair twice.
        """
        hopeful = scores >= self._border[queries]
        queries, rows, scores = queries[hopeful], rows[hopeful], scores[hopeful]
        present, starts = np.unique(queries, return_index=True)
        stops = np.append(starts[1:], len(queries))[: len(starts)].tolist()
        for query, start, stop in zip(present.tolist(), starts.tolist(), stops, strict=True):
            self._waiting[query].append((rows[start:stop], scores[start:stop]))
            self._size[query] += stop - start
            if self._size[query] > self.depth:
                self._prune(query)

    def _prune(self, query: int) -> None:
        if not self._waiting[query]:
            return
        rows = np.concatenate([rows for rows, _ in self._waiting[query]])
        scores = np.concatenate([scores for _, scores in self._waiting[query]])
        if len(scores) > self.depth:
            border = np.partition(scores, len(scores) - self.depth)[len(scores) - self.depth]
            rows, scores = rows[scores >= border], scores[scores >= border]
        before = self._kept[query]
        kept = order([*before.ids, *self._names(rows)], np.concatenate([before.scores, scores]), self.depth)
        self._kept[query] = kept
        self._waiting[query], self._size[query] = [], 0
        if len(kept.ids) == self.depth:
            self._border[query] = kept.scores[-1]

    def rankings(self) -> list[Ranking]:
        """Return the best of each query."""
        for query in range(len(self._kept)):
            self._prune(query)
        return self._kept


def top(scores: Tensor, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the best of each line of a table of scores, as :meth:`Best.add` takes them.

    Parameters
    ----------
    scores
        (B, N).
    depth
        How many of each line; of those that tie for the last place, all.
    """
    wanted = min(depth + 1, scores.shape[1])
    values, columns = scores.topk(wanted, dim=1)
    lines = torch.arange(len(scores), device=scores.device).unsqueeze(1).expand_as(columns)
    if wanted > depth:
        tied = values[:, depth - 1] == values[:, depth]
        border, values, columns, lines = values[:, depth - 1], values[:, :depth], columns[:, :depth], lines[:, :depth]
        if bool(tied.any()):
            return _with_ties(scores, border, tied, (lines, columns, values))
    return _numpy(lines.reshape(-1), columns.reshape(-1), values.reshape(-1))


def _with_ties(
    scores: Tensor, border: Tensor, tied: Tensor, found: Sequence[Tensor]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    which = tied.nonzero()[:, 0]
    more = (scores[which] >= border[which].unsqueeze(1)).nonzero()
    lines, columns, values = (value[~tied].reshape(-1) for value in found)
    lines = torch.cat([lines, which[more[:, 0]]])
    columns = torch.cat([columns, more[:, 1]])
    values = torch.cat([values, scores[which[more[:, 0]], more[:, 1]]])
    by_line = lines.argsort(stable=True)
    return _numpy(lines[by_line], columns[by_line], values[by_line])


def _numpy(lines: Tensor, columns: Tensor, values: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return lines.cpu().numpy(), columns.cpu().numpy(), values.float().cpu().numpy()
