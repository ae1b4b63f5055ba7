"""The error of a fitted model on rollouts that it was not fitted to."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gps.linear_gaussian.types import LinearDynamics
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
