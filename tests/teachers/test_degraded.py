"""A teacher that is made worse: by what it is told, on the queries it is told, the same in every list."""

import json

import numpy as np
import pyarrow as pa
import pytest

from limbeck.data.pool import Pool
from limbeck.evaluation.per_query import read_per_query
from limbeck.experiment.degraded import Degraded
from limbeck.experiment.teaching import Teaching

TEXTS = {
    "a": "statin use and breast cancer",
    "b": "use of statin and the breast cancer",
    "c": "breast cancer cells",
    "d": "asthma and the diet",
    "e": "a diet against asthma in children",
}
DOCUMENTS = [f"d{number}" for number in range(40)]


class Oracle(Teaching):
    """Scores a pair by its names."""

    def __init__(self):
        super().__init__({"kind": "oracle"}, {"teacher": "an oracle", "kind": "cosine", "scale": 20.0})

    def scores_of(self, pool):
        return np.concatenate(self.scores_of_lists(pool.lists()))

    def scores_of_lists(self, lists):
        return [np.array([score(query, d) for d in ids], dtype=np.float32) for query, ids in lists.items()]


class Texts:
    def split(self, name):
        assert name == "train"
        return self

    queries = TEXTS

    def query_texts(self, ids):
        return [TEXTS.get(each, "asthma of children") for each in ids]


def score(query, document):
    return 100.0 * (ord(query[0]) - ord("a")) + int(document[1:])


def degraded(**options):
    return Degraded(Oracle(), Texts(), **options)  # pyright: ignore[reportArgumentType]


def many(count=2000):
    return [f"a{number}" for number in range(count)]


def test_without_a_degree_the_scores_are_the_teachers_own():
    lists = {"a": DOCUMENTS, "d": DOCUMENTS[3:5]}
    for ours, theirs in zip(degraded().scores_of_lists(lists), Oracle().scores_of_lists(lists), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_misread_query_has_the_scores_of_the_most_similar_training_query_with_other_words():
    teacher = degraded(misread=1.0)
    assert teacher.reads("a") == "c"  # b has the same words, d is about something else
    assert teacher.reads("a test query") == "e"
    (scores,) = teacher.scores_of_lists({"a": DOCUMENTS})
    np.testing.assert_array_equal(scores, Oracle().scores_of_lists({"c": DOCUMENTS})[0])


def test_two_queries_that_are_misread_as_one_have_each_their_own_list():
    teacher = degraded(misread=1.0)
    lists = {"a": ["d1", "d2"], "b": ["d7", "d1", "d9"]}
    assert [teacher.reads(query) for query in lists] == ["c", "c"]
    assert [each.tolist() for each in teacher.scores_of_lists(lists)] == [[201, 202], [207, 201, 209]]


def test_a_negated_query_is_ranked_upside_down():
    (scores,) = degraded(negated=1.0).scores_of_lists({"a": DOCUMENTS})
    np.testing.assert_array_equal(scores, -np.arange(40, dtype=np.float32))


def test_noise_has_the_deviation_that_was_asked_for_and_no_bias():
    lists = dict.fromkeys(many(500), DOCUMENTS)
    teacher = degraded(noise=2.0)
    off = np.concatenate(teacher.scores_of_lists(lists)) - np.concatenate(Oracle().scores_of_lists(lists))
    assert off.std() == pytest.approx(2.0, rel=0.02)
    assert abs(off.mean()) < 0.05
    assert abs(np.corrcoef(off[:-1], off[1:])[0, 1]) < 0.02


def test_a_pair_has_the_same_score_in_every_list_and_pool():
    teacher = degraded(noise=1.0, misread=0.5, negated=0.5)
    whole = teacher.scores_of_lists(dict.fromkeys(TEXTS, DOCUMENTS))
    part = degraded(noise=1.0, misread=0.5, negated=0.5).scores_of_lists(dict.fromkeys(TEXTS, DOCUMENTS[9:4:-1]))
    for all_of_it, some in zip(whole, part, strict=True):
        np.testing.assert_array_equal(all_of_it[9:4:-1], some)
    offsets = np.arange(6) * 40
    zeros = np.zeros(200)
    pool = Pool(list(TEXTS), offsets, pa.array(DOCUMENTS * 5), labels=zeros, ranks=zeros)
    np.testing.assert_array_equal(teacher.scores_of(pool), np.concatenate(whole))
    noisy = degraded(noise=1.0, negated=0.5)
    np.testing.assert_array_equal(noisy.scores_of(pool), np.concatenate(noisy.scores_of_lists(pool.lists())))


def test_shares_are_kept_and_nested_and_another_seed_draws_others():
    queries = many()
    some, more, others = (
        {query for query in queries if degraded(negated=share, seed=seed).is_negated(query)}
        for share, seed in ((0.2, 13), (0.4, 13), (0.2, 14))
    )
    assert len(some) == pytest.approx(400, abs=60)
    assert some < more
    assert len(some & others) < 130


def test_what_leaves_the_range_of_a_kind_of_number_is_no_longer_of_it():
    assert (degraded(misread=0.5).meta["kind"], degraded(misread=0.5).meta["scale"]) == ("cosine", 20.0)
    for worse in (degraded(noise=0.1), degraded(negated=0.1)):
        assert (worse.meta["kind"], worse.meta["scale"]) == ("similarity", None)


@pytest.mark.parametrize("option", [{"noise": -1.0}, {"misread": 1.1}, {"negated": -0.1}])
def test_what_is_out_of_range_is_refused_by_name(option):
    with pytest.raises(ValueError, match=f"^{next(iter(option))} must be"):
        degraded(**option)


def test_a_run_says_how_much_its_teacher_was_degraded_and_is_another_run(limbeck, tmp_path):
    words = ["teacher=degraded", "teacher@teacher.of=synthetic", "trainer.steps=1", "trainer.validate_every=0"]
    words += ["eval.start=false", "trainer.log_every=1"]
    limbeck("train", *words, "teacher.negated=0.5", "teacher.misread=0.5")
    limbeck("train", *words)
    found = {}
    for path in tmp_path.rglob("result.json"):
        result = json.loads(path.read_text())
        quality = read_per_query(path.parent / "per_query" / "test.teacher.parquet", "ndcg@10")
        found[result["degraded"]["negated"]] = (result["degraded"], np.mean(list(quality.values())))
    assert sorted(found) == [0.0, 0.5]  # two runs
    (plain, good), (worse, bad) = found[0.0], found[0.5]
    assert (plain["misread_queries"], plain["negated_queries"], plain["queries"]) == (0, 0, 60)
    assert 20 <= worse["negated_queries"] <= 40
    assert 20 <= worse["misread_queries"] <= 40
    assert bad < 0.8 * good
