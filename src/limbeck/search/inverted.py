"""Search of sparse weights by inverted lists."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from limbeck.encodings import Kind, Rows
from limbeck.evaluation.best import Best
from limbeck.inference import BiEncoder
from limbeck.registry import register
from limbeck.search.shards import Store, load, readable, save

_QUERIES = 256
"""Queries multiplied at once: bounds the table of scores."""


@register("backend", "inverted")
class Inverted:
    r"""Inverted lists of a sparse student: for each word of the vocabulary the documents that have it, by weight.

    .. math:: s(q, d) = \mathrm{scale} \cdot \sum_{v \in q \cap d} w_v(q)\, w_v(d)

    summed over the words of the query alone. Exact, unless terms are left out.

    Parameters
    ----------
    document_terms, query_terms
        Keep only so many words of a document (when the index is built) and of a query (when it is searched), those of
        the largest weights; null keeps all.

    Raises
    ------
    ValueError
        A value is out of range.

    References
    ----------
    Zobel and Moffat, Inverted files for text search engines, 2006.
    """

    name: ClassVar[str] = "inverted"
    kinds: ClassVar[tuple[Kind, ...]] = ("sparse",)
    by_shard: ClassVar[bool] = True

    def __init__(self, *, document_terms: int | None = None, query_terms: int | None = None) -> None:
        for option, value in {"document_terms": document_terms, "query_terms": query_terms}.items():
            if value is not None and value < 1:
                raise ValueError(f"{option} must be >= 1, got {value}")
        self.document_terms = document_terms
        self.query_terms = query_terms

    def structure(self) -> dict[str, Any] | None:
        """Return what the lists depend on."""
        return {"document_terms": self.document_terms}

    def check(self) -> None:
        """Need nothing that is not there."""

    def build(self, store: Store, folder: Path) -> None:
        """Write the lists of each shard: where each word's begins, documents and weights."""
        for shard in store.shards():
            lists = strongest(_matrix(shard.rows), self.document_terms).tocsc()
            name = f"{shard.number:06d}"
            save(folder / f"{name}.starts.npy", lists.indptr.astype(np.int64))
            save(folder / f"{name}.documents.npy", lists.indices.astype(np.int32))
            save(folder / f"{name}.weights.npy", lists.data)

    def search(
        self, ranker: BiEncoder, queries: Rows, store: Store, folder: Path, best: Best, shards: Sequence[int]
    ) -> None:
        """Sum up the lists of each query's words."""
        from scipy import sparse

        asked: Any = strongest(_matrix(queries), self.query_terms)
        # Only lists of words that occur in a query are read from the disk.
        words, columns = np.unique(asked.indices, return_inverse=True)
        count = asked.shape[0]
        asked = sparse.csr_matrix((asked.data, columns, asked.indptr), shape=(count, max(1, len(words))))
        for number in shards:
            documents = min(store.shard_size, store.documents - number * store.shard_size)
            with readable(folder):
                lists = _lists(folder / f"{number:06d}", words, documents)
            for start in range(0, count, _QUERIES):
                scores: Any = asked[start : start + _QUERIES] @ lists
                lines = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr)) + start
                values = (scores.data * np.float32(ranker.scale)).astype(np.float32)
                present = values > 0
                rows = scores.indices[present].astype(np.int64) + number * store.shard_size
                best.add(lines[present], rows, values[present])


def _matrix(encoded: Rows) -> Any:
    """Return (N, V) weights as float32 in the compressed sparse row format."""
    from scipy import sparse

    arrays = {name: value.cpu().numpy() for name, value in encoded.arrays().items()}
    parts = (arrays["values"].astype(np.float32), arrays["columns"], arrays["offsets"])
    return sparse.csr_matrix(parts, shape=(len(encoded), encoded.width))


def strongest(matrix: Any, terms: int | None) -> Any:
    """Keep the largest weights of each line of a sparse matrix; of equal ones the first."""
    if terms is None:
        return matrix
    lines = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    by_weight = np.lexsort((-matrix.data, lines))
    place = np.empty(len(lines), dtype=np.int64)
    place[by_weight] = np.arange(len(lines)) - matrix.indptr[lines[by_weight]]
    kept = place < terms
    starts = np.concatenate([[0], np.cumsum(np.bincount(lines[kept], minlength=matrix.shape[0]))])
    return type(matrix)((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)


def _lists(path: Path, words: np.ndarray, documents: int) -> Any:
    """Return the lists of some words as a (words, documents) matrix."""
    from scipy import sparse

    starts = load(path.with_name(f"{path.name}.starts.npy"))
    places = [slice(int(starts[word]), int(starts[word + 1])) for word in words.tolist()]
    counts = np.array([0, *(place.stop - place.start for place in places)], dtype=np.int64)
    rows, weights = (load(path.with_name(f"{path.name}.{name}.npy")) for name in ("documents", "weights"))
    chosen = [np.concatenate([values[place] for place in places] or [values[:0]]) for values in (weights, rows)]
    offsets = counts.cumsum() if places else np.zeros(2, dtype=np.int64)
    return sparse.csr_matrix((chosen[0], chosen[1], offsets), shape=(max(1, len(words)), documents))
