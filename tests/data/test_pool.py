"""Pools: chosen, written, read, and shared between processes."""

import logging
import os
import tracemalloc
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from limbeck.config import ConfigError
from limbeck.data import pooling
from limbeck.data.pool import read_pool, write_pool
from limbeck.data.pooling import Pooling
from limbeck.types import Ranking
from listing import document_ids

QRELS = {"q1": {"a": 2, "b": 0, "z": 1}, "q2": {"c": 0}, "q3": {"d": 1}}
RUN = {"q1": Ranking(["b", "a", "c"], np.array([3.0, 2.0, 1.0])), "q2": Ranking(["a"], np.array([1.0]))}
DOCUMENTS = document_ids(["a", "b", "c", "d", "e"])


def pool(tmp_path, **options):
    write_pool(tmp_path / "pool.arrow", Pooling(**options).choose(QRELS, RUN, DOCUMENTS))
    return read_pool(tmp_path / "pool.arrow")


def world(seed, queries=12):
    """Judgments with grades 0 to 3 over 200 documents, and rankings of 60 that miss some positives."""
    rng = np.random.default_rng(seed)
    documents = [f"d{i}" for i in range(200)]
    qrels, run = {}, {}
    for i in range(queries):
        judged = rng.choice(220, 25, replace=False)  # some are not in the collection
        qrels[f"q{i}"] = {f"d{j}": int(grade) for j, grade in zip(judged, rng.integers(0, 4, 25), strict=True)}
        if i:  # the first query has no candidates
            found = [documents[j] for j in rng.choice(200, 60, replace=False)]
            run[f"q{i}"] = Ranking(found, -np.arange(60, dtype=np.float32))
    return qrels, run, document_ids(documents)


def test_positives_first_then_candidates_with_ranks(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        found = pool(tmp_path)
    assert found.query_ids == ["q1", "q3"]
    assert found.documents(0) == ["a", "b", "c"]
    assert found.labels[found.rows(0)].tolist() == [2, 0, 0]
    assert found.ranks[found.rows(0)].tolist() == [2, 1, 3]
    assert found.documents(1) == ["d"]
    assert found.ranks[found.rows(1)].tolist() == [1]  # no candidate: just behind an empty list
    assert "1 of 3 training queries have no positive" in caplog.text
    assert "1 positives are judged but not in the collection" in caplog.text
    assert "1 training queries have no candidates" in caplog.text
    assert "1 training queries have no negative" in caplog.text
    assert found.counts == {
        "queries": 2, "pairs": 4, "positives": 2, "positives_among_the_candidates": 1, "negatives": 2,
        "random_documents": 0, "queries_without_candidates": 1, "queries_without_negatives": 1,
        "left_out": {
            "queries_without_a_positive": 1, "positives_not_in_the_collection": 1, "positives_over_the_limit": 0,
            "negatives_outside_the_window": 0, "negatives_over_the_limit": 0,
        },
    }  # fmt: skip


def test_random_documents_are_new_stand_behind_and_never_change(tmp_path):
    found = pool(tmp_path, random_documents=2)
    documents = found.documents(0)
    assert documents[:3] == ["a", "b", "c"]
    assert set(documents[3:]) == {"d", "e"}
    assert found.ranks[found.rows(0)].tolist() == [2, 1, 3, 4, 4]
    assert pool(tmp_path, random_documents=2).documents(0) == documents


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"first_rank": 11, "last_rank": 30},
        {"first_rank": 55},
        {"last_rank": 5, "random_documents": 7},
        {"negatives": 6},
        {"negatives": 6, "negatives_by": "top", "first_rank": 4},
        {"negatives": 0, "random_documents": 3},
        {"relevant": 2, "positives": 2},
        {"relevant": 3, "positives": 1, "negatives": 5, "first_rank": 2, "last_rank": 40, "random_documents": 2},
    ],
)
def test_a_pool_equals_one_chosen_by_a_loop(seed, options):
    qrels, run, documents = world(seed)
    found = Pooling(**options).choose(qrels, run, documents)
    first, last = options.get("first_rank", 1), options.get("last_rank") or 10**9
    lowest, most, limit = options.get("relevant", 1), options.get("positives"), options.get("negatives")
    seen = []
    for i, query in enumerate(found.query_ids):
        ranking = run[query].ids if query in run else []
        relevant = {document for document, grade in qrels[query].items() if grade >= lowest}
        here = relevant & set(documents)
        rows = found.rows(i)
        chosen = list(zip(found.documents(i), found.labels[rows].tolist(), found.ranks[rows].tolist(), strict=True))
        assert len({document for document, _, _ in chosen}) == len(chosen)
        positives = [(document, label) for document, label, _ in chosen if label > 0]
        for document, label in positives:
            assert document in here
            assert label == qrels[query][document]
        if most is None:
            assert {document for document, _ in positives} == here
        else:
            assert len(positives) == min(most, len(here))
            assert (
                min(label for _, label in positives) >= sorted((qrels[query][d] for d in here), reverse=True)[most - 1]
            )
        others = [(document, rank) for document, label, rank in chosen if label == 0]
        assert not relevant & {document for document, _ in others}  # not even those over the limit
        for document, _, rank in chosen:  # π is the 1-based position in the source ranking, or behind its end
            assert rank == (ranking.index(document) + 1 if document in ranking else len(ranking) + 1)
        window = [(d, r) for r, d in enumerate(ranking, 1) if first <= r <= last and d not in relevant]
        mined = [(document, rank) for document, rank in others if document in ranking]
        extra = [document for document, _ in others if document not in ranking]
        assert len(extra) == options.get("random_documents", 0)
        if limit is None:
            assert mined == window
        elif options.get("negatives_by") == "top":
            assert mined == window[:limit]
        else:
            assert len(mined) == min(limit, len(window))
            assert set(mined) <= set(window)
            assert mined == sorted(mined, key=lambda item: item[1])
        seen.append(query)
    assert seen == [q for q, judged in qrels.items() if any(g >= lowest and d in documents for d, g in judged.items())]
    counts = found.counts
    assert (
        counts["pairs"] == len(found.labels) == counts["positives"] + counts["negatives"] + counts["random_documents"]
    )
    assert counts["positives"] == int((found.labels > 0).sum())


def test_nothing_that_was_found_disappears_uncounted():
    qrels, run, documents = world(5)
    found = Pooling(first_rank=5, last_rank=40, negatives=8, positives=2, relevant=2).choose(qrels, run, documents)
    left = found.counts["left_out"]
    used = set(found.query_ids)
    relevant = {q: {d for d, g in judged.items() if g >= 2} for q, judged in qrels.items()}
    assert left["queries_without_a_positive"] == len(qrels) - len(used)
    assert left["positives_not_in_the_collection"] + left["positives_over_the_limit"] + found.counts[
        "positives"
    ] == sum(map(len, relevant.values()))
    candidates = sum(d not in relevant[q] for q in used & set(run) for d in run[q].ids)
    assert (
        left["negatives_outside_the_window"] + left["negatives_over_the_limit"] + found.counts["negatives"]
        == candidates
    )


def test_negatives_are_drawn_by_the_query_alone_and_evenly():
    qrels, run, documents = world(1)
    choose = Pooling(negatives=6).choose
    whole = choose(qrels, run, documents)
    for query in reversed(list(qrels)):  # whatever other queries there are
        alone = choose({query: qrels[query]}, run, documents)
        assert alone.documents(0) == whole.documents(whole.query_ids.index(query))
    many = {f"x{i}": {"d0": 1} for i in range(600)}
    ranking = Ranking([f"d{i}" for i in range(1, 21)], -np.arange(20, dtype=np.float32))
    drawn = choose(many, dict.fromkeys(many, ranking), documents)
    shares = Counter(drawn.ranks[drawn.labels == 0].tolist())
    assert set(shares) == set(range(1, 21))
    assert min(shares.values()) > 180 * 0.75  # 600 × 6 / 20 = 180 expected, σ ≈ 11
    assert max(shares.values()) < 180 * 1.25


def test_a_pool_comes_back_as_it_was_written(tmp_path):
    chosen = Pooling(negatives=9, random_documents=3).choose(*world(2))
    write_pool(tmp_path / "pool.arrow", chosen)
    read = read_pool(tmp_path / "pool.arrow")
    assert read.query_ids == chosen.query_ids
    assert read.offsets.tolist() == chosen.offsets.tolist()
    assert read.document_ids.equals(chosen.document_ids)
    assert read.labels.tolist() == chosen.labels.tolist()
    assert read.ranks.tolist() == chosen.ranks.tolist()
    assert read.counts == chosen.counts
    assert {path.name for path in tmp_path.iterdir()} == {"pool.arrow", "pool.json"}


def test_a_pool_is_chosen_by_parts_and_a_kill_costs_the_part_at_work(tmp_path, monkeypatch):
    qrels, run, documents = world(2)
    whole = Pooling(negatives=9, random_documents=3).choose(qrels, run, documents)
    monkeypatch.setattr(pooling, "_BLOCK", 4)
    chosen = []

    class Dying(dict):
        def get(self, query, default=None):
            chosen.append(query)
            if dies_at is not None and len(chosen) > dies_at:
                raise KeyboardInterrupt
            return super().get(query, default)

    dies_at = 6
    with pytest.raises(KeyboardInterrupt):
        Pooling(negatives=9, random_documents=3).choose(qrels, Dying(run), documents, tmp_path)
    chosen.clear()
    dies_at = None
    found = Pooling(negatives=9, random_documents=3).choose(qrels, Dying(run), documents, tmp_path)
    assert chosen == list(qrels)[4:]
    assert found.query_ids == whole.query_ids
    assert found.document_ids.equals(whole.document_ids)
    assert found.counts == whole.counts
    for name in ("offsets", "labels", "ranks", "first_stage"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    (tmp_path / "other").mkdir()
    lacking = {f"x{i}": {"nowhere": 1} for i in range(4)}  # a part without a row
    assert Pooling().choose(lacking | qrels, run, documents, tmp_path / "other").query_ids == whole.query_ids


def test_random_documents_cost_as_much_as_are_drawn():
    """Not as many as there are: a list of 30 million ids that counts what is looked up."""
    taken = []

    class Ids:
        def __len__(self):
            return 30_000_000

        def take(self, places):
            taken.append(len(places))
            return [f"d{place}" for place in places.tolist()]

    tracemalloc.start()
    names = pooling._random("q", Ids(), 3, {"d1", "d2"})
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()
    assert (len(set(names)), taken) == (3, [5])


def test_a_pool_of_millions_of_rows_takes_no_memory_but_its_queries(tmp_path):
    from limbeck.data.pool import Pool, join

    queries, each = 20_000, 100
    rows, half = queries * each, queries // 2
    ids = pa.array([f"document {i:>20}" for i in range(each)], pa.large_string())
    parts = [
        Pool(
            query_ids=[f"q{i}" for i in range(first, first + half)],
            offsets=np.arange(half + 1) * each,
            document_ids=ids.take(pa.array(np.tile(np.arange(each), half))),
            labels=np.tile(np.arange(each) == 0, half).astype(np.int16),
            ranks=np.tile(np.arange(1, each + 1), half).astype(np.int32),
        )
        for first in (0, half)
    ]
    write_pool(tmp_path / "whole.arrow", join(parts))
    for number, part in enumerate(parts):
        write_pool(tmp_path / f"{number}.arrow", part)
    del parts, part
    before, private = pa.total_allocated_bytes(), anonymous()
    joined = join([read_pool(tmp_path / f"{number}.arrow") for number in range(2)], tmp_path)
    write_pool(tmp_path / "pool.arrow", joined)
    size = (tmp_path / "pool.arrow").stat().st_size
    assert size > 90e6
    assert pa.total_allocated_bytes() - before < 0.01 * size
    assert anonymous() - private < 0.25 * size
    assert (tmp_path / "pool.arrow").read_bytes() == (tmp_path / "whole.arrow").read_bytes()
    assert {path.suffix for path in tmp_path.iterdir()} == {".arrow", ".json"}
    found = read_pool(tmp_path / "pool.arrow")
    assert found.documents(queries - 1)[7] == f"document {7:>20}"
    assert len(found) == queries
    assert len(found.labels) == rows
    assert not found.ranks.flags.owndata
    assert pa.total_allocated_bytes() - before < 0.01 * size
    assert anonymous() - private < 0.25 * size  # ids of queries and their offsets


def anonymous():
    """Memory of this process that no file stands behind, in bytes."""
    with open(f"/proc/{os.getpid()}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    return int(fields["RssAnon"].split()[0]) * 1024


def test_a_pool_without_positives_is_refused():
    with pytest.raises(ConfigError, match="no training query has a positive"):
        Pooling().choose({"q": {"a": 0}}, {}, DOCUMENTS)
    with pytest.raises(ConfigError, match="a grade of at least 2"):
        Pooling(relevant=2).choose({"q": {"a": 1}}, {}, DOCUMENTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first_rank": 0}, "first_rank must be >= 1"),
        ({"first_rank": 5, "last_rank": 4}, r"last_rank must be >= first_rank \(5\)"),
        ({"negatives": -1}, "negatives must"),
        ({"negatives_by": "best"}, "negatives_by must be random or top, got 'best'"),
        ({"positives": 0}, "positives must"),
        ({"random_documents": -1}, "random_documents must"),
        ({"relevant": 0}, "relevant must"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Pooling(**options)


def test_columns_in_several_pieces_are_read_whole(tmp_path):
    """Arrow ends a column of plain strings at 2³¹ characters; what follows is another piece of it."""
    whole = pool(tmp_path)
    assert pa.types.is_large_string(whole.document_ids.type)
    with pa.memory_map(str(tmp_path / "pool.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()
    for ids in (pa.string(), pa.large_string()):
        schema = pa.schema([each.with_type(ids) if each.name.endswith("_id") else each for each in table.schema])
        path = tmp_path / f"{ids}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_table(table.cast(schema), max_chunksize=1)
        found = read_pool(path)
        assert found.query_ids == whole.query_ids
        assert found.offsets.tolist() == whole.offsets.tolist()
        assert found.lists() == whole.lists()
        assert found.labels.tolist() == whole.labels.tolist()
        assert found.ranks.tolist() == whole.ranks.tolist()


def test_the_scores_of_the_first_stage_are_kept_beside_its_ranks(tmp_path):
    found = pool(tmp_path)
    np.testing.assert_array_equal(found.first_stage, np.array([2, 3, 1, np.nan], dtype=np.float32))
    np.testing.assert_array_equal(found.select(found.labels == 0).first_stage, np.array([3, 1], dtype=np.float32))
