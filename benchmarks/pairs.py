"""Sparse search and re-ranking of many queries, beside what one would write with SciPy and tables of all products.

``python benchmarks/pairs.py`` draws encodings of the sizes of trained students: about 140 words a document and 28 a
query by Zipf's law, 20 to 120 vectors of 128 a document and 32 a query. Seconds are those of the processor; with
``OMP_NUM_THREADS=1`` one core is measured. Re-ranking by a table, which compares the queries of 256 documents with each
of them, is measured on one block.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from limbeck.compare import pairwise, products
from limbeck.encodings import Kind, MultiRows, Rows, SparseRows, reorder, rows
from limbeck.evaluation import postings
from limbeck.evaluation.best import Best
from limbeck.search.inverted import Inverted
from limbeck.search.ranking import rerank
from limbeck.search.shards import Store
from limbeck.similarity import dot, maxsim
from limbeck.types import Run, order

WORDS, WIDTH, SHARD = 30_522, 128, 8192
DEPTH = 100
CANDIDATES = 20
BLOCK = 256
"""Documents of a table."""


def sparse(count: int, length: int, rng: np.random.Generator) -> SparseRows:
    """Draw weights of words by Zipf's law; a word that comes twice counts once."""
    chance = np.cumsum(1 / (np.arange(WORDS) + 30))
    drawn = np.searchsorted(chance / chance[-1], rng.random((count, length)))
    words = np.unique(drawn + WORDS * np.arange(count)[:, None])
    offsets = np.searchsorted(words, WORDS * np.arange(count + 1))
    weights = rng.gamma(1.5, 0.5, len(words)).astype(np.float32)
    arrays = (torch.from_numpy(each) for each in (offsets, (words % WORDS).astype(np.int32), weights))
    return SparseRows(*arrays, width=WORDS)


def encode(kind: Kind, count: int, role: str, rng: np.random.Generator) -> Rows:
    if kind == "sparse":
        return sparse(count, 28 if role == "query" else 150, rng)
    if kind == "dense":
        return rows(kind, {"values": torch.from_numpy(rng.standard_normal((count, WIDTH), np.float32))})
    lengths = np.full(count, 32) if role == "query" else rng.integers(20, 121, count)
    offsets = np.concatenate([[0], lengths.cumsum()])
    return MultiRows(torch.from_numpy(offsets), torch.from_numpy(rng.standard_normal((offsets[-1], WIDTH), np.float32)))


def filled(kind: Kind, documents: int, folder: Path, rng: np.random.Generator) -> Store:
    """Write a store of random encodings."""
    store = Store.open(folder, {"kind": kind, "dtype": "float16", "shard_size": SHARD}, {})
    for number, start in enumerate(range(0, documents, SHARD)):
        count = min(SHARD, documents - start)
        store.write(number, [str(start + row) for row in range(count)], encode(kind, count, "document", rng))
    store.finish(documents)
    return store


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a function returns, and its seconds of processor time."""
    start = time.process_time()
    found = call()
    return found, time.process_time() - start


def by_scipy(queries: SparseRows, store: Store, depth: int) -> list[np.ndarray]:
    """Find the best scores of each query by products of sparse matrices, a shard at a time."""
    from scipy import sparse as matrices

    def matrix(encoded: Rows) -> Any:
        arrays = {name: value.numpy() for name, value in encoded.arrays().items()}
        parts = (arrays["values"].astype(np.float32), arrays["columns"], arrays["offsets"])
        return matrices.csr_matrix(parts, shape=(len(encoded), WORDS))

    found: list[list[np.ndarray]] = [[] for _ in range(len(queries))]
    for shard in store.shards():
        lists = matrix(shard.rows).T.tocsr()
        for start in range(0, len(queries), 256):
            scores = matrix(queries.part(start, start + 256)) @ lists
            for line, values in enumerate(np.split(scores.data, scores.indptr[1:-1]), start):
                found[line].append(np.partition(values, -depth)[-depth:] if len(values) > depth else values)
    return [np.sort(np.concatenate(each))[: -depth - 1 : -1] for each in found]


def searched(documents: int, queries: int, root: Path, rng: np.random.Generator) -> None:
    """Search sparse weights by our inverted lists and by SciPy."""
    store, asked, backend = filled("sparse", documents, root, rng), sparse(queries, 28, rng), Inverted()
    lists = root / "inverted"
    lists.mkdir()
    backend.build(store, lists)
    best, ranker = Best(queries, DEPTH, store.names), SimpleNamespace(scale=1.0)
    if queries * documents >= postings._COMPILED_FROM:
        postings._compiled()  # two seconds that count for nothing where there is much to do
    _, ours = timed(lambda: backend.search(ranker, asked, store, lists, best, range(len(store))))  # pyright: ignore[reportArgumentType]
    theirs, scipy = timed(lambda: by_scipy(asked, store, DEPTH))
    for ranking, scores in zip(best.rankings(), theirs, strict=True):
        np.testing.assert_array_equal(ranking.scores, scores)
    pairs = queries * documents
    print(f"| inverted lists | {pairs:,} | {1e9 * ours / pairs:.1f} ns | SciPy | {scipy / ours:.1f} |")


def reranked(kind: Kind, documents: int, queries: int, root: Path, rng: np.random.Generator) -> None:
    """Re-rank candidates pair by pair, and a block of documents by a table."""
    store, asked = filled(kind, documents, root, rng), encode(kind, queries, "query", rng)
    ranker: Any = SimpleNamespace(scale=1.0, similarity=maxsim if kind == "multi" else dot)
    first: Run = {
        str(number): order([str(row) for row in rng.choice(documents, CANDIDATES, replace=False)], np.ones(CANDIDATES))
        for number in range(queries)
    }
    _, ours = timed(lambda: rerank(ranker, list(first), asked, store, first))
    lines = rng.choice(queries, min(queries, BLOCK), replace=False)
    places, block = np.arange(len(lines)), store.shard(0).rows.part(0, len(lines))
    picked = pairwise(ranker, asked, block, lines, places)  # the files are read from the disk once
    _, one = timed(lambda: pairwise(ranker, asked, block, lines, places))
    table, other = timed(lambda: products(ranker, reorder(asked, torch.from_numpy(lines)), block).numpy())
    np.testing.assert_allclose(picked, table[places, places], rtol=1e-5, atol=1e-4)
    pairs = queries * CANDIDATES
    print(f"| re-ranking, {kind} | {pairs:,} | {1e6 * ours / pairs:.1f} µs | a table | {other / one:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=5_000)
    asked, rng = parser.parse_args(), np.random.default_rng(1)
    print("| work | pairs | a pair | beside | times as fast |\n|---|---:|---:|---|---:|")
    with tempfile.TemporaryDirectory() as folder:
        searched(asked.documents, asked.queries, Path(folder) / "searched", rng)
        for kind in ("dense", "sparse", "multi"):
            reranked(kind, asked.documents, asked.queries, Path(folder) / kind, rng)


if __name__ == "__main__":
    main()
