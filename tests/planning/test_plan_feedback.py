"""The feedback around a plan: that of LQR on a linear system, within the limits on any."""

import numpy as np
from helpers.linear_planning import DU, DX, STARTS, WEIGHTS, T, optimum, problem, quadratic

from gps.backend import jnp
from gps.planning.feedback import follow_plan
from gps.planning.ilqr import FIRST

FINAL = np.where(np.arange(T) == T - 1, 5.0, 1.0)


def advance(x, u):
    return problem().model.F @ np.concatenate([x, u])


def plan_from(start, low=-np.inf, high=np.inf):
    """The states and the actions of the best plan, clipped."""
    best, states, actions = optimum(), [start], []
    for t in range(T):
        actions.append(np.clip(best.feedback[t] @ states[-1] + best.feedforward[t], low, high))
        states.append(advance(states[-1], actions[-1]))
    return np.array(states[:T]), np.array(actions)


def test_on_a_linear_system_it_is_the_feedback_of_the_damped_lqr_problem():
    states, actions = plan_from(STARTS[0])
    others = STARTS[0] + np.array([[0.3, -0.2, 0.1], [-1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    around, played = follow_plan(problem(), quadratic, states, actions, others)
    feedback = optimum(damping=FIRST * np.mean(FINAL[:, None] * WEIGHTS)).feedback
    for x, seen, done in zip(others, around, played, strict=True):
        for t in range(T):
            u = actions[t] + feedback[t] @ (x - states[t])
            np.testing.assert_allclose(seen[t], x, atol=1e-10)
            np.testing.assert_allclose(done[t], u, atol=1e-10)
            x = advance(x, u)


def test_actions_stay_within_the_limits_and_a_concave_cost_is_followed():
    low, high = np.full(DU, -0.5), np.full(DU, 0.5)

    def saturating(x, u, t):  # concave far from the goal
        return 1.0 - jnp.exp(-0.5 * jnp.sum(x**2)) + 1e-3 * jnp.sum(u**2)

    states, actions = plan_from(STARTS[1], low, high)
    others = STARTS[1] + np.random.default_rng(0).normal(size=(5, DX))
    around, played = map(np.asarray, follow_plan(problem(low, high), saturating, states, actions, others))
    assert around.shape == (5, T, DX) and played.shape == (5, T, DU)
    assert np.isfinite(around).all() and (played >= low).all() and (played <= high).all()
    np.testing.assert_array_equal(around[:, 0], others)
