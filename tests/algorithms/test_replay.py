"""The samples replayed in the model: exact where the model is, under the limits as a plain loop is."""

import dataclasses

import numpy as np
import pytest
from helpers.linear_system import CONDITIONS, COST, DU, DX, FIRST, A, B, M, N, T, cut, roll_out
from helpers.problems import LinearEnv, spd, step_costs
from numpy.testing import assert_allclose

from gps.algorithms.local.replay import Replay
from gps.costs import evaluate_cost, expand
from gps.linear_gaussian.types import Controller, LinearDynamics
from gps.policies.played import LocalControllers
from gps.problem import Limits
from gps.sampling import collect, draw_noise

UNLIMITED = Limits(np.full(DU, -np.inf), np.full(DU, np.inf))
STARTS = np.array([condition["start"] for condition in CONDITIONS])
DYNAMICS = LinearDynamics(
    np.tile(np.hstack([A, B]), (M, T - 1, 1, 1)), np.zeros((M, T - 1, DX)), np.zeros((M, T - 1, DX, DX)),
    STARTS, np.zeros((M, DX, DX)),
)  # fmt: skip


def make_controllers(seed=0, size=0.3):
    """Controllers that feed back, with full covariances."""
    rng = np.random.default_rng(seed)
    K, k = size * rng.standard_normal((M, T, DU, DX)), size * rng.standard_normal((M, T, DU))
    return Controller(K, k, 0.1 * spd(rng, M, T, DU))


def sample(controllers, limit=np.inf, samples=N, seed=1):
    policy = LocalControllers(controllers)
    noise = draw_noise(policy, samples, 0.0, np.random.default_rng(seed))
    return collect(LinearEnv(M * samples, A, B, limit), policy, CONDITIONS, noise, seed=0)


@pytest.mark.parametrize("limit", [np.inf, 0.5])
def test_in_the_true_system_each_sample_costs_what_it_did(limit):
    controllers = make_controllers()
    rollouts = sample(controllers, limit)
    limits = Limits(np.full(DU, -limit), np.full(DU, limit))
    expansion, costs = expand(COST, rollouts.states, rollouts.actions, rollouts.mask)
    replay = Replay.of(rollouts, controllers.covariance, limits)
    assert_allclose(replay.costs(DYNAMICS, expansion, controllers), costs, rtol=1e-9, atol=1e-9)
    assert_allclose(replay.expected_cost(DYNAMICS, expansion, controllers), costs.sum(axis=2).mean(axis=1))
    assert (rollouts.saturated > 0).all() == (limit < np.inf)


@pytest.mark.parametrize("limit", [np.inf, 0.5])
def test_another_controller_costs_what_it_would_with_the_same_standard_normal_noise(limit):
    old, new = make_controllers(0), make_controllers(3)
    rollouts = sample(old, limit)
    expansion, _ = expand(COST, rollouts.states, rollouts.actions, rollouts.mask)
    replay = Replay.of(rollouts, old.covariance, Limits(np.full(DU, -limit), np.full(DU, limit)))
    white = np.linalg.solve(np.linalg.cholesky(old.covariance)[:, None], rollouts.noise[..., None])
    noise = (np.linalg.cholesky(new.covariance)[:, None] @ white)[..., 0]
    played = collect(LinearEnv(M * N, A, B, limit), LocalControllers(new), CONDITIONS, noise, seed=0)
    costs = evaluate_cost(COST, played.states, played.actions, played.mask)
    assert_allclose(replay.costs(DYNAMICS, expansion, new), costs, rtol=1e-9, atol=1e-9)


def test_the_mean_over_many_samples_is_the_expected_cost():
    old, new = make_controllers(0), make_controllers(3)
    rollouts = sample(old, samples=4000)
    expansion, _ = expand(COST, rollouts.states, rollouts.actions, rollouts.mask)
    replay = Replay.of(rollouts, old.covariance, UNLIMITED)
    for m in range(M):
        expected = float(step_costs(DYNAMICS[m], expansion[m], new[m]).sum())
        costs = replay.costs(DYNAMICS, expansion, new)[m].sum(axis=1)
        assert abs(costs.mean() - expected) < 4 * costs.std() / np.sqrt(len(costs))


def test_the_limits_in_a_plain_loop():
    """A model that is not the system, with offsets, and limits that differ per action and side."""
    rng = np.random.default_rng(5)
    controllers, rollouts = make_controllers(size=1.0), roll_out(LocalControllers(FIRST))
    F, c = rng.standard_normal((M, T - 1, DX, DX + DU)), rng.standard_normal((M, T - 1, DX))
    dynamics = dataclasses.replace(DYNAMICS, matrix=F, offset=c)
    low, high = np.array([-0.4, -1.0]), np.array([0.1, 0.3])
    expansion, _ = expand(COST, rollouts.states, rollouts.actions, rollouts.mask)
    found = Replay.of(rollouts, FIRST.covariance, Limits(low, high)).costs(dynamics, expansion, controllers)
    for m in range(M):
        for n in range(N):
            x = STARTS[m]
            for t in range(T):
                L = np.linalg.cholesky(controllers.covariance[m, t])
                xi = rollouts.noise[m, n, t] / np.sqrt(np.diag(FIRST.covariance[m, t]))
                u = np.clip(controllers.feedback[m, t] @ x + controllers.feedforward[m, t] + L @ xi, low, high)
                z = np.concatenate([x, u])
                cost = 0.5 * z @ expansion.hessian[m, t] @ z + expansion.gradient[m, t] @ z + expansion.constant[m, t]
                assert found[m, n, t] == pytest.approx(cost, rel=1e-9, abs=1e-9)
                if t < T - 1:
                    x = F[m, t] @ z + c[m, t]


def test_after_an_early_success_nothing_is_charged():
    rollouts = sample(FIRST)
    early = cut(rollouts, 4, T)
    early = dataclasses.replace(early, finished=~early.mask.all(axis=2))
    expansion, costs = expand(COST, rollouts.states, rollouts.actions, rollouts.mask)
    whole = costs.sum(axis=2).mean(axis=1)
    found = Replay.of(early, FIRST.covariance, UNLIMITED).expected_cost(DYNAMICS, expansion, FIRST)
    assert_allclose(found, [costs[0, :, :4].sum(axis=1).mean(), whole[1]])
    unsuccessful = dataclasses.replace(early, finished=None)
    found = Replay.of(unsuccessful, FIRST.covariance, UNLIMITED).expected_cost(DYNAMICS, expansion, FIRST)
    assert found[0] > costs[0, :, :4].sum(axis=1).mean()  # its remaining steps are charged, as far as they are known


def test_a_sample_without_a_first_step_does_not_count():
    rollouts = sample(FIRST)
    expansion, costs = expand(COST, rollouts.states, rollouts.actions, rollouts.mask)
    mask = rollouts.mask.copy()
    mask[0, 2] = False
    replay = Replay.of(dataclasses.replace(rollouts, mask=mask), FIRST.covariance, UNLIMITED)
    kept = np.delete(costs[0].sum(axis=1), 2).mean()
    assert replay.expected_cost(DYNAMICS, expansion, FIRST)[0] == pytest.approx(kept)


def test_a_controller_without_noise_is_replayed_without():
    still = dataclasses.replace(make_controllers(), covariance=np.zeros((M, T, DU, DU)))
    rollouts = sample(still)
    expansion, costs = expand(COST, rollouts.states, rollouts.actions, rollouts.mask)
    replay = Replay.of(rollouts, still.covariance, UNLIMITED)
    assert not replay.noise.any()
    assert_allclose(replay.costs(DYNAMICS, expansion, still), costs, rtol=1e-9, atol=1e-9)


def test_the_limits_hold_a_model_that_would_explode():
    """|λ| = 1.5 in closed loop, by the controller alone; without limits it costs 1.5^(2T) times as much."""
    controllers = Controller(np.full((M, T, DU, DX), -30.0), np.zeros((M, T, DU)), FIRST.covariance)
    rollouts = roll_out(LocalControllers(FIRST))
    expansion, costs = expand(COST, rollouts.states, rollouts.actions, rollouts.mask)
    limits = Limits(np.full(DU, -0.5), np.full(DU, 0.5))
    held = Replay.of(rollouts, FIRST.covariance, limits).expected_cost(DYNAMICS, expansion, controllers)
    free = Replay.of(rollouts, FIRST.covariance, UNLIMITED).expected_cost(DYNAMICS, expansion, controllers)
    assert (held < 10 * np.abs(costs).sum(axis=2).mean(axis=1)).all()
    assert (free > 1e6 * held).all()


def test_where_the_model_diverges_beyond_all_numbers_nothing_is_expected():
    rollouts = roll_out(LocalControllers(FIRST))
    expansion, _ = expand(COST, rollouts.states, rollouts.actions, rollouts.mask)
    matrix = np.array(DYNAMICS.matrix)
    matrix[1] *= 1e40
    replay = Replay.of(rollouts, FIRST.covariance, UNLIMITED)
    found = replay.expected_cost(dataclasses.replace(DYNAMICS, matrix=matrix), expansion, FIRST)
    assert np.isfinite(found[0]) and np.isnan(found[1])
