"""PILQR: the update of trajopt where the model explains the cost, weighted samples where it does not."""

import dataclasses

import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.experiments import digest, full_thrust
from helpers.linear_system import (
    DU,
    DX,
    FIRST,
    STARTS,
    WEIGHT,
    A,
    B,
    M,
    N,
    advance,
    cost_without_noise,
    finite,
    improve,
    learn,
    lose_second,
    make_problem,
    roll_out,
    same,
)

import gps
from gps.algorithms.local.pilqr import MOST, PILQR, split_costs
from gps.algorithms.local.replay import Replay
from gps.algorithms.local.trajopt import TrajOpt
from gps.backend import jnp
from gps.dynamics.mixture import MixturePrior
from gps.linear_gaussian.initial import zero
from gps.linear_gaussian.linalg import gaussian_kl
from gps.linear_gaussian.types import LinearDynamics
from gps.status import Status
from gps.storage.serialization import flatten, unflatten


def quadratic(x, u, t):
    return 0.5 * jnp.sum(WEIGHT * (x - 0.5) ** 2) + 0.05 * jnp.sum(u**2)


def steps(x, u, t):
    """A staircase, whose derivatives do not show the way down, and a small cost of the action."""
    return jnp.ceil(4 * jnp.abs(x[2] - 2.0)) + 0.01 * jnp.sum(u**2)


def exact(dynamics: LinearDynamics) -> LinearDynamics:
    """The true dynamics in place of the fitted ones."""
    matrix = np.broadcast_to(np.hstack([A, B]), dynamics.matrix.shape)
    return dataclasses.replace(dynamics, matrix=matrix, offset=np.zeros_like(dynamics.offset))


# -- where the model explains all ------------------------------------------------------------------------------------


@pytest.mark.parametrize("constraint", ["total", "per_step"])
def test_with_an_exact_model_of_a_quadratic_problem_it_is_trajopt(constraint):
    settings = {"kl_step": 0.5, "constraint": constraint}
    problem = make_problem(quadratic)
    one, other = PILQR(problem, **settings), TrajOpt(problem, **settings)
    state = one.begin(FIRST, STARTS)
    rollouts = roll_out(one.policy(state))
    model = one.fit(state, rollouts, 0)
    model = model._replace(dynamics=exact(model.dynamics))

    sampled = one.policy(state)
    replay = Replay.of(rollouts, sampled.covariance, problem.limits)
    residual, share = split_costs(model, state.controllers, rollouts, replay)
    np.testing.assert_allclose(residual, 0.0, atol=1e-10)
    assert (share < 1e-20).all()
    after, record = one.improve(state, sampled, rollouts, model)
    expected, reference = other.improve(other.begin(state.controllers, STARTS), sampled, rollouts, model)
    same(after.controllers, expected.controllers, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(after.predicted, expected.predicted, rtol=1e-9)
    np.testing.assert_allclose(record.local.search.kl, reference.local.search.kl, atol=1e-9)
    np.testing.assert_allclose(after.planned, expected.planned, atol=1e-9)


def test_a_fitted_model_of_a_quadratic_problem_leaves_almost_no_residual():
    state, _ = learn(PILQR(make_problem(quadratic), kl_step=0.5), 1)
    reference, _ = learn(TrajOpt(make_problem(quadratic), kl_step=0.5), 1)
    assert (state.residual < 1e-4).all()
    same(state.controllers, reference.controllers, atol=0.02)
    assert (learn(PILQR(make_problem(quadratic), kl_step=0.5), 4)[0].residual < 1e-4).all()


@pytest.mark.parametrize("settings", [{"residual_share": 0.0}, {}], ids=["no share", "one sample"])
def test_without_a_share_it_is_trajopt_bit_for_bit(settings):
    samples = N if settings else 1
    one, _ = learn(PILQR(make_problem(steps), **settings), 3, samples)
    other, _ = learn(TrajOpt(make_problem(steps)), 3, samples)
    same(one.controllers, other.controllers, rtol=0)
    same(one.predicted, other.predicted, rtol=0)


# -- where it does not -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damping", [0.5, 1.0])
def test_samples_teach_the_part_of_the_cost_that_the_expansion_misses(damping):
    """On a staircase, trajopt sees a flat cost; PILQR gives the samples nearly the whole bound and goes down."""
    settings = {"kl_step": 0.7}
    state, records = learn(PILQR(make_problem(steps), covariance_damping=damping, **settings), 12, samples=20)
    blind, _ = learn(TrajOpt(make_problem(steps), **settings), 12, samples=20)
    first = FIRST
    before, after, other = (cost_without_noise(some, steps) for some in (first, state.controllers, blind.controllers))
    assert (state.residual > 0.5).all()
    assert (after < 0.75 * before).all()
    assert (other > 0.95 * before).all()
    for record in records[1:]:
        assert (record.local.last.predicted < 0).all()


@pytest.mark.parametrize("constraint", ["total", "per_step"])
@pytest.mark.parametrize("share", [None, 0.3, 0.9])
def test_both_stages_together_stay_within_the_bound(constraint, share):
    algorithm = PILQR(make_problem(steps), kl_step=0.4, constraint=constraint, residual_share=share)
    state, records = learn(algorithm, 3)
    for record in records:
        assert (record.local.kl <= record.local.kl_bound * (1 + 1e-9)).all()
        assert (record.local.kl > 0).all()
        if constraint == "per_step":
            assert (record.local.search.kl <= record.local.search.bound[:, None] * (1 + 1e-9)).all()
        moved, old = record.local.improved, record.local.controllers
        for m in range(M):  # that of the controllers themselves
            kl = kl_by_hand(record.local.dynamics[m], moved[m], old[m])
            np.testing.assert_allclose(record.local.search.kl[m], kl, rtol=1e-6, atol=1e-9)
    if share is not None:
        np.testing.assert_array_equal(state.residual, share)


def kl_by_hand(dynamics, new, old):
    """The expected KL at each step: that of Gaussians at the mean state, and the term of the state's spread."""
    m, P, kl = dynamics.initial_mean, dynamics.initial_covariance, []
    for t in range(len(new.feedforward)):
        K, k, S = new.feedback[t], new.feedforward[t], new.covariance[t]
        means = K @ m + k, old.feedback[t] @ m + old.feedforward[t]
        dK, precision = K - old.feedback[t], np.linalg.inv(old.covariance[t])
        between = gaussian_kl(means[0], S, means[1], old.covariance[t])
        kl.append(float(between + 0.5 * np.trace(dK.T @ precision @ dK @ P)))
        if t + 1 < len(new.feedforward):
            A, B = dynamics.matrix[t][:, :DX], dynamics.matrix[t][:, DX:]
            closed = A + B @ K
            m, P = closed @ m + B @ k + dynamics.offset[t], closed @ P @ closed.T + B @ S @ B.T + dynamics.covariance[t]
    return np.array(kl)


def test_the_temperature_of_the_second_stage_is_that_of_the_first_or_higher():
    state, _ = learn(PILQR(make_problem(steps), kl_step=0.4), 2)
    used = state.temperature > 0
    assert used.any()
    assert (state.temperature >= state.eta[:, None] * (1 - 1e-9))[used].all()


@pytest.mark.parametrize("factor", [3.0, 1e20, 1e200], ids=["wrong", "diverges", "overflows"])
def test_a_model_that_misses_more_than_there_is_explains_nothing(factor):
    algorithm = PILQR(make_problem(quadratic), kl_step=0.5)
    state = algorithm.begin(FIRST, STARTS)
    rollouts = roll_out(algorithm.policy(state))
    model = algorithm.fit(state, rollouts, 0)
    wild = model._replace(dynamics=dataclasses.replace(model.dynamics, matrix=factor * model.dynamics.matrix))
    replay = Replay.of(rollouts, FIRST.covariance, algorithm.problem.limits)
    residual, share = split_costs(wild, state.controllers, rollouts, replay)
    np.testing.assert_array_equal(share, MOST)
    np.testing.assert_allclose(residual[..., 0], model.sample_costs.sum(axis=2))


def test_one_step_is_a_bandit():
    """T = 1, without dynamics: the samples of a staircase over the action are weighed, a quadratic is solved."""
    for cost, best in (
        (lambda x, u, t: jnp.ceil(9 * jnp.abs(u[0] - 1.0)), 0.5),
        (lambda x, u, t: (u[0] - 1) ** 2, 0.9),
    ):
        algorithm = PILQR(make_problem(cost, horizon=1), kl_step=2.0)
        state = algorithm.begin(zero(M, 1, DX, DU, 1.0), STARTS)
        for i in range(4):
            rollouts = roll_out(algorithm.policy(state), i, 30)
            state, _ = improve(algorithm, state, rollouts, i)
        action = state.controllers.act(STARTS[:, None], 0)[:, 0, 0]
        assert (np.abs(action - 1.0) < 1.0 - best).all()


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_few_samples_keep_everything_finite(samples):
    state, records = learn(PILQR(make_problem(steps), prior=MixturePrior(clusters=2)), 4, samples)
    assert finite(state.controllers)
    assert (np.linalg.eigvalsh(state.controllers.covariance) > 0).all()
    for record in records:
        assert finite(record.local.search.kl)


def test_equal_costs_leave_no_residual():
    state, _ = learn(PILQR(make_problem(lambda x, u, t: 2.0 + 0.0 * u[0])), 2)
    assert finite(state.controllers)
    assert not state.residual.any()


def test_episodes_that_end_early_are_reported_and_the_update_stays_finite():
    ends = [99] * (M * N)
    ends[0], ends[3] = 4, 7
    state, records = learn(PILQR(make_problem(steps), kl_step=0.3), 2, ends=ends)
    assert records[0].statuses[0] is Status.SAMPLES_DROPPED
    assert "2 of 12 ended early" in records[0].messages[0]
    assert finite(state.controllers)


def test_a_condition_without_samples_keeps_its_controller():
    algorithm = PILQR(make_problem(steps), kl_step=0.3)
    state = algorithm.begin(FIRST, STARTS)
    after, record = advance(algorithm, state, lose_second)
    assert record.statuses[1] is Status.NO_VALID_SAMPLES
    np.testing.assert_array_equal(after.controllers.covariance[1], state.controllers.covariance[1])
    assert (after.controllers.feedforward[0] != 0).any()
    assert finite((after.controllers, after.residual, after.temperature))


def test_a_model_that_is_not_finite_leaves_the_controller():
    algorithm = PILQR(make_problem(steps), kl_step=0.3)
    state = algorithm.begin(FIRST, STARTS)
    rollouts = roll_out(algorithm.policy(state))
    model = algorithm.fit(state, rollouts, 0)
    matrix = model.dynamics.matrix.copy()
    matrix[0, 3] = np.nan
    bad = model._replace(dynamics=dataclasses.replace(model.dynamics, matrix=matrix))
    after, record = algorithm.improve(state, algorithm.policy(state), rollouts, bad)
    assert record.statuses == [Status.NOT_FINITE, Status.OK]
    np.testing.assert_array_equal(after.controllers.feedforward[0], 0.0)
    assert finite((after.controllers, after.residual, after.temperature, record.local.search.kl))


def test_the_state_is_stored_and_read():
    algorithm = PILQR(make_problem(steps), prior=MixturePrior(clusters=2))
    state, _ = learn(algorithm, 1)
    assert_same_bits(unflatten(algorithm.state_type, flatten(state)), state)


# -- through an experiment -------------------------------------------------------------------------------------------


def test_it_learns_to_slide_and_resumes_to_the_bit(slider):
    options = {"out": slider.parent / "runs", "overrides": ["algorithm.name=pilqr"]}
    whole = gps.run(slider, **options)
    costs = whole.evaluation().costs
    assert (costs.sum(axis=(1, 2)) < 1.05 * full_thrust()).all()
    part = gps.run(slider, iterations=2, **options)
    assert digest(gps.resume(part.path, iterations=4)) == digest(whole)


@pytest.mark.parametrize("override", ["algorithm.controller.execute=fixed_noise", "algorithm.controller.smoothing=2"])
def test_other_noise_stays_finite(slider, override):
    overrides = ["algorithm.name=pilqr", override]
    run = gps.run(slider, iterations=3, overrides=overrides, out=slider.parent / "runs")
    assert finite(run.iterations[-1].local.improved)
    assert np.isfinite(run.iterations[-1].mean_cost).all()
