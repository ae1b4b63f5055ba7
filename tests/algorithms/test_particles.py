"""The cost by particles: moments in closed form, gradients by differences, sensors and filters as the real ones."""

import dataclasses

import numpy as np
import pytest
from helpers.global_models import AffineModel
from jax.flatten_util import ravel_pytree

from gps.algorithms.through_models.particles import ParticleObjective, Particles, ParticleSetting, draw
from gps.backend import jax, jnp
from gps.costs import Quadratic, Ramp, Sum
from gps.dynamics.prior import Transitions
from gps.dynamics.velocity_filter import VelocityFilter
from gps.linear_gaussian.mechanics import Mechanics
from gps.models.gaussian_process_learner import GaussianProcessLearner
from gps.networks import Affine, RadialBasis
from gps.policies.neural import NeuralPolicy
from gps.policies.observed import Observed
from gps.problem import Limits, Problem

DX, DU, T, DT = 2, 1, 8, 0.1
MECHANICS = Mechanics(slice(0, 1), slice(1, 2), np.eye(1), DT)
COST = Sum((
    Quadratic((0, 1), jnp.array([0.5, 0.0]), jnp.array([2.0, 0.3]), Ramp(T)),
    Quadratic(None, jnp.zeros(DU), jnp.array([0.2]), Ramp(T)),
))  # fmt: skip
NOISE = np.array([0.02, 0.05])
SYSTEM, DOUBT = np.array([0.01, 0.03]), np.array([0.02, 0.05])
F = np.array([[1.0, DT, 0.0], [-0.2, 0.9, 0.5]])
START = np.array([[1.0, -0.5]])
OBSERVED = Observed((0, 1))


def make_problem(**changes):
    return Problem(**{"cost": COST, "dx": DX, "du": DU, "horizon": T, "dt": DT, "mechanics": MECHANICS, **changes})


def affine(gains=(-0.8, -0.4), bias=0.1):
    weights = np.array(gains)[:, None]
    network = Affine(DX, (), "none", (-np.inf,), (np.inf,), weights, np.array([bias]))
    return NeuralPolicy.untrained(network)


def linear(doubt=DOUBT):
    return AffineModel(F, np.zeros(DX), np.zeros(DX + DU), SYSTEM, doubt, np.zeros((DX, DX + DU, DX + DU)))


def objective(problem, model, policy, particles, seed=0, starts=START, observed=OBSERVED, cost=COST, horizon=T):
    setting = ParticleSetting.of(problem, model, cost, policy, observed, particles.dropout)
    features = policy.network.features if particles.dropout else 0
    return ParticleObjective(setting, draw(model, particles, starts, horizon, features, (seed, 0)))


def vector(policy):
    return np.asarray(ravel_pytree(policy.network)[0])


def test_the_cost_is_the_expected_one_of_a_linear_system():
    """The state, with the doubt that stays for an episode and the noise of each step, is Gaussian."""
    policy, particles = affine(), Particles(count=40_000, spread=0.1)
    j = objective(make_problem(sensor_noise=NOISE), linear(), policy, particles)
    episodes = j.imagine(vector(policy))
    total = np.asarray(episodes.costs).sum(axis=0)

    K, k = np.array([[-0.8, -0.4]]), 0.1
    A, B = F[:, :DX], F[:, DX:]
    closed, effect = A + B @ K, B @ K  # of the state, and of the sensors' noise
    mean = np.concatenate([START[0], np.zeros(DX)])  # [x; the drawn offset of the function]
    P = np.diag([*np.full(DX, 0.1**2), *DOUBT**2])
    G = np.block([[closed, np.eye(DX)], [np.zeros((DX, DX)), np.eye(DX)]])
    C, target = np.diag([2.0, 0.3]), np.array([0.5, 0.0])
    expected = 0.0
    for _ in range(T):
        x, S = mean[:DX], P[:DX, :DX]
        u = K @ x + k
        U = K @ (S + np.diag(NOISE**2)) @ K.T
        expected += 0.5 * ((x - target) @ C @ (x - target) + np.trace(C @ S)) + 0.1 * (u @ u + np.trace(U))
        mean = G @ mean + np.concatenate([(B * k)[:, 0], np.zeros(DX)])
        P = G @ P @ G.T
        P[:DX, :DX] += effect @ np.diag(NOISE**2) @ effect.T + np.diag(SYSTEM**2)
    assert abs(total.mean() - expected) < 4 * total.std() / np.sqrt(len(total))
    assert j(vector(policy))[0] == pytest.approx(total.mean(), rel=1e-12)
    assert not episodes.lost.any()


def learn():
    rng = np.random.default_rng(0)
    z = rng.uniform(-1, 1, (60, DX + DU)) * [1.0, 1.0, 1.0]
    after = z @ F.T + 0.1 * np.sin(3 * z[:, :1])
    points = np.concatenate([z, after], axis=1)[None, None]
    learner = GaussianProcessLearner(DX, restarts=1, iterations=30)
    return learner.refit(Transitions(points, np.ones((1, 1, 60), bool)), 0).model


@pytest.fixture(scope="module")
def process():
    return learn()


def test_a_step_of_the_particles_has_the_moments_of_the_process(process):
    """An affine policy leaves [x; u] Gaussian, so that the closed form of the next state is exact."""
    K, k = np.array([[-0.8, -0.4]]), 0.1
    particles = Particles(count=6000, spread=0.3)
    j = objective(make_problem(horizon=2), process, affine(), particles, horizon=2)
    after = np.asarray(j.imagine(vector(affine())).states)[1]

    full = np.vstack([np.eye(DX), K])  # z = full x + [0; k]
    S = np.diag((particles.spread * np.asarray(process.deviations)[:DX]) ** 2)
    mean, covariance, _ = jax.jit(process.moments)(full @ START[0] + np.array([0.0, 0.0, k]), full @ S @ full.T)
    off = after - np.asarray(mean)
    for found, terms in ((np.zeros(DX), off), (covariance, off[:, :, None] * off[:, None])):
        assert np.all(np.abs(terms.mean(axis=0) - found) < 4.5 * terms.std(axis=0) / np.sqrt(len(terms)))


def radial(features=6, seed=0):
    network = RadialBasis.create(DX, (-1.0,), (1.0,), jax.random.key(seed), features, squash="tanh", spread=0.7)
    return NeuralPolicy.untrained(network)


FILTER = VelocityFilter.of(MECHANICS, NOISE, np.array([0.7]), np.array([0.4]))


@pytest.mark.parametrize(
    ("changes", "particles"),
    [
        ({}, Particles(count=6)),
        ({"sensor_noise": NOISE}, Particles(count=6, noise=False, dropout=0.3)),
        ({"sensor_noise": FILTER.deviation, "filter": FILTER}, Particles(count=6, noise=False)),
    ],
    ids=["exact", "noisy sensors, dropout", "filtered"],
)
def test_the_gradient_is_that_of_differences(process, changes, particles):
    policy = radial()
    limits = Limits(np.array([-1.0]), np.array([1.0]))
    j = objective(make_problem(limits=limits, **changes), process, policy, particles)
    theta = vector(policy)
    value, gradient = j(theta)
    assert value == j(theta)[0]
    for direction in np.random.default_rng(0).normal(size=(3, len(theta))):
        h = 1e-4  # the values have errors of about 1e-11, since the weights of exact data are large
        slope = (j(theta + h * direction)[0] - j(theta - h * direction)[0]) / (2 * h)
        assert slope == pytest.approx(gradient @ direction, rel=1e-4, abs=1e-7)


def test_particles_act_on_what_the_filter_makes_of_their_noisy_positions(process):
    policy, particles = affine(), Particles(count=3, noise=False, spread=0.05)
    j = objective(make_problem(sensor_noise=FILTER.deviation, filter=FILTER), process, policy, particles)
    states = j.imagine(vector(policy)).states
    sensor = np.asarray(j.draws.sensor)
    functions = j.draws.functions
    for p in range(3):
        x, estimate = np.asarray(j.draws.starts)[p], None
        for t in range(T):
            np.testing.assert_allclose(states[t, p], x, atol=1e-9)
            y = x + FILTER.noise * sensor[t, p]
            estimate = FILTER.begin(y) if estimate is None else FILTER.update(estimate, y)
            u = policy.act(estimate)
            x = np.asarray(jax.tree.map(lambda leaf: leaf[p], functions)(jnp.asarray(x), jnp.asarray(u)))  # noqa: B023


def test_another_seed_is_another_draw_of_the_same_mean(process):
    policy, problem = radial(), make_problem(sensor_noise=NOISE)
    costs = [objective(problem, process, policy, Particles(count=64), seed)(vector(policy))[0] for seed in range(6)]
    assert len(set(costs)) == 6
    assert np.std(costs) < 0.1 * np.mean(costs)


def test_dropped_features_keep_the_mean_of_what_is_summed():
    network = radial(200).network
    kept = np.random.default_rng(0).random((500, 200)) < 0.75
    encoded = jnp.array([0.2, -0.3])
    answers = [network.drop(row, 0.25).respond(encoded) for row in kept]
    error = np.mean(answers) - network.respond(encoded)[0]
    assert abs(error) < 4 * np.std(answers) / np.sqrt(len(answers))


def test_the_expected_cost_of_a_policy_with_dropped_features_is_that_of_the_whole_policy():
    """The first action is linear in the features, and so are the state after it and this cost of both."""

    def linear_cost(x, u, t):
        return x @ jnp.array([2.0, -1.0]) + jnp.where(t == 0, 3.0, 0.0) * u[0]

    network = RadialBasis.create(DX, (-np.inf,), (np.inf,), jax.random.key(3), 12, squash="none", spread=1.0)
    policy, share = NeuralPolicy.untrained(network), 0.25
    sure, problem = linear(np.zeros(DX)), make_problem(horizon=2)
    whole, dropped = (
        objective(problem, sure, policy, Particles(count, 0.0, False, p), cost=linear_cost, horizon=2)
        for count, p in ((1, 0.0), (4000, share))
    )
    costs = np.asarray(dropped.imagine(vector(policy)).costs).sum(axis=0)
    expected = whole(vector(policy))[0]
    assert costs.std() > 0.1 * abs(expected)
    assert abs(costs.mean() - expected) < 4 * costs.std() / np.sqrt(len(costs))


def test_each_condition_has_as_many_particles(process):
    draws = draw(process, Particles(count=7, spread=0.0), np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]), T, 0, (0,))
    assert draws.starts.shape == (9, DX)
    np.testing.assert_array_equal(draws.starts[::3], np.tile([1.0, 0.0], (3, 1)))


def test_a_particle_that_explodes_is_lost_where_it_was_and_the_gradient_stays_finite():
    unstable = dataclasses.replace(linear(np.zeros(DX)), slopes=30.0 * F)
    policy = affine()
    j = objective(make_problem(), unstable, policy, Particles(count=4))
    episodes = j.imagine(vector(policy))
    assert episodes.lost.all() and np.isfinite(episodes.states).all()
    value, gradient = j(vector(policy))
    assert np.isfinite(value) and np.isfinite(gradient).all()
