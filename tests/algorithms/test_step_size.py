"""The multiplier of the KL bound (it must not depend on the cost's scale)."""

import numpy as np
import pytest

from gps.algorithms.local.step_size import adapt_multiplier, adapt_shared_multiplier

PREDICTED, ACTUAL = -np.array([1.0, 1.0, 1.0, 1.0, 2.0]), -np.array([1.0, 0.5, 0.0, -3.0, 3.0])


@pytest.mark.parametrize("unit", [1e-9, 1e-3, 1.0, 1e6])
def test_the_unit_of_the_cost_does_not_matter(unit):
    """No absolute threshold decides what an improvement is."""
    expected = adapt_multiplier(np.ones(5), PREDICTED, ACTUAL, 0.01, 100.0)
    np.testing.assert_allclose(
        adapt_multiplier(np.ones(5), unit * PREDICTED, unit * ACTUAL, 0.01, 100.0), expected, rtol=1e-12
    )


def test_it_is_the_best_step_of_a_quadratic_model_of_the_error():
    """cost(s) = -a s + b s^2 with a s predicted: the minimum is at s = a / 2b."""
    a, b = np.array([1.0, 1.0, 3.0]), np.array([0.4, 0.5, 2.0])
    np.testing.assert_allclose(adapt_multiplier(np.ones(3), -a, -a + b, 1e-3, 1e3), a / (2 * b), rtol=1e-12)


def test_better_than_predicted_grows_and_worse_shrinks():
    factors = adapt_multiplier(np.ones(5), PREDICTED, ACTUAL, 1e-3, 1e3)
    assert factors[0] == pytest.approx(5.0)
    assert factors[1] == pytest.approx(1.0)
    assert factors[2] == pytest.approx(0.5)
    assert 0.1 <= factors[3] < 0.2
    assert factors[4] == pytest.approx(5.0)
    ratios = np.linspace(2.0, -5.0, 50)
    many = adapt_multiplier(np.ones(50), -np.ones(50), -ratios, 1e-3, 1e3)
    assert (np.diff(many) <= 0).all()
    assert ((many >= 0.1) & (many <= 5.0)).all()


def test_the_limits_hold():
    low, high = 0.2, 3.0
    for multiplier in (low, 1.0, high):
        found = adapt_multiplier(np.full(5, multiplier), PREDICTED, ACTUAL, low, high)
        assert ((found >= low) & (found <= high)).all()


@pytest.mark.parametrize(
    ("predicted", "actual"),
    [(np.nan, -1.0), (-1.0, np.nan), (np.nan, np.nan), (0.0, -1.0), (1.0, -1.0), (-np.inf, 0.0)],
)
def test_an_unknown_change_leaves_the_multiplier(predicted, actual):
    assert adapt_multiplier(np.array([0.7]), np.array([predicted]), np.array([actual]), 0.1, 10.0) == [0.7]


def test_a_shared_multiplier_is_the_best_step_of_the_sum():
    """Σ (-a s + b s²), the sum over the conditions, is least at s = Σ a / 2 Σ b."""
    a, b = np.array([1.0, 0.2, 3.0]), np.array([0.1, 4.0, 1.0])
    expected = np.full(3, a.sum() / (2 * b.sum()))
    np.testing.assert_allclose(adapt_shared_multiplier(np.ones(3), -a, -a + b, 1e-3, 1e3), expected, rtol=1e-12)
    one = adapt_multiplier(np.ones(1), -a[:1], (b - a)[:1], 0.2, 3.0)
    np.testing.assert_array_equal(adapt_shared_multiplier(np.ones(1), -a[:1], (b - a)[:1], 0.2, 3.0), one)


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_a_shared_multiplier_ignores_unknown_changes(unknown):
    a, b = np.array([1.0, unknown, 3.0]), np.array([0.1, 4.0, unknown])
    expected = np.full(3, 5.0)  # 1 / 0.2
    np.testing.assert_allclose(adapt_shared_multiplier(np.ones(3), -a, -a + b, 1e-3, 1e3), expected, rtol=1e-12)
    nothing = np.full(2, unknown)
    np.testing.assert_allclose(adapt_shared_multiplier(np.array([0.5, 2.0]), nothing, nothing, 1e-3, 1e3), [1.0, 1.0])
