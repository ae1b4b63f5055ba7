"""Rollouts of a policy in a vector environment: all samples of all conditions at once, one action at a time."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from gymnasium.vector import VectorEnv
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from gps.errors import EnvironmentFault
from gps.linear_gaussian.types import Controller
from gps.records import Rollouts


class Policy(Protocol):
    def act(self, state: Float[np.ndarray, "M N dx"], t: int) -> Float[np.ndarray, "M N du"]:
        """The mean action at step t."""


def exploration_noise(
    controllers: Controller, samples: int, smoothing: float, rng: np.random.Generator
) -> Float[np.ndarray, "M N T du"]:
    """Noise with the controllers' covariances, white or smoothed in time.

    Args:
        smoothing: standard deviation, in time steps, of the Gaussian filter over each episode's noise; 0 for white.
            The filtered noise is scaled back to unit variance at every step, so that smoothing changes how
            the noise moves and not how large it is.
    """
    M, T, du = controllers.feedforward.shape
    white = rng.standard_normal((M, samples, T, du))
    if smoothing > 0:
        # The response to a unit impulse at each step gives the variance of the filtered noise at every step.
        response = gaussian_filter1d(np.eye(T), smoothing, axis=0, mode="constant")
        white = gaussian_filter1d(white, smoothing, axis=2, mode="constant")
        white /= np.sqrt((response**2).sum(axis=1))[:, None]
    covariance = np.asarray(controllers.covariance)
    still = ~covariance.any(axis=(-1, -2), keepdims=True)  # a covariance of zero does not explore
    factors = np.where(still, 0.0, np.linalg.cholesky(np.where(still, np.eye(du), covariance)))
    return np.einsum("mtij,mntj->mnti", factors, white)


def collect(
    environment: VectorEnv,
    policy: Policy,
    conditions: Sequence[Mapping],
    noise: Float[np.ndarray, "M N T du"],
    seed: int,
) -> Rollouts:
    """Run N episodes from each of M conditions, with `noise` added to the policy's actions.

    An episode that terminates (or diverges) keeps its rows up to there and is masked afterwards. The environment has
    M·N simulations; simulation m·N + n is sample n of condition m.

    Raises:
        EnvironmentFault: if the environment raises, or returns a state that is not finite or of another shape.
    """
    M, N, T, du = noise.shape
    dx = environment.single_observation_space.shape[0]
    states = np.zeros((T, M * N, dx))
    actions = np.zeros((T, M * N, du))
    rewards = np.zeros((T, M * N))
    success = np.zeros((T, M * N), dtype=bool)
    mask = np.zeros((T, M * N), dtype=bool)
    clipped = np.zeros((T, M * N, du), dtype=bool)
    noise_by_step = np.ascontiguousarray(noise.reshape(M * N, T, du).swapaxes(0, 1))

    starts = [condition for condition in conditions for _ in range(N)]
    alive = np.ones(M * N, dtype=bool)
    what, t = "reset", 0
    try:
        state, _ = environment.reset(seed=seed, options={"conditions": starts})
        what = "step"
        for t in range(T):
            if state.shape != states[t].shape or not np.isfinite(state.sum()):
                raise EnvironmentFault(_describe_bad_state(state, states[t].shape, t, N))
            states[t], mask[t] = state, alive
            wanted = policy.act(state.reshape(M, N, dx), t).reshape(M * N, du) + noise_by_step[t]
            state, rewards[t], terminated, _, info = environment.step(wanted)
            actions[t] = applied = info.get("action", wanted)
            clipped[t] = applied != wanted
            success[t] = info.get("success", False)
            if terminated.any():
                # What the last step led to is no ordinary transition when the simulation diverged.
                mask[t] &= ~info.get("diverged", np.zeros_like(alive))
                alive &= ~terminated
                if not alive.any():
                    break
    except EnvironmentFault:
        raise
    except Exception as error:
        message = f"the environment's {what} raised at step {t}: {type(error).__name__}: {error}"
        raise EnvironmentFault(message) from error

    def by_condition(array):
        array = np.where(mask.reshape(mask.shape + (1,) * (array.ndim - 2)), array, 0)
        return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(M, N, *array.shape[:1], *array.shape[2:])

    saturated = by_condition(clipped).sum(axis=(1, 2, 3)) / np.maximum(by_condition(mask).sum(axis=(1, 2)) * du, 1)
    return Rollouts(
        by_condition(states), by_condition(actions), noise, by_condition(rewards),
        by_condition(success).astype(bool), by_condition(mask).astype(bool), saturated,
    )  # fmt: skip


def _describe_bad_state(state, expected, t, samples):
    if state.shape != expected:
        return f"the environment returned states of shape {state.shape} at step {t}, expected {expected}"
    row, entry = np.argwhere(~np.isfinite(state))[0]
    return (
        f"the environment returned a state that is not finite: condition {row // samples}, sample {row % samples}, "
        f"step {t}, entry {entry}"
    )
