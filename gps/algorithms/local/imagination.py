"""Iterations in a global model, between two iterations on the system.

A trust region keeps an update where the samples are, so that many updates are needed to get far, and each takes
samples. Where a global model is good, it can give them: the controllers are sampled in the model, the local dynamics
are its slopes along these samples, or a regression on them, and the same update follows. The next iteration on
the system judges where they led to: the cost that it finds against the one that was imagined sets the size of the next
step, as between any two iterations. Dyna (Sutton 1990) does the same for values; Gu et al. 2016 (normalised advantage
functions, sec. 5) sample their imagined episodes in local models.

A slope at one point either includes a contact or misses it. A regression on samples, some of which touch, averages over
both (Suh, Pang & Tedrake 2022, "Bundled gradients through contact via randomized smoothing"), and simulations are
quicker than slopes.
"""

from functools import partial
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from gps.algorithms.local.base import LocalModel
from gps.backend import Array, jax, jnp
from gps.costs import expand
from gps.dynamics.regression import fit_first_state
from gps.linear_gaussian.types import Controller, LinearDynamics
from gps.models.model import GlobalModel, for_condition
from gps.problem import Problem
from gps.records import Rollouts

_FAR = 1e10
"""A state entry beyond it has exploded; MuJoCo's own limit."""


def imagine(
    problem: Problem, model: GlobalModel, controllers: Controller, starts: Float[np.ndarray, "M N dx"], seed: int
) -> Rollouts:
    """Episodes of the controllers in a model: sample n of each condition follows the n-th function drawn from it.

    Args:
        starts: the first states.
        seed: of the functions, the noise of the system and that of the controllers.
    """
    M, N, _ = starts.shape
    low, high = (np.broadcast_to(limit, problem.du) for limit in problem.limits)
    covariance = np.asarray(controllers.covariance)
    factors = np.linalg.cholesky(covariance) if covariance.any() else covariance
    xi = np.random.default_rng(seed).standard_normal((M, N, problem.horizon, problem.du))
    noise = np.einsum("mtij,mntj->mnti", factors, xi)
    states, wanted = (
        np.asarray(array) for array in _roll_out(model, controllers, starts, noise, (low, high), jax.random.key(seed))
    )
    actions = np.clip(wanted, low, high)
    sound = np.isfinite(states).all(axis=-1) & (np.abs(states) < _FAR).all(axis=-1)
    mask = np.cumprod(sound, axis=-1).astype(bool)
    return Rollouts(
        states=np.where(mask[..., None], states, 0.0),
        actions=np.where(mask[..., None], actions, 0.0),
        noise=noise,
        rewards=np.zeros(mask.shape),
        success=None,
        mask=mask,
        saturated=(actions != wanted).mean(axis=(1, 2, 3)),
    )


@eqx.filter_jit
def _roll_out(
    model: Any, controllers: Controller, starts: Array, noise: Array, limits: tuple[Array, Array], key: PRNGKeyArray
) -> tuple[Array, Array]:
    """Return the states and the unlimited actions, (M, N, T, ...)."""
    M, N, T, _ = noise.shape
    draw, step_key = jax.random.split(key)
    functions = model.draw(draw, N)

    def step(x: Array, at_t: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        K, k, xi, now = at_t
        u = jnp.einsum("mij,mnj->mni", K, x) + k[:, None] + xi
        keys = jax.random.split(now, (N, M))
        after = jax.vmap(_follow, (0, 1, 1, 0), 1)(functions, x, jnp.clip(u, *limits), keys)
        return after, (x, u)

    K, k = jnp.swapaxes(controllers.feedback, 0, 1), jnp.swapaxes(controllers.feedforward, 0, 1)
    along = K, k, jnp.moveaxis(noise, 2, 0), jax.random.split(step_key, T)
    _, (states, wanted) = jax.lax.scan(step, jnp.asarray(starts), along)
    return jnp.moveaxis(states, 0, 2), jnp.moveaxis(wanted, 0, 2)


def _follow(function: Any, x: Array, u: Array, keys: Array) -> Array:
    """Return the next states of M conditions under one function."""
    return jax.vmap(lambda m, *at: for_condition(function, m)(*at))(jnp.arange(float(len(x))), x, u, keys)


def linearise_along(problem: Problem, model: GlobalModel, rollouts: Rollouts, ridge: float = 1e-6) -> LocalModel:
    """The local model of imagined episodes: the model's slopes along their mean, and the expanded cost.

    Where a condition has no sample left at a step, everything is NaN, and the update says so.
    """
    x, u, mask = rollouts.states, rollouts.actions, rollouts.mask
    weight = mask[..., None]
    with np.errstate(invalid="ignore"):
        z = (weight * np.concatenate([x, u], axis=-1)).sum(axis=1) / weight.sum(axis=1)
    F, c, deviation = (np.asarray(array) for array in _linearise(model, z[:, :-1], problem.dx))
    W = deviation[..., None] ** 2 * np.eye(problem.dx)
    spread = np.var(x[mask], axis=0) if mask.any() else np.ones(problem.dx)
    first = fit_first_state(x[:, :, 0], mask[:, :, 0], ridge * spread)
    expansion, costs = expand(problem.cost, x, u, mask)
    return LocalModel(LinearDynamics(F, c, W, *first).numpy(), expansion, costs, None, None)


@eqx.filter_jit
def _linearise(model: Any, z: Float[Array, "M S dz"], dx: int) -> tuple[Array, Array, Array]:
    def at(there: Any, point: Array) -> tuple[Array, Array, Array]:
        x, u = point[:dx], point[dx:]
        return *there.linearise(x, u), there.deviation(x, u)

    def along(m: Array, points: Array) -> tuple[Array, Array, Array]:
        return jax.vmap(partial(at, for_condition(model, m)))(points)

    return jax.vmap(along)(jnp.arange(float(len(z))), z)
