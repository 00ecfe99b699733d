"""Against SciPy, statsmodels and enumeration by hand, on drawn and on real per-query values."""

import dataclasses
import doctest
import gc
import itertools
import math
import statistics
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from limbeck.evaluation import significance
from limbeck.evaluation.metrics import evaluate
from limbeck.evaluation.runs import read_run
from limbeck.evaluation.significance import bonferroni, holm, paired, randomisation

KINDS = ("random", "tied", "zero_inflated")


def values(array):
    return {f"q{number}": float(value) for number, value in enumerate(array)}


def drawn(kind, queries=60, seed=0):
    """Two systems' values as arrays: nDCG-like, grades of four steps, reciprocal ranks that rarely differ."""
    generator = np.random.default_rng(seed)
    if kind == "random":
        before = generator.beta(2, 2, queries)
        return before, np.clip(before + generator.normal(0.03, 0.15, queries), 0, 1)
    if kind == "tied":
        return generator.integers(0, 4, queries) / 3, generator.integers(0, 5, queries).clip(0, 3) / 3
    before = 1 / generator.integers(1, 11, queries)
    return before, np.where(generator.random(queries) < 0.85, before, 1 / generator.integers(1, 8, queries))


@pytest.fixture(params=[*KINDS, "real_ndcg", "real_mrr"])
def pair(request):
    """Two systems' per-query values, drawn or of real runs on TREC DL 2019."""
    if request.param in KINDS:
        return tuple(map(values, drawn(request.param)))
    folder = request.getfixturevalue("shared") / "msmarco-dl"
    qrels = {}
    for line in (folder / "qrels" / "dev-full.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    metric = {"real_ndcg": "ndcg@10", "real_mrr": "mrr@10"}[request.param]
    runs = (read_run(folder / "runs" / f"{name}.dl19.trec") for name in ("bm25", "tasb"))
    before, after = (evaluate(qrels, run, [metric])[metric] for run in runs)
    assert len(before) == 43
    return before, after


def arrays(pair):
    return (np.array([system[query] for query in pair[0]]) for system in pair)


def test_t_test_and_effect_are_scipys(pair):
    before, after = arrays(pair)
    found = paired([pair[0]], [pair[1]])
    expected = stats.ttest_rel(after, before)
    assert found.t_p == pytest.approx(expected.pvalue, rel=1e-9)
    differences = after - before
    assert found.effect_size == pytest.approx(differences.mean() / differences.std(ddof=1), rel=1e-9)
    assert found.effect_size == pytest.approx(expected.statistic / len(before) ** 0.5, rel=1e-9)


def test_means_and_counts(pair):
    before, after = arrays(pair)
    found = paired([pair[0]], [pair[1]])
    assert found.baseline == pytest.approx(before.mean())
    assert found.system == pytest.approx(after.mean())
    assert found.difference == pytest.approx(after.mean() - before.mean())
    assert found.queries == len(before)
    assert (found.better, found.equal, found.worse) == (
        (after > before).sum(),
        (after == before).sum(),
        (after < before).sum(),
    )
    assert (found.baseline_std, found.system_std, found.seeds) == (None, None, (1, 1))


def test_randomisation_is_scipys(pair):
    before, after = arrays(pair)
    differences = after - before
    expected = stats.permutation_test(
        (differences,),
        lambda x, axis: np.abs(x.mean(axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=20_000,
        batch=5_000,
        rng=7,
    ).pvalue
    p = paired([pair[0]], [pair[1]], resamples=20_000).randomisation_p
    assert abs(p - expected) <= 4 * (2 * expected * (1 - expected) / 20_000) ** 0.5 + 1e-4


def test_interval_is_scipys(pair):
    before, after = arrays(pair)
    found = paired([pair[0]], [pair[1]], confidence=0.9, seed=3)
    expected = stats.bootstrap(
        (after, before),
        lambda x, y, axis: (x - y).mean(axis),
        paired=True,
        method="percentile",
        confidence_level=0.9,
        n_resamples=10_000,
        rng=11,
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.03 * width)
    assert found.high == pytest.approx(expected.high, abs=0.03 * width)
    wider = paired([pair[0]], [pair[1]], confidence=0.99)
    assert wider.low < found.low < found.difference < found.high < wider.high


def test_swapping_the_systems_changes_signs_alone(pair):
    there, back = paired([pair[0]], [pair[1]]), paired([pair[1]], [pair[0]])
    assert (back.baseline, back.system) == (there.system, there.baseline)
    assert (back.better, back.equal, back.worse) == (there.worse, there.equal, there.better)
    assert back.randomisation_p == there.randomisation_p
    assert (back.t_p, back.difference, back.effect_size, back.low, back.high) == pytest.approx(
        (there.t_p, -there.difference, -there.effect_size, -there.high, -there.low)
    )


def test_the_order_of_queries_is_irrelevant(pair):
    shuffled = dict(reversed(pair[1].items()))
    assert (
        paired([pair[0]], [shuffled])
        == paired([dict(reversed(pair[0].items()))], [pair[1]])
        == paired(*([x] for x in pair))
    )


def by_enumeration(differences):
    """Every pattern of signs, in exact integers."""
    observed = abs(sum(differences))
    patterns = list(itertools.product((-1, 1), repeat=len(differences)))
    return sum(abs(np.dot(signs, differences)) >= observed for signs in patterns) / len(patterns)


@pytest.mark.parametrize("seed", range(8))
def test_few_queries_are_enumerated(seed):
    tenths = np.random.default_rng(seed).integers(-3, 5, 9)
    p = randomisation(tenths / 10)
    assert p == by_enumeration(tenths)
    assert p == stats.permutation_test((tenths,), np.mean, permutation_type="samples", n_resamples=512).pvalue


def test_zeros_do_not_keep_a_test_from_being_exact():
    changed = np.array([3, -1, 2, 2, 1, 4])
    assert randomisation(np.concatenate([np.zeros(500), changed / 10])) == by_enumeration(changed)


def test_random_signs_approach_the_exact_p():
    changed = np.array([3, -1, 2, 2, 1, 4, -2, 1, 1, 2])
    exact = by_enumeration(changed)
    drawn = [randomisation(changed / 10, resamples=1000, seed=seed) for seed in range(50)]
    assert len(set(drawn)) > 5
    assert statistics.fmean(drawn) == pytest.approx(exact, abs=0.002)
    # A p from random signs is never 0.
    assert randomisation(np.full(40, 0.1), resamples=99) == 0.01


def test_no_difference():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size in (1, 50):
            found = paired([values(np.full(size, 0.3))], [values(np.full(size, 0.3))] * 2)
            assert (found.t_p, found.randomisation_p, found.effect_size, found.difference) == (1, 1, 0, 0)
            assert (found.low, found.high, found.better, found.equal, found.worse) == (0, 0, 0, size, 0)


def test_rounding_is_no_difference():
    found = paired([{"a": 0.1, "b": 0.3}, {"a": 0.2, "b": 0.3}], [{"a": 0.15, "b": 0.3}] * 2)
    assert 0.1 + 0.2 != 0.15 + 0.15
    assert (found.equal, found.t_p, found.difference) == (2, 1, 0)


def test_a_constant_difference_has_the_limit_as_in_scipy():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired([{"a": 0.1, "b": 0.2, "c": 0.3}], [{"a": 0.2, "b": 0.3, "c": 0.4}])
        assert paired([{"a": 1.0, "b": 1.0}], [{"a": 0.5, "b": 0.5}]).effect_size == -math.inf
    assert (found.t_p, found.effect_size) == (0, math.inf)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))
    assert found.randomisation_p == 0.25


def test_one_query():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired([{"a": 0.1}], [{"a": 0.2}])
    assert all(map(math.isnan, (found.t_p, found.effect_size, found.low, found.high)))
    assert (found.randomisation_p, found.better) == (1, 1)
    assert found.difference == pytest.approx(0.1)


def test_two_queries():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = paired([{"a": 0.1, "b": 0.5}], [{"a": 0.2, "b": 0.9}])
    assert found.t_p == pytest.approx(stats.ttest_rel([0.2, 0.9], [0.1, 0.5]).pvalue)
    assert found.randomisation_p == 0.5
    assert (found.low, found.high) == pytest.approx((0.1, 0.4))


def test_seeds_are_averaged_by_query_first():
    generator = np.random.default_rng(5)
    before, after = generator.random((3, 40)), generator.random((2, 40)) + 0.1
    found = paired([values(row) for row in before], [values(row) for row in after])
    means = paired([values(before.mean(axis=0))], [values(after.mean(axis=0))])
    for name in ("difference", "t_p", "randomisation_p", "effect_size", "low", "high", "better", "baseline", "system"):
        assert getattr(found, name) == pytest.approx(getattr(means, name), rel=1e-9), name
    assert found.baseline_std == pytest.approx(statistics.stdev(before.mean(axis=1).tolist()))
    assert found.system_std == pytest.approx(statistics.stdev(after.mean(axis=1).tolist()))
    assert found.seeds == (3, 2)
    again = paired([values(row) for row in before[[2, 0, 1]]], [values(row) for row in after[::-1]])
    # The standard deviation over seeds alone may move, in its last bit.
    assert dataclasses.replace(again, baseline_std=0, system_std=0) == dataclasses.replace(
        found, baseline_std=0, system_std=0
    )
    one = paired([values(before[0])], [values(row) for row in after])
    assert (one.baseline_std, one.system_std) == (None, found.system_std)


def test_the_seed_decides_the_resamples():
    before, after = map(values, drawn("random", 80))
    one, again, other = (paired([before], [after], resamples=500, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.low != other.low
    assert one.t_p == other.t_p


@pytest.mark.parametrize(
    ("baseline", "system", "message"),
    [
        ([{"a": 1.0, "b": 1.0}], [{"a": 1.0}], "query 'b' is not in every system"),
        ([{"a": 1.0}], [{"a": 1.0}, {"c": 1.0}], "query 'a' is not in every system"),
        ([{"a": 1.0}, {"a": 1.0, "x": 0.0}], [{"a": 1.0}], "query 'x' is not in every system"),
        ([{"a": 1.0, "b": math.nan}], [{"a": 1.0, "b": 1.0}], "value of query 'b' is nan"),
        ([{"a": 1.0}], [{"a": math.inf}], "value of query 'a' is inf"),
        ([], [{"a": 1.0}], "a system has no values"),
        ([{"a": 1.0}], [], "a system has no values"),
        ([{}], [{}], "no queries"),
    ],
)
def test_what_cannot_be_compared(baseline, system, message):
    with pytest.raises(ValueError, match=message):
        paired(baseline, system)


@pytest.mark.parametrize("kind", ["random", "zero_inflated"])
def test_null_both_tests_reject_as_often_as_they_say(kind):
    """Noise whose sign is a coin's: 500 experiments at 5 %, within the binomial interval of 99.9 %."""
    generator = np.random.default_rng(12)
    before, after = drawn(kind, 80)
    by_t = by_randomisation = 0
    for repeat in range(500):
        flipped = generator.permutation(after - before) * generator.choice([-1, 1], 80)
        found = paired([values(before)], [values(before + flipped)], resamples=199, seed=repeat)
        by_t += found.t_p <= 0.05
        by_randomisation += found.randomisation_p <= 0.05
    low, high = stats.binom.interval(0.999, 500, 0.05)
    assert low <= by_t <= high
    assert low <= by_randomisation <= high


def test_power_a_true_shift_is_found():
    generator = np.random.default_rng(4)
    t_found = randomisation_found = covered = 0
    for repeat in range(100):
        before = generator.beta(2, 2, 97)
        found = paired([values(before)], [values(before + generator.normal(0.05, 0.1, 97))], resamples=499, seed=repeat)
        t_found += found.t_p < 0.05
        randomisation_found += found.randomisation_p < 0.05
        covered += found.low <= 0.05 <= found.high
    # d_z is 0.5: a noncentral t has power 0.998.
    assert t_found >= 97
    assert randomisation_found >= 97
    assert 87 <= covered <= 99


@pytest.mark.parametrize(("method", "correct"), [("holm", holm), ("bonferroni", bonferroni)])
def test_corrections_are_statsmodels(method, correct, monkeypatch):
    monkeypatch.setattr(gc, "collect", lambda: 0)  # each call of multipletests would, for a third of a second
    generator = np.random.default_rng(2)
    cases = [generator.random(size) ** power for size, power in ((1, 1), (5, 3), (40, 1), (200, 8))]
    cases += [generator.integers(0, 5, 40) / 500 for _ in range(3)]  # ties, zeros
    cases += [np.array([0.0, 1.0, 1.0, 0.04]), np.full(6, 0.01)]
    for p_values in cases:
        expected = multipletests(p_values, method=method)[1]
        assert correct(list(p_values)) == pytest.approx(expected.tolist(), abs=1e-15)


@pytest.mark.parametrize("correct", [holm, bonferroni])
def test_corrections_leave_nan_and_refuse_what_is_no_p(correct):
    without = correct([0.01, 0.04])
    assert correct([0.01, math.nan, 0.04]) == pytest.approx([without[0], math.nan, without[1]], nan_ok=True)
    assert correct([]) == []
    assert correct([math.nan]) == pytest.approx([math.nan], nan_ok=True)
    for wrong in (-0.1, 1.5):
        with pytest.raises(ValueError, match=f"got {wrong}"):
            correct([0.5, wrong])


def test_memory_at_the_size_of_ms_marco_dev():
    before, after = map(values, drawn("random", 6980))
    tracemalloc.start()
    try:
        paired([before], [after])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300e6


def test_doctests():
    found = doctest.testmod(significance)
    assert found.attempted
    assert not found.failed
