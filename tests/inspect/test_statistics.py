"""Interquartile means, bootstrap intervals and aligned curves, against SciPy and by hand."""

import numpy as np
import pytest
import scipy.stats

from gps.inspect.statistics import Curve, align_curves, estimate, interquartile_mean, mean, share


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 10, 11])
def test_the_interquartile_mean_is_that_of_every_value_counted_four_times(n):
    """With each value four times the quarters fall between values, and nothing has to be cut in part."""
    values = np.random.default_rng(n).normal(size=(n, 3))
    expected = scipy.stats.trim_mean(np.repeat(values, 4, axis=0), 0.25, axis=0)
    np.testing.assert_allclose(interquartile_mean(values), expected, rtol=1e-12)


def test_the_interquartile_mean_of_few_seeds():
    assert interquartile_mean([1.0, 2.0, 9.0]) == pytest.approx((1 + 4 * 2 + 9) / 6)
    assert interquartile_mean([5.0, 1.0, 3.0, 2.0, 100.0]) == pytest.approx(0.3 * 2 + 0.4 * 3 + 0.3 * 5)
    assert interquartile_mean([7.0]) == 7
    assert np.isnan(interquartile_mean([1.0, np.nan, 2.0, 3.0]))
    assert np.isnan(interquartile_mean(np.zeros(0)))


def test_the_interval_is_scipys():
    values = np.random.default_rng(0).exponential(size=12)
    ours = estimate(values, statistic=mean)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1)
    low, high = theirs.confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert ours.low == pytest.approx(low, abs=0.05 * (high - low))
    assert ours.high == pytest.approx(high, abs=0.05 * (high - low))


def test_equal_input_gives_equal_bits_and_one_value_no_width():
    values = np.random.default_rng(0).normal(size=(5, 4))
    one, two = estimate(values), estimate(values)
    assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("value", "low", "high"))
    assert (one.low <= one.value).all() and (one.value <= one.high).all()
    alone = estimate(values[:1])
    np.testing.assert_array_equal([alone.value, alone.low, alone.high], [values[0]] * 3)


def test_strata_are_drawn_apart():
    """Two conditions that are constant in themselves: nothing is uncertain, though the values differ."""
    item = estimate(np.full(4, 1.0), np.full(4, 9.0), statistic=mean)
    assert (item.value, item.low, item.high) == (5, 5, 5)
    together = estimate(np.repeat([1.0, 9.0], 4), statistic=mean)
    assert together.high - together.low > 2


def test_curves_are_drawn_as_a_whole():
    seeds = np.random.default_rng(0).normal(size=(6, 1))
    item = estimate(np.repeat(seeds, 3, axis=1))
    assert np.ptp(item.low) == np.ptp(item.high) == 0


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 5), (20, 20), (1, 300)])
def test_a_share_has_wilsons_interval(k, n):
    expected = scipy.stats.binomtest(k, n).proportion_ci(0.95, "wilson")
    item = share(k, n)
    np.testing.assert_allclose([item.value, item.low, item.high], [k / n, *expected], atol=1e-12)
    assert np.isnan(share(0, 0).value)


def test_curves_meet_where_all_have_data():
    first = Curve(np.array([10, 20, 30, 40]), np.array([1.0, 2.0, 3.0, 4.0]))
    second = Curve(np.array([15, 30, 45, 60]), np.array([5.0, 6.0, 7.0, 8.0]))
    together = align_curves([first, second])
    np.testing.assert_array_equal(together.steps, [15, 20, 30, 40])
    np.testing.assert_array_equal(together.values, [[1, 2, 3, 4], [5, 5, 6, 6]])  # the last value holds on
    assert together.cut == 2
    assert align_curves([first, first]).cut == 0


def test_missing_points_and_curves_that_never_meet():
    gap = Curve(np.array([10, 20, 30]), np.array([np.nan, 2.0, np.nan]))
    full = Curve(np.array([10, 20, 30]), np.array([1.0, 2.0, 3.0]))
    together = align_curves([gap, full])
    np.testing.assert_array_equal(together.steps, [20])
    assert together.cut == 1
    late = Curve(np.array([50, 60]), np.array([1.0, 2.0]))
    assert align_curves([full, late]).steps.size == 0
    nothing = Curve(np.array([10]), np.array([np.nan]))
    assert align_curves([full, nothing]).values.shape == (2, 0)
    assert align_curves([]).steps.size == 0
