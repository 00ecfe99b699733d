"""Ensembles equal a plain computation."""

import random

import numpy as np
import pytest

from limbeck.config import ConfigError
from limbeck.scores.ensemble import ensemble
from limbeck.scores.parts import Block
from limbeck.scores.writer import Provenance, write_store

WHO = Provenance("a teacher")


def store(path, scores):
    queries, documents = zip(*scores, strict=True)
    return write_store(path, [lambda: Block(list(queries), list(documents), np.array(list(scores.values())))], WHO)


@pytest.fixture
def teachers():
    rng = random.Random(3)
    pairs = [(f"q{query}", str(document)) for query in range(8) for document in range(11)]
    return [{pair: rng.gauss(mean, scale) for pair in pairs} for mean, scale in ((0, 1), (500, 90), (-3, 0.01))]


def content(found):
    return {(q, d): s for q, ids, scores, _ in found for d, s in zip(ids, scores.tolist(), strict=True)}


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]])
def test_weighted_mean_of_standard_scores(tmp_path, teachers, weights):
    stores = [store(tmp_path / str(number), scores) for number, scores in enumerate(teachers)]
    found = content(write_store(tmp_path / "all", ensemble(stores, weights), WHO))
    chosen = weights or [1.0, 1.0, 1.0]
    for pair, score in found.items():
        parts = [(t[pair] - np.mean(list(t.values()))) / np.std(list(t.values())) for t in teachers]
        assert score == pytest.approx(np.average(parts, weights=chosen), abs=2e-5)
    assert found.keys() == teachers[0].keys()


def test_without_standardising_it_is_the_plain_mean(tmp_path, teachers):
    stores = [store(tmp_path / str(number), scores) for number, scores in enumerate(teachers[:2])]
    found = content(write_store(tmp_path / "all", ensemble(stores, standardise=False), WHO))
    assert found["q1", "3"] == pytest.approx((teachers[0]["q1", "3"] + teachers[1]["q1", "3"]) / 2, rel=1e-5)


def test_missing_pairs_are_an_error_that_counts_them_or_are_dropped(tmp_path, teachers):
    one, other = teachers[0], {pair: score for pair, score in teachers[1].items() if pair != ("q2", "7")}
    other["q9", "7"] = other["q9", "8"] = 1.0
    stores = [store(tmp_path / "one", one), store(tmp_path / "other", other)]
    with pytest.raises(ConfigError, match=r"lacks 1 pairs of .* and has 2 others .*'q2', document '7'.*missing=drop"):
        list(ensemble(stores))
    found = content(write_store(tmp_path / "all", ensemble(stores, missing="drop"), WHO))
    assert found.keys() == one.keys() & other.keys()


@pytest.mark.parametrize(
    ("weights", "message"), [([1.0], "2 numbers"), ([1.0, -1.0], "> 0"), ([1.0, float("nan")], "> 0")]
)
def test_weights_that_do_not_fit(tmp_path, teachers, weights, message):
    stores = [store(tmp_path / str(number), scores) for number, scores in enumerate(teachers[:2])]
    with pytest.raises(ConfigError, match=message):
        list(ensemble(stores, weights))


def test_constant_or_lonely_teachers_are_refused(tmp_path, teachers):
    flat = store(tmp_path / "flat", dict.fromkeys(teachers[0], 1.0))
    with pytest.raises(ConfigError, match="all scores are equal"):
        list(ensemble([store(tmp_path / "one", teachers[0]), flat]))
    with pytest.raises(ConfigError, match="two score stores"):
        list(ensemble([flat]))


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_a_mean_that_overflows_is_refused_and_not_taken_for_missing(tmp_path, missing):
    stores = [store(tmp_path / str(number), {("q", "a"): 1.0, ("q", "b"): 2.0}) for number in range(2)]
    stores[1].spread = lambda: (0.0, 1e-45)  # as of scores that hardly differ
    with pytest.raises(ConfigError, match=r"the score of query 'q', document '.' is inf"):
        write_store(tmp_path / "all", ensemble(stores, missing=missing), WHO)
