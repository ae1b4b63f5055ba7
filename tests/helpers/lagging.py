"""A mass whose motor lags behind its command: the state, place and speed, does not show the motor's force."""

import numpy as np

from gps.models.recurrent_learner import RecurrentOptions

SMALL = RecurrentOptions(
    hidden=(16,), members=2, units=12, sequence=20, burn_in=5, steps=400, batch=16, learning_rate=1e-2
)
"""Networks that are fitted in seconds."""


def record_lagging(episodes, steps, seed):
    """States (1, N, T, 2), actions (1, N, T, 1) and mask of episodes under commands that change every third step."""
    rng = np.random.default_rng(seed)
    commands = np.repeat(rng.normal(size=(1, episodes, -(-steps // 3), 1)), 3, axis=2)[:, :, :steps]
    states, force = np.zeros((1, episodes, steps, 2)), np.zeros((1, episodes))
    states[:, :, 0] = rng.normal(size=(1, episodes, 2))
    for t in range(steps - 1):
        force = 0.9 * force + 0.3 * commands[:, :, t, 0]
        place, speed = np.moveaxis(states[:, :, t], -1, 0)
        speed = speed + 0.1 * (force - 0.5 * np.sin(place))
        states[:, :, t + 1] = np.stack([place + 0.1 * speed, speed], axis=-1)
    return states, commands, np.ones((1, episodes, steps), bool)
