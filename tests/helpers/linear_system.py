"""A linear system from two starts, its known optimum, and the loop that learns on it."""

import dataclasses

import numpy as np

from gps.algorithms.local.trajopt import TrajOpt
from gps.backend import jax, jnp
from gps.costs import Quadratic, Ramp, Sum, evaluate_cost
from gps.linear_gaussian.initial import zero
from gps.linear_gaussian.riccati import backward
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics
from gps.policies import MLP, NeuralPolicy
from gps.policies.learner import Learner
from gps.policies.played import LocalControllers
from gps.policies.supervised import Options, Training
from gps.problem import Problem
from gps.sampling import collect, draw_noise
from helpers.problems import LinearEnv

M, N, T, DX, DU = 2, 12, 10, 3, 2
A, B = np.array([[1.0, 0.1, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 0.9]]), np.array([[0.0, 0.1], [0.1, 0.0], [0.3, 0.2]])
CONDITIONS = [{"start": [1.0, 0.0, -1.0]}, {"start": [0.0, 2.0, 0.5]}]
STARTS = np.array([condition["start"] for condition in CONDITIONS])
FIRST = zero(M, T, DX, DU, 1.0)
RAMP = Ramp(T, "constant", jnp.asarray(5.0))
TARGET, WEIGHT = np.array([0.5, 0.0, 0.0]), np.array([2.0, 1.0, 0.5])
COST = Sum((
    Quadratic((0, 1, 2), jnp.asarray(TARGET), jnp.asarray(WEIGHT), RAMP),
    Quadratic(None, jnp.zeros(DU), 0.1 * jnp.ones(DU), RAMP),
))  # fmt: skip
PROBLEM = Problem(cost=COST, dx=DX, du=DU, horizon=T)


def make_problem(cost, horizon=T):
    """The same system with another cost, or another horizon."""
    return Problem(cost=cost, dx=DX, du=DU, horizon=horizon)


def steep(x, u, t):
    """A cost that is not even continuous: only its values count."""
    return jnp.where(x[0] > 0.2, 3.0, 0.0) + jnp.floor(jnp.sum(jnp.abs(x)) * 5) + 0.05 * jnp.sum(u**2)


def make_learner(do=DX, hidden=(32,), prior=None, **options):
    """A small policy of `do` observations that is to be trained; `options` are those of the supervised step."""
    key = jax.random.key(0)
    policy = NeuralPolicy.untrained(MLP.create((do, *hidden, DU), key, "tanh"))
    return Learner(Training.begin(policy, key), Options(**{"steps": 1000, "learning_rate": 3e-3, **options}), prior)


def guided(kind, learner=None, local=None, problem=PROBLEM, **settings):
    """A guided algorithm of this kind (MDGPS, BADMM) with a small policy.

    Args:
        local: settings of its trajectory optimiser.
        settings: of the algorithm itself.
    """
    optimiser = TrajOpt(problem, **{"kl_step": 2.0, **(local or {})})
    return kind(optimiser, learner or make_learner(), **settings)


def optimum():
    """Return the best controller of the true system."""
    final = np.where(np.arange(T) == T - 1, 5.0, 1.0)
    C, target = np.diag([*WEIGHT, 0.1, 0.1]), np.array([*TARGET, 0.0, 0.0])
    cost = CostExpansion(final[:, None, None] * C, final[:, None] * (-C @ target), np.zeros(T))
    F = np.tile(np.hstack([A, B]), (T - 1, 1, 1))
    nothing = np.zeros((DX, DX))
    dynamics = LinearDynamics(F, np.zeros((T - 1, DX)), np.zeros((T - 1, DX, DX)), np.zeros(DX), nothing)
    return jax.jit(backward)(dynamics, cost, np.ones(T)).controller.numpy()


def cost_without_noise(policy, cost=COST):
    """The cost of an episode from each start, of a policy or of local controllers."""
    policy = LocalControllers(policy) if isinstance(policy, Controller) else policy
    rollouts = collect(LinearEnv(M, A, B), policy, CONDITIONS, np.zeros((M, 1, *policy.covariance.shape[1:3])), seed=0)
    return evaluate_cost(cost, rollouts.states, rollouts.actions, rollouts.mask).sum(axis=(1, 2))


def roll_out(policy, seed=0, samples=N, ends=None, environment=LinearEnv):
    """Rollouts of a policy with its exploration noise."""
    noise = draw_noise(policy, samples, 0.0, np.random.default_rng(seed))
    return collect(environment(M * samples, A, B, ends=ends), policy, CONDITIONS, noise, seed=0)


def improve(algorithm, state, rollouts, seed=0):
    """The state after an iteration with these rollouts of the algorithm's own policy, and its record."""
    return algorithm.improve(state, algorithm.policy(state), rollouts, algorithm.fit(state, rollouts, seed))


def advance(algorithm, state, change=lambda rollouts: rollouts, seed=0, **options):
    """The state after an iteration, and its record; `change` alters the rollouts, `options` are those of `roll_out`."""
    rollouts = change(roll_out(algorithm.policy(state), seed, **options))
    return improve(algorithm, state, rollouts, seed)


def play_again(dynamics, cost, controllers, rollouts, covariance, low=-np.inf, high=np.inf):
    """The costs (M, N, T) of the samples played again in the dynamics, by hand.

    Args:
        covariance: (M, T, du, du), of the controllers that were sampled.
    """
    (M, N, T), dx = rollouts.mask.shape, rollouts.states.shape[-1]
    costs = np.zeros((M, N, T))
    for m, n in np.ndindex(M, N):
        x = rollouts.states[m, n, 0]
        for t in range(T):
            xi = np.linalg.solve(np.linalg.cholesky(covariance[m, t]), rollouts.noise[m, n, t])
            u = controllers.feedback[m, t] @ x + controllers.feedforward[m, t]
            u = np.clip(u + np.linalg.cholesky(controllers.covariance[m, t]) @ xi, low, high)
            z = np.concatenate([x, u])
            costs[m, n, t] = 0.5 * z @ cost.hessian[m, t] @ z + cost.gradient[m, t] @ z + cost.constant[m, t]
            x = dynamics.matrix[m, t] @ z + dynamics.offset[m, t] if t + 1 < T else np.full(dx, np.nan)
    return costs


def learn(algorithm, iterations, samples=N, ends=None, first=FIRST):
    """The state after some iterations, and their records."""
    state, records = algorithm.begin(first, STARTS), []
    for i in range(iterations):
        state, record = advance(algorithm, state, seed=i, samples=samples, ends=ends)
        records.append(record)
    return state, records


def cut(rollouts, *steps):
    """The rollouts with the episodes of each condition ended after so many steps."""
    mask = rollouts.mask & (np.arange(rollouts.mask.shape[2]) < np.array(steps)[:, None, None])
    states, actions = (np.where(mask[..., None], array, 0.0) for array in (rollouts.states, rollouts.actions))
    return dataclasses.replace(rollouts, mask=mask, states=states, actions=actions)


def lose_second(rollouts):
    """The rollouts without any step of the second condition."""
    return cut(rollouts, rollouts.mask.shape[2], 0)


def same(one, two, **tolerance):
    """Fail unless two trees hold the same numbers, to the bit where no tolerance is given."""
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        if tolerance:
            np.testing.assert_allclose(a, b, **tolerance)
        else:
            np.testing.assert_array_equal(a, b)


def finite(tree):
    """True if every number of a tree is finite."""
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


class BlindEnv(LinearEnv):
    """A linear environment whose policy observes all states but the last."""

    observation_layout = {"seen": slice(0, DX - 1)}  # noqa: RUF012

    def reset(self, *, seed=None, options=None):
        state, info = super().reset(seed=seed, options=options)
        return state, info | {"observation": state[:, : DX - 1]}

    def step(self, actions):
        state, *rest, info = super().step(actions)
        return state, *rest, info | {"observation": state[:, : DX - 1]}
