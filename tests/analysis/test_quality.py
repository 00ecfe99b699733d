import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from limbeck.analysis.quality import by_teacher

TEACHER = {"a": 0.0, "b": 0.1, "c": 0.2, "d": 0.9, "e": 1.0}
BASELINE = [{"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.7, "e": 0.9}] * 2
SYSTEM = [{"a": 0.4, "b": 0.3, "c": 0.5, "d": 0.7, "e": 0.7}, {"a": 0.6, "b": 0.5, "c": 0.5, "d": 0.7, "e": 0.5}]


def test_gains_by_hand():
    bad, middling, good = by_teacher(TEACHER, BASELINE, SYSTEM)
    assert (bad.queries, middling.queries, good.queries) == (2, 1, 2)
    assert bad.gain == pytest.approx((0.4 + 0.1) / 2)  # a: .5 - .1, b: .4 - .3
    assert bad.half_width == pytest.approx(stats.t.ppf(0.975, 1) * np.std([0.4, 0.1], ddof=1) / 2**0.5)
    assert bad.half_width > 12 * 0.15 > 0.294  # what the normal approximation would claim: 1.96 · 0.15
    assert (bad.low, bad.high, bad.teacher) == (0.0, 0.2, pytest.approx(0.05))
    assert middling.gain == 0
    assert np.isnan(middling.half_width)
    assert good.gain == pytest.approx((0 - 0.3) / 2)
    assert good.baseline == pytest.approx(0.8)
    assert good.system == pytest.approx(0.65)


@pytest.fixture
def random():
    """Return teacher, baseline, system: 300 queries, 2 and 3 seeds, values between 0 and 1 with many ties."""
    generator = np.random.default_rng(3)
    queries = [f"q{i}" for i in generator.permutation(300)]

    def values():
        return dict(zip(queries, generator.random(300).round(1).tolist(), strict=True))

    return values(), [values(), values()], [values(), values(), values()]


@pytest.mark.parametrize("edges", [(0.2, 0.5), (0.5,), (), (0.1, 0.3, 0.9)])
def test_buckets_are_those_of_loops_and_add_up_to_the_whole(random, edges):
    teacher, baseline, system = random
    buckets = by_teacher(teacher, baseline, system, edges)
    borders = [0.0, *edges, math.inf]
    overall = []
    for bucket, (low, high) in zip(buckets, pairwise(borders), strict=True):
        inside = [query for query, value in teacher.items() if low <= value < high]
        before = [sum(values[query] for values in baseline) / 2 for query in inside]
        after = [sum(values[query] for values in system) / 3 for query in inside]
        gains = [b - a for a, b in zip(before, after, strict=True)]
        overall += gains
        assert bucket.queries == len(inside) > 2
        assert (bucket.low, bucket.high) == (low, min(high, 1.0))
        assert bucket.teacher == pytest.approx(sum(teacher[query] for query in inside) / len(inside))
        assert bucket.baseline == pytest.approx(sum(before) / len(inside))
        assert bucket.system == pytest.approx(sum(after) / len(inside))
        assert bucket.gain == pytest.approx(bucket.system - bucket.baseline)
        interval = stats.t.interval(0.95, len(gains) - 1, loc=np.mean(gains), scale=stats.sem(gains))
        assert (bucket.gain - bucket.half_width, bucket.gain + bucket.half_width) == pytest.approx(interval)
    assert sum(bucket.queries for bucket in buckets) == 300
    weighted = sum(bucket.gain * bucket.queries for bucket in buckets) / 300
    assert weighted == pytest.approx(sum(overall) / 300)


def test_empty_buckets_are_left_out():
    assert [bucket.queries for bucket in by_teacher(TEACHER, BASELINE, SYSTEM, edges=(0.3, 0.6))] == [3, 2]


def test_seeds_are_no_sample():
    once, thrice = (by_teacher(TEACHER, BASELINE, SYSTEM[:1] * seeds)[0] for seeds in (1, 3))
    assert thrice.half_width == pytest.approx(once.half_width)


def test_queries_that_do_not_match():
    with pytest.raises(ValueError, match="query 'e' is not in every system"):
        by_teacher(TEACHER, BASELINE, [dict.fromkeys("abcd", 0.0)])


@pytest.mark.parametrize("edges", [(0.5, 0.2), (0.2, 0.2), (0.0, 0.5), (0.5, 1.0)])
def test_edges_that_make_no_buckets(edges):
    with pytest.raises(ValueError, match="edges must rise"):
        by_teacher(TEACHER, BASELINE, SYSTEM, edges)
