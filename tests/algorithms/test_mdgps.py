"""Guided policy search as a whole: the known optimum of a linear system, what its records promise, and trouble."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from helpers.linear_system import (
    COST,
    DU,
    DX,
    FIRST,
    STARTS,
    BlindEnv,
    M,
    T,
    advanced,
    cost_without_noise,
    cut,
    guided,
    learn,
    same,
    second_lost,
)
from helpers.problems import step_costs

from gps.algorithms.guided.base import divergence, lessons
from gps.algorithms.guided.mdgps import MDGPS
from gps.algorithms.local.trajopt import TrajOpt
from gps.backend import jax
from gps.dynamics.mixture import MixturePrior
from gps.inspect.tables import policy_lines
from gps.linear_gaussian.kl import Reference, controller_kl
from gps.linear_gaussian.linalg import logdet
from gps.policies.supervised import Options, train
from gps.records import PolicyStatus, Status

SETTINGS = [(sampling, rule) for sampling in ("on_policy", "off_policy") for rule in ("global", "classic")]
SETTINGS += [("on_policy", None)]

mdgps = partial(guided, MDGPS)


@pytest.fixture(scope="module", params=SETTINGS, ids=[f"{sampling} {rule}" for sampling, rule in SETTINGS])
def learned(request):
    """The algorithm, its last state and its records."""
    sampling, rule = request.param
    algorithm = mdgps(sampling=sampling, step_rule=rule)
    return algorithm, *learn(algorithm, 7)


def test_policy_and_controllers_reach_the_optimum_of_a_linear_system(learned, best):
    algorithm, state, _ = learned
    np.testing.assert_allclose(cost_without_noise(algorithm.final(state)), best, rtol=1e-2)
    np.testing.assert_allclose(cost_without_noise(algorithm.further(state)["local"]), best, rtol=1e-2)


def test_the_policy_runs_on_policy_from_the_second_iteration_on(learned):
    algorithm, _, records = learned
    on_policy = algorithm.sampling == "on_policy"
    assert [record.policy.sampled for record in records] == [False] + [on_policy] * 6
    first = records[0]
    np.testing.assert_array_equal(first.controllers.feedback, 0.0)
    np.testing.assert_array_equal(first.policy.linearised.feedback, 0.0)
    for record in records[1:]:
        ran = record.policy.linearised if on_policy else records[record.iteration - 1].improved
        np.testing.assert_array_equal(record.controllers.feedback, ran.feedback)


def test_the_local_controllers_learn_alone_at_first():
    """The first iterations are those of trajectory optimisation; the policy is trained after them."""
    algorithm = mdgps(warm_up=2)
    _, alone = learn(TrajOpt(COST, prior=None, kl_step=algorithm.kl_step), 2)
    state, records = learn(algorithm, 4)
    for record, other in zip(records[:2], alone, strict=True):
        np.testing.assert_array_equal(record.improved.feedback, other.improved.feedback)
        np.testing.assert_allclose(record.multiplier, other.multiplier, rtol=1e-12)
        assert np.isnan(record.policy.kl).all()
        assert (record.policy.outcome, record.policy.message, record.policy.steps) == ("WARM_UP", "", 0)
        assert not record.policy.trained and np.isnan(record.policy.deviation).all()
        assert policy_lines(record.policy) == [f"{'':10}policy: {PolicyStatus.WARM_UP.sentence}"]
    assert [record.policy.sampled for record in records] == [False, False, False, True]
    assert np.isfinite(records[2].policy.kl).all()
    assert state.trained


def test_no_controller_is_farther_from_the_policy_than_the_bound(learned):
    _, _, records = learned
    kl = jax.jit(lambda new, policy, at: controller_kl(new, logdet(new.covariance), Reference.of(policy), at))
    for record in records:
        assert (record.kl <= record.kl_bound).all()
    record = records[2]
    marginals = jax.jit(jax.vmap(_forward))(record.dynamics, record.improved)
    for m in range(M):
        again = kl(record.improved[m], record.policy.linearised[m], marginals[m])
        np.testing.assert_allclose(again, record.search.kl[m], rtol=1e-5, atol=1e-6)


def _forward(dynamics, controller):
    from gps.linear_gaussian.riccati import forward

    return forward(dynamics, controller)


def test_the_step_rule_compares_what_it_says(learned):
    """Each number of the table in the docstring, from the records alone."""
    algorithm, _, records = learned
    costs = []
    for record in records:
        expansion = algorithm_cost(record)
        own = record.policy.linearised
        if algorithm.step_rule == "classic":
            own = records[record.iteration - 1].improved if record.iteration else records[0].controllers
        closed = np.array([
            [float(step_costs(record.dynamics[m], expansion[m], which[m]).sum()) for which in (own, record.improved)]
            for m in range(M)
        ])  # fmt: skip
        ran = "global" if record.policy.sampled else "classic"
        sampled = record.iteration == 0 or algorithm.step_rule in (None, ran)
        found = record.costs.sum(axis=2).mean(axis=1) if sampled else closed[:, 0]
        costs.append(np.column_stack([closed, found]))
    costs = np.array(costs)  # (iterations, M, [L of the reference, L of the new controllers, J of the reference])
    for k in range(1, len(records)):
        np.testing.assert_allclose(records[k].predicted, costs[k - 1, :, 1] - costs[k - 1, :, 0], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(records[k].actual, costs[k, :, 2] - costs[k - 1, :, 2], rtol=1e-6, atol=1e-8)


def test_conditions_that_share_a_policy_share_the_temperature_and_the_step():
    """From the first lesson on α, and with a policy the multiplier; alone each condition has its own."""
    _, records = learn(mdgps(warm_up=2, entropy=0.1, max_multiplier=10.0), 6)
    for record in records:
        alpha, steps = record.search.alpha, record.rollouts.mask.sum(axis=(1, 2))
        assert (np.ptp(alpha) == 0) == (record.iteration >= 2)
        np.testing.assert_allclose(alpha @ steps, 0.1 * np.abs(record.costs).sum(), rtol=1e-12)
    assert np.ptp(records[2].multiplier) > 0
    assert all(np.ptp(record.multiplier) == 0 for record in records[3:])


def algorithm_cost(record):
    from gps.costs import expand

    return expand(COST, record.rollouts.states, record.rollouts.actions, record.rollouts.mask)[0]


def test_a_mixture_prior_of_the_policy_serves_as_well(best):
    algorithm = mdgps(policy_prior=MixturePrior(clusters=2, memory=1), prior=MixturePrior(clusters=2))
    state, _ = learn(algorithm, 7)
    np.testing.assert_allclose(cost_without_noise(algorithm.final(state)), best, rtol=2e-2)
    assert state.policy_prior.mixture.means.shape == (2, DX + DU)


def test_the_divergence_is_that_of_samples():
    algorithm = mdgps()
    state, record = advanced(algorithm, algorithm.begin(FIRST, STARTS))
    policy, rollouts = state.training.policy, record.rollouts
    m, t = 1, 4
    P = np.linalg.inv(record.improved.covariance[m, t])
    u = np.random.default_rng(0).multivariate_normal(np.zeros(DU), policy.covariance, 20000)
    seen = rollouts.states[m, :, t]
    e = policy.act(seen) - seen @ record.improved.feedback[m, t].T - record.improved.feedforward[m, t]

    def log_density(x, precision):
        return 0.5 * np.linalg.slogdet(precision)[1] - 0.5 * np.einsum("...i,ij,...j->...", x, precision, x)

    own = log_density(u, np.linalg.inv(policy.covariance)).mean()
    theirs = np.mean([log_density(u + of_one, P).mean() for of_one in e])
    assert divergence(policy, record.improved, rollouts)[m, t] == pytest.approx(own - theirs, rel=0.02)
    np.testing.assert_array_equal(divergence(policy, record.improved, rollouts), record.policy.kl)


def test_a_policy_that_does_not_see_all_of_the_state_does_what_it_can():
    """Blind for the last state: the optimum is out of reach, and most of the way is not."""
    algorithm = mdgps(do=DX - 1)
    state = algorithm.begin(FIRST, STARTS)
    first = cost_without_noise(algorithm.final(state))
    for i in range(6):
        state, record = advanced(algorithm, state, seed=i, environment=BlindEnv)
        assert all(status.ok for status in record.statuses)
    assert record.policy.linearised.feedback.shape == (M, T, DU, DX)
    assert (record.mean_cost < 0.35 * first).all()


# -- trouble -----------------------------------------------------------------------------------------------------------


def test_training_that_diverges_leaves_the_last_good_policy_and_goes_on():
    good = mdgps()
    state, _ = advanced(good, good.begin(FIRST, STARTS))
    wild = dataclasses.replace(good, options=Options(steps=200, learning_rate=1e30))
    after, record = advanced(wild, state)
    assert record.policy.outcome == "DIVERGED"
    assert "the last good policy was kept" in record.policy.message
    seen = record.rollouts.states
    np.testing.assert_allclose(after.training.policy.act(seen), state.training.policy.act(seen), atol=1e-9)
    again, record = advanced(good, after, seed=1)
    assert record.policy.outcome == "OK"
    assert np.isfinite(cost_without_noise(good.final(again))).all()


@pytest.mark.parametrize("broken", [0.0, np.nan])
def test_a_singular_precision_is_told_and_nothing_is_learned(broken):
    algorithm = mdgps()
    state, record = advanced(algorithm, algorithm.begin(FIRST, STARTS))
    covariance = record.improved.covariance.copy()
    covariance[0, 3] = broken
    teachers = dataclasses.replace(record.improved, covariance=covariance)
    samples = lessons(teachers, record.rollouts, np.ones((M, 1)))
    after, fit = train(state.training, samples, algorithm.options)
    assert fit.outcome.name == "BAD_PRECISION"
    assert fit.message.endswith("is not finite.")
    same(after.policy, state.training.policy)


def test_a_covariance_that_collapses_is_limited_and_told():
    algorithm = mdgps(options={"least_deviation": 0.8, "steps": 100})
    state, record = advanced(algorithm, algorithm.begin(FIRST, STARTS))
    assert record.policy.covariance_outcome == "COLLAPSED_COVARIANCE"
    assert "it was limited from below" in record.policy.message
    floor = 0.8 * state.training.policy.output_scale
    assert (record.policy.deviation >= 0.999 * floor.min()).all()


def test_a_condition_that_fails_each_rollout_teaches_nothing_and_the_run_goes_on():
    algorithm = mdgps()
    state = algorithm.begin(FIRST, STARTS)

    for i in range(3):
        state, record = advanced(algorithm, state, second_lost, i)
        assert Status(record.status[1]) == Status.NO_VALID_SAMPLES
        assert Status(record.status[0]).ok
        assert record.policy.outcome == "OK"
        assert np.isnan(record.policy.kl[1]).all()
        assert not np.isnan(record.policy.kl[0]).any()
        np.testing.assert_array_equal(record.improved.feedback[1], 0.0)
    state, record = advanced(algorithm, state, seed=4)
    assert all(status.ok for status in record.statuses)


def test_a_step_that_no_sample_reached_keeps_its_controller():
    """What the policy does there is unknown: the local controller stands for it, and is not drawn to nothing."""
    algorithm = mdgps()
    state, _ = learn(algorithm, 2)

    _, record = advanced(algorithm, state, lambda rollouts: cut(rollouts, 6, 6), seed=2)
    assert record.statuses == [Status.NONE_WHOLE] * M
    for name in ("feedback", "feedforward"):
        kept, before, around = (
            getattr(of, name) for of in (record.improved, state.controllers, record.policy.linearised)
        )
        np.testing.assert_array_equal(around[:, 6:], before[:, 6:])
        np.testing.assert_allclose(kept[:, 6:], before[:, 6:], atol=1e-6)
        assert (kept[:, :6] != before[:, :6]).any()


def test_without_any_sample_there_is_no_policy_yet_and_the_controllers_run_again():
    algorithm = mdgps()
    start = algorithm.begin(FIRST, STARTS)
    state, record = advanced(algorithm, start, lambda r: dataclasses.replace(r, mask=np.zeros_like(r.mask)))
    assert record.policy.outcome == "NO_SAMPLES"
    assert not state.trained
    assert algorithm.further(state) == {}
    same(algorithm.final(state), start.controllers)
    _, record = advanced(algorithm, state)
    assert not record.policy.sampled
    assert record.policy.outcome == "OK"
