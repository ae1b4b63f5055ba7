"""Adam over objectives that are drawn anew: the minimum of the mean, the best start, and points that are not finite."""

import numpy as np
import pytest

from gps.policies.stochastic import minimise_mean
from gps.status import PolicyStatus

TARGET = np.array([1.0, -2.0, 0.5])


def noisy(step):
    """A parabola whose minimum is drawn around the target."""
    target = TARGET + 0.3 * np.random.default_rng(step).normal(size=3)
    return lambda point: (0.5 * np.sum((point - target) ** 2), point - target)


def test_it_finds_the_minimum_of_the_mean():
    found = minimise_mean(noisy, [np.zeros(3)], steps=400, learning_rate=0.05)
    np.testing.assert_allclose(found.parameters, TARGET, atol=0.1)
    assert found.status is PolicyStatus.ITERATIONS_SPENT and len(found.trace) == 400


def valleys(step):
    """A shallow valley at 0, which is lower where it begins, and a deep one at 10, with a slope that is drawn."""

    def objective(point):
        slope = 0.1 * np.random.default_rng(step).normal()
        side = point[0] > 5
        value = (point[0] - 10) ** 2 - 5 if side else 0.1 * point[0] ** 2
        return value + slope * point[0], np.array([2 * (point[0] - 10) if side else 0.2 * point[0]]) + slope

    return objective


@pytest.mark.parametrize("threads", [1, 2])
def test_the_start_that_leads_furthest_is_followed(threads):
    starts = [np.array([1.0]), np.array([7.0])]
    settings = {"steps": 200, "learning_rate": 0.1, "threads": threads}
    found, alone = (minimise_mean(valleys, chosen, **settings) for chosen in (starts, starts[1:]))
    np.testing.assert_allclose(found.parameters, 10, atol=0.5)
    assert found.iterations == (200, 200) and np.argmin(found.starts) == 1
    np.testing.assert_array_equal(found.trace, alone.trace)


def test_a_search_that_lost_its_way_is_not_followed():
    def draw(step):
        return lambda point: (np.nan if point[0] < 0 and step > 5 else point[0], np.ones(1))

    found = minimise_mean(draw, [np.array([-5.0]), np.array([9.0])], steps=40, learning_rate=0.1)
    assert found.status is PolicyStatus.ITERATIONS_SPENT and found.parameters[0] > 0


def test_it_begins_at_the_best_start_and_says_which_were_not_finite():
    def draw(step):
        def objective(point):
            value, gradient = noisy(step)(point)
            return (np.nan, gradient) if point[0] > 50 else (value, gradient)

        return objective

    starts = [np.full(3, 20.0), np.full(3, 99.0), np.zeros(3)]
    found = minimise_mean(draw, starts, steps=1, learning_rate=0.01)
    assert np.isnan(found.starts[1]) and found.starts[2] < found.starts[0]
    assert np.abs(found.parameters).max() <= 0.011 and found.iterations == (1, 0, 1)


def test_steps_without_a_finite_gradient_are_left_out():
    def draw(step):
        return noisy(step) if step % 3 else (lambda point: (1.0, np.full(3, np.nan) if step else point))

    found = minimise_mean(draw, [np.zeros(3)], steps=300, learning_rate=0.05)
    np.testing.assert_allclose(found.parameters, TARGET, atol=0.15)
    assert "99 steps had no finite gradient" in found.message


@pytest.mark.parametrize("good", [0, 5])
def test_it_ends_where_nothing_is_finite(good):
    def draw(step):
        return noisy(step) if step < good else (lambda point: (np.inf, point))

    found = minimise_mean(draw, [np.zeros(3)], steps=100, learning_rate=0.05)
    if good:
        assert found.status is PolicyStatus.LEFT_FINITE and np.isfinite(found.parameters).all()
    else:
        assert found.status is PolicyStatus.NOT_FINITE and found.parameters is None


def test_without_a_start_there_is_nothing_to_do():
    with pytest.raises(ValueError, match="at least one start"):
        minimise_mean(noisy, [], steps=1, learning_rate=0.1)
