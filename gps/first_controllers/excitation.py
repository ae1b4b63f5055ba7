"""The first noise and feedback, sized by their effect on the state rather than by their unit."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gps.first_controllers.feedback import hold_cautiously
from gps.first_controllers.pooled import PooledModel
from gps.sampling.noise import make_filter

LONGEST = 200
"""Steps that are looked at: after these the spread has settled, or the model is not worth more."""


SHARES = np.geomspace(1e-5, 1.0, 61)
"""The noise that is tried, as a share of half the range of each action."""

TOLERANCE = 2.0
"""In spreads: the deviation that the feedback answers with an action of one standard deviation of the noise."""

LEAST_MOVED = 1e-3
"""An entry that the actions move less than this, relative to the one they move most, does not count."""


def find_spread(
    model: PooledModel, gain: Float[np.ndarray, "du dx"], T: int, smoothing: float
) -> Float[np.ndarray, "du dx"]:
    """The largest standard deviation of each entry of the state by unit noise on each action alone, in feedback.

    Args:
        gain: the feedback.
        smoothing: of the noise; see `gps.sampling.noise.draw_noise`.
    """
    T = min(T, LONGEST)
    closed, noise = model.A + model.B @ gain, make_filter(T, smoothing)
    spread = np.zeros((model.B.shape[1], len(closed)))
    for action, effect in enumerate(model.B.T):
        x = np.zeros((len(closed), T))  # the response to each of T independent numbers behind the noise
        for t in range(T - 1):
            x = closed @ x + np.outer(effect, noise[t])
            spread[action] = np.maximum(spread[action], np.sqrt(np.sum(x**2, axis=1)))
    return spread


def find_reach(spread: Float[np.ndarray, "du known"]) -> float:
    """The geometric mean of the spreads of the entries of the state, by all actions together.

    Args:
        spread: of each entry by each action's noise, in targets.
    """
    together = np.sqrt(np.sum(spread**2, axis=0))
    moved = together[together > LEAST_MOVED * together.max(initial=0.0)]
    return float(np.exp(np.log(moved).mean())) if moved.size else 0.0


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
