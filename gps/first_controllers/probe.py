"""A short probe before the first iteration: what do the actions do to the state?

One episode holds a start. Some more, of few steps, add noise to the action that holds it. The noise grows until the
state moves by a sensible share of its range, and then goes on until there is enough to fit a model to.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gps.environments.contract import BatchEnvironment
from gps.linear_gaussian.types import Controller
from gps.policies.played import LocalControllers
from gps.sampling.collecting import collect

FIRST = 0.002
"""The first noise, as a share of half the range of each action."""

LARGEST = 0.25
"""The largest noise, the same."""

WANTED = 0.7
"""The aim for the largest deviation, as a share of the target; anything from half to three times that will do."""

MOST_CONDITIONS = 2
"""They are probed in turn; more of them are represented by these."""

MOST_EPISODES = 24


class Probe(NamedTuple):
    """The transitions of a probe, in deviations from the starts and from the actions that hold them."""

    states: Float[np.ndarray, "n dx"]
    actions: Float[np.ndarray, "n du"]
    after: Float[np.ndarray, "n dx"]
    condition: Int[np.ndarray, "n"]  # the start that a transition belongs to
    episode: Int[np.ndarray, "n"]
    drift: Float[np.ndarray, "dx"]  # largest deviation of each entry of the state without noise
    episodes: int
    steps: int


def run_probe(
    environment: BatchEnvironment,
    conditions: Sequence[Mapping[str, Any]],
    starts: Float[np.ndarray, "M dx"],
    holds: Float[np.ndarray, "M du"],
    half_range: Float[np.ndarray, "du"],
    target: Float[np.ndarray, "dx"],
    transitions: int,
    length: int,
    seed: int,
) -> Probe:
    """Probe some of the conditions in turn.

    Args:
        holds: the actions that keep the starts.
        half_range: half the range of each action.
        target: the deviation of each entry of the state that is sought; NaN where none is.
        transitions: how many are wanted.
        length: steps of an episode.
    """
    du, dx = holds.shape[1], starts.shape[1]
    rng = np.random.default_rng([seed, 0])
    known = np.isfinite(target)
    rows: list[tuple[np.ndarray, ...]] = []
    places = np.unique(np.linspace(0, len(conditions) - 1, MOST_CONDITIONS).round().astype(int))

    def play(episode: int, scale: float) -> np.ndarray:
        """Add the transitions of an episode; return its states' deviations."""
        m = places[episode % len(places)]
        noise = scale * half_range * rng.standard_normal((1, 1, length, du))
        still = np.zeros((1, length, du, du))
        controller = Controller(np.zeros((1, length, du, dx)), np.tile(holds[m], (1, length, 1)), still)
        ran = collect(environment, LocalControllers(controller), [conditions[m]], noise, seed, observe=False)
        count = int(ran.mask.sum())
        x, u = ran.states[0, 0, :count] - starts[m], ran.actions[0, 0, :count] - holds[m]
        count = max(len(x) - 1, 0)
        rows.append((x[:-1], u[:-1], x[1:], np.full(count, episode % len(places)), np.full(count, len(rows))))
        return x

    drift = np.abs(play(0, 0.0)).max(axis=0, initial=0.0)
    still_holds = np.max(drift[known] / target[known], initial=0.0) < WANTED
    scale, found = FIRST, False
    for episode in range(MOST_EPISODES):
        deviation = np.abs(play(episode, scale)).max(axis=0, initial=0.0) - drift
        if not found:
            reached = np.max(deviation[known] / target[known], initial=0.0)
            largest = 3.0 * WANTED if still_holds else np.inf
            found = bool(0.5 * WANTED <= reached <= largest or (reached < WANTED and scale >= LARGEST))
            if not found:
                scale = min(scale * np.clip(WANTED / max(reached, 1e-3), 0.1, 10.0), LARGEST)
        if found and sum(len(part[0]) for part in rows) >= transitions:
            break
    x, u, after, condition, number = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return Probe(x, u, after, condition, number, drift, len(rows), len(x) + len(rows))
