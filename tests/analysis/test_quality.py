import numpy as np
import pytest

from limbeck.analysis.quality import by_teacher

TEACHER = {"a": 0.0, "b": 0.1, "c": 0.2, "d": 0.9, "e": 1.0}
BASELINE = [{"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.7, "e": 0.9}] * 2
SYSTEM = [{"a": 0.4, "b": 0.3, "c": 0.5, "d": 0.7, "e": 0.7}, {"a": 0.6, "b": 0.5, "c": 0.5, "d": 0.7, "e": 0.5}]


def test_gains_by_hand():
    bad, middling, good = by_teacher(TEACHER, BASELINE, SYSTEM)
    assert (bad.queries, middling.queries, good.queries) == (2, 1, 2)
    assert bad.gain == pytest.approx((0.4 + 0.1) / 2)  # a: .5 - .1, b: .4 - .3
    assert bad.half_width == pytest.approx(1.96 * np.std([0.4, 0.1], ddof=1) / 2**0.5)
    assert (bad.low, bad.high, bad.teacher) == (0.0, 0.2, pytest.approx(0.05))
    assert middling.gain == 0
    assert np.isnan(middling.half_width)
    assert good.gain == pytest.approx((0 - 0.3) / 2)
    assert good.baseline == pytest.approx(0.8)
    assert good.system == pytest.approx(0.65)


def test_empty_buckets_are_left_out_and_the_gains_add_up():
    buckets = by_teacher(TEACHER, BASELINE, SYSTEM, edges=(0.3, 0.6))
    assert [bucket.queries for bucket in buckets] == [3, 2]
    total = sum(bucket.gain * bucket.queries for bucket in buckets)
    means = [np.mean([values[query] for values in SYSTEM]) - BASELINE[0][query] for query in TEACHER]
    assert total == pytest.approx(sum(means))


def test_queries_that_do_not_match():
    with pytest.raises(ValueError, match="query 'e' is not in every system"):
        by_teacher(TEACHER, BASELINE, [dict.fromkeys("abcd", 0.0)])
