"""Teacher scores in a pool's order; what is missing is counted and named, never silent."""

import logging

import numpy as np
import pyarrow as pa
import pytest

from limbeck.config import ConfigError
from limbeck.data.aligned import pairs_of, read_aligned, with_scores, write_aligned
from limbeck.data.pool import Pool

NAN = np.nan


def pool():
    return Pool(
        query_ids=["q1", "q2", "q3"],
        offsets=np.array([0, 3, 5, 7]),
        document_ids=pa.array(["a", "b", "c", "d", "e", "f", "g"]),
        labels=np.array([1, 1, 0, 2, 0, 1, 0], dtype=np.int16),
        ranks=np.array([1, 2, 3, 1, 2, 1, 2], dtype=np.int32),
    )


def test_written_and_mapped(tmp_path):
    scores = np.array([1.5, NAN, -2], dtype=np.float32)
    write_aligned(tmp_path / "scores.arrow", scores)
    np.testing.assert_array_equal(read_aligned(tmp_path / "scores.arrow"), scores)


def test_complete_scores_are_taken_as_they_are():
    scores = np.arange(7, dtype=np.float32)
    made = with_scores(pool(), scores, "error", "the store")
    assert made.scores is scores
    assert made.query_ids == ["q1", "q2", "q3"]


def test_missing_scores_are_an_error_that_names_one():
    scores = np.array([0, 1, NAN, 2, NAN, 3, 4], dtype=np.float32)
    message = r"the store lacks 2 of 7 pairs, of 2 of 3 queries, e\.g\. query 'q1', document 'c'.*teacher\.missing=drop"
    with pytest.raises(ConfigError, match=message):
        with_scores(pool(), scores, "error", "the store")


def test_dropped_candidates_and_queries_are_counted(caplog):
    scores = np.array([0, NAN, 1, NAN, 2, 3, 4], dtype=np.float32)
    with caplog.at_level(logging.WARNING):
        made = with_scores(pool(), scores, "drop", "the store")
    assert made.query_ids == ["q1", "q3"]
    assert made.document_ids.to_pylist() == ["a", "c", "f", "g"]
    assert made.scores.tolist() == [0, 1, 3, 4]
    assert made.offsets.tolist() == [0, 2, 4]
    assert made.counts["teacher"] == {"unscored_pairs": 2, "queries_without_scored_positive": 1}
    assert "1 queries lose their last positive by this and are left out: q2" in caplog.text


def test_nothing_left_is_an_error():
    with pytest.raises(ConfigError, match="no query keeps a positive"):
        with_scores(pool(), np.full(7, NAN, dtype=np.float32), "drop", "the store")


def test_fingerprint_is_of_pairs_and_order():
    one = pool()
    assert pairs_of(one) == pairs_of(pool())
    changed = pool()
    changed.query_ids[0] = "q0"
    moved = Pool(one.query_ids, one.offsets, pa.array(["b", "a", *"cdefg"]), one.labels, one.ranks)
    cut = Pool(one.query_ids, np.array([0, 2, 5, 7]), one.document_ids, one.labels, one.ranks)
    assert len({pairs_of(each) for each in (one, changed, moved, cut)}) == 4
    part = Pool(one.query_ids, one.offsets, pa.array(["x", *"abcdefg"])[1:], one.labels, one.ranks)
    assert pairs_of(part) == pairs_of(one)
