"""A teacher's own ranking of candidates."""

import numpy as np
import pytest

from limbeck.experiment.teaching import Teaching
from limbeck.rankings import Ranking

CANDIDATES = {"q": Ranking(["a", "b", "c"], np.array([3.0, 2.0, 1.0], dtype=np.float32))}


class Fixed(Teaching):
    """Gives every list the same scores."""

    def __init__(self, scores):
        super().__init__({}, {"teacher": "fixed"})
        self.scores = np.array(scores, dtype=np.float32)

    def scores_of(self, pool):
        return np.tile(self.scores, len(pool))

    def scores_of_lists(self, lists):
        return [self.scores for _ in lists]


def test_candidates_without_a_score_are_left_out():
    assert Fixed([1.0, np.nan, 2.0]).rerank(CANDIDATES, "test")["q"].ids == ["c", "a"]
    assert Fixed([np.nan] * 3).rerank(CANDIDATES, "test") is None


@pytest.mark.parametrize("score", [np.inf, -np.inf])
def test_an_infinite_score_is_not_taken_for_a_missing_one(score):
    with pytest.raises(ValueError, match=f"the score of document b for query q is {score}"):
        Fixed([1.0, score, 2.0]).rerank(CANDIDATES, "test")
