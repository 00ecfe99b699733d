"""Pairs of queries and documents to score, cut into independent parts."""

from collections.abc import Mapping, Sequence

import numpy as np

BLOCK = 8192
"""Texts tokenised, sorted by length and encoded at once, which bounds memory for any collection."""


class Plan:
    """Pairs to score, cut into numbered, independent parts.

    The scores of a part do not depend on which other parts were scored, in which order or in which process: so work can
    be shared, and resumed.

    Parameters
    ----------
    lists
        Query id → document ids.
    by_document
        Put the pairs of the same document into one part, for rankers that encode documents: each document is then
        encoded once. Otherwise pairs keep the order of the lists.
    size
        Distinct documents, or pairs, per part.
    """

    def __init__(self, lists: Mapping[str, Sequence[str]], *, by_document: bool, size: int = BLOCK) -> None:
        numbers: dict[str, int] = {}
        flat = [numbers.setdefault(document, len(numbers)) for documents in lists.values() for document in documents]
        self.query_ids = list(lists)
        self.document_ids = list(numbers)
        self.lengths = np.array([len(documents) for documents in lists.values()], dtype=np.int64)
        self.documents = np.array(flat, dtype=np.int64)
        self.queries = np.repeat(np.arange(len(self.query_ids)), self.lengths)
        if by_document:
            self._order = np.argsort(self.documents // size, kind="stable")
            cuts = np.searchsorted(self.documents[self._order] // size, np.arange(1, -(-len(numbers) // size)))
        else:
            self._order = np.arange(len(flat))
            cuts = np.arange(size, len(flat), size)
        self._parts = np.split(self._order, cuts) if flat else []

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.documents)

    def part(self, number: int) -> np.ndarray:
        """Return the positions of a part's pairs in the order of the lists."""
        return self._parts[number]

    def shared(self, share: tuple[int, int]) -> np.ndarray:
        """Return a mask, in the order of the lists, of the pairs in share i of n (every n-th part)."""
        mine = np.zeros(self.pairs, dtype=bool)
        for number in range(share[0], len(self), share[1]):
            mine[self.part(number)] = True
        return mine

    def ids(self, number: int) -> tuple[list[str], list[str]]:
        """Return query and document ids of a part's pairs."""
        rows = self._parts[number]
        return [self.query_ids[i] for i in self.queries[rows]], [self.document_ids[i] for i in self.documents[rows]]

    def split(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Cut an array with one value per pair into the lists."""
        return dict(zip(self.query_ids, np.split(values, np.cumsum(self.lengths)[:-1]), strict=True))
