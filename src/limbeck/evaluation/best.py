"""Collect the best documents of each query, in memory that does not grow with the collection."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from limbeck.evaluation.array_run import size
from limbeck.types import Ranking, order

_NAMED = 2**18
"""Approximate number of documents whose ids are looked up at once."""

Names = Callable[[np.ndarray], list[str]]
"""Maps row numbers of the collection to document ids."""


def held(queries: int, depth: int, documents: int) -> int:
    """Return the least bytes needed for the best documents of some queries and the rankings made of them.

    Per document: row and score, then its entry in an ``ArrayRun`` with an id of one character.
    """
    return int(queries * min(depth, documents) * (8 + size("0")))


class Best:
    """Keeps the best ``depth`` documents of those offered, for B queries, in at most 16 · B · depth bytes.

    Order and ties follow ``limbeck.types.order``, so that the result depends neither on how a collection is cut into
    pieces nor on their order.

    Parameters
    ----------
    queries
        Number of queries, B.
    depth
        Documents kept for each query.
    names
        Looks document ids up; called only for documents that may be among the best.
    """

    def __init__(self, queries: int, depth: int, names: Names) -> None:
        self.depth = depth
        self._names = names
        self._border = np.full(queries, -np.inf, dtype=np.float32)
        # The arrays grow to twice the depth; a query that is full is then cut down to its best.
        self._scores = np.empty((queries, 0), dtype=np.float32)
        self._rows = np.empty((queries, 0), dtype=np.int32)
        self._size = np.zeros(queries, dtype=np.int64)

    def offer(self, scores: Tensor, query: int, row: int, *, positive: bool = False) -> None:
        """Offer the scores of consecutive queries for consecutive documents.

        Parameters
        ----------
        scores
            (b, n), float32.
        query, row
            Numbers of the first query and of the first document.
        positive
            Leave out scores of 0 and below.
        """
        lines, columns, values = _at_least(scores, self._border[query : query + len(scores)])
        if len(values) > self.depth * len(scores):
            lines, columns, values = top(scores, self.depth)
        if positive:
            lines, columns, values = (each[values > 0] for each in (lines, columns, values))
        self.add(lines + query, columns + row, values)

    def add(self, queries: np.ndarray, rows: np.ndarray, scores: np.ndarray) -> None:
        """Offer (query, document, score) triples.

        Parameters
        ----------
        queries, rows, scores
            Number of the query (ascending), row of the document and float32 score of each pair. No pair appears twice.
        """
        while len(queries):
            hopeful = scores >= self._border[queries]
            queries, rows, scores = queries[hopeful], rows[hopeful], scores[hopeful]
            present, starts, counts = np.unique(queries, return_index=True, return_counts=True)
            places = np.arange(len(queries)) - np.repeat(starts, counts) + self._size[queries]
            self._grow(int(places.max(initial=-1)) + 1)
            fits = places < 2 * self.depth
            self._scores[queries[fits], places[fits]] = scores[fits]
            self._rows[queries[fits], places[fits]] = rows[fits]
            self._size[present] = np.minimum(self._size[present] + counts, 2 * self.depth)
            full = present[self._size[present] == 2 * self.depth]
            if len(full):
                self._cut(full)
            queries, rows, scores = queries[~fits], rows[~fits], scores[~fits]

    def _grow(self, wanted: int) -> None:
        """Make room for ``wanted`` documents per query: a depth beyond the collection's size costs nothing."""
        width = self._scores.shape[1]
        more = min(2 * self.depth, max(wanted, 2 * width)) - width
        if wanted > width and more:
            around = ((0, 0), (0, more))
            self._scores = np.pad(self._scores, around, constant_values=-np.inf)
            self._rows = np.pad(self._rows, around)

    @property
    def borders(self) -> np.ndarray:
        """(B,) the score below which a document cannot be among the best of its query."""
        return self._border

    def state(self) -> dict[str, np.ndarray]:
        """Return the state for ``restore``."""
        return {"border": self._border, "scores": self._scores, "rows": self._rows, "size": self._size}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from a state."""
        self._border, self._scores, self._rows, self._size = (
            state[name] for name in ("border", "scores", "rows", "size")
        )

    def _cut(self, queries: np.ndarray) -> None:
        """Cut full queries to their best ``depth``; document ids decide where scores tie for the last place."""
        scores, rows = self._scores[queries], self._rows[queries]
        border = np.partition(scores, -self.depth, axis=1)[:, -self.depth]
        above, last = scores > border[:, None], scores == border[:, None]
        room = self.depth - above.sum(1)
        for line in np.flatnonzero(last.sum(1) > room).tolist():
            (tied,) = np.nonzero(last[line])
            names = self._names(rows[line, tied])
            best = sorted(range(len(tied)), key=names.__getitem__, reverse=True)[: int(room[line])]
            last[line] = False
            last[line, tied[best]] = True
        kept = above | last
        self._scores[queries] = -np.inf
        self._scores[queries, : self.depth] = scores[kept].reshape(-1, self.depth)
        self._rows[queries, : self.depth] = rows[kept].reshape(-1, self.depth)
        self._size[queries] = self.depth
        self._border[queries] = border

    def rankings(self) -> Iterator[Ranking]:
        """Yield the ranking of each query."""
        step = max(1, _NAMED // (2 * self.depth))
        for start in range(0, len(self._size), step):
            chosen = slice(start, start + step)
            kept = [
                _last(size, scores, self.depth)
                for size, scores in zip(self._size[chosen].tolist(), self._scores[chosen], strict=True)
            ]
            names = self._names(np.concatenate([rows[k] for rows, k in zip(self._rows[chosen], kept, strict=True)]))
            ends = np.cumsum([len(each) for each in kept]).tolist()
            for end, k, scores in zip(ends, kept, self._scores[chosen], strict=True):
                yield order(names[end - len(k) : end], scores[k], self.depth)


def _last(size: int, scores: np.ndarray, depth: int) -> np.ndarray:
    """Return the positions of the best ``depth`` of the first ``size`` scores, and of all that tie with the last."""
    if size <= depth:
        return np.arange(size)
    return np.flatnonzero(scores[:size] >= np.partition(scores[:size], -depth)[-depth])


def top(scores: Tensor, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the best scores of each row of a matrix, as ``Best.add`` takes them.

    Parameters
    ----------
    scores
        (B, N).
    depth
        Number of scores per row; all that tie for the last place are included.
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


def _at_least(scores: Tensor, border: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the scores of each row that are not below its border; NumPy takes a fifth of torch's time."""
    if scores.device.type != "cpu":
        found = (scores >= torch.from_numpy(border).to(scores.device).unsqueeze(1)).nonzero()
        lines, columns = found.unbind(1)
        return _numpy(lines, columns, scores[lines, columns])
    table = scores.numpy()
    places = np.flatnonzero(table >= border[:, None])
    lines, columns = np.divmod(places, table.shape[1])
    return lines, columns, table.reshape(-1)[places]


def _numpy(lines: Tensor, columns: Tensor, values: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return lines.cpu().numpy(), columns.cpu().numpy(), values.float().cpu().numpy()
