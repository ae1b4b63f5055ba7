"""Make the first controllers that hold their starts and excite the system, without being told gains or units.

    hold      the action that keeps each start: the environment's answer, or the middle of the range
    identify  one linear model of a short probe (`probe`, `identification`, `pooled`)
    feed back with the least effort that holds the start in that model (`feedback`)
    excite    noise that spreads the state over a share of its range (`excitation`)

The share counts where the range of a state's entry is known (`Entry.span`). Where none is, there is no probe, and the
noise is a quarter of the range of each action.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gps.environments.contract import BatchEnvironment
from gps.first_controllers.excitation import TOLERANCE, find_excitation
from gps.first_controllers.identification import find_growth, find_identified, identify_model
from gps.first_controllers.probe import Probe, run_probe
from gps.linear_gaussian.types import Controller
from gps.problem import Limits, Problem

MOST_NOISE = 0.4
"""Of the distance from the held action to its limits: at 2.5 standard deviations one action in a hundred is clipped."""

LONGEST_PROBE = 40
"""Most steps of an episode of the probe."""

LARGEST_STATE = 80
"""With more entries of the state a short probe says too little: no feedback, and no probe."""


@dataclasses.dataclass(frozen=True)
class Holding:
    """The settings.

    Args:
        hold: the action that keeps the start, (du,); None asks the environment.
        spread: standard deviation of the entries of the state by the noise, as a share of their ranges, on average.
        noise: standard deviation of the noise, in units of action; None sizes it by `spread`.
        feedback: feed the state back where a probe can tell how.
    """

    hold: Float[np.ndarray, "du"] | None = None
    spread: float = 0.03
    noise: Float[np.ndarray, "du"] | None = None
    feedback: bool = True


class FirstControllers(NamedTuple):
    """The first controllers, and what is known of them."""

    controllers: Controller
    hold: Float[np.ndarray, "M du"]
    noise: Float[np.ndarray, "du"]  # standard deviations, in units of action
    span: Float[np.ndarray, "dx"]  # the range of each entry of the state; NaN where it is unknown
    drift: Float[np.ndarray, "dx"]  # of the state where nothing is added to the hold; NaN without a probe
    growth: tuple[float, float]  # largest |eigenvalue| of the model without and with feedback; NaN without a probe
    episodes: int = 0  # of the probe
    steps: int = 0

    @classmethod
    def of(cls, controllers: Controller, problem: Problem) -> "FirstControllers":
        """Controllers that were given, of which no probe knows anything."""
        controllers = controllers.numpy()
        noise = np.sqrt(np.diagonal(controllers.covariance, axis1=2, axis2=3).mean(axis=(0, 1)))
        unknown = np.full_like(controllers.feedforward[:, 0], np.nan)
        return cls(controllers, unknown, noise, find_spans(problem), np.full(problem.dx, np.nan), (np.nan, np.nan))


def make_holding_controllers(
    environment: BatchEnvironment,
    problem: Problem,
    conditions: Sequence[Mapping[str, Any]],
    starts: Float[np.ndarray, "M dx"],
    holds: Float[np.ndarray, "M du"],
    settings: Holding,
    smoothing: float,
    seed: int,
) -> FirstControllers:
    """Make the controllers of M conditions.

    Args:
        holds: the actions that keep the starts as far as the environment knows; NaN where it does not.
        smoothing: of the noise.
    """
    (M, dx), du, T = starts.shape, problem.du, problem.horizon
    length = min(T, max(10, T // 5), LONGEST_PROBE)
    low, high = (np.broadcast_to(limit, du) for limit in problem.limits)
    half = (high - low) / 2
    half = np.where(np.isfinite(half), half, 1.0)
    hold = choose_hold(problem.limits, holds if settings.hold is None else np.tile(settings.hold, (M, 1)))
    span = find_spans(problem)
    target = TOLERANCE * settings.spread * span
    entries = find_identified(problem.mechanics, dx)
    gain, noise = np.zeros((du, dx)), half / 2
    probe: Probe | None = None
    growth = np.nan, np.nan
    wanted = settings.feedback or settings.noise is None
    if wanted and np.isfinite(target[entries]).any() and len(entries) <= LARGEST_STATE:
        probe = run_probe(
            environment, conditions, starts, hold, half, target, 2 * (len(entries) + du + 1), length, seed
        )
    if probe is not None and len(probe.states) > du:  # some systems end every episode at once
        model = identify_model(probe, problem.mechanics, entries, target, half, length)
        room = np.minimum(high - hold, hold - low).min(axis=0)
        most = np.where(np.isfinite(room), MOST_NOISE * np.maximum(room, 0.2 * half), half)
        gain[:, entries], noise = find_excitation(model, target[entries], half, most, T, smoothing, settings.feedback)
        growth = find_growth(model.A), find_growth(model.A + model.B @ gain[:, entries])
    if settings.noise is not None:
        noise = settings.noise
    controllers = Controller(
        np.tile(gain, (M, T, 1, 1)),
        np.tile((hold - starts @ gain.T)[:, None], (1, T, 1)),
        np.tile(np.diag(noise**2), (M, T, 1, 1)),
    )
    if probe is None:
        return FirstControllers(controllers, hold, noise, span, np.full(dx, np.nan), growth)
    return FirstControllers(controllers, hold, noise, span, probe.drift, growth, probe.episodes, probe.steps)


def find_spans(problem: Problem) -> Float[np.ndarray, "dx"]:
    """The range of each entry of the state; NaN where it is unknown or nothing."""
    span = np.array([entry.span for entry in problem.state_entries] or [np.nan] * problem.dx)
    return np.where(span > 0, span, np.nan)


def choose_hold(limits: Limits, holds: Float[np.ndarray, "M du"]) -> Float[np.ndarray, "M du"]:
    """The known holds within the limits; elsewhere zero, or the middle of a range that does not contain zero."""
    low, high = limits
    with np.errstate(invalid="ignore"):  # −∞ + ∞, where there is no range
        neutral = np.where((low < 0.0) & (high > 0.0), 0.0, 0.5 * (low + high))
    neutral = np.where(np.isfinite(neutral), neutral, np.clip(0.0, low, high))
    return np.clip(np.where(np.isfinite(holds), holds, neutral), low, high)
