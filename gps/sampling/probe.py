"""A short probe before the first iteration: what do the actions do to the state?

A few short episodes hold a start and add noise that grows until the state moves by a sensible share of its range. Their
differences from an episode without noise show the response to the actions alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gps.environments.contract import BatchEnvironment
from gps.linear_gaussian.types import Controller
from gps.policies.played import LocalControllers
from gps.sampling.collecting import collect

FIRST = 0.005
"""The noise of the first episode, as a share of half the range of each action."""

MOST_STAGES = 6


class ProbeResult(NamedTuple):
    """Responses to noise around holding still: n transitions of deviations, and what they cost."""

    states: Float[np.ndarray, "n dx"]
    actions: Float[np.ndarray, "n du"]
    after: Float[np.ndarray, "n dx"]
    drift: Float[np.ndarray, "dx"]  # largest change of each entry of the state without noise
    scale: float  # of the last noise, relative to half the range of each action
    steps: int


def probe(
    environment: BatchEnvironment,
    condition: Mapping[str, Any],
    start: Float[np.ndarray, "dx"],
    hold: Float[np.ndarray, "du"],
    half_range: Float[np.ndarray, "du"],
    target: Float[np.ndarray, "dx"],
    length: int,
    smoothing: float,
    seed: int,
    dim: int,
) -> ProbeResult:
    """Probe one condition.

    Args:
        hold: the action that keeps the start.
        target: the deviation of each entry of the state that is sought; NaN where none is.
        length: steps of an episode.
    """
    du, dx = len(hold), len(start)
    rng = np.random.default_rng([seed, 0x9E3779])
    known = np.isfinite(target)

    def play(scale: float) -> tuple[np.ndarray, np.ndarray]:
        noise = scale * half_range * rng.standard_normal((1, 1, length, du))
        controller = Controller(
            np.zeros((1, length, du, dx)), np.tile(hold, (1, length, 1)), np.zeros((1, length, du, du))
        )
        rollouts = collect(environment, LocalControllers(controller), [condition], noise, seed, observe=False)
        count = int(rollouts.mask.sum())
        return rollouts.states[0, 0, :count], rollouts.actions[0, 0, :count]

    still, held = play(0.0)
    steps, scale = len(still), FIRST
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [(still[:-1] - start, held[:-1] - hold, still[1:] - start)]
    settled = False
    for _ in range(30):
        states, actions = play(scale)
        steps += len(states)
        n = min(len(states), len(still))
        x, u = states[:n] - still[:n], actions[:n] - held[:n]
        rows.append((states[:-1] - start, actions[:-1] - hold, states[1:] - start))
        count = sum(len(part) for part, _, _ in rows)
        if settled and count >= 2 * (dim + du):
            break
        if settled:
            continue
        reached = np.abs(x[:, known] / target[known]).max(initial=0.0) if known.any() else 0.0
        factor = np.clip(0.7 / max(reached, 1e-3), 0.05, 10.0)
        if 0.35 <= reached <= 2.0 or (scale >= 0.25 and factor > 1.0):
            settled = True
            if count >= 2 * (dim + du):
                break
            continue
        scale = min(scale * factor, 0.25)
    x, u, after = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return ProbeResult(x, u, after, np.abs(still - start).max(axis=0), scale, steps)
