"""Exact search and re-ranking: ties, shares, scores that are no numbers."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from limbeck.encodings import rows
from limbeck.evaluation.best import Best
from limbeck.evaluation.ranking import _compare, check_finite, merge, without_own
from limbeck.types import Ranking, order

RANKER = SimpleNamespace(similarity=lambda queries, documents: queries @ documents.T, kind="dense")


def dense(table):
    return rows("dense", {"values": torch.tensor(table, dtype=torch.float32)}, len(table[0]))


def ranked(documents, cuts, depth, queries=((1.0, 0.0), (0.0, 1.0))):
    ids = [f"d{i}" for i in range(len(documents))]
    best = Best(2, depth, lambda rows: [ids[row] for row in rows])
    for a, b in pairwise(cuts):
        _compare(RANKER, ["p", "q"], dense(queries), ids[a:b], dense(documents[a:b]), best, a)
    return dict(zip("pq", best.rankings(), strict=True))


def test_ties_at_the_border_are_broken_by_id_however_the_collection_is_cut():
    rng = np.random.default_rng(0)
    documents = rng.integers(0, 3, (40, 2)).astype(float).tolist()  # many documents tie
    ids = [f"d{i}" for i in range(40)]
    for depth in (1, 7, 39, 60):
        expected = {q: order(ids, np.array(documents)[:, k], depth).ids for k, q in enumerate("pq")}
        for cuts in ([0, 40], [0, 1, 2, 40], [0, 13, 27, 40]):
            found = ranked(documents, cuts, depth)
            assert {query: ranking.ids for query, ranking in found.items()} == expected


def test_a_score_that_is_no_number_names_query_and_document():
    documents = [[1.0, 1.0]] * 9 + [[1.0, float("nan")]]
    with pytest.raises(ValueError, match="document d9 for query p is nan"):
        ranked(documents, [0, 10], 3)
    with pytest.raises(ValueError, match="document b for query q is inf"):
        check_finite({"p": Ranking(["a"], np.ones(1)), "q": Ranking(["a", "b"], np.array([1.0, np.inf]))})


def test_a_query_is_dropped_from_its_own_ranking_before_the_cut():
    run = {"q": Ranking(["q", "a", "b"], np.array([3.0, 2.0, 1.0])), "a": Ranking(["b"], np.ones(1))}
    assert {query: ranking.ids for query, ranking in without_own(run, 2).items()} == {"q": ["a", "b"], "a": ["b"]}


def test_merged_shares_are_the_whole():
    rng = np.random.default_rng(1)
    table = rng.integers(0, 4, (30, 2)).astype(float)
    ids = [f"d{i}" for i in range(30)]
    shares = [
        {q: order(ids[i::3], table[i::3, k], 5) for k, q in enumerate("pq")} for i in range(3)
    ]  # fmt: skip
    whole = {q: order(ids, table[:, k], 5) for k, q in enumerate("pq")}
    merged = merge(shares, 5)
    for query in "pq":
        assert merged[query].ids == whole[query].ids
        np.testing.assert_array_equal(merged[query].scores, whole[query].scores)
