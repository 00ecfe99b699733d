import math

import numpy as np
import pytest

from limbeck.rankings import Ranking
from limbeck.reporting.page.weights import EDGES, Setting, setting, weigh

STUDENT = {"q": [("a", 3.0), ("x", 2.5), ("b", 2.0), ("c", 0.5), ("d", 0.0)], "none": [("a", 1.0), ("b", 0.0)]}
TEACHER = {"q": [("b", 9.0), ("a", 8.0), ("d", 2.0), ("c", 1.0)], "none": [("a", 1.0), ("b", 0.0)]}
FIRST = {"q": [("c", 4.0), ("b", 3.0), ("a", 2.0)], "none": []}
QRELS = {"q": {"b": 1, "d": 2, "c": 0}, "none": {"x": 1}}


def run(lists):
    return {
        query: Ranking(tuple(d for d, _ in found), np.array([s for _, s in found], np.float32))
        for query, found in lists.items()
    }


def expected(gamma, alpha, anchor, ranks, temperature=1.0):
    """Rank by the student → weight, by a loop over the documents a, b, c, d that stand in both."""
    scores = [3.0, 2.0, 0.5, 0.0]
    total = sum(math.exp(s / temperature) for s in scores)
    positives = (1, 3)
    found = [1 / ranks[place] for place in positives]
    best = {"best": max(found), "first": found[0], "mean": sum(found) / 2}[anchor]
    weights = {}
    for place, score in enumerate(scores):
        q = math.exp(score / temperature) / total
        beta = alpha * (1 / ranks[place] - best)
        weights[place + 1] = (1 - q) ** gamma if place in positives else q ** (gamma - beta)
    return weights


@pytest.mark.parametrize("anchor", ["best", "first", "mean"])
@pytest.mark.parametrize(("gamma", "alpha", "temperature"), [(5.0, 1.0, 1.0), (3.0, 1.5, 2.0), (2.0, 0.0, 1.0)])
def test_weights_are_those_of_an_explicit_loop(anchor, gamma, alpha, temperature):
    chosen = Setting(gamma, alpha, anchor, by_student=False, temperature=temperature, own=True)
    found = weigh(run(STUDENT), run(TEACHER), run(FIRST), QRELS, 1, chosen)
    wanted = expected(gamma, alpha, anchor, [3, 2, 1, 4], temperature)  # d is behind the three of the first stage
    assert (found.lists, found.documents) == (1, 4)
    assert {one.low: one.mean for one in found.positives} == pytest.approx({2: wanted[2], 4: wanted[4]}, rel=1e-6)
    assert {one.low: one.mean for one in found.negatives} == pytest.approx({1: wanted[1], 3: wanted[3]}, rel=1e-6)


def test_ranks_of_the_student_are_those_of_its_list():
    chosen = Setting(5.0, 1.0, "best", by_student=True, temperature=1.0, own=True)
    found = weigh(run(STUDENT), run(TEACHER), run(FIRST), QRELS, 1, chosen)
    wanted = expected(5.0, 1.0, "best", [1, 2, 3, 4])
    assert {one.low: one.mean for one in found.negatives} == pytest.approx({1: wanted[1], 3: wanted[3]}, rel=1e-6)


def test_positives_are_those_of_the_grade_that_training_takes():
    chosen = Setting(5.0, 1.0, "best", by_student=False, temperature=1.0, own=True)
    found = weigh(run(STUDENT), run(TEACHER), run(FIRST), QRELS, 2, chosen)
    assert [one.low for one in found.positives] == [4]


def test_lists_without_a_positive_or_a_negative_are_left_out():
    chosen = Setting(5.0, 1.0, "best", by_student=False, temperature=1.0, own=True)
    judged = {"q": {"a": 1, "b": 1, "c": 1, "d": 1}, "none": {}}
    found = weigh(run(STUDENT), run(TEACHER), run(FIRST), judged, 1, chosen)
    assert (found.lists, found.positives, found.negatives) == (0, [], [])


def test_documents_are_put_together_by_rank():
    ids = [f"d{place:03}" for place in range(300)]
    ranking = run({"q": [(d, 10.0 - place / 100) for place, d in enumerate(ids)]})
    chosen = Setting(1.0, 0.0, "best", by_student=False, temperature=1.0, own=True)
    found = weigh(ranking, ranking, ranking, {"q": {"d000": 1}}, 1, chosen)
    assert [one.documents for one in found.negatives] == [1, 1, 1, 1, 2, 3, 5, 10, 25, 50, 100, 100]
    assert [one.low for one in found.negatives] == EDGES.tolist()[1:]
    assert found.negatives[-1].high == 300


def test_a_run_without_ckl_gets_the_usual_parameters():
    kl = setting({"loss": {"kl": {"_target_": "loss/kl"}}})
    assert (kl.gamma, kl.alpha, kl.own) == (5.0, 1.0, False)
    node = {"_target_": "loss/ckl", "gamma": 3.0, "alpha": 0.5, "rank_source": "student", "weight": 2.0}
    assert setting({"loss": {"other": node}}) == Setting(3.0, 0.5, "best", True, 1.0, True)
