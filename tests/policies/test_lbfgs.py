"""L-BFGS from several starts: it finds the least value, whatever the threads, and survives what is not finite."""

import numpy as np
import pytest

from gps.policies.lbfgs import minimise
from gps.status import PolicyStatus

STARTS = [np.array([-1.2, 1.0]), np.array([2.0, 2.0]), np.array([0.0, -1.0])]


def rosenbrock(x):
    a, b = 1 - x[0], x[1] - x[0] ** 2
    return a**2 + 100 * b**2, np.array([-2 * a - 400 * x[0] * b, 200 * b])


def test_the_least_value_is_found_from_every_start():
    found = minimise(rosenbrock, STARTS, iterations=200)
    np.testing.assert_allclose(found.parameters, [1.0, 1.0], atol=1e-5)
    np.testing.assert_allclose(found.starts, 0.0, atol=1e-8)
    assert found.status is PolicyStatus.CONVERGED and found.message == ""
    assert (np.diff(found.trace) <= 0).all() and found.trace[-1] == found.value
    assert len(found.trace) == 1 + found.iterations[int(np.argmin(found.starts))]


def test_threads_change_no_bit():
    one, two = (minimise(rosenbrock, STARTS, iterations=25, threads=threads) for threads in (1, 3))
    assert one.parameters.tobytes() == two.parameters.tobytes() and one.starts.tobytes() == two.starts.tobytes()
    assert one.status is two.status is PolicyStatus.ITERATIONS_SPENT or one.status is PolicyStatus.CONVERGED


def test_iterations_are_counted():
    found = minimise(rosenbrock, STARTS[:1], iterations=3)
    assert found.status is PolicyStatus.ITERATIONS_SPENT and found.iterations == (3,) and found.status.ok


def test_bounds_hold():
    found = minimise(rosenbrock, STARTS, iterations=200, bounds=(np.full(2, -2.0), np.array([0.5, 2.0])))
    np.testing.assert_allclose(found.parameters, [0.5, 0.25], atol=1e-6)


def holed(x):
    """The bowl around 3, with nothing but NaN beyond 1.5 in one direction, and none of the gradient beyond 1.2."""
    value, gradient = float(((x - 3.0) ** 2).sum()), 2 * (x - 3.0)
    if x[0] > 1.5:
        return np.nan, gradient
    return value, np.full_like(gradient, np.nan) if x[0] > 1.2 else gradient


def test_a_search_turns_back_from_what_is_not_finite():
    found = minimise(holed, [np.zeros(2)], iterations=100)
    assert found.status in (PolicyStatus.LEFT_FINITE, PolicyStatus.CONVERGED, PolicyStatus.ITERATIONS_SPENT)
    assert 0.5 < found.parameters[0] <= 1.2 and np.isfinite(found.value)
    assert found.value == holed(found.parameters)[0] < 18.0
    assert "turned back" in found.message


def test_a_start_that_is_not_finite_is_said_and_left():
    found = minimise(holed, [np.full(2, 5.0), np.zeros(2)], iterations=5)
    assert np.isnan(found.starts[0]) and found.starts[1] == found.value
    assert "not finite at 1 of 2 starts" in found.message
    none = minimise(holed, [np.full(2, 5.0)] * 2, iterations=5)
    assert none.parameters is None and np.isnan(none.value) and none.status is PolicyStatus.NOT_FINITE
    assert none.trace.size == 0 and np.isnan(none.starts).all()


def test_a_flat_objective_is_said():
    found = minimise(lambda x: (1.0, np.zeros_like(x)), [np.ones(3)], iterations=5)
    assert found.status is PolicyStatus.FLAT and found.value == 1.0
    np.testing.assert_array_equal(found.parameters, 1.0)


def test_no_start_is_a_mistake():
    with pytest.raises(ValueError, match="at least one start"):
        minimise(rosenbrock, [], iterations=5)
