"""The controller that adapts a global model within each episode."""

import dataclasses

import numpy as np
import pytest
from helpers.global_models import AffineModel, SureOfSlopes
from helpers.linear_system import CONDITIONS, COST, PROBLEM, A, B, M
from helpers.problems import LinearEnv

from gps.costs import evaluate_cost
from gps.environments.mujoco import MujocoEnv
from gps.environments.mujoco.simulator import MujocoSimulator
from gps.models.physics.model import PhysicsModel
from gps.planning.adaptive import Adaptation, AdaptivePolicy
from gps.players import Player
from gps.problem import Limits, Problem
from gps.sampling import collect

DX, DU, T = 3, 2, PROBLEM.horizon
SETTINGS = Adaptation(horizon=T)
FIXED = SETTINGS._replace(strength=1e9)


def make_model(kind=SureOfSlopes, doubt=0.5):
    """The system as it was in training, and the belief that the effect of the actions may be another one."""
    F = np.hstack([A, B])
    covariances = np.tile(np.diag([1e-8] * DX + [(doubt * 0.3) ** 2] * DU), (DX, 1, 1))
    return kind(F, np.zeros(DX), np.zeros(DX + DU), np.full(DX, 1e-3), np.full(DX, 1e-4), covariances)


def play(policy, gain=1.0, samples=1):
    environment = LinearEnv(M * samples, A, gain * B)
    return collect(environment, policy, CONDITIONS, np.zeros((M, samples, T, DU)), seed=0)


def cost_of(policy, gain):
    rollouts = play(policy, gain)
    return evaluate_cost(COST, rollouts.states, rollouts.actions, rollouts.mask).sum(axis=(1, 2)).mean()


@pytest.mark.parametrize("gain", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("kind", [SureOfSlopes, AffineModel], ids=["stated belief", "drawn belief"])
def test_a_system_with_another_gain_is_controlled_better_than_without_adaptation(gain, kind):
    model = make_model(kind)
    truth = dataclasses.replace(model, slopes=np.hstack([A, gain * B]))
    best = cost_of(AdaptivePolicy(PROBLEM, truth, M, FIXED), gain)
    fixed = cost_of(AdaptivePolicy(PROBLEM, model, M, FIXED), gain)
    adaptive = cost_of(AdaptivePolicy(PROBLEM, model, M, SETTINGS), gain)
    assert adaptive - best < (0.9 if gain < 4 else 0.5) * (fixed - best)


def test_a_system_that_is_the_models_own_is_controlled_as_well_as_without_adaptation():
    model = make_model()
    fixed, adaptive = (cost_of(AdaptivePolicy(PROBLEM, model, M, s), 1.0) for s in (FIXED, SETTINGS))
    assert np.isclose(adaptive, fixed, rtol=1e-6)


def test_an_episode_has_the_same_bits_alone_and_again():
    policy = AdaptivePolicy(PROBLEM, make_model(), M, SETTINGS)
    one, two = play(policy, 2.0), play(policy, 2.0)
    np.testing.assert_array_equal(one.actions, two.actions)
    many = play(policy, 2.0, samples=2)
    for n in range(2):
        np.testing.assert_allclose(many.actions[:, n], one.actions[:, 0], rtol=1e-9, atol=1e-9)


def test_the_actions_keep_their_limits():
    problem = dataclasses.replace(PROBLEM, limits=Limits(-0.2, 0.3))
    actions = play(AdaptivePolicy(problem, make_model(), M, SETTINGS), 2.0).actions
    assert actions.min() == -0.2 and actions.max() == 0.3


def test_it_is_a_policy_that_a_sampler_can_run_for_other_conditions():
    policy = AdaptivePolicy(PROBLEM, make_model(), M, SETTINGS)
    assert policy.player is Player.PLANNER and policy.observes == "state" and policy.parameters is None
    twice = policy.repeat(2)
    assert twice.covariance.shape == (2 * M, T, DU, DU) and not twice.covariance.any()
    rollouts = play(policy)
    states = np.repeat(rollouts.states[:, :, 0], 2, axis=0)
    np.testing.assert_allclose(twice.act(states, 0)[::2], policy.act(rollouts.states[:, :, 0], 0), rtol=1e-9)


def test_a_model_that_is_not_finite_still_gives_finite_actions():
    broken = dataclasses.replace(make_model(), value=np.full(DX, np.nan))
    policy = AdaptivePolicy(PROBLEM, broken, M, SETTINGS)
    assert np.isfinite(policy.act(np.zeros((M, 1, DX)), 0)).all()
    assert np.isfinite(policy.act(np.ones((M, 1, DX)), 1)).all()


PENDULUM = """<mujoco><option timestep="0.01"/><worldbody>
<body name="link"><joint name="hinge" axis="0 1 0" damping=".1"/>
<geom type="capsule" fromto="0 0 0 0 0 -.5" size=".03" mass="1"/></body>
</worldbody><actuator><motor joint="hinge" ctrlrange="-1 1" gear="8"/></actuator></mujoco>"""


def test_a_pendulum_twice_as_heavy_as_its_simulator_is_held_where_it_should_be():
    """By a simulator of one that weighs 1 kg, give or take a factor e."""
    environment, steps = MujocoEnv(1, mjcf=PENDULUM, frame_skip=3), 25
    simulator = MujocoSimulator(environment, {"body_mass": {"link": [0.2, 5.0]}}, ({},), threads=1)
    belief = np.zeros(1), np.array([[1.0]]), np.full(2, 1e-3), np.array([1.0, 3.0, 0.3])
    problem = Problem(
        cost=lambda x, u, t: (x[0] - 1.0) ** 2 + 0.01 * x[1] ** 2 + 1e-3 * u @ u,
        dx=2,
        du=1,
        horizon=steps,
        limits=Limits(np.full(1, -1.0), np.full(1, 1.0)),
    )

    def hold(mass, strength):
        settings = Adaptation(horizon=6, rounds=1, first_rounds=4, strength=strength)
        policy = AdaptivePolicy(problem, PhysicsModel(*belief, simulator), 1, settings)
        conditions = [{"qpos": [0.8], "body_mass": {"link": mass}}]
        return problem.costs(collect(environment, policy, conditions, np.zeros((1, 1, steps, 1)), seed=0)).sum()

    best, fixed, adaptive = hold(1.0, 1e9), hold(2.0, 1e9), hold(2.0, 1.0)
    assert adaptive - best < 0.4 * (fixed - best)
