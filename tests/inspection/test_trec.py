"""Pools from bare TREC files."""

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.inspection.trec import bare_pool
from limbeck.types import Ranking

QRELS = {"q1": {"a": 2, "b": 0, "z": 1, "n": 1}, "q2": {"c": 0}, "q3": {"d": 1}}
RUN = {
    "q1": Ranking(["b", "z", "a"], np.array([3.0, 2.0, 1.0], dtype=np.float32)),
    "q2": Ranking(["a"], np.array([1.0], dtype=np.float32)),
}


def test_a_run_alone():
    bare = bare_pool(RUN, QRELS, None)
    assert bare.pool.query_ids == ["q1"]
    assert bare.pool.documents(0) == ["a", "z", "b"]
    assert bare.pool.labels.tolist() == [2, 1, 0]
    assert bare.pool.scores.tolist() == [1, 2, 3]
    assert bare.pool.ranks.tolist() == [0, 0, 0]
    assert (bare.unlisted, bare.unjudged, bare.unfound) == (1, 1, 1)


def test_a_run_over_a_first_stage():
    first = {"q1": Ranking(["a", "x"], np.array([9.0, 8.0])), "q3": Ranking(["d"], np.array([1.0]))}
    pool = bare_pool(RUN, QRELS, first).pool
    assert pool.query_ids == ["q1", "q3"]
    assert pool.documents(0) == ["a", "z", "x"]  # z: a positive that only the run has
    assert pool.ranks.tolist() == [1, 3, 2, 1]
    np.testing.assert_array_equal(pool.scores, [1, 2, np.nan, np.nan])


def test_other_queries_are_refused():
    with pytest.raises(ConfigError, match="no query of the run has a positive"):
        bare_pool(RUN, {"x": {"a": 1}}, None)
