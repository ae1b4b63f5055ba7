"""Iterative LQR as a planner, on the problem whose optimum is known."""

import dataclasses

import numpy as np
from helpers import planning as lq

from gps.planning.fallback import Trouble
from gps.planning.linearising import LinearisingPlanner

PLANNER = LinearisingPlanner(
    model=lq.LinearModel.of(), cost=lq.quadratic, range=lq.WIDE, end=lq.T, horizon=lq.T, first_rounds=12
)


def test_it_finds_the_known_optimum_and_forecasts_it():
    plans = PLANNER.plan(lq.STARTS, 0, None)
    for x, actions, costs in zip(lq.STARTS, plans.actions, plans.costs, strict=True):
        np.testing.assert_allclose(lq.cost_of(x, actions), lq.best_cost(x), rtol=1e-7)
        np.testing.assert_allclose(costs.sum(), lq.best_cost(x), rtol=1e-7)
    expected = np.linalg.inv(np.tile(lq.find_optimum().covariance[0], (2, 1, 1)))
    np.testing.assert_allclose(plans.curvature, expected, rtol=1e-5)


def test_a_plan_goes_on_from_the_last_one_and_keeps_the_limits():
    narrow = dataclasses.replace(PLANNER, range=lq.NARROW, tries=0, rounds=0)
    first = narrow.plan(lq.STARTS, 0, None)
    later = narrow.plan(lq.STARTS @ lq.A.T + first.actions[:, 0] @ lq.B.T, 1, first)
    np.testing.assert_allclose(later.actions[:, :-1], first.actions[:, 1:], atol=1e-12)
    for plans in (first, later):
        assert (plans.actions >= lq.NARROW.low).all()
        assert (plans.actions <= lq.NARROW.high).all()


def test_the_first_step_may_try_more_random_plans_than_the_others():
    many = dataclasses.replace(PLANNER, tries=0, first_tries=64, rounds=0, first_rounds=0)
    few = dataclasses.replace(many, first_tries=None)
    first, still = (planner.plan(lq.STARTS, 0, None) for planner in (many, few))
    assert (first.costs.sum(axis=1) < still.costs.sum(axis=1)).all() and not still.actions.any()
    later = many.plan(lq.STARTS, 1, first)
    np.testing.assert_array_equal(later.actions[:, :-1], first.actions[:, 1:])


def test_what_was_tried_before_is_tried_at_the_first_step_alone():
    """Without rounds of iterative LQR, the plan is zero actions or, where that costs less, what was tried before."""
    alone = dataclasses.replace(PLANNER, tries=0, rounds=0, first_rounds=0)
    best = PLANNER.plan(lq.STARTS, 0, None).actions
    again = dataclasses.replace(alone, tried=np.concatenate([best, -best]))
    np.testing.assert_allclose(again.plan(lq.STARTS, 0, None).actions, best, atol=1e-9)
    assert not again.plan(lq.STARTS, 1, None).actions.any()
    other = dataclasses.replace(alone, tries=64, attempts=1)
    assert (
        other.plan(lq.STARTS, 0, None).actions
        != dataclasses.replace(other, attempts=0).plan(lq.STARTS, 0, None).actions
    ).any()


def test_a_model_that_is_not_finite_leaves_the_fallback():
    broken = dataclasses.replace(PLANNER, model=lq.LinearModel.of(F=np.full((lq.DX, lq.DX + lq.DU), np.nan)))
    plans = broken.plan(lq.STARTS, 0, None)
    assert (plans.troubles == Trouble.NOT_FINITE).all()
    assert (plans.actions == 0).all()
    after = broken.plan(lq.STARTS, 1, PLANNER.plan(lq.STARTS, 0, None))
    np.testing.assert_array_equal(after.actions, PLANNER.plan(lq.STARTS, 0, None).shift().actions)
