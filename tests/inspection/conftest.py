"""Pools from lists of scores."""

import numpy as np
import pyarrow as pa
import pytest

from limbeck.data.pool import Pool


@pytest.fixture
def pool():
    """Make a pool: scores of each list, best of the first stage first; how many positives stand in front of it."""

    def make(lists, *, positives=1, ranks=None, names=None):
        lengths = [len(scores) for scores in lists]
        rows = range(sum(lengths))
        labels = [int(i < positives) for length in lengths for i in range(length)]
        ranks = [i for length in lengths for i in range(1, length + 1)] if ranks is None else np.concatenate(ranks)
        return Pool(
            query_ids=names or [f"q{i}" for i in range(len(lists))],
            offsets=np.concatenate(([0], np.cumsum(lengths))),
            document_ids=pa.array([f"d{row}" for row in rows], pa.string()),
            labels=np.array(labels, dtype=np.int16),
            ranks=np.array(ranks, dtype=np.int32),
            scores=np.concatenate([np.asarray(scores, dtype=np.float32) for scores in lists]),
        )

    return make


@pytest.fixture
def clean(pool):
    """Make scores as a cross-encoder's are: logits, positives mostly on top, an order of its own."""

    def make(queries=60, documents=20, seed=0):
        generator = np.random.default_rng(seed)
        lists = generator.normal(-2.0, 2.0, (queries, documents))
        lists[:, 0] += generator.normal(4.0, 2.0, queries)
        return pool(list(lists), ranks=[generator.permutation(documents) + 1 for _ in range(queries)])

    return make
