"""The index of BM25 is that of bm25s, and so are its rankings, however it is built and searched."""

import bm25s
import numpy as np
import pytest

from limbeck.data import bm25_index
from limbeck.evaluation import postings


def terms(rng, count, longest, words=60):
    """Texts of frequent and rare words; some are empty."""
    lengths = rng.integers(0, longest, count)
    return [[f"w{n}" for n in (words * rng.random(length) ** 3).astype(int)] for length in lengths]


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(3)
    return terms(rng, 500, 30), [*terms(rng, 40, 6), ["unknown"], [], ["w1", "w1", "unknown", "w5"]]


def built(blocks, folder, k1, b, analyse=lambda texts: [text.split() for text in texts]):
    texts = ([" ".join(terms) for terms in block] for block in blocks)
    return bm25_index.build(texts, analyse, folder, k1=k1, b=b, total=500, label="BM25 index")


def theirs(documents, k1, b):
    index = bm25s.BM25(k1=k1, b=b, method="lucene")
    index.index(documents, show_progress=False)
    return index


@pytest.mark.parametrize(
    ("k1", "b", "size", "count"),
    [(0.9, 0.4, 1, 60), (0.9, 0.4, 7, 500), (0.9, 0.4, 500, 500), (1.2, 1.0, 7, 500), (0.0, 0.0, 7, 500)],
)
def test_weights_are_those_of_bm25s_to_the_bit(world, tmp_path, k1, b, size, count):
    documents, queries = world[0][:count], world[1]
    expected = theirs(documents, k1, b)
    blocks = (documents[start : start + size] for start in range(0, len(documents), size))
    found = built(blocks, tmp_path, k1, b)
    assert found.vocab_dict.keys() == expected.vocab_dict.keys() - {""}
    for query in queries:
        if query:
            np.testing.assert_array_equal(found.get_scores(query), expected.get_scores(query))


def test_a_killed_process_loses_the_block_at_work(world, tmp_path):
    documents, _ = world
    blocks = [documents[start : start + 90] for start in range(0, len(documents), 90)]
    analysed = []

    def dies(texts):
        if len(analysed) == 3:
            raise KeyboardInterrupt
        analysed.append(len(texts))
        return [text.split() for text in texts]

    with pytest.raises(KeyboardInterrupt):
        built(blocks, tmp_path / "killed", 0.9, 0.4, dies)
    (tmp_path / "killed" / ".000003.npz.unfinished").write_bytes(b"half of it")
    again = []
    found = built(blocks, tmp_path / "killed", 0.9, 0.4, lambda texts: again.append(1) or [t.split() for t in texts])
    assert (len(analysed), len(again)) == (3, len(blocks) - 3)
    whole = built(blocks, tmp_path / "whole", 0.9, 0.4)
    assert list(found.vocab_dict.items()) == list(whole.vocab_dict.items())
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(found.scores[name], whole.scores[name])


def rankings(index, queries, depth, **options):
    """Documents by score, then position, of each query."""
    found = [each for block in bm25_index.search(index, queries, depth, **options) for each in block]
    return [sorted(zip(values.tolist(), rows.tolist(), strict=True), reverse=True) for rows, values in found]


@pytest.mark.parametrize("depth", [1, 10, 1000])
def test_the_best_are_found_with_all_that_tie_for_the_last_place(world, tmp_path, monkeypatch, depth):
    documents, queries = world
    index = built([documents], tmp_path, 0.0, 0.0)  # counts nothing but which terms are there: many ties
    monkeypatch.setattr(postings, "_QUERIES", 5)
    expected = theirs(documents, 0.0, 0.0)
    tied = False
    for query, ranking in zip(queries, rankings(index, queries, depth, threads=2), strict=True):
        scores = expected.get_scores(query) if query else np.zeros(len(documents), np.float32)
        every = sorted(((float(score), row) for row, score in enumerate(scores) if score), reverse=True)
        last = every[depth - 1][0] if depth < len(every) else 0
        wanted = [each for each in every if each[0] >= last]
        assert ranking == wanted
        tied |= len(wanted) > depth
    assert tied == (depth < 1000)
