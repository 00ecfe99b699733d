"""The teacher's own ranking of candidates."""

from types import SimpleNamespace

import numpy as np
import pytest

from limbeck.experiment.teaching import Teaching
from limbeck.rankings import Ranking
from limbeck.scores.writer import Provenance

CANDIDATES = {"q": Ranking(["a", "b", "c"], np.array([3.0, 2.0, 1.0], dtype=np.float32))}


def teaching(scores):
    teacher = SimpleNamespace(store=None, score=lambda *_: [np.array(scores, dtype=np.float32)])
    return Teaching(teacher, {}, Provenance("t"), None, None)


def test_candidates_without_a_score_are_left_out():
    assert teaching([1.0, np.nan, 2.0]).rerank(CANDIDATES, "test")["q"].ids == ["c", "a"]
    assert teaching([np.nan] * 3).rerank(CANDIDATES, "test") is None


@pytest.mark.parametrize("score", [np.inf, -np.inf])
def test_an_infinite_score_is_not_taken_for_a_missing_one(score):
    with pytest.raises(ValueError, match=f"the score of document b for query q is {score}"):
        teaching([1.0, score, 2.0]).rerank(CANDIDATES, "test")
