"""BADMM: the known optimum of a linear system, its augmented cost, and the schedules of its weights."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from helpers.linear_system import (
    DU,
    DX,
    FIRST,
    STARTS,
    M,
    T,
    advance,
    cost_without_noise,
    cut,
    guided,
    learn,
    lose_second,
    make_problem,
)
from helpers.problems import negative_log_density

from gps.algorithms.guided.badmm import BADMM, Penalty, penalties
from gps.algorithms.guided.lessons import make_samples
from gps.backend import jax
from gps.linear_gaussian.types import Controller
from gps.players import Player
from gps.policies.supervised import objective
from gps.status import PolicyStatus, Status

badmm = partial(guided, BADMM)


@pytest.fixture(scope="module", params=["average", "progress"])
def learned(request):
    algorithm = badmm(penalty=Penalty(schedule=request.param))
    return algorithm, *learn(algorithm, 10)


def test_policy_and_controllers_reach_the_optimum_of_a_linear_system(learned, best):
    algorithm, state, records = learned
    np.testing.assert_allclose(cost_without_noise(algorithm.learned(state)), best, rtol=1e-2)
    np.testing.assert_allclose(cost_without_noise(algorithm.teachers(state)[0]), best, rtol=1e-2)
    assert all(status.ok for record in records for status in record.statuses)
    assert {record.player for record in records} == {Player.LOCAL}
    assert [teacher.player for teacher in algorithm.teachers(state)] == [Player.LOCAL]


def test_policy_and_controllers_are_drawn_together(learned):
    _, _, records = learned
    apart = np.array([record.policy.kl.sum(axis=1).mean() for record in records])
    assert apart[-1] < 0.05 * apart[0]


def test_no_update_leaves_its_trust_region(learned):
    _, _, records = learned
    for record in records:
        assert (record.local.kl <= record.local.kl_bound).all()


def test_the_penalties_are_those_of_the_paper():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(M, T, DU, DU))
    covariance = root @ root.swapaxes(-1, -2) + 0.1 * np.eye(DU)
    around = Controller(rng.normal(size=(M, T, DU, DX)), rng.normal(size=(M, T, DU)), covariance)
    multipliers, weights = rng.normal(size=(M, T, DU)), rng.random((M, T))
    expansion = penalties(around, multipliers, weights)
    for m in range(M):
        hessian, gradient = jax.jit(negative_log_density)(around[m])
        np.testing.assert_allclose(expansion.hessian[m], weights[m, :, None, None] * hessian, rtol=1e-8, atol=1e-8)
        expected = weights[m, :, None] * np.asarray(gradient)
        expected[:, DX:] -= multipliers[m]
        np.testing.assert_allclose(expansion.gradient[m], expected, rtol=1e-8, atol=1e-8)


def test_the_multipliers_push_the_policy_and_the_controllers_towards_each_other(learned):
    """λ rises where the policy's action is above the controllers', which lowers the policy's and raises theirs."""
    _, state, records = learned
    policy, record = state.training.policy, records[-1]
    weights = np.full((M, T), 0.5)
    up = np.zeros((M, T, DU))
    up[..., 0] = 1.0
    plain = make_samples(record.local.improved, record.rollouts, weights)
    pushed = make_samples(record.local.improved, record.rollouts, weights, up)
    mean = policy.act(record.rollouts.observed)[..., 0].mean()
    # Both objectives are divided by the weights, and so is λ.
    difference = float(objective(policy, pushed)) - float(objective(policy, plain))
    assert difference == pytest.approx(mean / 0.5, rel=1e-6)


def test_the_multipliers_take_the_step_of_the_docstring():
    algorithm = badmm(penalty=Penalty(schedule="fixed"), dual_rate=0.3)
    before, _ = learn(algorithm, 2)
    after, record = advance(algorithm, before, seed=2)
    policy, rollouts, new = after.training.policy, record.rollouts, record.local.improved
    m, t = 1, 4
    theirs = rollouts.states[m, :, t] @ new.feedback[m, t].T + new.feedforward[m, t]
    apart = (policy.act(rollouts.states[m, :, t]) - theirs).mean(axis=0)
    step = 0.3 * before.weights[m, t] * np.linalg.solve(policy.covariance, apart)
    np.testing.assert_allclose(after.multipliers[m, t] - before.multipliers[m, t], step, rtol=1e-9)


SCHEDULES = {
    "average": [0.5, 1.0, 2.0, 1.0],
    "progress": [2.0, 0.5, 2.0, 1.0],
    "fixed": [2.0, 2.0, 2.0, 2.0],
}


@pytest.mark.parametrize(("schedule", "expected"), SCHEDULES.items())
def test_a_schedule_raises_and_lowers_the_weights(schedule, expected):
    kl, last = np.array([[0.1, 1.0, 4.0, 0.9]]), np.array([[0.1, 2.0, 1.0, 1.0]])  # the mean over time is 1.5
    changed = Penalty(schedule=schedule).adapt(np.full((1, 4), 0.01), kl, last, np.ones(1))
    np.testing.assert_allclose(changed, [[0.01 * factor for factor in expected]])


def test_weights_stay_within_their_limits_and_do_not_change_by_an_unknown_divergence():
    penalty = Penalty(least=0.008, most=0.015)
    changed = penalty.adapt(np.full((1, 3), 0.01), np.array([[0.1, 1.0, 9.0]]), np.zeros((1, 3)), np.ones(1))
    np.testing.assert_allclose(changed, [[0.008, 0.008, 0.015]])
    nothing = np.full((1, 3), np.nan)
    np.testing.assert_allclose(penalty.adapt(np.full((1, 3), 0.01), nothing, nothing, np.ones(1)), 0.01)


def test_weights_and_multipliers_wait_for_the_policy():
    algorithm = badmm(warm_up=2, penalty=Penalty(schedule="fixed"))
    state, records = learn(algorithm, 2)
    assert not state.trained
    np.testing.assert_array_equal(state.multipliers, 0.0)
    np.testing.assert_allclose(state.weights, algorithm.penalty.initial * state.scale[:, None] * np.ones(T))
    assert [record.policy.mean_status for record in records] == [PolicyStatus.WARM_UP] * 2
    state, _ = advance(algorithm, state)
    assert state.trained and (state.multipliers != 0).any()
    np.testing.assert_allclose(state.weights, 2 * algorithm.penalty.initial * state.scale[:, None] * np.ones(T))


def test_a_condition_that_fails_each_rollout_is_left_as_it_was():
    algorithm = badmm()
    state = algorithm.begin(FIRST, STARTS)
    for i in range(2):
        state, record = advance(algorithm, state, lose_second, i)
        assert [Status(code) for code in record.status][1] == Status.NO_VALID_SAMPLES
        assert record.policy.mean_status is PolicyStatus.OK
    np.testing.assert_array_equal(state.multipliers[1], 0.0)
    np.testing.assert_array_equal(state.local.controllers.feedback[1], 0.0)
    state, record = advance(algorithm, state, seed=3)
    assert all(status.ok for status in record.statuses)
    assert np.isfinite(state.weights).all()


def test_a_condition_that_teaches_nothing_keeps_its_multipliers_and_weights():
    """A difference that the policy does not learn from must not accumulate in the multipliers, however large."""
    algorithm = badmm(penalty=Penalty(schedule="fixed"))
    state, _ = learn(algorithm, 2)
    state = dataclasses.replace(state, multipliers=100.0 * state.multipliers + 1e3)
    after, record = advance(algorithm, state, lambda rollouts: cut(rollouts, T, T // 2), seed=2)
    assert record.statuses[1] == Status.NONE_WHOLE
    for name in ("multipliers", "weights"):
        one, other = getattr(after, name), getattr(state, name)
        np.testing.assert_array_equal(one[1], other[1])
        assert (one[0] != other[0]).all()


def test_a_cost_that_begins_later_finds_its_weights_then():
    algorithm = badmm()
    nothing = badmm(problem=make_problem(lambda x, u, t: 0.0 * u[0]))
    state = nothing.begin(FIRST, STARTS)
    for i in range(2):
        state, record = advance(nothing, state, seed=i)
        assert (state.weights == 0).all()
        assert record.policy.mean_status is PolicyStatus.NO_SAMPLES
    state, record = advance(algorithm, state, seed=2)
    assert [status.improved for status in record.statuses] == [True] * M
    assert record.policy.mean_status is PolicyStatus.OK
    assert (state.weights > 0).all()
