"""The arrays of one iteration: controllers, trajectories and tubes, the model's error, the mixture's clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gps.inspect.report.model_error import one_step
from gps.inspect.report.packing import numbers, pack
from gps.inspect.report.thinning import kept_samples, kept_steps

if TYPE_CHECKING:
    from gps.records import IterationRecord
    from gps.runs import Run


ELLIPSES = 10
"""Time steps whose exploration noise is drawn as an ellipse."""


def detail(
    record: IterationRecord, following: IterationRecord | None, mixture: dict[str, np.ndarray]
) -> dict[str, Any]:
    """An iteration as the figures of one iteration show it.

    Args:
        following: the next iteration, on whose data the model is judged; None if there is none yet.
        mixture: `weights`, `means` and `covariances` of the mixture over [x; u; x'] after it; empty without one.
    """
    steps = kept_steps(record.costs.shape[2])
    with np.errstate(all="ignore"):  # a record may hold what is not finite; it is left out of the figures
        return {
            "samples": _samples(record, steps),
            "tube": _tube(record, steps),
            "controller": _controller(record, steps),
            "model": None if following is None else _model(record, following, steps),
            "mixture": _mixture(record, mixture) if mixture else None,
        }


def read_detail(run: Run, iteration: int) -> dict[str, Any]:
    """The same, from a run on disk.

    Raises:
        RunError: if there is no such iteration, or it is damaged.
    """
    run.iterations.require(iteration)
    following = run.iterations[iteration + 1] if iteration + 1 < len(run.iterations) else None
    return detail(run.iterations[iteration], following, read_mixture(run, iteration))


def read_mixture(run: Run, iteration: int) -> dict[str, np.ndarray]:
    """The parameters of the mixture in the state after an iteration; empty if the algorithm keeps none."""
    of_the_run = run.state_arrays(iteration, "prior.mixture.")
    return of_the_run or run.state_arrays(iteration, "local.prior.mixture.")  # of the optimiser within an algorithm


def _samples(record: IterationRecord, steps: np.ndarray) -> dict[str, Any]:
    rollouts = record.rollouts
    chosen = kept_samples(rollouts.mask.shape[1])
    mask = rollouts.mask[:, chosen][:, :, steps, None]
    return {
        "states": pack(np.where(mask, rollouts.states[:, chosen][:, :, steps], np.nan)),
        "actions": pack(np.where(mask, rollouts.actions[:, chosen][:, :, steps], np.nan)),
        "succeeded": rollouts.succeeded[:, chosen].astype(int).tolist(),
        "numbers": chosen.tolist(),
    }


def _tube(record: IterationRecord, steps: np.ndarray) -> dict[str, Any]:
    """Mean and standard deviation of states and actions under the fitted model and the controllers that were run."""
    mean, P = np.asarray(record.marginals.mean), np.asarray(record.marginals.covariance)
    K, k = np.asarray(record.controllers.feedback), np.asarray(record.controllers.feedforward)
    variance = np.einsum("mtij,mtij->mti", K @ P, K) + _diagonal(record.controllers.covariance)  # diag(K P Kᵀ + Σ)
    return {
        "state_mean": pack(mean[:, steps]),
        "state_std": pack(_deviation(_diagonal(P))[:, steps]),
        "action_mean": pack((np.einsum("mtij,mtj->mti", K, mean) + k)[:, steps]),
        "action_std": pack(_deviation(variance)[:, steps]),
    }


def _controller(record: IterationRecord, steps: np.ndarray) -> dict[str, Any]:
    controllers = record.controllers
    return {
        "feedback": pack(np.asarray(controllers.feedback)[:, steps], bits=8),
        "feedforward": pack(np.asarray(controllers.feedforward)[:, steps]),
        "noise_std": pack(_deviation(_diagonal(controllers.covariance))[:, steps]),
        "noise": _noise(np.asarray(controllers.covariance), steps),
    }


def _noise(covariance: np.ndarray, steps: np.ndarray) -> dict[str, Any]:
    """Whole covariances at a few of the kept steps: `at` are their places among those."""
    at = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), ELLIPSES)).round().astype(int))
    chosen = covariance[:, steps[at]]
    return {"at": at.tolist(), "covariance": pack(chosen.reshape(*chosen.shape[:2], -1))}


def _model(record: IterationRecord, following: IterationRecord, steps: np.ndarray) -> dict[str, Any]:
    error = one_step(record.dynamics, following.rollouts)
    inner = steps[steps < error.by_step.shape[1]]
    return {
        "by_step": pack(np.log10(error.by_step[:, inner]), bits=8),
        "by_entry": numbers(error.by_entry),
        "overall": numbers(error.overall),
    }


def _mixture(record: IterationRecord, mixture: dict[str, np.ndarray]) -> dict[str, Any]:
    """Clusters over [x; u] in units of the samples' standard deviations, and the samples' two principal axes."""
    states, actions, mask = record.rollouts.states, record.rollouts.actions, record.rollouts.mask
    dz = states.shape[-1] + actions.shape[-1]
    means, covariances = mixture["means"][:, :dz], mixture["covariances"][:, :dz, :dz]
    points = np.concatenate([states, actions], axis=-1)[mask]
    if not len(points):
        points = means
    center, scale = points.mean(axis=0), points.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    whitened = (points - center) / scale
    sizes, axes = np.linalg.eigh(whitened.T @ whitened)
    axes, explained = axes[:, :-3:-1].T, sizes[:-3:-1] / max(float(sizes.sum()), 1e-300)  # the two largest
    axes = axes * np.where(axes[np.arange(2), np.abs(axes).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    return {
        "weights": numbers(mixture["weights"]),
        "means": pack((means - center) / scale),
        "covariances": pack(covariances / np.outer(scale, scale)),
        "center": numbers(center),
        "scale": numbers(scale),
        "axes": numbers(axes),
        "explained": numbers(explained),
    }


def _diagonal(matrices: Any) -> np.ndarray:
    return np.diagonal(np.asarray(matrices), axis1=-2, axis2=-1)


def _deviation(variance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(variance, 0.0))
