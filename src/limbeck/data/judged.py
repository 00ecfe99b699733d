"""The documents that are judged relevant to the training queries, as numbers for batches."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from limbeck.scores.keys import keys
from limbeck.types import Qrels


class Judged:
    """Keys of the relevant documents of each query.

    Like ``Lists``, it holds no Python object per query, so that workers copy nothing.

    Parameters
    ----------
    qrels
        Judgments. Documents that a pool left out count, too: a document beyond ``pool.positives`` is relevant.
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
        """Return the keys of the documents relevant to a query, given by its number."""
        return self._keys[self._ends[query] : self._ends[query + 1]]
