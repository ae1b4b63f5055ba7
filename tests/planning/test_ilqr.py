"""The planner against LQR where that is exact, and against other searches where it is not."""

import numpy as np
import pytest
from helpers.linear_planning import DU, DX, STARTS, A, B, T, cost_of, optimum, problem, quadratic

from gps.backend import jnp
from gps.linear_gaussian.types import pytree
from gps.planning.ilqr import FIRST, Plan, PlanningProblem, improve_plans


@pytest.mark.parametrize("t", [0, 3, T - 1])
def test_on_a_linear_system_it_is_the_feedback_of_lqr(t):
    best = optimum()
    states = np.random.default_rng(0).normal(size=(6, DX))
    plans = improve_plans(problem(), quadratic, states, t, Plan.none(6, T, DU), 12)
    expected = states @ best.feedback[t].T + best.feedforward[t]
    np.testing.assert_allclose(plans.actions[:, 0], expected, rtol=1e-6, atol=1e-6)


def test_the_curvature_is_that_of_the_cost_to_go():
    """The Riccati recursion's covariance at temperature 1 is its inverse."""
    quu = improve_plans(problem(), quadratic, STARTS, 0, Plan.none(2, T, DU), 12).curvature
    np.testing.assert_allclose(quu, np.linalg.inv(np.tile(optimum().covariance[0], (2, 1, 1))), rtol=1e-5)


def test_steps_after_the_episode_cost_nothing():
    plans = improve_plans(problem(), quadratic, STARTS, T - 2, Plan.none(2, T, DU), 12)
    short = improve_plans(problem(), quadratic, STARTS, T - 2, Plan.none(2, 2, DU), 12)
    np.testing.assert_allclose(plans.actions[:, :2], short.actions, atol=1e-7)


def test_a_short_horizon_ignores_later_steps():
    near = improve_plans(problem(), quadratic, STARTS, 0, Plan.none(2, 3, DU), 12)
    far = improve_plans(problem(), quadratic, STARTS, 0, Plan.none(2, T, DU), 12)
    assert np.abs(near.actions[:, 0] - far.actions[:, 0]).max() > 1e-3


def test_limits_are_kept_and_used():
    """Against a search over all plans within the limits."""
    from scipy.optimize import minimize

    low, high = np.full(DU, -0.4), np.full(DU, 0.3)
    plans = improve_plans(problem(low, high), quadratic, STARTS, 0, Plan.none(2, T, DU), 60)
    assert (plans.actions >= low).all()
    assert (plans.actions <= high).all()
    assert (np.linalg.eigvalsh(plans.curvature) > 0).all()
    for start, actions in zip(STARTS, plans.actions, strict=True):
        free = minimize(
            lambda u, start=start: cost_of(start, u.reshape(T, DU)), np.zeros(T * DU), bounds=[(-0.4, 0.3)] * (T * DU)
        )
        assert cost_of(start, actions) <= free.fun + 1e-3 * abs(free.fun)


@pytree
class Pendulum:
    """θ'' = sin θ + u, in steps of 0.1."""

    unused: np.ndarray

    @property
    def deviations(self):
        return jnp.ones(3)

    def linearise(self, x, u):
        F = jnp.array([[1.0, 0.1, 0.0], [0.1 * jnp.cos(x[0]), 1.0, 0.1]])
        after = jnp.array([x[0] + 0.1 * x[1], x[1] + 0.1 * (jnp.sin(x[0]) + u[0])])
        return F, after - F @ jnp.concatenate([x, u])


def wavy(x, u, t):
    """Not convex."""
    return 1.0 - jnp.cos(x[0]) + 0.1 * x[1] ** 2 + 0.01 * u[0] ** 2


PENDULUM = PlanningProblem(Pendulum(np.zeros(0)), np.full(1, -2.0), np.full(1, 2.0), np.ones(3), np.int32(100))
TILTED = np.array([[2.5, 0.0], [-2.0, 0.5], [0.1, 0.0]])


def wavy_cost_of(plans):
    """The cost of each plan from its tilted start, summed in NumPy."""
    totals = []
    for x, actions in zip(TILTED, plans.actions, strict=True):
        total = 0.0
        for u in actions:
            total += 1.0 - np.cos(x[0]) + 0.1 * x[1] ** 2 + 0.01 * u[0] ** 2
            x = np.array([x[0] + 0.1 * x[1], x[1] + 0.1 * (np.sin(x[0]) + u[0])])
        totals.append(total)
    return np.array(totals)


def test_rounds_and_guesses_never_raise_a_cost_that_is_not_convex():
    plans, still, states = Plan.none(3, 40, 1), np.zeros((2, 40, 1)), TILTED
    costs = [
        wavy_cost_of(improve_plans(PENDULUM, wavy, states, 0, plans, rounds, still)) for rounds in (0, 1, 3, 10, 40)
    ]
    assert (np.diff(costs, axis=0) <= 1e-8).all()
    assert (costs[-1] < 0.7 * costs[0]).all()

    pushes = np.array([2.0, -2.0])[:, None, None] * np.ones((1, 40, 1))
    begun = wavy_cost_of(improve_plans(PENDULUM, wavy, states, 0, plans, 0, pushes))
    each = [wavy_cost_of(plans._replace(actions=np.tile(push, (3, 1, 1)))) for push in pushes]
    np.testing.assert_allclose(begun, np.minimum(np.min(each, axis=0), costs[0]), rtol=1e-9)


def test_several_starts_end_where_the_best_of_them_does():
    plans = Plan.none(3, 40, 1)
    pushes = np.array([2.0, -2.0, 0.5])[:, None, None] * np.ones((1, 40, 1))
    each = [plans, *(plans._replace(actions=np.tile(push, (3, 1, 1))) for push in pushes)]
    alone = np.array([wavy_cost_of(improve_plans(PENDULUM, wavy, TILTED, 0, begun, 15)) for begun in each])
    assert (np.ptp(alone, axis=0) > 1e-3).any()  # it does matter where one begins
    best = wavy_cost_of(improve_plans(PENDULUM, wavy, TILTED, 0, plans, 15, pushes, starts=4))
    np.testing.assert_allclose(best, alone.min(axis=0), rtol=1e-6)


def test_a_plan_goes_on_from_the_last_one():
    plans = improve_plans(problem(), quadratic, STARTS, 0, Plan.none(2, T, DU), 12)
    after = STARTS @ A.T + plans.actions[:, 0] @ B.T
    again = improve_plans(problem(), quadratic, after, 1, plans.shift(), 0)
    np.testing.assert_array_equal(again.actions[:, :-1], plans.actions[:, 1:])
    np.testing.assert_array_equal(again.actions[:, -1], plans.actions[:, -1])
    assert (again.mu <= FIRST).all()
    better = improve_plans(problem(), quadratic, after, 1, plans.shift(), 2)
    np.testing.assert_allclose(better.actions[:, : T - 1], plans.actions[:, 1:], atol=1e-5)


def test_each_plan_is_independent_of_the_others():
    both = improve_plans(problem(), quadratic, STARTS, 0, Plan.none(2, T, DU), 3)
    other = improve_plans(problem(), quadratic, np.stack([STARTS[0], 5 * STARTS[1]]), 0, Plan.none(2, T, DU), 3)
    np.testing.assert_array_equal(both.actions[0], other.actions[0])
