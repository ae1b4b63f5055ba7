"""A rule for conditions: each of them changes something."""

from itertools import combinations

import numpy as np

from gps.conformance.environment import roll_out
from gps.conformance.finding import Finding, Level
from gps.experiment import Experiment
from gps.records import Rollouts


def check_conditions(built: Experiment) -> Finding:
    """Play the same actions from every condition and compare what happens, for as long as it takes to differ."""
    rule = "the conditions differ"
    observe = built.algorithm.needs.observations
    trial = roll_out(built, samples=1, observe=observe, alike=True)
    if _find_alike(trial) is not None:
        trial = roll_out(built, samples=1, observe=observe, alike=True, steps=built.horizon)
    if (pair := _find_alike(trial)) is None:
        return Finding(rule)
    first, second = pair
    if _differs(trial, "rewards", first, second) or _differs(trial, "observations", first, second, "images"):
        return Finding(
            rule,
            f"conditions {first} and {second} have the same states; only the reward or the observation differs",
            "let environment.state, or a policy's environment.observation, hold what differs: its actions cannot "
            "depend on what it does not see",
            Level.WARNING,
        )
    config = built.config.environment
    return Finding(
        rule,
        f"conditions {first} and {second} start alike: {config.conditions[first]} and {config.conditions[second]} lead "
        "to the same states and rewards",
        "use keys that the environment's reset understands, or make it read them from its seed and options",
    )


def _find_alike(trial: Rollouts) -> tuple[int, int] | None:
    """The first two conditions with the same states."""
    for first, second in combinations(range(len(trial.mask)), 2):
        if not _differs(trial, "states", first, second, "mask"):
            return first, second
    return None


def _differs(trial: Rollouts, name: str, first: int, second: int, *others: str) -> bool:
    arrays = [array for key in (name, *others) if (array := getattr(trial, key)) is not None]
    return any(not np.array_equal(array[first], array[second]) for array in arrays)
