import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from limbeck.data.pool import read_pool, write_pool
from limbeck.data.pooling import Pooling
from limbeck.data.sampling import Lists, ListSampler, Order
from limbeck.types import Ranking
from listing import document_ids


@pytest.fixture
def pool(tmp_path):
    documents = [f"d{i}" for i in range(30)]
    qrels = {f"q{i}": {f"d{i}": 1, f"d{i + 10}": 2} for i in range(6)}
    run = {query: Ranking(documents[:20], -np.arange(20.0)) for query in qrels}
    write_pool(tmp_path / "pool.arrow", Pooling().choose(qrels, run, document_ids(documents)))
    return read_pool(tmp_path / "pool.arrow")


def drawn(pool, sampler, seed, epoch, query):
    """A list as the formula has it, by itself: what is drawn for a seed must never change."""
    rows = range(*pool.rows(query).indices(len(pool.labels)))
    positives = [row for row in rows if pool.labels[row] > 0]
    negatives = [row for row in rows if pool.labels[row] <= 0][: sampler.negatives_depth]
    number = int.from_bytes(hashlib.blake2b(pool.query_ids[query].encode(), digest_size=8).digest(), "little")
    rng = np.random.default_rng([seed, epoch, number])
    chosen = []
    for places, count in ((positives, sampler.positives), (negatives, sampler.negatives)):
        kept = range(len(places))
        if len(places) > count:
            kept = sorted(rng.choice(len(places), count, replace=False).tolist())
        chosen += [places[i] for i in kept]
    return chosen


@pytest.mark.parametrize(
    "options",
    [{}, {"positives": 2, "negatives": 3}, {"negatives": 6, "negatives_depth": 8}, {"positives": 9, "negatives": 90}],
)
def test_batches_hold_what_the_formula_draws_for_each_query(pool, options):
    sampler = ListSampler(**options)
    pool = replace(pool, scores=np.arange(len(pool.labels), dtype=np.float32))
    batch = [(epoch, query) for epoch in range(5) for query in (4, 0, 5, 2)]
    lists = Lists(pool, sampler, seed=11)
    for (epoch, query), example in zip(batch, lists.__getitems__(batch), strict=True):
        rows = drawn(pool, sampler, 11, epoch, query)
        assert example.query_id == f"q{query}"
        assert example.document_ids == [pool.document_ids[row].as_py() for row in rows]
        assert list(example.teacher_scores) == rows
        assert list(example.labels) == [pool.labels[row] for row in rows]
        assert list(example.ranks) == [pool.ranks[row] for row in rows]
        assert lists[(epoch, query)].document_ids == example.document_ids


def test_draws_on_record(pool):
    """Lists of runs that exist can be drawn again."""
    lists = Lists(pool, ListSampler(positives=1, negatives=4), seed=3).__getitems__([(0, 0), (0, 1), (7, 0)])
    assert [example.document_ids for example in lists] == [
        ["d0", "d2", "d6", "d7", "d9"],
        ["d11", "d9", "d12", "d16", "d19"],
        ["d0", "d3", "d4", "d8", "d11"],
    ]


def test_a_list_depends_on_seed_epoch_and_query_alone(pool):
    sampler = ListSampler(positives=1, negatives=5)
    lists = Lists(pool, sampler, seed=3)
    first = [lists[(0, i)] for i in range(6)]
    again = [Lists(pool, ListSampler(positives=1, negatives=5, batch_size=2), 3)[(0, i)] for i in reversed(range(6))]
    assert [x.document_ids for x in first] == [x.document_ids for x in reversed(again)]
    assert any(lists[(1, i)].document_ids != first[i].document_ids for i in range(6))
    assert any(Lists(pool, sampler, 4)[(0, i)].document_ids != first[i].document_ids for i in range(6))


def test_lists_hold_positives_then_negatives_with_their_own_ranks(pool):
    for query in range(6):
        example = Lists(pool, ListSampler(positives=1, negatives=5, negatives_depth=8), 0)[(0, query)]
        assert len(set(example.document_ids)) == 6
        assert [label > 0 for label in example.labels] == [True] + [False] * 5
        rank = {f"d{i}": i + 1 for i in range(20)}
        assert [rank[document] for document in example.document_ids] == list(example.ranks)
        judged = {f"d{query}", f"d{query + 10}"}
        assert not judged & set(example.document_ids[1:])
        assert max(example.ranks[1:]) <= 10  # eight negatives deep, two positives may stand among them


def test_every_negative_is_drawn_about_equally_often(pool):
    lists = Lists(pool, ListSampler(negatives=6), seed=1)
    counts = Counter(d for epoch in range(600) for d in lists[(epoch, 0)].document_ids[1:])
    assert len(counts) == 18
    assert min(counts.values()) > 0.75 * 200
    assert max(counts.values()) < 1.25 * 200


def test_short_pools_give_short_lists(pool):
    assert len(Lists(pool, ListSampler(positives=5, negatives=50), 0)[(0, 0)].document_ids) == 2 + 18


@pytest.mark.parametrize("world", [2, 4])
def test_a_step_holds_the_same_queries_whatever_the_number_of_processes(world):
    alone = list(Order(7, 10, 8, seed=5))
    shared = [list(Order(7, 10, 8 // world, seed=5, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(alone):
        assert sorted(draw for part in shared for draw in part[step]) == sorted(batch)


def test_an_epoch_visits_each_query_once_and_a_resumed_order_goes_on():
    order = Order(7, 14, 4, seed=5)
    flat = [draw for batch in order for draw in batch]
    for epoch in range(8):
        assert sorted(q for e, q in flat if e == epoch) == list(range(7))
    whole = list(order)
    order.start = 9
    assert list(order) == whole[9:]
    assert len(order) == 14


@pytest.mark.parametrize(("name", "value"), [("workers", 257), ("workers", -1), ("batch_size", 2**20 + 1)])
def test_more_than_a_machine_has(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be >= . and <= "):
        ListSampler(**{name: value})


@pytest.mark.parametrize("name", ["positives", "negatives", "batch_size", "negatives_depth"])
def test_options_out_of_range(name):
    with pytest.raises(ValueError, match=f"^{name} must be >= 1"):
        ListSampler(**{name: 0})
