"""The planner in a model: the known optimum, bits, limits, ends, and what happens when a plan fails."""

import dataclasses

import numpy as np
import pytest
from helpers import planning as lq

from gps.backend import jnp
from gps.linear_gaussian.types import pytree
from gps.planning.cem import CEM
from gps.planning.fallback import Trouble, describe_troubles
from gps.planning.model_planner import ModelPlanner
from gps.planning.replanner import Replanner

OPTIMISER = CEM(samples=200, elites=20, rounds=25)


def planner(optimiser=OPTIMISER, **settings) -> ModelPlanner:
    given = {"model": lq.LinearModel.of(), "range": lq.WIDE, "end": lq.T, "horizon": lq.T, "particles": 2}
    return ModelPlanner(cost=lq.quadratic, optimiser=optimiser, **(given | settings))


@pytest.mark.parametrize("propagation", ["ts1", "moment", "mean"])
def test_it_finds_the_known_optimum_within_two_per_cent(propagation):
    plans = planner(propagation=propagation).plan(lq.STARTS, 0, None)
    for x, actions, costs in zip(lq.STARTS, plans.actions, plans.costs, strict=True):
        assert lq.cost_of(x, actions) <= 1.02 * lq.best_cost(x)
        np.testing.assert_allclose(costs.sum(), lq.cost_of(x, actions), rtol=1e-9)


def test_the_plan_of_one_state_is_the_same_alone_and_in_a_batch():
    with_noise = planner(model=lq.LinearModel.of(noise=0.1, doubt=0.1))
    many = with_noise.plan(np.repeat(lq.STARTS, 3, axis=0), 4, None)
    alone = with_noise.plan(lq.STARTS[:1], 4, None)
    np.testing.assert_array_equal(many.actions[0], alone.actions[0])
    np.testing.assert_array_equal(many.costs[0], alone.costs[0])
    assert (many.actions[0] != many.actions[1]).any()  # the same state in another episode: other random numbers


def test_a_seed_gives_the_same_bits_and_another_one_others():
    one, two, other = (planner(seed=seed).plan(lq.STARTS, 3, None).actions for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_parts_that_run_at_the_same_time_give_the_same_plan(monkeypatch):
    whole = planner().plan(lq.STARTS[:1], 0, None)
    plans = []
    for threads in ("1", "2"):
        monkeypatch.setenv("GPS_THREADS", threads)
        plans.append(planner(parts=2).plan(lq.STARTS[:1], 0, None))
    np.testing.assert_array_equal(plans[0].actions, plans[1].actions)
    np.testing.assert_allclose(plans[0].actions, whole.actions, atol=1e-9)


def test_limits_are_never_violated():
    actions = planner(range=lq.NARROW).plan(10 * lq.STARTS, 0, None).actions
    assert (actions >= lq.NARROW.low).all()
    assert (actions <= lq.NARROW.high).all()


def test_steps_after_the_end_cost_nothing():
    late = planner().plan(lq.STARTS, lq.T - 2, None)
    assert (late.costs[:, :2] > 0).all()
    assert (late.costs[:, 2:] == 0).all()


SHORT = planner(CEM(samples=2, elites=2, rounds=1, spread=1e-12, least_spread=1e-12), horizon=3)
"""It changes nothing of what it begins with."""


def test_the_state_after_a_short_plan_counts():
    short = SHORT.plan(lq.STARTS, 0, None)
    last = [float(lq.quadratic(x, np.zeros(lq.DU), 3)) for x in short.states[:, -1]]
    np.testing.assert_allclose(short.costs[:, -1], last)


def test_the_next_plan_goes_on_from_the_last_one():
    guesses = np.random.default_rng(0).normal(size=(2, 1, 3, lq.DU))
    last = dataclasses.replace(SHORT.plan(lq.STARTS, 0, None), guesses=guesses)
    actions = np.asarray(lq.WIDE.to_actions(guesses[:, 0]))
    going_on = SHORT.plan(lq.STARTS, 1, last).actions
    np.testing.assert_allclose(going_on, actions[:, [1, 2, 2]], atol=1e-9)


def test_the_curvature_is_about_that_of_the_cost_to_go():
    """The Riccati recursion's covariance at temperature 1 is its inverse."""
    expected = np.linalg.inv(lq.find_optimum().covariance[0])
    for curvature in planner().plan(lq.STARTS, 0, None).curvature:
        assert (np.linalg.eigvalsh(curvature) > 0).all()
        assert 0.3 < np.trace(curvature) / np.trace(expected) < 3.0


def test_it_is_an_expert_that_knows_how_sure_it_is():
    advice = Replanner(planner(), 0.5).advise(lq.STARTS, 0)
    plans = planner().plan(lq.STARTS, 0, None)
    np.testing.assert_array_equal(advice.actions, plans.actions[:, 0])
    np.testing.assert_array_equal(advice.precisions, plans.curvature / 0.5)


@pytree
class Broken:
    """A function whose next state is not a number."""

    unused: np.ndarray

    def __call__(self, x, u, key=None):
        return jnp.nan * x


@pytree
class BrokenModel(lq.LinearModel):
    def draw(self, key, count):
        return Broken(jnp.zeros(count))


def test_a_model_that_is_not_finite_leaves_the_plan_of_the_step_before():
    sound = planner()
    broken = dataclasses.replace(sound, model=BrokenModel.of())
    first = broken.plan(lq.STARTS, 0, None)
    assert (first.actions == 0).all()
    assert (first.troubles == Trouble.NOT_FINITE).all()
    assert "2 of 2 plans were replaced" in describe_troubles(first.troubles)
    plans = sound.plan(lq.STARTS, 0, None)
    later = broken.plan(lq.STARTS, 1, plans)
    np.testing.assert_array_equal(later.actions, plans.shift().actions)
    assert np.isfinite(later.guesses).all()
    assert (np.linalg.eigvalsh(later.curvature) > 0).all()


def test_a_late_plan_is_replaced_and_counted():
    hold = np.array([0.1, -0.2])
    plans = planner(seconds=1e-9, hold=hold).plan(lq.STARTS, 0, None)
    assert (plans.troubles == Trouble.LATE).all()
    np.testing.assert_array_equal(plans.actions, np.broadcast_to(hold, plans.actions.shape))
    assert "2 late (more than 1e-09 s)" in describe_troubles(plans.troubles, 1e-9)
    assert describe_troubles(planner(seconds=100.0).plan(lq.STARTS, 0, None).troubles) == ""


def test_exploding_states_cost_infinity():
    explosive = lq.LinearModel.of(F=1e6 * np.hstack([lq.A, lq.B]))
    plans = planner(model=explosive).plan(lq.STARTS, 0, None)
    assert (plans.troubles == Trouble.NOT_FINITE).all()
    assert np.isfinite(plans.actions).all()
