"""Rollouts of particles, each against the definition of its propagation on a linear system whose offset is in doubt."""

import numpy as np
import pytest

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.types import pytree
from gps.models.propagation import (
    Advance,
    draw_beliefs,
    follow_beliefs,
    propagate,
    redraw_particles,
    roll_out_particles,
)
from gps.planning.objective import total_costs

KEY = jax.random.key(0)
START = np.array([1.0, -0.5])
ACTIONS = np.random.default_rng(0).normal(size=(3, 5, 1))
F = np.array([[0.9, 0.3, 0.1], [-0.2, 0.8, 0.5]])
NOISE = np.linalg.cholesky(np.array([[0.04, 0.01], [0.01, 0.02]]))
DOUBT = np.linalg.cholesky(np.array([[0.03, -0.01], [-0.01, 0.05]]))


@pytree
class Offset:
    """x' = F z + c + w with a drawn c."""

    c: Array

    def __call__(self, x, u, key=None):
        noise = 0.0 if key is None else NOISE @ jax.random.normal(key, x.shape)
        return F @ jnp.concatenate([x, u]) + self.c + noise


class Linear:
    """The belief c ~ N(0, DOUBT DOUBTᵀ)."""

    def mean(self, x, u):
        return F @ jnp.concatenate([x, u])

    def draw(self, key, count):
        return Offset(jax.random.normal(key, (count, 2)) @ DOUBT.T)


def predict(actions, persistent, noise=True):
    """The mean and covariance of [x; c] at each step, by the Kalman filter's prediction."""
    A, B = F[:, :2], F[:, 2:]
    W, D = noise * NOISE @ NOISE.T, DOUBT @ DOUBT.T
    m, P = START, np.zeros((2, 2))
    cross = np.zeros((2, 2))  # of x and c
    means, covariances = [m], [P]
    for u in actions:
        m = A @ m + B @ u
        if persistent:
            P = A @ P @ A.T + A @ cross + cross.T @ A.T + D + W
            cross = A @ cross + D
        else:
            P = A @ P @ A.T + D + W
        means.append(m)
        covariances.append(P)
    return np.array(means), np.array(covariances)


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("propagation", ["ts1", "ts_infinity", "moment"])
def test_the_particles_have_the_moments_of_the_definition(propagation, noise):
    P = 1000 if propagation == "moment" else 4000
    states = np.asarray(propagate(Linear(), START, ACTIONS, KEY, particles=P, propagation=propagation, noise=noise))
    assert states.shape == (6, P, 3, 2)
    for s in range(3):
        means, covariances = predict(ACTIONS[s], propagation == "ts_infinity", noise)
        np.testing.assert_allclose(states[:, :, s].mean(axis=1), means, atol=0.06)
        found = np.array([np.cov(x.T) for x in states[:, :, s]])
        np.testing.assert_allclose(found, covariances, atol=0.2 * covariances[-1].max())


def test_the_mean_is_one_particle_without_noise():
    states = propagate(Linear(), START, ACTIONS, KEY, particles=7, propagation="mean")
    assert states.shape == (6, 1, 3, 2)
    for s in range(3):
        np.testing.assert_allclose(states[:, 0, s], predict(ACTIONS[s], True)[0], rtol=1e-12)


@pytree
class Walk:
    c: Array

    def __call__(self, x, u, key=None):
        return x + self.c


class Walks:
    def draw(self, key, count):
        return Walk(jnp.arange(1.0, count + 1)[:, None] ** 2)


def test_ts_infinity_keeps_the_functions_and_ts1_gives_each_to_one_particle_at_every_step():
    start, actions, P = np.zeros(1), np.zeros((4, 6, 1)), 5
    kept = propagate(Walks(), start, actions, KEY, particles=P, propagation="ts_infinity")
    steps = np.arange(7)[:, None, None]
    np.testing.assert_array_equal(kept[..., 0], np.broadcast_to(steps * np.arange(1, 6)[:, None] ** 2, (7, 5, 4)))
    mixed = np.asarray(propagate(Walks(), start, actions, KEY, particles=P, propagation="ts1"))[..., 0]
    np.testing.assert_allclose(mixed.sum(axis=1), np.broadcast_to(steps[:, 0] * 55.0, (7, 4)))
    np.testing.assert_array_equal(mixed, np.repeat(mixed[..., :1], 4, axis=2))  # all sequences share the orders
    assert not np.array_equal(np.sort(mixed[-1], axis=0), np.sort(np.asarray(kept)[-1, ..., 0], axis=0))


@pytest.mark.parametrize("propagation", ["ts1", "moment", "mean"])
def test_costs_are_those_of_the_states_until_the_episode_ends(propagation):
    def cost(x, u, t):
        return jnp.sum(x**2) + u[0] * t

    P, idle = 1 if propagation == "mean" else 4, np.array([0.5])
    advance = follow_beliefs(Linear(), draw_beliefs(Linear(), propagation, P, KEY), propagation)
    costs, states = roll_out_particles(advance, P, cost, START, ACTIONS, idle, 2, 7, KEY)
    assert states.shape == (6, P, 3, 2)
    actions = np.concatenate([ACTIONS[..., 0], np.full((3, 1), 0.5)], axis=1).T[:, None]
    expected = np.sum(np.square(states), axis=-1) + actions * np.arange(2, 8)[:, None, None]
    expected[5:] = 0.0  # step 7
    np.testing.assert_allclose(costs, expected, rtol=1e-12)
    np.testing.assert_allclose(total_costs(costs, states), expected.sum(axis=0).mean(axis=0), rtol=1e-12)


def test_new_particles_have_the_covariance_of_the_old_ones_also_where_it_is_singular():
    x = np.random.default_rng(0).normal(size=(3, 1, 4)) * [1.0, 2.0, 3.0, 4.0]
    drawn = np.asarray(jax.vmap(lambda key: redraw_particles(x, key))(jax.random.split(KEY, 20_000)))
    expected = np.cov(x[:, 0].T)
    found = np.cov(drawn.reshape(-1, 4).T)
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(expected).max())
    np.testing.assert_allclose(drawn.mean(axis=(0, 1, 2)), x.mean(axis=(0, 1)), atol=0.05)


def test_an_explosion_costs_infinity_and_nan_goes_no_further():
    def step(memories, X, U, order, keys):
        return memories, jnp.where(U[:, :1] > 0, jnp.nan, X)

    advance = Advance(jnp.zeros((2, 0)), step)
    actions = np.array([[[-1.0], [-1.0]], [[-1.0], [1.0]]])
    totals = total_costs(*roll_out_particles(advance, 2, lambda x, u, t: x[0], START, actions, np.zeros(1), 0, 9, KEY))
    assert np.isfinite(totals[0]) and np.isposinf(totals[1])


def test_equal_keys_give_equal_bits_and_unknown_names_are_refused():
    one, two = (propagate(Linear(), START, ACTIONS, KEY, particles=3, propagation="moment") for _ in range(2))
    np.testing.assert_array_equal(one, two)
    with pytest.raises(PolicyError, match="did you mean 'ts1'"):
        propagate(Linear(), START, ACTIONS, KEY, propagation="ts")
