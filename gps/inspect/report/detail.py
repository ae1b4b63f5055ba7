"""The arrays of one iteration: controllers, trajectories and tubes, the model's error, the mixture's clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gps.backend import jax
from gps.inspect.report.model_error import one_step
from gps.inspect.report.overview import trained
from gps.inspect.report.packing import numbers, pack
from gps.inspect.report.thinning import kept_samples, kept_starts, kept_steps
from gps.linear_gaussian.riccati import forward
from gps.linear_gaussian.types import Controller, LinearDynamics, Marginals
from gps.players import TEACHERS
from gps.runs.run import EVALUATIONS

if TYPE_CHECKING:
    from gps.records import IterationRecord, Rollouts
    from gps.runs.run import Run


ELLIPSES = 10
"""Time steps whose exploration noise is drawn as an ellipse."""

FAR = 10.0
"""How far what was not run may go, in units of what was."""


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
            "tube": _tube(record.controllers, record.marginals, steps),
            "controller": _controller(record.controllers, steps),
            "beside": _beside(record, steps),
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


def read_evaluations(run: Run) -> dict[str, Any] | None:
    """The episodes without noise: of the policy from trained ("final") and from "unseen" starts, of who "taught" it.

    None where there is no policy, or nothing has been evaluated yet.
    """
    if run.evaluated("final") is None or run.policy(0) is None:
        return None
    return {
        "taught" if what in TEACHERS else what: _episodes(*evaluated)
        for what in EVALUATIONS
        if (evaluated := run.evaluated(what)) is not None
    }


def _episodes(rollouts: Rollouts, costs: np.ndarray) -> dict[str, Any]:
    """The first episode of each start; `starts` are those that are kept."""
    M, _, T, dx = rollouts.states.shape
    steps = kept_steps(T)
    chosen = kept_starts(M, len(steps) * (dx + rollouts.actions.shape[-1]))
    mask = rollouts.mask[chosen, 0][:, steps, None]
    return {
        "starts": chosen.tolist(),
        "states": pack(np.where(mask, rollouts.states[chosen, 0][:, steps], np.nan)),
        "actions": pack(np.where(mask, rollouts.actions[chosen, 0][:, steps], np.nan)),
    }


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


def _tube(
    controllers: Controller, marginals: Marginals, steps: np.ndarray, near: dict[str, np.ndarray] | None = None
) -> dict[str, Any]:
    """Mean and standard deviation of states and actions under the fitted model and some controllers.

    Args:
        near: the arrays of another tube, from which this one is drawn no farther than `FAR` times what that one spans.
    """
    arrays = _tube_arrays(controllers, marginals)
    if near is not None:
        arrays = {name: _clipped(array, near[name]) for name, array in arrays.items()}
    return {name: pack(array[:, steps]) for name, array in arrays.items()}


def _clipped(array: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Each feature (the last axis) within reach of another array: what explodes would leave no digits for the rest."""
    known = np.where(np.isfinite(near), near, np.nan).reshape(-1, near.shape[-1])
    low, high = np.nanmin(known, axis=0, initial=np.inf), np.nanmax(known, axis=0, initial=-np.inf)
    reach = FAR * np.maximum(high - low, np.abs(high) + np.abs(low))
    return np.where(np.isfinite(reach), np.clip(array, low - reach, high + reach), array)


def _tube_arrays(controllers: Controller, marginals: Marginals) -> dict[str, np.ndarray]:
    mean, P = np.asarray(marginals.mean), np.asarray(marginals.covariance)
    K, k = np.asarray(controllers.feedback), np.asarray(controllers.feedforward)
    variance = np.einsum("mtij,mtij->mti", K @ P, K) + _diagonal(controllers.covariance)  # diag(K P Kᵀ + Σ)
    return {
        "state_mean": mean,
        "state_std": _deviation(_diagonal(P)),
        "action_mean": np.einsum("mtij,mtj->mti", K, mean) + k,
        "action_std": _deviation(variance),
    }


def _beside(record: IterationRecord, steps: np.ndarray) -> dict[str, Any] | None:
    """What stands beside the controllers that were run, where there is a global policy.

    Where the policy was sampled, its teachers, around the samples, as this iteration made them; where they were
    sampled, the policy around their samples. Both in the fitted model, near whose data both are.
    """
    policy = record.policy
    if policy is None or not trained(record):
        return None
    if policy.sampled:
        controllers, marginals = record.improved, _marginals(record.dynamics, record.improved).numpy()
    else:
        controllers, marginals = policy.linearised, policy.marginals
    tube = _tube(controllers, marginals, steps, near=_tube_arrays(record.controllers, record.marginals))
    return {"tube": tube, "controller": _controller(controllers, steps)}


@jax.jit
def _marginals(dynamics: LinearDynamics, controllers: Controller) -> Marginals:
    return jax.vmap(forward)(dynamics, controllers)


def _controller(controllers: Controller, steps: np.ndarray) -> dict[str, Any]:
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
