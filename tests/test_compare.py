"""Chosen pairs score as they do among all, whichever way they are taken."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from limbeck import compare
from limbeck.compare import pairwise, products
from limbeck.encodings import compact, rows
from limbeck.similarity import dot, maxsim
from limbeck.types import Vectors

KINDS = ["dense", "sparse", "multi"]


def ranker(kind):
    def similarity(queries, documents):
        return 2.5 * (maxsim if kind == "multi" else dot)(queries, documents)

    return SimpleNamespace(scale=2.5, similarity=similarity)


def encoded(kind, count, seed):
    """Texts of many lengths; every seventh has no word or vector."""
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(count, 9, 12, generator=draw)
    length = torch.randint(1, 10, (count,), generator=draw)
    length[::7] = 0
    mask = torch.arange(9) < length.unsqueeze(1)
    if kind == "multi":
        return compact(Vectors(values, mask), "multi")
    weights = values[:, 0] if kind == "dense" else values[:, 0].relu() * mask[:, :1]
    return compact(weights, kind)


@pytest.fixture
def tables(monkeypatch):
    """Sizes of the tables that were computed."""
    made = []
    monkeypatch.setattr(compare, "products", lambda *given: made.append(products(*given)) or made[-1])
    return made


@pytest.mark.parametrize("held", [1, 100, 10**6])
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_score_as_they_do_in_the_table_of_all(kind, held, tables, monkeypatch):
    queries, documents = encoded(kind, 30, 1), encoded(kind, 50, 2)
    rng = np.random.default_rng(3)
    lines, places = rng.integers(0, 30, 200), rng.integers(0, 50, 200)  # some of them twice
    wanted = products(ranker(kind), queries, documents).numpy()[lines, places]
    monkeypatch.setattr(compare, "_DOCUMENTS", 7)
    monkeypatch.setattr(compare, "_HELD", held)
    for spared, computed in ((0, 0), (10**6, 8)):
        monkeypatch.setattr(compare, "_SPARED", dict.fromkeys(KINDS, spared))
        found = pairwise(ranker(kind), queries, documents, lines, places)
        np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-6)
        assert len(tables) == computed
    assert found.dtype == np.float32
    assert {table.shape[1] for table in tables} <= {7, len(set(places)) % 7}


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_queries_and_few_pairs_no_table_is_made(kind, tables, monkeypatch):
    queries, documents = encoded(kind, 300, 1), encoded(kind, 300, 2)
    few = np.arange(compare._DOCUMENTS)
    pairwise(ranker(kind), queries, documents, few, few)
    assert not tables
    every = np.divmod(np.arange(300 * 20), 20)
    together = pairwise(ranker(kind), queries, documents, *every)
    assert [table.shape for table in tables] == [(300, 20)]
    monkeypatch.setattr(compare, "_ASKED", 120)
    order = np.random.default_rng(0).permutation(len(together))
    apart = pairwise(ranker(kind), queries, documents, *(each[order] for each in every))
    assert [table.shape for table in tables[1:]] == [(120, 20), (120, 20), (60, 20)]
    np.testing.assert_allclose(apart, together[order], atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("kind", ["sparse", "multi"])
def test_texts_without_anything_and_halves(kind):
    queries, documents = encoded(kind, 8, 1), encoded(kind, 8, 2)
    half = rows(kind, documents.arrays() | {"values": documents.arrays()["values"].half()}, 12)
    empty, there = (np.array([0, 0, 1]), np.array([0, 1, 7])), np.arange(1, 7)  # texts 0 and 7 have nothing
    assert pairwise(ranker(kind), queries, half, *empty).tolist() == [0, 0, 0]
    found = pairwise(ranker(kind), queries, half, there, there)
    table = products(ranker(kind), queries, documents).numpy()
    np.testing.assert_allclose(found, table.diagonal()[there], rtol=2e-3, atol=2e-3)
    assert found.any()


def test_batches_hold_no_more_than_allowed_and_every_pair_once(monkeypatch):
    queries, documents = encoded("multi", 30, 1), encoded("multi", 50, 2)
    rng = np.random.default_rng(3)
    lines, places = rng.integers(0, 30, 200), rng.integers(0, 50, 200)
    monkeypatch.setattr(compare, "_HELD", 1000)
    batches = list(compare._batches(queries, documents, lines, places))
    assert sorted(np.concatenate(batches)) == list(range(200))
    lengths = [each.arrays()["offsets"].diff().numpy() for each in (queries, documents)]
    held = [max(lengths[0][lines[batch]] + lengths[1][places[batch]]) * 12 * len(batch) for batch in batches]
    assert max(held) <= 1000
    assert len(batches) < 60
