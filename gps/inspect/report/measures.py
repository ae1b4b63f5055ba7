"""Measures of samples, models and loops: spread, error on new samples, growth of a deviation."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.linear_gaussian.types import Controller, LinearDynamics
from gps.records import Rollouts


class ModelError(NamedTuple):
    """Root mean square of x' − (F z + c), relative to the spread of x' between the samples of a step.

    0 is perfect, and 1 is no better than each step's mean. NaN where there is nothing to compare: fewer than two
    samples, or an entry of the state that is the same in all of them.
    """

    by_step: Float[np.ndarray, "M T-1 dx"]
    by_entry: Float[np.ndarray, "M dx"]  # over all steps
    overall: Float[np.ndarray, "M"]  # over all steps and entries


def compute_one_step_error(dynamics: LinearDynamics, rollouts: Rollouts) -> ModelError:
    """Compute the error of a batch of models on rollouts of the same conditions."""
    x, u, mask = rollouts.states, rollouts.actions, rollouts.mask
    after = x[:, :, 1:]
    z = np.concatenate([x[:, :, :-1], u[:, :, :-1]], axis=-1)
    F, c = np.asarray(dynamics.matrix), np.asarray(dynamics.offset)
    known = (mask[:, :, :-1] & mask[:, :, 1:])[..., None]
    residual = after - np.einsum("mtij,mntj->mnti", F, z) - c[:, None]
    squares, count = np.where(known, residual**2, 0.0).sum(axis=1), known.sum(axis=1)

    mean = np.where(known, after, 0.0).sum(axis=1) / np.maximum(count, 1)
    scatter = np.where(known, (after - mean[:, None]) ** 2, 0.0).sum(axis=(1, 2))
    freedom = np.maximum(count - 1, 0).sum(axis=1)
    size = np.abs(np.where(known, after, 0.0)).max(axis=(1, 2), initial=0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        spread = np.sqrt(scatter / freedom)
        spread[~(spread > 1e-9 * size)] = np.nan  # rounding is no spread
        by_step = np.sqrt(squares / count) / spread[:, None]
        by_entry = np.sqrt(squares.sum(axis=1) / count.sum(axis=1)) / spread
        comparable = np.isfinite(by_entry)
        overall = np.sqrt(np.where(comparable, by_entry**2, 0.0).sum(axis=1) / comparable.sum(axis=1))
    return ModelError(by_step, by_entry, overall)


def measure_spread(
    values: Float[np.ndarray, "M N T features"], mask: Bool[np.ndarray, "M N T"]
) -> Float[np.ndarray, "M features"]:
    """Measure how far each feature strays from the samples' mean, root mean square over the steps.

    For states, that is the deviation to which the feedback of a controller around the mean answers. With one sample:
    its deviation over time.
    """
    axis, known = 1 if values.shape[1] > 1 else 2, mask[..., None]
    count = known.sum(axis=axis, keepdims=True)
    mean = np.where(known, values, 0.0).sum(axis=axis, keepdims=True) / np.maximum(count, 1)
    scatter = np.where(known, (values - mean) ** 2, 0.0).sum(axis=(1, 2))
    freedom = np.maximum(count - 1, 0).sum(axis=(1, 2))
    return np.sqrt(scatter / np.maximum(freedom, 1))


def measure_loop(controllers: Controller, dynamics: LinearDynamics) -> Float[np.ndarray, "M"]:
    """Measure by what factor a small deviation of the state grows in a step, on average over the episode.

    The spectral radius of (A + B K)_{T-2} … (A + B K)_0, to the power 1 / (T - 1); it does not depend on the units of
    the state. NaN where a loop is not finite, or there is no step.
    """
    F, K = np.asarray(dynamics.matrix), np.asarray(controllers.feedback)
    M, steps, dx, _ = F.shape
    result = np.full(M, np.nan)
    for m in range(M) if steps else ():
        product, log_size = np.eye(dx), 0.0
        for t in range(steps):
            product = (F[m, t, :, :dx] + F[m, t, :, dx:] @ K[m, t]) @ product
            size = float(np.abs(product).max(initial=0.0))
            if not 0.0 < size < np.inf:
                break
            product, log_size = product / size, log_size + np.log(size)  # powers neither overflow nor vanish
        else:
            with np.errstate(divide="ignore"):
                result[m] = np.exp((log_size + np.log(np.abs(np.linalg.eigvals(product)).max())) / steps)
    return result
