"""Scoring into a store: parts, kills, growth, shares."""

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.locks import locked
from limbeck.plan import Plan
from limbeck.scores.parts import Block
from limbeck.scores.store import ScoreStore
from limbeck.scores.writer import Provenance, write_store
from limbeck.teachers.lists import by_lists
from limbeck.teachers.scoring import score_into, without
from limbeck.teachers.store import StoreTeacher

WHO = Provenance("a teacher", "logit", revision="1")


class Killed(BaseException):
    pass


class Counting:
    """A teacher that counts what it scores, and dies when it has scored so many parts."""

    def __init__(self, dies_after=None, size=7, by_document=False):
        self.scored = Counter()
        self.parts_done = 0
        self._dies_after, self._size, self._by_document = dies_after, size, by_document

    def plan(self, lists, size):
        return Plan(lists, by_document=self._by_document, size=min(size, self._size))

    def scorer(self, plan):
        def score(queries, lists):
            for query, documents in zip(queries, lists, strict=True):
                self.scored.update((query, document) for document in documents)
            return [
                np.array([value(query, d) for d in ds], np.float32) for query, ds in zip(queries, lists, strict=True)
            ]

        parts = by_lists(score, plan)

        def part(number):
            if self.parts_done == self._dies_after:
                raise Killed
            self.parts_done += 1
            return parts(number)

        return part


def value(query, document):
    return random.Random(f"{query} {document}").gauss(0, 3)


@pytest.fixture
def lists():
    rng = random.Random(5)
    return {f"q{query}": rng.sample([f"d{i}" for i in range(60)], rng.randrange(1, 20)) for query in range(25)}


def expected(lists):
    return {(q, d): np.float32(value(q, d)) for q, documents in lists.items() for d in documents}


def content(store):
    return {(q, d): s for q, ids, scores, _ in store for d, s in zip(ids, scores, strict=True)}


@pytest.mark.parametrize("by_document", [False, True])
def test_every_pair_is_scored_once_and_stored(tmp_path, lists, by_document):
    teacher = Counting(by_document=by_document)
    store = score_into(tmp_path / "store", teacher, lists, WHO)
    assert content(store) == expected(lists)
    assert set(teacher.scored.values()) == {1}
    assert store.query_ids()
    if by_document:
        plan = teacher.plan(lists, 100)
        whole = [set(plan.ids(number)[1]) for number in range(len(plan))]
        assert not set.intersection(whole[0], *whole[1:])
        assert sum(map(len, whole)) == len(set.union(*whole))


@pytest.mark.parametrize("kills", [[0], [1], [3, 2, 5], [1] * 10])
def test_killed_it_goes_on_and_ends_with_the_same_store(tmp_path, lists, kills):
    whole = score_into(tmp_path / "whole", Counting(), lists, WHO)
    scored = Counter()
    for parts in kills:
        teacher = Counting(dies_after=parts)
        with pytest.raises(Killed):
            score_into(tmp_path / "store", teacher, lists, WHO)
        assert teacher.parts_done == parts
        scored += teacher.scored
        with pytest.raises(ConfigError, match="unfinished"):
            ScoreStore.open(tmp_path / "store")
    teacher = Counting()
    store = score_into(tmp_path / "store", teacher, lists, WHO)
    assert store.checksum == whole.checksum
    assert store.query_ids() == whole.query_ids()
    assert set((scored + teacher.scored).values()) == {1}  # a part in flight is never counted: it died before scoring


def test_finished_it_waits_for_nobody(tmp_path, lists):
    store = score_into(tmp_path / "store", Counting(), lists, WHO)
    with locked(tmp_path / "store" / ".lock", "another process"):  # that scores something else into it
        teacher = Counting()
        assert score_into(tmp_path / "store", teacher, lists, WHO).checksum == store.checksum
    assert not teacher.scored


def test_finished_it_scores_nothing_and_grows_by_what_it_lacks(tmp_path, lists):
    half = {query: documents[: len(documents) // 2] for query, documents in lists.items()}
    score_into(tmp_path / "store", Counting(), half, WHO)
    again = Counting()
    score_into(tmp_path / "store", again, half, WHO)
    assert not again.scored
    more = Counting()
    store = score_into(tmp_path / "store", more, lists, WHO)
    assert content(store) == expected(lists)
    assert not more.scored.keys() & expected(half).keys()
    assert without(lists, store) == {}
    assert without({"q1": [lists["q1"][0], "new"], "q99": ["d1"]}, store) == {"q1": ["new"], "q99": ["d1"]}


def test_parts_of_other_work_are_not_taken_for_this(tmp_path, lists):
    with pytest.raises(Killed):
        score_into(tmp_path / "store", Counting(dies_after=4), lists, WHO)
    other = {query: documents[::-1] for query, documents in lists.items()}
    teacher = Counting()
    score_into(tmp_path / "store", teacher, other, WHO)
    assert teacher.scored == Counter(expected(lists).keys())


def test_shares_make_up_the_whole(tmp_path, lists):
    workers = [Counting() for _ in range(3)]

    def helpers():
        for number, worker in enumerate(workers):
            assert score_into(tmp_path / "store", worker, lists, WHO, share=(number, 3)) is None

    main = Counting()
    store = score_into(tmp_path / "store", main, lists, WHO, helpers=helpers)
    assert content(store) == expected(lists)
    assert not main.scored
    assert all(worker.scored for worker in workers)
    assert sum((worker.scored for worker in workers), Counter()) == Counter(expected(lists).keys())


@pytest.mark.parametrize(
    "changed", [{"teacher": "another"}, {"revision": "2"}, {"collection": "c"}, {"dtype": "bfloat16"}]
)
def test_a_store_of_another_teacher_does_not_grow(tmp_path, lists, changed):
    score_into(tmp_path / "store", Counting(), lists, WHO)
    other = Provenance(**{"teacher": "a teacher", "kind": "logit", "revision": "1", **changed})
    with pytest.raises(ConfigError, match=rf"has {next(iter(changed))} .*out="):
        score_into(tmp_path / "store", Counting(), lists, other)


def test_the_store_tells_where_it_comes_from(tmp_path, lists):
    score_into(tmp_path / "store", Counting(), lists, WHO)
    meta = json.loads(Path(tmp_path / "store" / "meta.json").read_text())
    assert (meta["teacher"], meta["kind"], meta["revision"], meta["rows"]) == (
        "a teacher",
        "logit",
        "1",
        len(expected(lists)),
    )


# -- the store as teacher -----------------------------------------------------------------------------------------


def test_a_store_teaches_by_its_scores_and_by_its_ranks(tmp_path):
    block = Block(
        ["q"] * 4, ["a", "b", "c", "d"], np.array([9.0, 7.0, 7.0, 8.0]), np.array([2, 1, 4, 3], dtype=np.int32)
    )
    write_store(tmp_path / "ranked", [lambda: block], WHO)
    write_store(tmp_path / "plain", [lambda: block._replace(ranks=None)], WHO)
    wanted = ["c", "x", "a", "b"]
    found = StoreTeacher(path=str(tmp_path / "plain")).score(["q", "p"], [wanted, ["a"]])
    np.testing.assert_array_equal(found[0], [7, np.nan, 9, 7])
    np.testing.assert_array_equal(found[1], [np.nan])
    found = StoreTeacher(path=str(tmp_path / "ranked"), use="ranks").score(["q", "p"], [wanted, ["a"]])
    np.testing.assert_array_equal(found[0], [-4, np.nan, -2, -1])
    np.testing.assert_array_equal(found[1], [np.nan])
    tied = StoreTeacher(path=str(tmp_path / "plain"), use="ranks").score(["q"], [wanted])
    np.testing.assert_array_equal(tied[0], [-3, np.nan, -1, -3])
    with pytest.raises(ValueError, match=r"^use must be one of"):
        StoreTeacher(path=str(tmp_path / "plain"), use="rank")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"^missing must be one of"):
        StoreTeacher(path=str(tmp_path / "plain"), missing="ignore")  # pyright: ignore[reportArgumentType]
