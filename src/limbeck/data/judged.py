"""Which documents the judgments call relevant to the training queries, as numbers that batches carry."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from limbeck.scores.keys import keys
from limbeck.types import Qrels


class Judged:
    """Keys of the relevant documents of each query.

    Like ``Lists``, it holds no Python object a query, so that workers copy nothing.

    Parameters
    ----------
    qrels
        Judgments. What a pool has left out counts too: a document beyond ``pool.positives`` is relevant all the same.
    query_ids
        Queries in the order of their numbers.
    relevant
        Lowest grade that counts as relevant.
    """

    def __init__(self, qrels: Qrels, query_ids: Sequence[str], relevant: int = 1) -> None:
        found = [
            [document for document, grade in qrels.get(query, {}).items() if grade >= relevant] for query in query_ids
        ]
        self._ends = np.cumsum([0, *map(len, found)])
        self._keys = keys([document for documents in found for document in documents])[0].view(np.int64)

    def of(self, query: int) -> NDArray[np.int64]:
        """Return the keys of the documents that are relevant to a query, by its number."""
        return self._keys[self._ends[query] : self._ends[query + 1]]
