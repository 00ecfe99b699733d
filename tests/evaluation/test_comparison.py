import dataclasses
import json
import math

import numpy as np
import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf
from scipy import stats

from limbeck.config import ConfigError, build
from limbeck.evaluation.comparison import Comparing, compare, marks, plain
from limbeck.evaluation.significance import bonferroni, holm, paired


def values(array):
    return {f"q{number}": float(value) for number, value in enumerate(array)}


@pytest.fixture
def evaluated():
    """Two sets, two metrics; `good` is better and `bad` worse than `bm25`, `same` stands on one set only."""
    generator = np.random.default_rng(8)
    result = {}
    for group, queries in (("dl19", 43), ("dl20", 54)):
        result[group] = {}
        for metric in ("ndcg@10", "mrr@10"):
            base = generator.random(queries)
            result[group][metric] = {
                "bm25": [values(base)],
                "good": [values(base + generator.normal(0.2, 0.3, queries)) for _ in range(3)],
                "bad": [values(base - generator.normal(0.2, 0.3, queries))],
            }
    result["dl20"]["mrr@10"]["same"] = [values(base)]
    return result


def test_rows_are_those_of_each_pair(evaluated):
    rows = compare(evaluated, "bm25", resamples=500)
    assert [(row.set, row.metric, row.system) for row in rows] == [
        (group, metric, system)
        for group in ("dl19", "dl20")
        for metric in ("ndcg@10", "mrr@10")
        for system in (("good", "bad", "same") if (group, metric) == ("dl20", "mrr@10") else ("good", "bad"))
    ]
    for row in rows:
        found = evaluated[row.set][row.metric]
        assert row.statistics == paired(found["bm25"], found[row.system], resamples=500)
        assert row.baseline == "bm25"
        assert row.family == 9


@pytest.mark.parametrize("test", ["t", "randomisation"])
def test_corrections_are_over_all_comparisons(evaluated, test):
    rows = compare(evaluated, "bm25", test=test, resamples=500)
    raw = [row.statistics.t_p if test == "t" else row.statistics.randomisation_p for row in rows]
    assert [row.p for row in rows] == raw
    assert {row.test for row in rows} == {test}
    assert [row.p_holm for row in rows] == holm(raw)
    assert [row.p_bonferroni for row in rows] == bonferroni(raw)


def test_options_reach_the_tests(evaluated):
    one = {"dl19": {"ndcg@10": evaluated["dl19"]["ndcg@10"]}}
    options = {"resamples": 300, "confidence": 0.8, "seed": 5}
    found = one["dl19"]["ndcg@10"]
    expected = paired(found["bm25"], found["good"], **options)
    assert compare(one, "bm25", **options)[0].statistics == expected
    assert Comparing(**options).compare(one, "bm25")[0].statistics == expected
    row = Comparing(test="randomisation", **options).compare(one, "bm25")[0]
    assert (row.test, row.p) == ("randomisation", expected.randomisation_p)


def test_a_test_that_cannot_be_made_is_no_member_of_the_family(evaluated):
    evaluated["tiny"] = {"ndcg@10": {"bm25": [{"a": 0.1}], "good": [{"a": 0.4}]}}
    rows = compare(evaluated, "bm25", resamples=100)
    assert {row.family for row in rows} == {9}
    assert math.isnan(rows[-1].p)
    assert math.isnan(rows[-1].p_holm)
    assert marks(rows[-1]) == ""
    assert rows[0].p_bonferroni == pytest.approx(9 * rows[0].p)


def test_a_set_without_the_baseline_has_no_rows(evaluated):
    del evaluated["dl19"]["ndcg@10"]["bm25"]
    assert len(compare(evaluated, "bm25", resamples=100)) == 7
    assert compare({"x": {"map": {"bm25": [{"a": 0.1}]}}}, "bm25") == []


def test_what_cannot_be_compared(evaluated):
    with pytest.raises(ValueError, match=r"^baseline 'bm52' is none of the systems: bm25, good, bad, same$"):
        compare(evaluated, "bm52")
    del evaluated["dl20"]["mrr@10"]["bad"][0]["q7"]
    with pytest.raises(ValueError, match=r"^dl20, mrr@10, bad beside bm25: query 'q7' is not in every system"):
        compare(evaluated, "bm25", resamples=100)


def test_marks(evaluated):
    rows = compare(evaluated, "bm25", resamples=100)
    assert [marks(row) for row in rows] == ["▲", "▼", "▲", "▼", "▲", "▼", "▲", "▼", ""]
    # The corrected p decides, not the raw one, and it must lie below the level.
    row = dataclasses.replace(rows[0], p=0.01, p_holm=0.05)
    assert (marks(row), marks(row, 0.06), Comparing(level=0.06).marks(row), Comparing().marks(row)) == (
        "",
        "▲",
        "▲",
        "",
    )


def test_plain_is_strict_json(evaluated):
    evaluated["tiny"] = {"ndcg@10": {"bm25": [{"a": 0.1, "b": 0.2}], "good": [{"a": 0.2, "b": 0.3}]}}
    evaluated["one"] = {"ndcg@10": {"bm25": [{"a": 0.1}], "good": [{"a": 0.4}]}}
    rows = compare(evaluated, "bm25", resamples=100)
    found = json.loads(json.dumps(plain(rows), allow_nan=False))
    assert found[0]["system"] == "good"
    assert found[0]["p_holm"] == rows[0].p_holm
    assert found[0]["statistics"]["system"] == rows[0].statistics.system
    assert found[0]["statistics"]["seeds"] == [1, 3]
    assert found[-2]["statistics"]["effect_size"] is None  # infinite
    assert found[-1]["p_holm"] is found[-1]["statistics"]["t_p"] is found[-1]["statistics"]["low"] is None


def test_null_holm_keeps_the_family_wise_error():
    """Five systems that are no better, 120 times: a mark in no more than 5 % of them, within noise."""
    generator = np.random.default_rng(21)
    base = generator.beta(2, 2, 60)
    most = stats.binom.ppf(0.999, 120, 0.05)
    by_t = by_randomisation = uncorrected = 0
    for repeat in range(120):
        noise = generator.choice([-1, 1], (5, 60)) * generator.beta(1, 4, (5, 60))
        systems = {f"s{number}": [values(base + row)] for number, row in enumerate(noise)}
        # Holm's first step needs p < 0.01: 199 resamples have p >= 0.005.
        rows = compare({"set": {"map": {"base": [values(base)], **systems}}}, "base", resamples=199, seed=repeat)
        by_t += any(map(marks, rows))
        by_randomisation += min(holm([row.statistics.randomisation_p for row in rows])) < 0.05
        uncorrected += min(row.p for row in rows) < 0.05
    assert 0 < by_t <= most
    assert 0 < by_randomisation <= most
    assert uncorrected > most  # what the correction is for


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": "wilcoxon"}, "^test must be one of t, randomisation, got 'wilcoxon'"),
        ({"confidence": 1.0}, "^confidence must lie between 0 and 1, got 1.0"),
        ({"confidence": 95.0}, "^confidence must"),
        ({"level": 0.0}, "^level must lie between 0 and 1"),
        ({"resamples": 99}, "^resamples must be >= 100"),
        ({"seed": -1}, "^seed must be >= 0"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        Comparing(**options)


def test_the_configuration_composes_and_builds(compose):
    def composed(*overrides):
        return OmegaConf.to_container(compose("evaluate", *overrides).comparison, resolve=True)

    built = build(composed("comparison.test=randomisation", "comparison.level=0.01"), key="comparison")
    assert vars(built) == {"test": "randomisation", "confidence": 0.95, "resamples": 10_000, "level": 0.01, "seed": 1}
    with pytest.raises(ConfigCompositionException):
        composed("comparison.lebel=0.01")
    with pytest.raises(ConfigError, match=r"^comparison\.level must lie between"):
        build(composed("comparison.level=5"), key="comparison")
