"""The size of the first noise, by its effect on the state rather than by its unit."""

import numpy as np
from jaxtyping import Float

from gps.first_controllers.pooled import PooledModel
from gps.sampling.noise import make_filter

LONGEST = 200
"""Steps that are looked at: after these the spread has settled, or the model is not worth more."""


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
