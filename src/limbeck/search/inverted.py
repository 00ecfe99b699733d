"""Search sparse weights with inverted lists."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from limbeck.encodings import Kind, Rows
from limbeck.evaluation import postings
from limbeck.evaluation.best import Best
from limbeck.evaluation.postings import Postings, Queries
from limbeck.inference import BiEncoder
from limbeck.progress import Step
from limbeck.registry import register
from limbeck.search.backend import Searching
from limbeck.search.shards import Store, load, readable, save


@register("backend", "inverted")
class Inverted:
    r"""Inverted lists of a sparse student: for each word of the vocabulary its documents and weights.

    ```math
    s(q, d) = \mathrm{scale} \cdot \sum_{v \in q \cap d} w_v(q)\, w_v(d)
    ```

    summed over the words of the query only. Exact, unless terms are left out.

    Parameters
    ----------
    document_terms, query_terms
        Keep only this many words of a document (when the index is built) and of a query (when it is searched), those
        with the largest weights; null keeps all.

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
        """Return the options on which the lists depend."""
        return {"document_terms": self.document_terms}

    def check(self) -> None:
        """Nothing is needed."""

    def build(self, store: Store, folder: Path) -> None:
        """Write the lists of each shard: start of each word's list, documents and weights."""
        with Step(f"inverted lists of {store.path}", store.documents, "documents") as step:
            for shard in store.shards():
                lists = strongest(_matrix(shard.rows), self.document_terms).tocsc()
                name = f"{shard.number:06d}"
                save(folder / f"{name}.starts.npy", lists.indptr.astype(np.int64))
                save(folder / f"{name}.documents.npy", lists.indices.astype(np.int32))
                save(folder / f"{name}.weights.npy", lists.data.astype(store.identity["dtype"]))
                step.advance(len(shard.rows))

    def search(
        self, ranker: BiEncoder, queries: Rows, store: Store, folder: Path, best: Best, shards: Sequence[int]
    ) -> None:
        """Add up the lists of each query's words, on all cores."""
        asked: Any = strongest(_matrix(queries), self.query_terms)
        # Only lists of the queries' words are read from the disk.
        occurs = np.zeros(asked.shape[1], bool)
        occurs[asked.indices] = True
        words, number = np.flatnonzero(occurs), np.cumsum(occurs, dtype=np.int32) - 1
        wanted = Queries(asked.indptr.astype(np.int64), number[asked.indices], asked.data)
        pairs = len(queries) * len(shards) * store.shard_size
        with Searching(self.name, len(queries), shards) as step:
            for number in shards:
                first = number * store.shard_size
                with readable(folder):
                    lists = _lists(folder / f"{number:06d}", words, min(store.shard_size, store.documents - first))
                start = 0
                for found in postings.search(
                    lists,
                    wanted,
                    best.depth,
                    scale=ranker.scale,
                    floors=best.borders,
                    threads=torch.get_num_threads(),
                    pairs=pairs,
                ):
                    lines = np.repeat(np.arange(len(found.counts)), found.counts) + start
                    best.add(lines, found.documents.astype(np.int64) + first, found.scores)
                    start += len(found.counts)
                    step.searched(len(found.counts))


def _matrix(encoded: Rows) -> Any:
    """Return (N, V) weights as a float32 matrix in compressed sparse row format."""
    from scipy import sparse

    arrays = {name: value.cpu().numpy() for name, value in encoded.arrays().items()}
    parts = (arrays["values"].astype(np.float32, copy=False), arrays["columns"], arrays["offsets"])
    return sparse.csr_matrix(parts, shape=(len(encoded), encoded.width))


def strongest(matrix: Any, terms: int | None) -> Any:
    """Keep the largest weights of each row of a sparse matrix; of equal ones the first."""
    if terms is None:
        return matrix
    lines = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    by_weight = np.lexsort((-matrix.data, lines))
    place = np.empty(len(lines), dtype=np.int64)
    place[by_weight] = np.arange(len(lines)) - matrix.indptr[lines[by_weight]]
    kept = place < terms
    starts = np.concatenate([[0], np.cumsum(np.bincount(lines[kept], minlength=matrix.shape[0]))])
    return type(matrix)((matrix.data[kept], matrix.indices[kept], starts), shape=matrix.shape)


def _lists(path: Path, words: np.ndarray, documents: int) -> Postings:
    """Return a shard's lists of some words."""
    starts = load(path.with_name(f"{path.name}.starts.npy"))
    lengths = starts[words + 1] - starts[words]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    in_a_row = np.split(words, np.flatnonzero(np.diff(words) > 1) + 1)  # their lists are adjacent
    places = [slice(int(starts[some[0]]), int(starts[some[-1] + 1])) for some in in_a_row if len(some)]
    rows, weights = (load(path.with_name(f"{path.name}.{name}.npy")) for name in ("documents", "weights"))
    weights, rows = (np.concatenate([values[:0], *(values[place] for place in places)]) for values in (weights, rows))
    # Compiled loops check nothing: a wrong position would access wrong memory.
    fit = len(rows) == len(weights) == offsets[-1] and (lengths >= 0).all()
    if not fit or (len(rows) and not 0 <= rows.min() <= rows.max() < documents):
        raise ValueError("its lists do not fit one another")
    return Postings(weights.astype(np.float32, copy=False), rows, offsets, documents)
