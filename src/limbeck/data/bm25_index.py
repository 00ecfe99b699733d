"""The index of BM25: built block by block, and searched as inverted lists.

bm25s provides the formula and the format of the index. But while building, it holds every term of a collection as a
Python object, and for each query it scores all documents: both cost too much from a million documents on. Scores and
rankings here equal those of bm25s bit by bit.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from limbeck import room
from limbeck.evaluation import postings
from limbeck.progress import Step
from limbeck.unfinished import whole_file

Terms = Sequence[str]
Found = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Positions of documents and their scores, unordered."""

WEIGHT = 8
"""Bytes per posting of an index: a document and a weight."""

_INSTEAD = "take candidates=dense, or candidates=run with a run file of another program"


class _Block(NamedTuple):
    """Term frequencies in the documents of a block."""

    lengths: NDArray[np.int64]
    """Number of terms of each document."""
    documents: NDArray[np.int32]
    """Position of the document in the block; ascending."""
    terms: NDArray[np.int32]
    counts: NDArray[np.float32]
    new: NDArray[np.uint8]
    """Terms that no earlier block has, in the order of their numbers, as UTF-8 lines."""


def build(
    blocks: Iterable[Sequence[str]],
    analyse: Callable[[list[str]], Sequence[Terms]],
    folder: Path,
    *,
    k1: float,
    b: float,
    total: int,
    label: str,
) -> Any:
    r"""Build an index in bm25s's format, Lucene's variant of BM25, in 8 bytes of memory per posting.

    ```math
    w(t, d) = \ln\left(1 + \frac{N - n_t + 0.5}{n_t + 0.5}\right)
    \frac{f_{td}}{f_{td} + k_1 (1 - b + b \, |d| / \overline{|d|})}
    ```

    Terms are counted block by block. The counts of each block are written to a file, so that a killed process loses
    only one block.

    Parameters
    ----------
    blocks
        The texts of the documents in order, always in the same blocks.
    analyse
        Returns the terms of texts.
    folder
        Folder of the counts; not needed after the build.
    k1, b
        Term saturation and length normalisation.
    total
        Number of documents, for the progress bar.
    label
        What is built, for the progress bar.

    Returns
    -------
    bm25s.BM25
        Weights by term, and the vocabulary.

    Raises
    ------
    ConfigError
        The weights do not fit into memory; their number is known once all terms are counted.
    """
    import bm25s

    folder.mkdir(exist_ok=True)
    numbers: dict[str, int] = {}
    paths: list[Path] = []
    with Step(label, total, "documents", needs=lambda: _needs(paths, total, step.done, folder)) as step:
        for at, block in enumerate(blocks):
            step.begin(len(block))
            paths.append(_counted(folder / f"{at:06d}.npz", block, analyse, numbers))
            step.advance(len(block))
    lengths = np.concatenate([np.empty(0, np.int64), *(_read(path, "lengths") for path in paths)])
    frequencies = np.zeros(len(numbers), dtype=np.int64)
    for path in paths:
        frequencies += np.bincount(_read(path, "terms"), minlength=len(numbers))
    room.check_memory(WEIGHT * int(frequencies.sum()), label, _INSTEAD)
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    index.vocab_dict = numbers
    index.nonoccurrence_array = None
    index.scores = _by_term(paths, lengths, frequencies, k1=k1, b=b)
    return index


def _needs(paths: Sequence[Path], total: int, done: float, folder: Path) -> str:
    """Return the size of the finished index in words, estimated from the documents counted so far."""
    if not done:
        return ""
    factor = total / done
    weights = WEIGHT * factor * sum(len(_read(path, "terms")) for path in paths)
    counts = factor * sum(path.stat().st_size for path in paths)
    return room.words(memory=weights, disk=weights + counts, folder=folder.parent, instead=_INSTEAD)


def _counted(
    path: Path, texts: Sequence[str], analyse: Callable[[list[str]], Sequence[Terms]], numbers: dict[str, int]
) -> Path:
    """Count the terms of some documents unless their file exists; new terms get the next numbers."""
    if path.exists():
        for term in _read(path, "new").tobytes().decode().split("\n")[:-1]:
            numbers[term] = len(numbers)
        return path
    block = _count(analyse(list(texts)), numbers)
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **block._asdict())
        file.flush()
        os.fsync(file.fileno())
    return path


def _read(path: Path, name: str) -> NDArray[Any]:
    with np.load(path) as arrays:
        return arrays[name]


def _count(block: Sequence[Terms], numbers: dict[str, int]) -> _Block:
    """Count the terms of each document."""
    known = len(numbers)
    lengths = np.fromiter(map(len, block), dtype=np.int64, count=len(block))
    every = [numbers.setdefault(term, len(numbers)) for document in block for term in document]
    pairs = np.repeat(np.arange(len(block)), lengths) * len(numbers) + np.array(every, dtype=np.int64)
    distinct, counts = np.unique(pairs, return_counts=True)
    documents, terms = np.divmod(distinct, max(len(numbers), 1))
    new = list(islice(reversed(numbers), len(numbers) - known))[::-1]
    return _Block(
        lengths,
        documents.astype(np.int32),
        terms.astype(np.int32),
        counts.astype(np.float32),
        np.frombuffer("".join(f"{term}\n" for term in new).encode(), np.uint8),
    )


def _by_term(
    paths: Sequence[Path], lengths: NDArray[np.int64], frequencies: NDArray[np.int64], *, k1: float, b: float
) -> dict[str, Any]:
    """Compute the weights, sorted by term, then document."""
    from bm25s.scoring import _build_idf_array, _score_idf_lucene, _score_tfc_lucene

    idf = _build_idf_array(dict(enumerate(frequencies.tolist())), len(lengths), _score_idf_lucene)
    pointers = np.concatenate(([0], np.cumsum(frequencies)))
    free = pointers[:-1].copy()
    data = np.empty(pointers[-1], dtype=np.float32)
    indices = np.empty(pointers[-1], dtype=np.int32)
    mean, first = lengths.mean(), 0
    for path in paths:
        with np.load(path) as arrays:
            each = _Block(**arrays)
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
    """Find the best documents of each query, including all that tie for the last place.

    Parameters
    ----------
    index
        As ``build`` returns it, or loaded from disk.
    queries
        Terms of each query.
    depth
        Documents wanted for each query; documents without a common term are never found.
    threads
        Number of threads.

    Yields
    ------
    list
        The documents found for the next queries, in order.
    """
    parts = index.scores
    weights, documents, starts = (np.asarray(parts[name]) for name in ("data", "indices", "indptr"))
    lists = postings.Postings(weights, documents, starts, parts["num_docs"])
    asked = postings.Queries.unweighted([index.get_tokens_ids(terms) for terms in queries])
    for found in postings.search(lists, asked, depth, threads=threads):
        yield list(found.each())
