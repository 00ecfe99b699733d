"""Scores of encoded queries and documents: of all pairs, or of chosen pairs."""

from collections.abc import Iterator
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limbeck.encodings import Kind, Rows, SparseRows, reorder
from limbeck.similarity import dot_pairs, maxsim_pairs
from limbeck.types import Encoding, Vectors

_FILLED = 1024
"""Texts whose sparse or multi-vector encodings are padded to a matrix at once: 1024 x 30522 weights take 120 MB."""

_DOCUMENTS = 256
"""Documents whose pairs are scored at once; their encodings are in memory at the same time."""

_ASKED = 4096
"""Queries compared with these documents at once."""

_SPARED: dict[Kind, int] = {"dense": 128, "sparse": 8, "multi": 1}
"""Products in a matrix that take as long as one pair scored alone."""

_HELD = 2**19
"""Numbers in a batch of pairs: about the size of a processor's cache."""


class Similarity(Protocol):
    """Compares encodings: ``scale`` times their inner product or late interaction."""

    @property
    def scale(self) -> float:
        """Factor of the inner product, or of the late interaction of several vectors."""
        ...

    def similarity(self, queries: Encoding, documents: Encoding) -> Tensor:
        """Return all scores of B queries and N documents, (B, N)."""
        ...


@torch.inference_mode()
def products(ranker: Similarity, queries: Rows, documents: Rows) -> Tensor:
    """Return all scores of B queries and N documents, (B, N) float32, in pieces of bounded size."""
    columns = []
    for start in range(0, len(documents), _step(documents)):
        there = documents.take(slice(start, start + _step(documents)))
        chosen = (queries.take(slice(at, at + _step(queries))) for at in range(0, len(queries), _step(queries)))
        columns.append(_joined([ranker.similarity(each, there).float() for each in chosen], 0))
    return _joined(columns, 1)


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)  # a single part is not copied: it may be large


def _step(encoded: Rows) -> int:
    """Return how many texts are padded to a matrix at once; dense vectors need no padding."""
    return max(1, len(encoded)) if encoded.kind == "dense" else _FILLED


@torch.inference_mode()
def pairwise(
    ranker: Similarity, queries: Rows, documents: Rows, lines: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the scores of chosen pairs, in memory that does not grow with their number.

    Parameters
    ----------
    ranker
        Compares the encodings.
    queries
        Encodings of the queries; scores are computed on their device.
    documents
        Encodings of the same kind. They are read in order, and only those of the pairs.
    lines, rows
        (P,) positions of each pair's query and document.

    Returns
    -------
    ndarray
        (P,). A block of documents is compared with all queries of its pairs if that takes no longer than scoring the
        pairs alone; the two ways differ by rounding.
    """
    scores = np.empty(len(lines), np.float32)
    order = np.argsort(rows, kind="stable")
    _, starts = np.unique(rows[order], return_index=True)
    for here in np.split(order, starts[_DOCUMENTS::_DOCUMENTS]):
        scores[here] = _block(ranker, queries, documents, lines[here], rows[here])
    return scores


def _block(
    ranker: Similarity, queries: Rows, documents: Rows, lines: NDArray[np.int64], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    device = queries.arrays()["values"].device
    asked, left = np.unique(lines, return_inverse=True)
    found, right = np.unique(rows, return_inverse=True)
    scores = np.empty(len(lines), np.float32)
    if len(asked) * len(found) <= _SPARED[queries.kind] * len(lines):
        there = reorder(documents, torch.from_numpy(found)).to(device)
        by_query = np.argsort(left, kind="stable")
        for start in range(0, len(asked), _ASKED):
            chosen = reorder(queries, torch.from_numpy(asked[start : start + _ASKED]).to(device))
            here = by_query[slice(*np.searchsorted(left, (start, start + _ASKED), sorter=by_query))]
            scores[here] = products(ranker, chosen, there).cpu().numpy()[left[here] - start, right[here]]
        return scores
    for batch in _batches(queries, documents, lines, rows):
        values = _picked(queries, documents, torch.from_numpy(lines[batch]).to(device), torch.from_numpy(rows[batch]))
        scores[batch] = (ranker.scale * values).cpu().numpy()
    return scores


def _batches(
    queries: Rows, documents: Rows, lines: NDArray[np.int64], rows: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """Yield positions of pairs of similar length, longest first, in batches within the memory limit."""
    held = _lengths(queries, lines) + _lengths(documents, rows)
    if queries.kind != "sparse":
        held *= queries.width
    order, start = np.argsort(-held, kind="stable"), 0
    while start < len(order):
        step = max(1, _HELD // max(1, int(held[order[start]])))
        yield order[start : start + step]
        start += step


def _lengths(encoded: Rows, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of words or vectors of each chosen text."""
    offsets = encoded.arrays().get("offsets")
    if offsets is None:
        return np.ones(len(chosen), np.int64)
    rows = torch.from_numpy(chosen).to(offsets.device)
    return (offsets[rows + 1] - offsets[rows]).cpu().numpy()


def _picked(queries: Rows, documents: Rows, lines: Tensor, rows: Tensor) -> Tensor:
    """Return the inner products or late interactions of (P,) pairs."""
    if isinstance(queries, SparseRows):
        distinct, columns = rows.unique(return_inverse=True)
        there = reorder(documents, distinct).to(lines.device)
        return _sparse(cast(SparseRows, reorder(queries, lines)), cast(SparseRows, there), columns.to(lines.device))
    left, right = queries.take(lines), documents.take(rows).to(lines.device)
    if isinstance(left, Vectors):
        return maxsim_pairs(left, cast(Vectors, right))
    return dot_pairs(left, cast(Tensor, right))


def _sparse(queries: SparseRows, documents: SparseRows, rows: Tensor) -> Tensor:
    """Return the inner products of (P,) pairs, by looking up the query's words in its document, given by ``rows``."""
    counts = queries.offsets.diff()
    words = torch.repeat_interleave(rows, counts) * queries.width + queries.columns
    owners = torch.repeat_interleave(torch.arange(len(documents), device=rows.device), documents.offsets.diff())
    # The last key belongs to no word; it is found for words after all others.
    keys = torch.cat([owners * documents.width + documents.columns, words.new_tensor([-1])])
    weights = torch.cat([documents.values.float(), documents.values.new_zeros(1).float()])
    places = torch.searchsorted(keys[:-1], words)
    found = torch.where(keys[places] == words, weights[places], 0.0)
    return torch.segment_reduce(queries.values.float() * found, "sum", lengths=counts, unsafe=True)
