"""A policy that follows a moving point: its reference within a model, against closed forms and plain rollouts."""

import dataclasses
from contextlib import closing

import numpy as np
import pytest
from helpers.experiments import write
from helpers.global_models import AffineModel

from gps.algorithms.through_models.expected_cost import (
    Scene,
    StartBelief,
    expect_course,
    from_vector,
    to_vector,
    value_and_gradient,
)
from gps.algorithms.through_models.imagining import (
    Box,
    ImaginedSetting,
    ImaginedStarts,
    forecast_episodes,
    imagine_episodes,
)
from gps.algorithms.through_models.particles import ParticleObjective, Particles, ParticleSetting, draw
from gps.algorithms.through_models.policy_search import PathIntegralSearch, Setting, forecast
from gps.backend import jnp
from gps.builders.algorithms.parts import find_observed
from gps.config import load
from gps.environments.tasks.arm_tracking import ArmTracking
from gps.errors import ConfigError
from gps.experiment import Experiment
from gps.linear_gaussian.types import pytree
from gps.networks import Affine
from gps.planning.sequences import ActionRange
from gps.policies.lbfgs import minimise
from gps.policies.neural import NeuralPolicy
from gps.policies.observed import Observed
from gps.problem import Problem

DX, DU, T, DT = 2, 1, 30, 0.1
F = np.array([[1.0, DT, 0.0], [-0.2 * DT, 0.95, 0.5]])  # a sprung mass
NOISE, SPREAD = np.array([0.01, 0.03]), 0.1
START = np.array([[0.4, -0.3]])
TURN = np.array([[np.cos(DT), np.sin(DT)], [-np.sin(DT), np.cos(DT)]])
POINT = np.stack([np.linalg.matrix_power(TURN, t) @ [1.0, 0.0] for t in range(T + 5)])
"""The place and the velocity of the point that is followed: cos t and -sin t of the time t."""
C, R = np.diag([4.0, 0.5]), 0.02
OBSERVED = Observed((2, 0, 1, 3), POINT)  # the point's place comes first
GAINS, BIAS = np.array([1.3, -1.5, -0.8, 0.4]), 0.1


def cost(x, u, t):
    off = x - jnp.asarray(POINT)[t]
    return 0.5 * (off @ C @ off + R * u @ u)


@pytree
class Linear(AffineModel):
    """The system itself, which also propagates a Gaussian."""

    def moments(self, mean, covariance):
        cross = covariance @ self.slopes.T
        return self.slopes @ mean + self.value, self.slopes @ cross + jnp.diag(self.noise**2), cross


def system():
    return Linear(F, np.zeros(DX), np.zeros(DX + DU), NOISE, np.zeros(DX), np.zeros((DX, DX + DU, DX + DU)))


def affine(gains=GAINS, bias=BIAS, size=4):
    network = Affine(size, (), "none", (-np.inf,), (np.inf,), np.asarray(gains)[:, None], np.array([bias]))
    return NeuralPolicy.untrained(network, 1e-6)


def make_problem():
    return Problem(cost=cost, dx=DX, du=DU, horizon=T)


def make_scene(observed=OBSERVED):
    return Scene(system(), cost, StartBelief(START, SPREAD**2 * np.eye(DX)[None]), T, observed, "")


def follow_in_closed_form(floor=0.0):
    """Expected costs, means and variances of the state: it is Gaussian, and its action affine in it and the point.

    Args:
        floor: variance that each step adds to each entry.
    """
    K = GAINS[[1, 2]][None]
    closed = F[:, :DX] + F[:, DX:] @ K
    m, S, costs, means, variances = START[0], SPREAD**2 * np.eye(DX), [], [], []
    for t in range(T):
        k = GAINS[[0, 3]] @ POINT[t] + BIAS
        off, u = m - POINT[t], (K @ m)[0] + k
        costs.append(0.5 * (off @ C @ off + np.trace(C @ S) + R * (u**2 + (K @ S @ K.T)[0, 0])))
        means.append(m)
        variances.append(np.diag(S))
        m, S = closed @ m + F[:, 2] * k, closed @ S @ closed.T + np.diag(NOISE**2 + floor)
    return map(np.array, (costs, means, variances))


def roll_out(x, first=0, steps=T):
    """The states and costs of an episode without noise that begins at a step."""
    states, costs = [], []
    for t in range(first, first + steps):
        point = POINT[min(t, len(OBSERVED.references) - 1)]
        u = GAINS @ np.array([point[0], *x, point[1]]) + BIAS
        states.append(x)
        costs.append(float(cost(x, np.array([u]), t)))
        x = F @ [*x, u]
    return np.array(states), np.array(costs)


def test_an_observation_has_entries_of_the_state_and_of_the_reference_now():
    x = np.arange(12.0).reshape(2, 3, 2)
    seen = np.asarray(OBSERVED(x, np.array([0, 1, 99])))
    assert seen.shape == (2, 3, OBSERVED.size)
    np.testing.assert_array_equal(seen[..., [1, 2]], x)
    for i, t in enumerate((0, 1, -1)):  # after the end, the last row stays
        np.testing.assert_array_equal(seen[:, i, [0, 3]], [POINT[t]] * 2)
    units = OBSERVED.find_units(np.array([2.0, 3.0]))
    np.testing.assert_allclose(units, [POINT[:, 0].std(), 2.0, 3.0, POINT[:, 1].std()])
    np.testing.assert_array_equal(Observed((1, 2), np.ones((4, 1))).find_units(np.array([2.0, 3.0])), [3.0, 1.0])


def test_the_moments_are_those_of_the_closed_form():
    costs, means, variances = follow_in_closed_form(floor=1e-10)
    found = expect_course(make_scene(), affine())
    np.testing.assert_allclose(found.costs[0], costs, rtol=1e-8)
    np.testing.assert_allclose(found.means[0], means, atol=1e-8)
    np.testing.assert_allclose(found.deviations[0] ** 2, variances, rtol=1e-6)


def test_the_cost_by_particles_is_that_of_the_closed_form():
    costs, means, _ = follow_in_closed_form()
    particles = Particles(count=4000, spread=SPREAD)
    setting = ParticleSetting.of(make_problem(), system(), cost, affine(), OBSERVED)
    draws = draw(system(), particles, START, T, 0, (0, 0))
    episodes = ParticleObjective(setting, draws).imagine(to_vector(affine().network))
    for found, expected in ((episodes.costs, costs), (np.moveaxis(episodes.states, 2, 1), means)):
        allowed = 5.0 * found.std(axis=-1) / np.sqrt(particles.count)
        assert np.all(np.abs(found.mean(axis=-1) - expected) < allowed)


def make_imagined_setting(steps=T, drawn=False):
    free = ActionRange.of(-np.inf, np.inf, np.ones(DU))
    box = Box(np.full(DX, -1e6), np.full(DX, 1e6), np.ones(DX))
    end, clip = np.int32(T), np.asarray(np.inf)
    return ImaginedSetting(system(), cost, None, free, box, OBSERVED, end, clip, steps, drawn, "")


@pytest.mark.parametrize("algorithm", ["policy_backprop", "mppigps"])
def test_a_forecast_is_the_rollout(algorithm):
    nothing = np.zeros((1, 1, T, DU))
    if algorithm == "mppigps":
        search = PathIntegralSearch(horizon=5)
        setting = Setting.of(make_problem(), system(), cost, affine(), search, 1.0, OBSERVED)
        found = forecast(setting, START[None], nothing)
    else:
        found = forecast_episodes(affine(), make_imagined_setting(), START[None], nothing)
    states, costs = roll_out(START[0])
    np.testing.assert_allclose(found[0][0, 0], costs, rtol=1e-9)
    np.testing.assert_allclose(found[1][0, 0], states, atol=1e-9)


def test_an_imagined_episode_that_begins_later_sees_the_reference_of_then():
    nothing = np.zeros((1, 1, 0))
    starts = ImaginedStarts(START[None], np.array([[7]], np.int32), nothing, nothing, np.uint32(0))
    quiet = dataclasses.replace(affine(), covariance=1e-24 * np.eye(DU))
    course = imagine_episodes(quiet, make_imagined_setting(steps=6), starts)
    np.testing.assert_allclose(course.states[:, 0, 0], roll_out(START[0], first=7, steps=6)[0], atol=1e-9)


def find_least_cost():
    """The least expected cost of any controller, by the Riccati recursion of [x; r]: that of LQ tracking."""
    A = np.block([[F[:, :DX], np.zeros((DX, DX))], [np.zeros((DX, DX)), TURN]])
    B, W = np.concatenate([F[:, DX:], np.zeros((DX, DU))]), np.diag([*NOISE**2, 0.0, 0.0])
    off = np.concatenate([np.eye(DX), -np.eye(DX)], axis=1)
    Q = off.T @ C @ off
    V, constant = Q, 0.0  # the last action moves nothing
    for _ in range(T - 1):
        constant += 0.5 * np.trace(V @ W)
        K = -np.linalg.solve(R * np.eye(DU) + B.T @ V @ B, B.T @ V @ A)
        V = Q + A.T @ V @ (A + B @ K)
    z = np.concatenate([START[0], POINT[0]])
    return 0.5 * (z @ V @ z + SPREAD**2 * np.trace(V[:DX, :DX])) + constant


def optimise(observed):
    scene, policy = make_scene(observed), affine(np.zeros(observed.size), 0.0, observed.size)

    def evaluate(vector):
        moved = dataclasses.replace(policy, network=from_vector(policy.network, vector))
        value, gradient = value_and_gradient(scene, moved)
        return float(value), to_vector(gradient)

    return minimise(evaluate, [to_vector(policy.network)], iterations=60, threads=1).value


def test_the_best_policy_that_knows_the_reference_comes_near_lq_tracking():
    """The optimum depends on the time that is left; for most of an episode it hardly does."""
    least = find_least_cost()
    found, blind = optimise(OBSERVED), optimise(Observed((0, 1)))
    assert least <= found < 1.01 * least
    assert blind > 2.0 * least


# -- the reference of an environment ---------------------------------------------------------------------------------

ARM = {
    "environment": {"id": "gps/ArmTracking-v0", "observation": ["reference[7,1]", "qpos", "reference[2]"]},
    "algorithm": {"name": "mc_pilco", "policy": {"network": "affine"}},
    "cost": [{"name": "quadratic", "on": "qpos"}],
}


def test_the_observation_of_the_arm_is_known_in_each_step(tmp_path):
    folder = write(tmp_path, ARM)
    with closing(Experiment(load(folder), folder)) as built:
        observed = find_observed(built.problem, built.environment)
        assert observed.entries == (19, 13, 0, 1, 2, 3, 4, 5, 26)
        state = built.begin()
        sampled = built.sample(built.algorithm.policy(state), np.random.default_rng(0), 0)
    assert sampled.mask.all()
    expected = np.asarray(observed(sampled.states, np.arange(200)))
    np.testing.assert_array_equal(sampled.observed, expected)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.zeros((150, 12)), "reference has values for 150 steps, and an episode has 200; set environment.horizon to"),
        (np.zeros(200), r"has the shape \(200,\), not \(steps, entries\)"),
        (np.full((201, 12), np.nan), "is not finite in each step of an episode"),
    ],
)
def test_a_reference_that_does_not_last_for_an_episode_is_refused(tmp_path, monkeypatch, values, match):
    bind = ArmTracking._bind

    def bind_another(self):
        own = bind(self)
        self.references = {"reference": values}
        return own

    monkeypatch.setattr(ArmTracking, "_bind", bind_another)
    folder = write(tmp_path, ARM)
    with pytest.raises(ConfigError, match=match):
        Experiment(load(folder), folder)


def test_what_is_neither_state_nor_reference_is_refused(tmp_path):
    folder = write(tmp_path, {**ARM, "environment": {**ARM["environment"], "observation": ["site_position:tool"]}})
    with pytest.raises(ConfigError, match=r"neither part of the state nor a reference \(reference\)"):
        Experiment(load(folder), folder)
