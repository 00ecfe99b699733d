"""The index of BM25: built block by block, and searched as inverted lists.

bm25s has the formula and the format of the index. But it holds every term of a collection as a Python object while it
builds one, and looks at all documents for each query: both are too much from a million documents on. Scores and
rankings here are those of bm25s to the bit.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.evaluation import postings

Terms = Sequence[str]
Found = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Positions of documents, and their scores; in no order."""


@dataclass
class _Block:
    """How often which term is in which document."""

    lengths: NDArray[np.int64]
    """Terms of each document."""
    documents: NDArray[np.int32]
    """Position in the block; ascending."""
    terms: NDArray[np.int32]
    counts: NDArray[np.float32]


def build(blocks: Iterable[Sequence[Terms]], *, k1: float, b: float) -> Any:
    r"""Build an index of bm25s, Lucene's variant of BM25, whose memory is 20 bytes for each term of a document.

    .. math::

        w(t, d) = \ln\left(1 + \frac{N - n_t + 0.5}{n_t + 0.5}\right)
        \frac{f_{td}}{f_{td} + k_1 (1 - b + b \, |d| / \overline{|d|})}

    Parameters
    ----------
    blocks
        The documents in order, block by block, each as its terms.
    k1, b
        Term saturation and length normalisation.

    Returns
    -------
    bm25s.BM25
        Weights by term, and the vocabulary.
    """
    import bm25s

    numbers: dict[str, int] = {}
    counted = [_count(block, numbers) for block in blocks]
    lengths = np.concatenate([np.empty(0, np.int64), *(each.lengths for each in counted)])
    frequencies = np.zeros(len(numbers), dtype=np.int64)
    for each in counted:
        frequencies += np.bincount(each.terms, minlength=len(numbers))
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    index.vocab_dict = numbers
    index.nonoccurrence_array = None
    index.scores = _by_term(counted, lengths, frequencies, k1=k1, b=b)
    return index


def _count(block: Sequence[Terms], numbers: dict[str, int]) -> _Block:
    """Count the terms of each document; new terms get the next number."""
    lengths = np.fromiter(map(len, block), dtype=np.int64, count=len(block))
    every = [numbers.setdefault(term, len(numbers)) for document in block for term in document]
    pairs = np.repeat(np.arange(len(block)), lengths) * len(numbers) + np.array(every, dtype=np.int64)
    distinct, counts = np.unique(pairs, return_counts=True)
    documents, terms = np.divmod(distinct, max(len(numbers), 1))
    return _Block(lengths, documents.astype(np.int32), terms.astype(np.int32), counts.astype(np.float32))


def _by_term(
    counted: list[_Block], lengths: NDArray[np.int64], frequencies: NDArray[np.int64], *, k1: float, b: float
) -> dict[str, Any]:
    """Weigh the terms of documents, and sort them by term, then document."""
    from bm25s.scoring import _build_idf_array, _score_idf_lucene, _score_tfc_lucene

    idf = _build_idf_array(dict(enumerate(frequencies.tolist())), len(lengths), _score_idf_lucene)
    pointers = np.concatenate(([0], np.cumsum(frequencies)))
    free = pointers[:-1].copy()
    data = np.empty(pointers[-1], dtype=np.float32)
    indices = np.empty(pointers[-1], dtype=np.int32)
    mean, first = lengths.mean(), 0
    while counted:
        each = counted.pop(0)  # its memory is free after this turn
        documents = each.documents + np.int32(first)
        weights = idf[each.terms] * _score_tfc_lucene(each.counts, lengths[documents], mean, k1, b)
        order = np.argsort(each.terms, kind="stable")
        terms, starts, counts = np.unique(each.terms[order], return_index=True, return_counts=True)
        places = np.arange(len(order)) + np.repeat(free[terms] - starts, counts)
        data[places], indices[places] = weights[order], documents[order]
        free[terms] += counts
        first += len(each.lengths)
    return {"data": data, "indices": indices, "indptr": pointers, "num_docs": len(lengths)}


def search(index: Any, queries: Sequence[Terms], depth: int, *, threads: int = 1) -> Iterator[list[Found]]:
    """Find the best documents of each query; of those that tie for the last place, all.

    Parameters
    ----------
    index
        As :func:`build` returns it, or loaded.
    queries
        Their terms.
    depth
        Documents wanted for each query. Those that share no term with it are not found.
    threads
        That search at the same time.

    Yields
    ------
    list
        What is found for the next queries, in their order.
    """
    parts = index.scores
    weights, documents, starts = (np.asarray(parts[name]) for name in ("data", "indices", "indptr"))
    lists = postings.Postings(weights, documents, starts, parts["num_docs"])
    asked = postings.Queries.unweighted([index.get_tokens_ids(terms) for terms in queries])
    for found in postings.search(lists, asked, depth, threads=threads):
        yield list(found.each())
