"""How well a global model predicts episodes that it was not fitted to, and how well it knows how well.

The one-step error is the root mean square of f(x_t, u_t) − x_{t+1}. The error h steps ahead is that of the mean model
rolled out from x_t under the recorded actions; a model with a memory begins with that of the recorded episode. The
coverage is the share of next states within one and two standard deviations of the prediction: .68 and .95 where the
errors are Gaussian and the model knows its own.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from gps.backend import Array, jax, jnp
from gps.models.features import NO_TRANSFORMS
from gps.models.model import GlobalModel, for_condition
from gps.models.remembering import advance_mean, find_deviation, recall_episodes

_AT_MOST = 512
"""Largest number of starts of predictions, evenly spread."""


class Calibration(NamedTuple):
    """The errors of a model, in units of the state, and its coverage."""

    one_step_error: Float[np.ndarray, "dx"]  # root mean square
    horizon_error: Float[np.ndarray, "H dx"]  # root mean square 1 … H steps ahead; NaN where no episode is that long
    coverage: Float[np.ndarray, "2"]  # share within 1σ and 2σ, over the entries that vary


def calibrate(
    model: GlobalModel,
    states: Float[np.ndarray, "M N T dx"],
    actions: Float[np.ndarray, "M N T du"],
    mask: Bool[np.ndarray, "M N T"],
    horizon: int = 20,
    angles: tuple[int, ...] = NO_TRANSFORMS.angles,
) -> Calibration:
    """Compare the model's predictions with recorded episodes.

    Args:
        states, actions, mask: of episodes that the model has not seen.
        horizon: H, the largest number of steps ahead; it is cut to the longest that an episode has.
        angles: entries whose errors are taken by the shortest way around.
    """
    x, u, count, where, memories = _cut_windows(model, states, actions, mask, max(1, min(horizon, states.shape[2] - 1)))
    H, dx = u.shape[1], x.shape[2]
    if not len(x):
        return Calibration(np.full(dx, np.nan), np.full((H, dx), np.nan), np.full(2, np.nan))
    predicted, deviation = (np.asarray(array) for array in _predict(model, where, memories, x[:, 0], u))
    error = predicted - x[:, 1:]
    turns = np.array(angles, int)
    error[..., turns] = (error[..., turns] + np.pi) % (2 * np.pi) - np.pi
    there = np.arange(H) < count[:, None]
    horizon_error = np.sqrt(_mean(error**2, there[..., None], axis=0))
    first = error[:, 0]
    varies = (np.abs(first) > 0).any(axis=0) | (deviation > 0).any(axis=0)
    sigmas = np.array([1.0, 2.0])[:, None, None]
    inside = np.abs(first)[:, varies] <= sigmas * deviation[:, varies]
    coverage = inside.mean(axis=(1, 2)) if varies.any() else np.full(2, np.nan)
    return Calibration(horizon_error[0], horizon_error, coverage)


@jax.jit
def _predict(
    model: GlobalModel,
    where: Float[Array, "n"],
    memories: Float[Array, "n *memory"],
    x: Float[Array, "n dx"],
    u: Float[Array, "n H du"],
) -> tuple[Array, Array]:
    """Return the predictions 1 … H steps ahead, (n, H, dx), and the standard deviation one step ahead, (n, dx)."""

    def step(now: tuple[Array, Array], action: Array) -> tuple[tuple[Array, Array], Array]:
        memories, after = jax.vmap(lambda m, *at: advance_mean(for_condition(model, m), *at))(where, *now, action)
        return (memories, after), after

    _, path = jax.lax.scan(step, (memories, x), jnp.swapaxes(u, 0, 1))
    deviation = jax.vmap(lambda m, *at: find_deviation(for_condition(model, m), *at))(where, memories, x, u[:, 0])
    return jnp.swapaxes(path, 0, 1), deviation


def _cut_windows(
    model: GlobalModel, states: np.ndarray, actions: np.ndarray, mask: np.ndarray, H: int
) -> tuple[
    Float[np.ndarray, "n H1 dx"],
    Float[np.ndarray, "n H du"],
    Int[np.ndarray, "n"],
    Float[np.ndarray, "n"],
    Float[np.ndarray, "n *memory"],
]:
    """Return windows of H steps from evenly spread starts, how many steps each has, its condition's number, its memory.

    What a window lacks is zero, and so is what an episode lacks that the model remembers.
    """
    M, N, T, dx = states.shape
    x, u = states.reshape(M * N, T, dx), actions.reshape(M * N, T, -1)
    there = mask.reshape(M * N, T) & np.isfinite(x).all(axis=-1) & np.isfinite(u).all(axis=-1)
    starts = np.argwhere(there[:, :-1] & there[:, 1:])
    starts = starts[:: -(-len(starts) // _AT_MOST) or 1]
    steps = np.minimum(starts[:, 1:] + np.arange(H + 1), T - 1)
    rows = starts[:, :1]
    known = np.cumprod(there[rows, steps] & (starts[:, 1:] + np.arange(H + 1) < T), axis=1).astype(bool)
    windows = np.where(known[..., None], x[rows, steps], 0.0)
    actions = np.where(known[:, :-1, None], u[rows, steps[:, :-1]], 0.0)
    seen, done = (np.where(there[..., None], array, 0.0) for array in (x, u))
    memories = recall_episodes(model, seen, done)[tuple(starts.T)]
    return windows, actions, known.sum(axis=1) - 1, (starts[:, 0] // N).astype(float), memories


def _mean(values: np.ndarray, there: np.ndarray, axis: int) -> np.ndarray:
    """The mean of what is there; NaN where nothing is."""
    count = np.broadcast_to(there, values.shape).sum(axis=axis)
    return np.where(count > 0, np.where(there, values, 0.0).sum(axis=axis) / np.maximum(count, 1), np.nan)
