"""Make the first controllers that hold their starts and excite the system, without being told gains or units.

    hold      the action that keeps each start: the environment's answer, or the middle of the range
    identify  one linear model of a short probe (`probe`, `pooled`)
    feed back with the least effort that holds the start in that model (`feedback`)
    excite    noise that spreads the state over a share of its range (`excitation`)

The share counts where the range of a state's entry is known (`Entry.span`). Where none is, there is no probe, and the
noise is a quarter of the range of each action.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.environments.contract import BatchEnvironment
from gps.first_controllers.excitation import find_reach, find_spread
from gps.first_controllers.feedback import hold_cautiously
from gps.first_controllers.pooled import PooledModel, fit_pooled_model, fit_separate_models, predict
from gps.first_controllers.probe import Probe, run_probe
from gps.linear_gaussian.mechanics import Mechanics
from gps.linear_gaussian.types import Controller
from gps.problem import Limits, Problem

UNSTABLE = 3.0
"""Growth of a deviation in an episode of the probe, from which on a start may not hold itself."""

DRIFT = 0.2
"""In targets: a start that drifts farther without noise does not hold itself."""

BETTER = 0.5
"""The full model is taken if its errors are below this share of the separate ones'."""

SHARES = np.geomspace(1e-5, 1.0, 61)
"""The noise that is tried, as a share of half the range of each action."""

TOLERANCE = 2.0
"""In spreads: the deviation that the feedback answers with an action of one standard deviation of the noise."""

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


def find_identified(mechanics: Mechanics | None, dx: int) -> np.ndarray:
    """The entries of the state in the model: positions and velocities, which are a state by themselves, or all."""
    if mechanics is None:
        return np.arange(dx)
    return np.r_[mechanics.position, mechanics.velocity]


def identify_model(
    probe: Probe,
    mechanics: Mechanics | None,
    entries: np.ndarray,
    target: Float[np.ndarray, "dx"],
    half: Float[np.ndarray, "du"],
    length: int,
) -> PooledModel:
    """The linear model of the probe around the start, in units of action.

    The prior is that nothing changes, but for positions, which integrate their velocities. A transition counts less the
    farther it is from the start, measured in targets: there the system is less linear.

    Most starts hold themselves, and then each degree of freedom is fitted by itself: slow growth in a full model of a
    short probe is an error of the fit. The full model is taken where it grows within an episode, and the start drifts
    without noise or the model predicts episodes that it has not seen much better.
    """
    x, after = probe.states[:, entries], probe.after[:, entries]
    prior, groups = np.eye(len(entries)), [np.array([i]) for i in range(len(entries))]
    if mechanics is not None:
        nv = len(entries) // 2
        prior[:nv, nv:] = mechanics.dt * np.eye(nv)
        groups = [np.array([i, nv + i]) for i in range(nv)]
    known = np.isfinite(target[entries])
    far = np.abs(x[:, known] / target[entries][known]).max(axis=1, initial=0.0)
    weight = 1.0 / (1.0 + far**2) ** 2
    data = x, probe.actions / half, after, probe.condition

    def fit(seen: Bool[np.ndarray, "n"], full: bool) -> PooledModel:
        states, actions, next_states, condition = (part[seen] for part in data)
        if full:
            return fit_pooled_model(states, actions, next_states, condition, prior, weight[seen])
        return fit_separate_models(states, actions, next_states, condition, prior, weight[seen], groups)

    def find_error(full: bool) -> float:
        """The median over episodes of the largest error, in targets, of a model that has not seen the episode."""
        errors = []
        for number in range(1, probe.episodes):
            now = probe.episode == number
            predicted = predict(fit(~now, full), *(part[now] for part in (data[0], data[1], data[3])))
            error = np.abs(predicted - after[now])[:, known] / target[entries][known]
            errors.append(np.nan_to_num(error, nan=np.inf).max(initial=0.0))
        return float(np.median(errors))

    everything = np.ones(len(x), bool)
    model = fit(everything, True)
    drift = np.max(probe.drift[entries][known] / target[entries][known], initial=0.0)
    grows = find_growth(model.A) ** length > UNSTABLE
    if not (grows and (drift > DRIFT or find_error(True) < BETTER * find_error(False))):
        model = fit(everything, False)
    scale = np.concatenate([np.ones(len(entries)), half])
    return model._replace(B=model.B / half, covariance=model.covariance / np.outer(scale, scale))


class Excitation(NamedTuple):
    """Feedback, and the standard deviation of each action's noise."""

    gain: Float[np.ndarray, "du dx"]
    noise: Float[np.ndarray, "du"]


def find_excitation(
    model: PooledModel,
    target: Float[np.ndarray, "dx"],
    half: Float[np.ndarray, "du"],
    most: Float[np.ndarray, "du"],
    T: int,
    smoothing: float,
    feedback: bool,
) -> Excitation:
    """The least noise, the same share of each range, with which the state spreads as wanted.

    In the feedback, a deviation by the target costs as much as an action of one standard deviation of the noise: the
    start is held no harder than the noise shakes it.
    """
    known = np.isfinite(target)
    Q = np.diag(np.where(known, 1.0 / np.where(known, target, 1.0) ** 2, 0.0))
    found = Excitation(np.zeros_like(model.B.T), most)
    for share in SHARES:
        noise = np.minimum(share * half, most)
        gain = hold_cautiously(model, Q, np.diag(1.0 / noise**2), max(T, 50)) if feedback else found.gain
        spread = find_spread(model, gain, T, smoothing)
        found = Excitation(gain, noise)
        if find_reach(noise[:, None] * spread[:, known] / target[known]) >= 1.0 / TOLERANCE:
            break
    return found


def find_growth(A: Float[np.ndarray, "dx dx"]) -> float:
    """The largest |eigenvalue|, the growth of a deviation in a step."""
    return float(np.abs(np.linalg.eigvals(A)).max())
