"""The size of the first noise, by its effect on the state rather than by its unit."""

import numpy as np
from jaxtyping import Float

from gps.first_controllers.pooled import PooledModel
from gps.sampling.noise import make_filter

LONGEST = 200
"""Steps that are looked at: after these the spread has settled, or the model is not worth more."""


ROUNDS = 100
"""Of the search for the sizes."""

LEAST = 1.0
"""The least noise of an action, relative to that which spreads the state to its targets alone."""

LARGEST = 3.0
"""The largest spread of an entry, in targets."""


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


def size_noise(
    spread: Float[np.ndarray, "du known"], target: Float[np.ndarray, "known"], most: Float[np.ndarray, "du"]
) -> Float[np.ndarray, "du"]:
    """The standard deviation of each action's noise, with which together they spread the state to its targets.

    An action is responsible for the spread of an entry of the state by its share of that entry's variance. Each action is
    scaled until the entries that it is responsible for are at their targets on average (of logarithms): a light link that
    a heavy one throws about spreads more, and the heavy one less. No action has more than `most`.
    """
    effect = np.maximum((spread / target) ** 2, 1e-30)
    alone = 1.0 / np.sqrt(effect.max(axis=1, initial=1e-30))
    size = np.minimum(alone, most)
    for _ in range(ROUNDS):
        part = size[:, None] ** 2 * effect
        together = part.sum(axis=0)
        share = part / together
        excess = (share * np.log(together)).sum(axis=1) / share.sum(axis=1)
        size = np.minimum(np.maximum(size * np.exp(-0.25 * excess), LEAST * alone), most)
    return size / max(1.0, np.sqrt(together.max(initial=0.0)) / LARGEST)
