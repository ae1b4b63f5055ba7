"""The arrays of one iteration: trajectories, controllers and tubes, the model's error, the mixture's clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gps.backend import jax
from gps.inspect.report.forms import (
    ControllerArrays,
    Detail,
    Drawn,
    Ends,
    EpisodeArrays,
    ErrorArrays,
    MixtureArrays,
    NoiseArrays,
    PlanArrays,
    SampleArrays,
    Tube,
)
from gps.inspect.report.measures import compute_one_step_error, measure_spread
from gps.inspect.report.packing import pack, round_numbers
from gps.inspect.report.thinning import choose_iterations_evenly, choose_samples, choose_starts, choose_steps
from gps.linear_gaussian.riccati import forward
from gps.linear_gaussian.types import Controller, LinearDynamics, Marginals
from gps.players import FINAL, UNSEEN

if TYPE_CHECKING:
    from gps.records import IterationRecord, LocalRecord, MixtureRecord, PlannerRecord, Rollouts
    from gps.runs import Run


ELLIPSES = 10
"""Time steps whose exploration noise is drawn as an ellipse."""

EARLIER, STATES_EACH = 20, 200
"""The iterations, and the states of each, that stand for the data of a planner's model."""

FAR = 10.0
"""A drawn tube leaves the samples by at most this share of their span."""


def make_detail(record: IterationRecord, following: IterationRecord | None, seen: Sequence[np.ndarray] = ()) -> Detail:
    """Make the arrays for the figures of one iteration, with the sides that its record has.

    Args:
        following: the next iteration, on whose data the dynamics are judged; None if there is none yet.
        seen: states of earlier iterations, of which a planner's model has learned; see `thin_states`.
    """
    steps = choose_steps(record.costs.shape[2])
    local, mixture = record.local, None if record.model is None else record.model.mixture
    with np.errstate(all="ignore"):  # a record may hold numbers that are not finite; the figures leave them out
        return Detail(
            samples=_pack_samples(record, steps),
            ran=None if local is None else _draw(local.controllers, local.marginals, record.rollouts, steps),
            beside=None if local is None else _draw_beside(record, local, steps),
            model=None if following is None or local is None else _judge_dynamics(local.dynamics, following, steps),
            mixture=None if mixture is None else _pack_mixture(record, mixture),
            plan=None if record.planner is None else _pack_plan(record, record.planner, steps, seen),
        )


def read_detail(run: Run, iteration: int) -> Detail:
    """Read an iteration of a run on disk, and make its arrays.

    Raises:
        RunError: if there is no such iteration, or it is damaged.
    """
    run.iterations.require(iteration)
    following = run.iterations[iteration + 1] if iteration + 1 < len(run.iterations) else None
    record = run.iterations[iteration]
    return make_detail(record, following, read_earlier(run, record))


def read_earlier(run: Run, record: IterationRecord) -> list[np.ndarray]:
    """Read some states of the iterations before one that has a plan; none where there is no plan."""
    if record.planner is None or record.planner.planned_states is None:
        return []
    return [thin_states(run.rollouts(k)[0]) for k in choose_earlier(record.iteration)]


def choose_earlier(iteration: int) -> list[int]:
    """Choose the iterations whose states stand for all that a model had seen before one."""
    return choose_iterations_evenly(iteration, EARLIER)


def thin_states(rollouts: Rollouts) -> np.ndarray:
    """Some of the states of an iteration, (k, dx), evenly spread."""
    states = rollouts.states[rollouts.mask]
    return states[:: -(-len(states) // STATES_EACH) or 1]


def read_ends(run: Run) -> Ends | None:
    """Read the episodes without noise of a policy and its teacher.

    None without a policy, or before its evaluation.
    """
    policy = run.policy_record(0) if len(run.iterations) else None
    final = None if policy is None else run.evaluation(FINAL)
    if policy is None or final is None:
        return None
    unseen, taught = run.evaluation(UNSEEN), run.evaluation(policy.teacher.value)
    return Ends(
        final=_pack_episodes(final.rollouts),
        unseen=None if unseen is None else _pack_episodes(unseen.rollouts),
        taught=None if taught is None else _pack_episodes(taught.rollouts),
    )


def _pack_episodes(rollouts: Rollouts) -> EpisodeArrays:
    M, _, T, dx = rollouts.states.shape
    steps = choose_steps(T)
    chosen = choose_starts(M, len(steps) * (dx + rollouts.actions.shape[-1]))
    mask = rollouts.mask[chosen, 0][:, steps, None]
    return EpisodeArrays(
        starts=chosen.tolist(),
        states=pack(np.where(mask, rollouts.states[chosen, 0][:, steps], np.nan)),
        actions=pack(np.where(mask, rollouts.actions[chosen, 0][:, steps], np.nan)),
    )


def _pack_plan(
    record: IterationRecord, planner: PlannerRecord, steps: np.ndarray, seen: Sequence[np.ndarray]
) -> PlanArrays | None:
    """Pack the plan of each condition's first sample; None where there is none."""
    if planner.planned_states is None:
        return None
    planned = np.asarray(planner.planned_states)[:, steps]
    mask = record.rollouts.mask[:, 0, steps, None]
    came = np.where(mask, record.rollouts.states[:, 0, steps], np.nan)
    doubt = planner.planned_deviations
    deviations = None if doubt is None else pack(np.asarray(doubt)[:, steps])
    data = np.concatenate([*seen, np.zeros((0, planned.shape[-1]))])
    if len(data) < 2:
        return PlanArrays(pack(planned), None, None, deviations)
    distances = _measure_distances(np.stack([planned, came]), data)
    return PlanArrays(pack(planned), pack(distances[0][..., None]), pack(distances[1][..., None]), deviations)


def _measure_distances(points: np.ndarray, data: np.ndarray) -> np.ndarray:
    """The distance (...) of points (..., dx) to the nearest of the data (n, dx), in deviations; NaN for no point."""
    from scipy.spatial import cKDTree

    deviation = data.std(axis=0)
    varies = deviation > 1e-9 * np.abs(data).max(axis=0)
    scale = deviation[varies] * np.sqrt(max(int(varies.sum()), 1))
    flat = points[..., varies].reshape(-1, len(scale))
    known = np.isfinite(flat).all(axis=1) & (np.abs(flat) < 1e100).all(axis=1)
    result = np.full(len(flat), np.nan)
    if varies.any() and known.any():
        result[known], _ = cKDTree(data[:, varies] / scale).query(flat[known] / scale)
    return result.reshape(points.shape[:-1])


def _pack_samples(record: IterationRecord, steps: np.ndarray) -> SampleArrays:
    rollouts = record.rollouts
    chosen = choose_samples(rollouts.mask.shape[1])
    mask = rollouts.mask[:, chosen][:, :, steps, None]
    return SampleArrays(
        states=pack(np.where(mask, rollouts.states[:, chosen][:, :, steps], np.nan)),
        actions=pack(np.where(mask, rollouts.actions[:, chosen][:, :, steps], np.nan)),
        succeeded=rollouts.succeeded[:, chosen].astype(int).tolist(),
        numbers=chosen.tolist(),
        spread=round_numbers(measure_spread(rollouts.states, rollouts.mask)),
    )


def _draw(controllers: Controller, marginals: Marginals | None, rollouts: Rollouts, steps: np.ndarray) -> Drawn:
    """Pack controllers, and the mean and standard deviation of states and actions under them.

    Args:
        marginals: of the state; None for no tube.
        rollouts: the samples. The tube stays within `FAR` times their span.
    """
    if marginals is None:
        return Drawn(_pack_controller(controllers, steps), None)
    arrays, mask = _compute_tube(controllers, marginals), rollouts.mask
    for what, samples in (("state", rollouts.states[mask]), ("action", rollouts.actions[mask])):
        for part in ("mean", "std"):
            arrays[f"{what}_{part}"] = _clip(arrays[f"{what}_{part}"], samples)
    tube = Tube(**{name: pack(array[:, steps]) for name, array in arrays.items()})
    return Drawn(_pack_controller(controllers, steps), tube)


def _clip(array: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Clip each feature (the last axis) to the reach of another array, (n, features).

    Otherwise a tube that explodes would leave no digits for the rest.
    """
    known = np.where(np.isfinite(near), near, np.nan)
    low, high = np.nanmin(known, axis=0, initial=np.inf), np.nanmax(known, axis=0, initial=-np.inf)
    reach = FAR * np.maximum(high - low, np.abs(high) + np.abs(low))
    return np.where(np.isfinite(reach), np.clip(array, low - reach, high + reach), array)


def _compute_tube(controllers: Controller, marginals: Marginals) -> dict[str, np.ndarray]:
    mean, P = np.asarray(marginals.mean), np.asarray(marginals.covariance)
    K, k = np.asarray(controllers.feedback), np.asarray(controllers.feedforward)
    variance = np.einsum("mtij,mtij->mti", K @ P, K) + _diagonal(controllers.covariance)  # diag(K P Kᵀ + Σ)
    return {
        "state_mean": mean,
        "state_std": _deviation(_diagonal(P)),
        "action_mean": np.einsum("mtij,mtj->mti", K, mean) + k,
        "action_std": _deviation(variance),
    }


def _draw_beside(record: IterationRecord, local: LocalRecord, steps: np.ndarray) -> Drawn | None:
    """Draw the global policy beside the local controllers, whichever was sampled; None before there is a policy.

    Where the policy was sampled: its teachers, as this iteration made them. Where they were sampled: the policy around
    their samples. The tubes are those in the fitted dynamics, which hold near the samples.
    """
    policy = record.policy
    if policy is None or not policy.existed:
        return None
    if record.player.has_policy:
        controllers = local.improved
        marginals = None if local.dynamics is None else _propagate(local.dynamics, controllers).numpy()
    elif policy.linearised is not None:
        controllers, marginals = policy.linearised, policy.marginals
    else:
        return None
    return _draw(controllers, marginals, record.rollouts, steps)


@jax.jit
def _propagate(dynamics: LinearDynamics, controllers: Controller) -> Marginals:
    return jax.vmap(forward)(dynamics, controllers)


def _pack_controller(controllers: Controller, steps: np.ndarray) -> ControllerArrays:
    return ControllerArrays(
        feedback=pack(np.asarray(controllers.feedback)[:, steps], bits=8),
        noise_std=pack(_deviation(_diagonal(controllers.covariance))[:, steps]),
        noise=_pack_noise(np.asarray(controllers.covariance), steps),
    )


def _pack_noise(covariance: np.ndarray, steps: np.ndarray) -> NoiseArrays:
    at = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), ELLIPSES)).round().astype(int))
    chosen = covariance[:, steps[at]]
    return NoiseArrays(at.tolist(), pack(chosen.reshape(*chosen.shape[:2], -1)))


def _judge_dynamics(
    dynamics: LinearDynamics | None, following: IterationRecord, steps: np.ndarray
) -> ErrorArrays | None:
    if dynamics is None:
        return None
    error = compute_one_step_error(dynamics, following.rollouts)
    inner = steps[steps < error.by_step.shape[1]]
    return ErrorArrays(
        by_step=pack(np.log10(error.by_step[:, inner]), bits=8),
        by_entry=round_numbers(error.by_entry),
        overall=round_numbers(error.overall),
    )


def _pack_mixture(record: IterationRecord, mixture: MixtureRecord) -> MixtureArrays:
    states, actions, mask = record.rollouts.states, record.rollouts.actions, record.rollouts.mask
    dz = states.shape[-1] + actions.shape[-1]
    means, covariances = np.asarray(mixture.means)[:, :dz], np.asarray(mixture.covariances)[:, :dz, :dz]
    points = np.concatenate([states, actions], axis=-1)[mask]
    if not len(points):
        points = means
    center, scale = points.mean(axis=0), points.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    whitened = (points - center) / scale
    sizes, axes = np.linalg.eigh(whitened.T @ whitened)
    axes, explained = axes[:, :-3:-1].T, sizes[:-3:-1] / max(float(sizes.sum()), 1e-300)  # the two largest
    axes = axes * np.where(axes[np.arange(2), np.abs(axes).argmax(axis=1)] < 0, -1.0, 1.0)[:, None]
    return MixtureArrays(
        weights=round_numbers(mixture.weights),
        means=pack((means - center) / scale),
        covariances=pack(covariances / np.outer(scale, scale)),
        center=round_numbers(center),
        scale=round_numbers(scale),
        axes=round_numbers(axes),
        explained=round_numbers(explained),
    )


def _diagonal(matrices: Any) -> np.ndarray:
    return np.diagonal(np.asarray(matrices), axis1=-2, axis2=-1)


def _deviation(variance: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(variance, 0.0))
