"""A first policy that imitates a plan: on a swing-up it costs less than any random one, and acts as the plan does."""

import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from gps.algorithms.through_models.particles import ParticleObjective, Particles, ParticleSetting, draw
from gps.algorithms.through_models.planned_start import imitate, plan_episodes
from gps.backend import jax, jnp
from gps.linear_gaussian.types import pytree
from gps.networks import RadialBasis
from gps.planning.sources import ILQRPlanning, PlanningTask
from gps.policies.neural import NeuralPolicy
from gps.policies.observed import Observed
from gps.problem import Limits, Problem

DX, T = 2, 20
HANGING = np.array([[np.pi, 0.0]])


@pytree
class Pendulum:
    """A damped pendulum, upright at 0, whose motor holds up 0.7 of its weight; a `GlobalModel` without any doubt."""

    unit: np.ndarray

    @property
    def deviations(self):
        return self.unit

    def mean(self, x, u):
        speed = 0.95 * x[1] + jnp.sin(x[0]) + 0.7 * u[0]
        return jnp.stack([x[0] + 0.2 * speed, speed])

    def linearise(self, x, u):
        F = jnp.concatenate(jax.jacfwd(self.mean, (0, 1))(x, u), axis=1)
        return F, self.mean(x, u) - F @ jnp.concatenate([x, u])

    def draw(self, key, count):
        return Swing(jnp.zeros(count))


@pytree
class Swing:
    """The function of `Pendulum`."""

    nothing: np.ndarray

    def __call__(self, x, u, key=None):
        return Pendulum(jnp.ones(3)).mean(x, u)


def cost(x, u, t):
    return 1.0 - jnp.cos(x[0]) + 0.01 * x[1] ** 2 + 0.001 * u[0] ** 2


PROBLEM = Problem(cost=cost, dx=DX, du=1, horizon=T, limits=Limits(np.array([-1.0]), np.array([1.0])))
MODEL = Pendulum(np.array([2.0, 2.0, 1.0]))


def make_network(seed, seen=None):
    return RadialBasis.create(DX, (-1.0,), (1.0,), jax.random.key(seed), 40, (0,), "tanh", spread=1.0, seen=seen)


@pytest.fixture(scope="module")
def plan():
    planner = ILQRPlanning(horizon=T, guesses=8, first_rounds=60)
    return plan_episodes(planner, PlanningTask(PROBLEM, MODEL, cost, 1), HANGING, seed=0)


def test_the_imitation_of_a_plan_costs_less_than_random_policies(plan):
    networks = [make_network(seed, plan.states) for seed in range(5)]
    policy = NeuralPolicy.untrained(networks[0])
    setting = ParticleSetting.of(PROBLEM, MODEL, cost, policy, Observed((0, 1)))
    particles = Particles(count=4, spread=0.0, noise=False)
    objective = ParticleObjective(setting, draw(MODEL, particles, HANGING, T, 0, (0,)))

    def expect(network):
        return objective(np.asarray(ravel_pytree(network)[0]))[0]

    alone = zip(plan.states[:T], plan.actions[:T], strict=True)  # the plan itself is the first episode of the lesson
    planned = sum(float(cost(x, u, t)) for t, (x, u) in enumerate(alone))
    imitation = expect(imitate(networks[0], plan.states, plan.actions))
    best = min(map(expect, networks))
    assert imitation < 0.8 * best
    assert imitation - planned < 0.2 * (best - planned)
