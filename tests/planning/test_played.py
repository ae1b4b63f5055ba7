"""The planner as a sampler runs it."""

from typing import NamedTuple

import numpy as np
import pytest
from helpers import planning as lq

from gps.environments.tasks.pendulum import PendulumSwingUp
from gps.planning.cem import CEM
from gps.planning.model_planner import ModelPlanner
from gps.planning.played import PlannerPolicy
from gps.planning.sequences import ActionRange
from gps.planning.simulator import Copies, SimulatorPlanner
from gps.players import Player
from gps.sampling import collect

M, N = 2, 2
PLANNER = ModelPlanner(
    model=lq.LinearModel.of(), cost=lq.quadratic, optimiser=CEM(samples=60, elites=10, rounds=10), range=lq.WIDE,
    end=lq.T, horizon=lq.T, particles=1, propagation="mean",
)  # fmt: skip


class Both(NamedTuple):
    """An environment and the planner on it."""

    environment: PendulumSwingUp
    planner: SimulatorPlanner


@pytest.fixture
def pendulum():
    live, copies = PendulumSwingUp(4), Copies(lambda count: PendulumSwingUp(count, threads=1))
    planner = SimulatorPlanner(
        live=live, copies=copies, cost=lambda x, u, t: 0.0 * x[0], reward_weight=1.0,
        optimiser=CEM(samples=8, elites=2), range=ActionRange.of(-1.0, 1.0, np.ones(1)), end=8, horizon=8,
    )  # fmt: skip
    yield Both(live, planner)
    copies.close()
    live.close()


def test_the_sampler_plays_it_and_its_forecast_on_the_true_simulator_is_exact(pendulum):
    policy = PlannerPolicy(pendulum.planner, np.zeros((2, 8, 1, 1)), None)
    rollouts = collect(pendulum.environment, policy, [{}, {"qpos": [1.0]}], np.zeros((2, 2, 8, 1)), 0)
    planned = policy.planned
    np.testing.assert_array_equal(planned.states[:, :, :8], rollouts.states)
    np.testing.assert_array_equal(planned.costs[:, :, :8], -rollouts.rewards)
    predicted, actual = planned.compare(-rollouts.rewards)
    np.testing.assert_array_equal(predicted, actual)
    assert policy.player is Player.PLANNER


def run(policy: PlannerPolicy, noise: float = 0.0):
    """Return the actions and the costs of M·N episodes, (M, N, T, …)."""
    rng, x = np.random.default_rng(0), np.repeat(lq.STARTS[:, None], N, axis=1)
    actions, costs = np.zeros((M, N, lq.T, lq.DU)), np.zeros((M, N, lq.T))
    for t in range(lq.T):
        u = actions[:, :, t] = policy.act(x, t)
        costs[:, :, t] = [[float(lq.quadratic(x[m, n], u[m, n], t)) for n in range(N)] for m in range(M)]
        x = x @ lq.A.T + u @ lq.B.T + noise * rng.normal(size=x.shape)
    return actions, costs


def policy(every) -> PlannerPolicy:
    return PlannerPolicy(PLANNER, np.zeros((M, lq.T, lq.DU, lq.DU)), every)


def test_open_loop_follows_the_plan_of_the_first_step():
    never = policy(None)
    actions, costs = run(never)
    plans = PLANNER.plan(np.repeat(lq.STARTS, N, axis=0), 0, None)
    np.testing.assert_array_equal(actions.reshape(M * N, lq.T, lq.DU), plans.actions)
    planned = never.planned
    assert planned.steps.tolist() == [0]
    predicted, actual = planned.compare(costs)
    np.testing.assert_allclose(predicted, actual, rtol=1e-9)
    assert planned.seconds.shape == planned.effective.shape == (M, N, 1)
    assert planned.describe_troubles() == ["", ""]


def test_it_replans_every_k_steps_and_forgets_at_step_zero():
    third = policy(3)
    first, _ = run(third)
    assert third.planned.steps.tolist() == [0, 3, 6, 9]
    again, _ = run(third)
    np.testing.assert_array_equal(first, again)


def test_replanning_is_better_where_the_system_has_noise():
    costs = {every: run(policy(every), noise=0.3)[1].sum() for every in (1, None)}
    assert costs[1] < costs[None]


def test_a_repeated_policy_has_more_conditions_and_its_own_memory():
    one = policy(1)
    run(one)
    more = one.repeat(3)
    assert more.covariance.shape[0] == 3 * M
    assert more.planned is None
    assert one.planned is not None


def test_a_period_below_one_is_an_error():
    with pytest.raises(ValueError, match="every"):
        policy(0)
