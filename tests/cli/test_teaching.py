"""A teacher's own ranking of candidates."""

import numpy as np
import pytest

from limbeck.data.opening import Data
from limbeck.experiment.teaching import OnDemand, Teaching
from limbeck.plan import Plan
from limbeck.rankings import Ranking
from limbeck.scores.writer import Provenance
from limbeck.teachers.base import NamedTeacher

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


def test_scores_stay_valid_when_queries_are_added_and_not_when_one_changes(artefacts, folder):
    """A teacher of a collection scores a pair once, whatever is added to queries.jsonl."""
    scored = []

    class Lengths(NamedTeacher):
        name = "lengths"

        def identity(self):
            return {"teacher": "lengths"}

        def plan(self, lists, size):
            return Plan(lists, by_document=False, size=size)

        def scorer(self, plan):
            def score(number):
                pairs = list(zip(*plan.ids(number), strict=True))
                scored.extend(pairs)
                return np.array([len(text) for text in texts([query for query, _ in pairs])], np.float32)

            return score

    def scores(queries):
        nonlocal texts
        collection = Data(collection=str(folder), train=None, dev=None).open(artefacts)
        texts = collection.query_texts
        whose = Provenance("lengths", collection=collection.content("document"))
        teaching = OnDemand(Lengths(), {"teacher": "lengths"}, whose, collection, artefacts)
        return [each.tolist() for each in teaching.scores_of_lists({query: ["d1"] for query in queries})]

    texts = None
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\t1\n")
    for file, queries, expected, new in (
        ('{"_id": "q1", "text": "cats"}\n', ["q1"], [[4.0]], ["q1"]),
        ('{"_id": "q1", "text": "cats"}\n{"_id": "q2", "text": "bats!"}\n', ["q1", "q2"], [[4.0], [5.0]], ["q2"]),
        ('{"_id": "q1", "text": "rodents"}\n', ["q1"], [[7.0]], ["q1"]),
    ):
        (folder / "queries.jsonl").write_text(file)
        scored.clear()
        assert scores(queries) == expected
        assert [query for query, _ in scored] == new
