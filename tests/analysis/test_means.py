import numpy as np
import pytest
from scipy import stats

from limbeck.analysis.means import mean


@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_the_interval_is_scipys(count):
    sample = np.random.default_rng(count).normal(0.3, 2.0, count)
    found = mean(sample)
    low, high = stats.t.interval(0.95, count - 1, loc=sample.mean(), scale=stats.sem(sample))
    assert found.value == pytest.approx(sample.mean())
    assert (found.value - found.half_width, found.value + found.half_width) == pytest.approx((low, high))
    assert found.count == count


def test_two_values_by_hand():
    # s = 0.5 √2, n = 2: t(0.975, 1) = 12.7062, half = 12.7062 · 0.5
    assert mean(np.array([0.0, 1.0])).half_width == pytest.approx(6.3531, abs=1e-4)


def test_fewer_than_two_values_have_no_interval():
    one, none = mean(np.array([0.5])), mean(np.array([]))
    assert (one.value, one.count) == (0.5, 1)
    assert np.isnan(one.half_width)
    assert none.count == 0
    assert np.isnan([none.value, none.half_width]).all()


def test_the_interval_covers_the_mean_of_small_samples_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(4000, 3))
    found = [mean(draw) for draw in draws]
    covered = np.mean([abs(each.value) <= each.half_width for each in found])
    assert covered == pytest.approx(0.95, abs=0.015)  # 1.96 for t would cover 81 %
