"""Each trap is caught, told with its figure and a remedy that works; clean scores are not."""

import logging
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from limbeck.config import ConfigError
from limbeck.inspection.findings import check, checks, first_stage_scores, report, settings, severity_of
from limbeck.inspection.losses import LossView
from limbeck.types import Ranking

KL = LossView("kl", uses_scores=True, teacher_temperature=1.0)
MARGIN = LossView("margin_mse", uses_scores=True, raw_differences=True)
ORDER = LossView("ranknet", uses_scores=True)
LABELS = LossView("info_nce", uses_scores=False)


def found(pool, objective=(KL,), **options):
    return {finding.name: finding for finding in check(pool, objective=list(objective), **options)}


def with_scores(pool, scores):
    return replace(pool, scores=np.asarray(scores, dtype=np.float32).ravel())


@pytest.mark.parametrize("objective", [[KL], [MARGIN], [ORDER], [KL, MARGIN], [LABELS], []])
@pytest.mark.parametrize("kind", ["logit", "unknown", None])
def test_clean_scores_trigger_nothing(clean, objective, kind):
    pool = clean()
    meta = {"kind": kind, "collection": "aa"}
    assert found(pool, objective, meta=meta, collection_fingerprint="aa") == {}
    own = np.random.default_rng(3).normal(20, 3, len(pool.scores))
    assert found(pool, objective, first_stage_scores=own) == {}


def test_probabilities_under_a_loss_of_raw_numbers(clean):
    pool = clean()
    squashed = with_scores(pool, 1 / (1 + np.exp(-pool.scores)))
    finding = found(squashed, [KL, MARGIN])["probability_scale"]
    assert finding.severity == "error"
    low, high = map(float, re.search(r"lie in \[([\d.e-]+), ([\d.e-]+)\]", finding.message).groups())
    assert low == pytest.approx(squashed.scores.min(), rel=1e-3)
    assert high == pytest.approx(squashed.scores.max(), rel=1e-3)
    assert "loss.margin_mse" in finding.message
    assert "ln p/(1-p)" in finding.remedy
    logits = np.log(squashed.scores.astype(np.float64) / (1 - squashed.scores.astype(np.float64)))
    assert found(with_scores(pool, logits), [MARGIN]) == {}
    assert "probability_scale" not in found(squashed, [KL])
    assert "probability_scale" not in found(squashed, [ORDER])
    assert "probability_scale" not in found(squashed, [MARGIN], meta={"kind": "similarity"})
    assert "probability_scale" in found(squashed, [MARGIN], meta={"kind": "logit"})  # it says so, but they are not
    assert (
        "recorded as probabilities" in found(pool, [MARGIN], meta={"kind": "probability"})["probability_scale"].message
    )


def test_another_kind_of_number_than_is_recorded(clean):
    pool = clean()
    squashed = with_scores(pool, 1 / (1 + np.exp(-pool.scores)))
    finding = found(squashed, [KL], meta={"kind": "logit"})["kind_of_number"]
    assert finding.severity == "error"
    assert "kind=logit is recorded, but the scores look like probabilities" in finding.message
    assert "kind=probability" in finding.remedy
    assert "a cosine with scale=2 lies in" in found(pool, meta={"kind": "cosine", "scale": 2})["kind_of_number"].message
    for scores, meta in ((squashed, {"kind": "probability"}), (squashed, {}), (pool, {"kind": "logit"})):
        assert "kind_of_number" not in found(scores, meta=meta)


def test_a_softmax_of_a_softmax(clean):
    pool = clean()
    finding = found(pool, [KL, ORDER], meta={"kind": "softmax"})["softmax_again"]
    assert "loss.kl takes a softmax of them" in finding.message
    assert "softmax_again" in found(pool, [KL], meta={"kind": "unknown", "values": {"look_like": "softmax"}})
    assert "softmax_again" not in found(pool, [KL], meta={"kind": "probability", "values": {"look_like": None}})
    assert "softmax_again" not in found(pool, [ORDER, MARGIN], meta={"kind": "softmax"})


def test_lists_normalised_each_for_itself(clean):
    pool = clean()
    lists = pool.scores.reshape(60, 20)
    low, high = lists.min(1, keepdims=True), lists.max(1, keepdims=True)
    normal = (lists - low) / (high - low)
    finding = found(with_scores(pool, normal))["min_max_trace"]
    assert finding.severity == "error"
    assert "60 of 60 lists (100%) have the minimum 0 and the maximum 1" in finding.message
    assert "raw scores" in finding.remedy
    assert "min_max_trace" in found(with_scores(pool, normal * 7 - 3), [MARGIN])
    assert "min_max_trace" not in found(with_scores(pool, normal), [ORDER])
    grades = np.sort(np.random.default_rng(0).integers(0, 4, (60, 20)))[:, ::-1]
    assert "min_max_trace" not in found(with_scores(pool, grades))  # no trace: that is how grades are
    some = normal.copy()
    some[:10] = lists[:10]
    assert "min_max_trace" not in found(with_scores(pool, some))
    assert "min_max_trace" in found(with_scores(pool, some), thresholds={"min_max_trace": {"share": 0.8}})


@pytest.mark.parametrize(("name", "scale"), [("near_one_hot", 1e4), ("near_flat", 1e-3)])
def test_a_softmax_out_of_range_and_the_temperature_that_mends_it(clean, name, scale):
    pool = clean()
    wrong = with_scores(pool, pool.scores * scale)
    cold = LossView("ckl", uses_scores=True, teacher_temperature=scale)
    findings = found(wrong, [KL, cold])
    assert set(findings) == {name}
    finding = findings[name]
    assert finding.severity == "warning"
    assert "loss.kl at teacher_temperature=1: 100% of lists" in finding.message
    assert "ckl" not in finding.message + finding.remedy  # its temperature suits
    assert re.search(r"median (entropy )?[01]\.\d+", finding.message)
    mended = float(re.search(r"loss\.kl\.teacher_temperature=([\d.e+-]+)", finding.remedy)[1])
    assert found(wrong, [LossView("kl", uses_scores=True, teacher_temperature=mended)]) == {}
    assert name not in found(wrong, [ORDER])
    assert name not in found(wrong, [KL], thresholds={name: {"share": 1.0}})


def test_raw_numbers_of_no_students_scale(clean):
    pool = clean()
    for scale, kind in ((0.01, "similarity"), (1e4, "logit")):
        finding = found(with_scores(pool, pool.scores * scale), [MARGIN], meta={"kind": kind})["raw_scale"]
        spread = np.median(np.ptp(pool.scores.reshape(60, 20), axis=1)) * scale
        assert f"span {spread:.3g} in the median" in finding.message
        mended = float(re.search(r"teacher_temperature=([\d.e+-]+)", finding.remedy)[1])
        view = LossView("kl", uses_scores=True, teacher_temperature=mended)
        assert found(with_scores(pool, pool.scores * scale), [view]) == {}


@pytest.mark.parametrize("score", [lambda rank: 100.0 - rank, lambda rank: 1.0 / rank])
def test_ranks_taken_for_scores(clean, score):
    pool = clean()
    order = np.argsort(np.argsort(-pool.scores.reshape(60, 20), axis=1), axis=1) + 1
    ranked = with_scores(pool, score(order))
    finding = found(ranked)["ranks_as_scores"]
    assert finding.severity == "error"
    assert "60 of 60 lists (100%) have the same highest scores" in finding.message
    assert "loss=ranknet" in finding.remedy
    assert "ranks_as_scores" not in found(ranked, [ORDER])
    assert "recorded as ranks" in found(pool, meta={"kind": "rank"})["ranks_as_scores"].message


def test_the_first_stage_as_teacher(clean):
    pool = clean()
    own = with_scores(pool, 30.0 - pool.ranks - np.random.default_rng(0).random(len(pool.ranks)))
    finding = found(own, [MARGIN])["ranks_of_first_stage"]
    assert finding.severity == "error"
    assert "in 60 of 60 lists (100%)" in finding.message
    assert "teacher's own scores" in finding.remedy
    unranked = replace(own, ranks=np.zeros_like(own.ranks))
    assert "ranks_of_first_stage" not in found(unranked, [MARGIN])


def test_the_first_stages_scores_handed_out_by_position(clean):
    pool = clean()
    generator = np.random.default_rng(1)
    own = np.sort(generator.gamma(5, 3, (60, 20)), axis=1)[:, ::-1]
    order = np.argsort(np.argsort(-pool.scores.reshape(60, 20), axis=1), axis=1)
    ranks = pool.ranks.reshape(60, 20) - 1
    first = np.take_along_axis(own, ranks, 1).ravel()
    permuted = with_scores(pool, np.take_along_axis(own, order, 1))
    finding = found(permuted, [KL], first_stage_scores=first)["permuted_scores"]
    assert finding.severity == "error"
    share = np.mean(first.astype(np.float32) == permuted.scores)
    assert f"100% of the teacher's scores are scores of the first stage for the same query, but only {share:.0%}" in (
        finding.message
    )
    assert "teacher.use=ranks" in finding.remedy
    assert "permuted_scores" not in found(permuted, [ORDER], first_stage_scores=first)
    assert "permuted_scores" not in found(permuted, [KL])
    assert "permuted_scores" not in found(pool, [KL], first_stage_scores=first)
    assert "permuted_scores" not in found(with_scores(pool, first), [KL], first_stage_scores=first)  # each its own
    grades = np.random.default_rng(2).integers(0, 4, len(first)).astype(float)
    assert "permuted_scores" not in found(with_scores(pool, grades[::-1]), [KL], first_stage_scores=grades)
    part = first.copy()
    part[::3] = np.nan  # the first stage did not find them
    assert "permuted_scores" in found(permuted, [KL], first_stage_scores=part)


def test_positives_at_the_bottom(clean):
    pool = clean()
    finding = found(with_scores(pool, -pool.scores))["positives_rarely_first"]
    assert finding.severity == "warning"
    assert re.search(r"a positive first in \d\.?\d*% of 60 lists, the first stage in \d+%", finding.message)
    assert "a random order in 5%" in finding.message
    assert "negated" in finding.remedy


def test_positives_below_chance(pool):
    generator = np.random.default_rng(0)
    lists = [np.concatenate([generator.normal(0, 3, 10), generator.normal(3, 3, 5)]) for _ in range(100)]
    low = pool(lists, positives=10, ranks=[generator.permutation(15) + 1 for _ in lists])
    finding = found(low)["positives_rarely_first"]
    assert re.search(r"a positive first in [2-5]\d% of 100 lists.*a random order in 67%", finding.message)
    few = pool(lists[:5], positives=10, ranks=[generator.permutation(15) + 1 for _ in range(5)])
    assert found(few) == {}


def test_a_teacher_much_worse_than_the_first_stage(pool):
    generator = np.random.default_rng(0)
    lists = list(generator.normal(0, 3, (200, 5)))
    worse = pool(lists)  # the positive stands first by the first stage, anywhere by the teacher
    assert "the first stage in 100%" in found(worse)["positives_rarely_first"].message
    assert found(worse, thresholds={"positives_rarely_first": {"ratio": 0.1}}) == {}


def test_missing_scores(clean):
    pool = clean()
    scores = pool.scores.copy()
    scores[[0, 21, 22, 23]] = np.nan
    scores[40:60] = np.nan
    finding = found(with_scores(pool, scores))["missing_scores"]
    assert finding.severity == "warning"
    assert "24 of 1,200 pairs (2%) have no teacher score, 2 of them positives" in finding.message
    assert "3 of 60 queries lack some, 1 lack all" in finding.message
    assert "query 'q0', document 'd0'" in finding.message
    assert "limbeck score" in finding.remedy
    assert found(with_scores(pool, scores), thresholds={"missing_scores": {"share": 0.02}}) == {}
    few = found(with_scores(pool, scores), queries=5)  # counted in all lists, however few are measured
    assert few["missing_scores"].message == finding.message


def test_no_score_at_all(clean):
    pool = clean()
    assert set(found(with_scores(pool, np.full(len(pool.scores), np.nan)))) == {"missing_scores"}


def test_infinite_scores(clean):
    pool = clean()
    scores = pool.scores.copy()
    scores[[45, 70]] = -np.inf, np.inf
    finding = found(with_scores(pool, scores), [MARGIN])["not_finite"]
    assert finding.severity == "error"
    assert "2 scores are infinite; the first is -inf for query 'q2', document 'd45'" in finding.message
    assert "float32" in finding.remedy


def test_constant_scores(clean):
    pool = clean()
    scores = pool.scores.copy()
    scores[20:200] = 0.5
    findings = found(with_scores(pool, scores))
    assert set(findings) == {"constant_scores"}
    assert findings["constant_scores"].severity == "error"
    assert "in 9 of 60 lists (15%) all scores are the same; in that of query 'q1' all 20 are 0.5" in (
        findings["constant_scores"].message
    )
    scores[60:] = pool.scores[60:]
    assert found(with_scores(pool, scores)) == {}


def test_another_collection(clean):
    pool = clean()
    finding = found(pool, meta={"collection": "aa"}, collection_fingerprint="bb")["fingerprint_differs"]
    assert finding.severity == "error"
    assert "fingerprint aa, the data has bb" in finding.message
    assert "data.*" in finding.remedy
    assert found(pool, meta={"collection": None}, collection_fingerprint="bb") == {}
    assert found(pool, meta={"collection": "aa"}) == {}


def test_a_loss_that_reads_no_scores_cares_for_none_of_it(clean):
    pool = clean()
    wrong = with_scores(pool, np.full(len(pool.scores), np.inf))
    assert found(wrong, [LABELS]) == {}
    assert "not_finite" in found(wrong, [ORDER])
    assert found(replace(pool, scores=None)) == {}


def trapped(clean):
    pool = clean()
    scores = 1 / (1 + np.exp(-pool.scores))
    scores[3], scores[7] = np.inf, np.nan
    return with_scores(pool, scores)


def test_checks_are_turned_off_by_name(clean):
    pool = trapped(clean)
    assert set(found(pool, [MARGIN])) == {"probability_scale", "not_finite", "missing_scores"}
    assert set(found(pool, [MARGIN], ignore=["probability_scale", "not_finite"])) == {"missing_scores"}
    assert found(pool, [MARGIN], ignore=list(checks())) == {}


def test_unknown_names_are_refused_with_a_suggestion(clean):
    pool = clean()
    with pytest.raises(ConfigError, match=r"checks.ignore: 'near_flatt' is no check; did you mean near_flat\?"):
        found(pool, ignore=["near_flatt"])
    with pytest.raises(ConfigError, match=r"checks: 'permuted' is no check; did you mean permuted_scores\?"):
        found(pool, thresholds={"permuted": {}})
    with pytest.raises(ConfigError, match="'xyz' is no check\nthe checks: constant_scores, fingerprint_differs"):
        found(pool, [LABELS], ignore=["xyz"])


def test_the_report_warns_and_stops(clean, caplog):
    findings = check(trapped(clean), objective=[MARGIN])
    assert [finding.severity for finding in findings] == ["error", "error", "warning"]
    with caplog.at_level(logging.WARNING), pytest.raises(ConfigError) as caught:
        report(findings)
    assert "teacher scores, missing_scores: 1 of 1,200 pairs" in caplog.text
    assert "remedy: score the missing pairs" in caplog.text
    text = str(caught.value)
    for finding in findings[:2]:
        assert f"- {finding.name}: {finding.message}" in text
        assert finding.remedy in text
    names = ",".join(finding.name for finding in findings[:2])
    assert f"checks.ignore=[{names}]" in text
    assert "missing_scores" not in text
    report([finding for finding in findings if finding.severity == "warning"])


def test_settings_of_a_configuration():
    near_flat = {"_target_": "check/near_flat", "entropy": 0.9, "share": 0.5}
    read = settings({"ignore": ["not_finite"], "queries": None, "near_flat": near_flat})
    assert read == {
        "ignore": ["not_finite"],
        "queries": None,
        "thresholds": {"near_flat": {"entropy": 0.9, "share": 0.5}},
    }
    with pytest.raises(ConfigError, match=r"checks.near_flat.entropi is no key"):
        settings({"ignore": [], "queries": 5, "near_flat": {**near_flat, "entropi": 1}})
    with pytest.raises(ConfigError, match=r"checks.ignore=\[near_flat\]"):
        settings({"ignore": "near_flat", "queries": 5})
    with pytest.raises(ConfigError, match=r"did you mean near_flat\?"):
        settings({"ignore": ["near_flatt"], "queries": 5})
    for queries in (0, "many"):
        with pytest.raises(ConfigError, match=r"checks\.queries must be"):
            settings({"ignore": [], "queries": queries})


def test_scores_of_the_first_stage_in_the_order_of_the_pool(pool):
    made = pool([[1, 2, 3], [4, 5]], names=["a", "b"])
    made = replace(made, document_ids=pa.array(["x", "y", "z", "x", "w"]))
    run = {"a": Ranking(["z", "x"], np.array([9.0, 8.0])), "c": Ranking(["x"], np.array([1.0]))}
    np.testing.assert_array_equal(first_stage_scores(made, run), [8, np.nan, 9, np.nan, np.nan])


def test_every_check_has_a_severity():
    assert {severity_of(function) for function in checks().values()} == {"warning", "error"}
