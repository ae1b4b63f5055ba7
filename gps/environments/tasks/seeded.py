"""The base of tasks whose starts differ by chance: a condition's seed decides."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np

from gps.environments.contract import Floats
from gps.environments.mujoco.conditions import Condition
from gps.environments.tasks.task import Task


class SeededTask(Task, abc.ABC):
    """A task whose start a condition's `seed` draws; without a seed it starts in the model's own pose at rest.

    Condition key: `seed`, a whole number, 0 or more. The same seed gives the same start in every process. The other
    keys of the condition change the start that was drawn.
    """

    condition_keys: ClassVar[tuple[str, ...]] = ("seed",)
    seeded = True

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw the positions (nq,) and the velocities (nv,) of a start."""

    def default_start(self, condition: Condition) -> tuple[Floats, Floats]:
        if (rng := read_generator(condition)) is None:
            return super().default_start(condition)
        return self.draw(rng)


def read_generator(condition: Condition, stream: int = 0) -> np.random.Generator | None:
    """The generator of a condition's `seed`; None without one.

    Args:
        stream: different numbers give independent generators for the same seed.

    Raises:
        ValueError: if the seed is no whole number, 0 or more.
    """
    if "seed" not in condition:
        return None
    seed = condition["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed: must be a whole number, 0 or more, got {seed!r}")
    return np.random.default_rng([int(seed), stream])
