"""A dense teacher's vectors for the texts of a batch, for losses on embeddings."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from limbeck.data.embeddings import Vectors
from limbeck.scores.keys import ID, Keys, key_list, keys
from limbeck.types import Batch


class Places:
    """Positions of ids, at 16 bytes per id and without Python objects.

    Parameters
    ----------
    ids
        Distinct ids, in order.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        import pyarrow as pa

        found, _ = keys(pa.array(ids, ID))
        self._order = np.argsort(found, kind="stable")
        self._keys: Keys = found[self._order]

    def of(self, ids: Sequence[str]) -> np.ndarray:
        """Return the positions of some ids."""
        wanted = key_list(ids)
        places = np.searchsorted(self._keys, wanted)
        assert (self._keys[places] == wanted).all(), "what is trained on has been encoded"
        return self._order[places]


class Targets:
    """Adds the teacher's vectors to batches.

    Parameters
    ----------
    queries, documents
        Ids, and their vectors in the same order.
    """

    def __init__(self, queries: tuple[Sequence[str], Vectors], documents: tuple[Sequence[str], Vectors]) -> None:
        self._queries = Places(queries[0]), queries[1]
        self._documents = Places(documents[0]), documents[1]

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with ``teacher_queries`` and ``teacher_documents``."""
        distinct = list(dict.fromkeys(chain.from_iterable(batch.document_ids)))  # in the order of the batch's rows
        return replace(
            batch,
            teacher_queries=_vectors(*self._queries, batch.query_ids),
            teacher_documents=_vectors(*self._documents, distinct),
        )


def _vectors(places: Places, vectors: Vectors, ids: Sequence[str]) -> Tensor:
    return torch.from_numpy(vectors.take(places.of(ids)))
