"""Guided policy search as a whole: the known optimum of a linear system, the promises of its records, and trouble."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from helpers.linear_system import (
    COST,
    DU,
    DX,
    FIRST,
    PROBLEM,
    STARTS,
    BlindEnv,
    M,
    T,
    advance,
    cost_without_noise,
    cut,
    guided,
    learn,
    lose_second,
    make_learner,
    play_again,
    same,
)

from gps.algorithms.guided.lessons import make_samples, teacher_kl
from gps.algorithms.guided.mdgps import MDGPS
from gps.algorithms.local.trajopt import TrajOpt
from gps.backend import jax
from gps.dynamics.mixture import MixturePrior
from gps.inspect.tables import describe_policy
from gps.linear_gaussian.kl import Reference, controller_kl
from gps.linear_gaussian.linalg import logdet
from gps.players import Player
from gps.policies.supervised import train
from gps.status import PolicyStatus, Status

SETTINGS = [(on_policy, rule) for on_policy in (True, False) for rule in ("global", "classic")]
SETTINGS += [(True, None)]

mdgps = partial(guided, MDGPS)


@pytest.fixture(scope="module", params=SETTINGS, ids=[f"on_policy={on} {rule}" for on, rule in SETTINGS])
def learned(request):
    """The algorithm, its last state and its records, and the covariances of what was sampled."""
    on_policy, rule = request.param
    algorithm = mdgps(on_policy=on_policy, step_rule=rule)
    state, records, covariances = algorithm.begin(FIRST, STARTS), [], []
    for i in range(7):
        covariances.append(algorithm.policy(state).covariance)
        state, record = advance(algorithm, state, seed=i)
        records.append(record)
    return algorithm, state, records, covariances


def test_policy_and_controllers_reach_the_optimum_of_a_linear_system(learned, best):
    algorithm, state, *_ = learned
    np.testing.assert_allclose(cost_without_noise(algorithm.learned(state)), best, rtol=1e-2)
    np.testing.assert_allclose(cost_without_noise(algorithm.teachers(state)[0]), best, rtol=1e-2)


def test_the_policy_runs_on_policy_from_the_second_iteration_on(learned):
    algorithm, _, records, _ = learned
    then = Player.POLICY if algorithm.on_policy else Player.LOCAL
    assert [record.player for record in records] == [Player.LOCAL] + [then] * 6
    assert [record.policy.existed for record in records] == [False] + [True] * 6
    first = records[0]
    np.testing.assert_array_equal(first.local.controllers.feedback, 0.0)
    np.testing.assert_array_equal(first.policy.linearised.feedback, 0.0)
    for record in records[1:]:
        ran = record.policy.linearised if algorithm.on_policy else records[record.iteration - 1].local.improved
        np.testing.assert_array_equal(record.local.controllers.feedback, ran.feedback)


def test_the_local_controllers_learn_alone_at_first():
    """The first iterations are those of trajectory optimisation; the policy is trained after them."""
    algorithm = mdgps(warm_up=2)
    _, alone = learn(TrajOpt(PROBLEM, kl_step=algorithm.local.kl_step), 2)
    state, records = learn(algorithm, 4)
    for record, other in zip(records[:2], alone, strict=True):
        np.testing.assert_array_equal(record.local.improved.feedback, other.local.improved.feedback)
        np.testing.assert_allclose(record.local.multiplier, other.local.multiplier, rtol=1e-12)
        assert np.isnan(record.policy.kl).all()
        assert (record.policy.mean_status, record.policy.message, record.policy.steps) == (PolicyStatus.WARM_UP, "", 0)
        assert not record.policy.trained and np.isnan(record.policy.deviation).all()
        assert describe_policy(record.policy) == [f"{'':10}policy: {PolicyStatus.WARM_UP.sentence}"]
    assert [record.player for record in records] == [Player.LOCAL] * 3 + [Player.POLICY]
    assert np.isfinite(records[2].policy.kl).all()
    assert state.trained


def test_no_controller_is_farther_from_the_policy_than_the_bound(learned):
    _, _, records, _ = learned
    kl = jax.jit(lambda new, policy, at: controller_kl(new, logdet(new.covariance), Reference.of(policy), at))
    for record in records:
        assert (record.local.kl <= record.local.kl_bound).all()
    record = records[2]
    marginals = jax.jit(jax.vmap(_forward))(record.local.dynamics, record.local.improved)
    for m in range(M):
        again = kl(record.local.improved[m], record.policy.linearised[m], marginals[m])
        np.testing.assert_allclose(again, record.local.search.kl[m], rtol=1e-5, atol=1e-6)


def _forward(dynamics, controller):
    from gps.linear_gaussian.riccati import forward

    return forward(dynamics, controller)


def test_the_step_rule_compares_the_costs_of_its_table(learned):
    """Each number of the table in the docstring, from the records and the noise of what was sampled."""
    algorithm, _, records, covariances = learned
    costs = []
    for record, covariance in zip(records, covariances, strict=True):
        expansion, local = algorithm_cost(record), record.local
        own = record.policy.linearised
        if algorithm.step_rule == "classic":
            own = records[record.iteration - 1].local.improved if record.iteration else records[0].local.controllers
        replayed = np.array([
            play_again(local.dynamics, expansion, which, record.rollouts, covariance).sum(axis=2).mean(axis=1)
            for which in (own, local.improved)
        ])  # fmt: skip
        ran = "global" if record.player is Player.POLICY else "classic"
        sampled = record.iteration == 0 or algorithm.step_rule in (None, ran)
        found = record.costs.sum(axis=2).mean(axis=1) if sampled else replayed[0]
        costs.append(np.column_stack([*replayed, found]))
    costs = np.array(costs)  # (iterations, M, [L of the reference, L of the new controllers, J of the reference])
    for k in range(1, len(records)):
        last = records[k].local.last
        np.testing.assert_allclose(last.predicted, costs[k - 1, :, 1] - costs[k - 1, :, 0], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(last.actual, costs[k, :, 2] - costs[k - 1, :, 2], rtol=1e-6, atol=1e-8)


def test_conditions_that_share_a_policy_share_the_temperature_and_the_step():
    """From the first lesson on α, and with a policy the multiplier; alone each condition has its own."""
    local = {"entropy": 0.1, "kl_step": 0.3, "max_multiplier": 10.0}
    _, records = learn(mdgps(warm_up=2, local=local), 6, samples=4)  # few, so that the predictions miss something
    for record in records:
        alpha, steps = record.local.search.alpha, record.rollouts.mask.sum(axis=(1, 2))
        assert (np.ptp(alpha) == 0) == (record.iteration >= 2)
        np.testing.assert_allclose(alpha @ steps, 0.1 * np.abs(record.costs).sum(), rtol=1e-12)
    assert np.ptp(records[2].local.multiplier) > 0
    assert all(np.ptp(record.local.multiplier) == 0 for record in records[3:])


def algorithm_cost(record):
    from gps.costs import expand

    return expand(COST, record.rollouts.states, record.rollouts.actions, record.rollouts.mask)[0]


def test_a_mixture_prior_of_the_policy_reaches_the_optimum_too(best):
    algorithm = mdgps(make_learner(prior=MixturePrior(clusters=2, memory=1)), local={"prior": MixturePrior(clusters=2)})
    state, _ = learn(algorithm, 7)
    np.testing.assert_allclose(cost_without_noise(algorithm.learned(state)), best, rtol=2e-2)
    assert state.policy_prior.mixture.means.shape == (2, DX + DU)


def test_the_divergence_is_that_of_samples():
    algorithm = mdgps()
    state, record = advance(algorithm, algorithm.begin(FIRST, STARTS))
    policy, rollouts = state.training.policy, record.rollouts
    m, t = 1, 4
    P = np.linalg.inv(record.local.improved.covariance[m, t])
    u = np.random.default_rng(0).multivariate_normal(np.zeros(DU), policy.covariance, 20000)
    seen = rollouts.states[m, :, t]
    e = policy.act(seen) - seen @ record.local.improved.feedback[m, t].T - record.local.improved.feedforward[m, t]

    def log_density(x, precision):
        return 0.5 * np.linalg.slogdet(precision)[1] - 0.5 * np.einsum("...i,ij,...j->...", x, precision, x)

    own = log_density(u, np.linalg.inv(policy.covariance)).mean()
    theirs = np.mean([log_density(u + of_one, P).mean() for of_one in e])
    assert teacher_kl(policy, record.local.improved, rollouts)[m, t] == pytest.approx(own - theirs, rel=0.02)
    np.testing.assert_array_equal(teacher_kl(policy, record.local.improved, rollouts), record.policy.kl)


def test_a_policy_that_observes_part_of_the_state_lowers_the_cost():
    """Without the last state the optimum is out of reach, but most of the way there is not."""
    algorithm = mdgps(make_learner(do=DX - 1))
    state = algorithm.begin(FIRST, STARTS)
    first = cost_without_noise(algorithm.learned(state))
    for i in range(6):
        state, record = advance(algorithm, state, seed=i, environment=BlindEnv)
        assert all(status.ok for status in record.statuses)
    assert record.policy.linearised.feedback.shape == (M, T, DU, DX)
    assert (record.mean_cost < 0.35 * first).all()


# -- trouble -----------------------------------------------------------------------------------------------------------


def test_training_that_diverges_leaves_the_last_good_policy_and_goes_on():
    good = mdgps()
    state, _ = advance(good, good.begin(FIRST, STARTS))
    wild = mdgps(make_learner(steps=200, learning_rate=1e30))
    after, record = advance(wild, state)
    assert record.policy.mean_status is PolicyStatus.DIVERGED
    assert "the last good policy was kept" in record.policy.message
    seen = record.rollouts.states
    np.testing.assert_allclose(after.training.policy.act(seen), state.training.policy.act(seen), atol=1e-9)
    again, record = advance(good, after, seed=1)
    assert record.policy.mean_status is PolicyStatus.OK
    assert np.isfinite(cost_without_noise(good.learned(again))).all()


@pytest.mark.parametrize("broken", [0.0, np.nan])
def test_a_singular_precision_is_reported_and_nothing_is_learned(broken):
    algorithm = mdgps()
    state, record = advance(algorithm, algorithm.begin(FIRST, STARTS))
    covariance = record.local.improved.covariance.copy()
    covariance[0, 3] = broken
    teachers = dataclasses.replace(record.local.improved, covariance=covariance)
    samples = make_samples(teachers, record.rollouts, np.ones((M, 1)))
    after, fit = train(state.training, samples, algorithm.learner.options)
    assert fit.outcome is PolicyStatus.BAD_PRECISION
    assert fit.message.endswith("is not finite.")
    same(after.policy, state.training.policy)


def test_a_covariance_that_collapses_is_limited_and_reported():
    algorithm = mdgps(make_learner(least_deviation=0.8, steps=100))
    state, record = advance(algorithm, algorithm.begin(FIRST, STARTS))
    assert record.policy.covariance_status is PolicyStatus.COLLAPSED_COVARIANCE
    assert "it was limited from below" in record.policy.message
    floor = 0.8 * state.training.policy.output_scale
    assert (record.policy.deviation >= 0.999 * floor.min()).all()


def test_a_condition_that_fails_each_rollout_teaches_nothing_and_the_run_goes_on():
    algorithm = mdgps()
    state = algorithm.begin(FIRST, STARTS)

    for i in range(3):
        state, record = advance(algorithm, state, lose_second, i)
        assert Status(record.status[1]) == Status.NO_VALID_SAMPLES
        assert Status(record.status[0]).ok
        assert record.policy.mean_status is PolicyStatus.OK
        assert np.isnan(record.policy.kl[1]).all()
        assert not np.isnan(record.policy.kl[0]).any()
        np.testing.assert_array_equal(record.local.improved.feedback[1], 0.0)
    state, record = advance(algorithm, state, seed=4)
    assert all(status.ok for status in record.statuses)


def test_a_step_that_no_sample_reached_keeps_its_controller():
    """The policy is unknown there: the local controller stands for it, and does not change."""
    algorithm = mdgps()
    state, _ = learn(algorithm, 2)

    _, record = advance(algorithm, state, lambda rollouts: cut(rollouts, 6, 6), seed=2)
    assert record.statuses == [Status.NONE_WHOLE] * M
    for name in ("feedback", "feedforward"):
        kept, before, around = (
            getattr(of, name) for of in (record.local.improved, state.local.controllers, record.policy.linearised)
        )
        np.testing.assert_array_equal(around[:, 6:], before[:, 6:])
        np.testing.assert_allclose(kept[:, 6:], before[:, 6:], atol=1e-6)
        assert (kept[:, :6] != before[:, :6]).any()


def test_without_any_sample_there_is_no_policy_yet_and_the_controllers_run_again():
    algorithm = mdgps()
    start = algorithm.begin(FIRST, STARTS)
    state, record = advance(algorithm, start, lambda r: dataclasses.replace(r, mask=np.zeros_like(r.mask)))
    assert record.policy.mean_status is PolicyStatus.NO_SAMPLES
    assert not state.trained
    assert algorithm.teachers(state) == ()
    same(algorithm.learned(state).controllers, start.local.controllers)
    _, record = advance(algorithm, state)
    assert record.player is Player.LOCAL
    assert record.policy.mean_status is PolicyStatus.OK
