"""Random factors on the fields of a MuJoCo model, drawn anew for each episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mujoco
import numpy as np

from gps.environments.mujoco.conditions import Condition, find_rows

Ranges = Mapping[str, Mapping[str, Sequence[float]]]
"""`{field: {object: [lowest, highest]}}`; the object `"*"` is every object that is not named."""


class RandomModel:
    """Draws factors for fields of a model, uniform and independent for each object.

    Args:
        model: with its own values.
        ranges: of the factors.

    Raises:
        ValueError: for an unknown field or object, and where all values are 0, so that no factor changes them.
    """

    def __init__(self, model: mujoco.MjModel, ranges: Ranges) -> None:
        self._ranges: dict[str, np.ndarray] = {}  # (2, rows): lowest and highest
        self._shared: dict[str, np.ndarray] = {}  # for each row the row whose factor it has
        for name in sorted(ranges):
            for key in sorted(ranges[name], key=lambda key: key != "*"):  # an object's own range wins
                rows = find_rows(model, name, key)
                limits = self._ranges.setdefault(name, np.ones((2, len(getattr(model, name)))))
                shared = self._shared.setdefault(name, np.arange(limits.shape[1]))
                if not getattr(model, name)[rows].any():
                    whose = "every object" if key == "*" else repr(key)
                    raise ValueError(f"{name} of {whose} is 0 in the model, and a factor leaves it at 0")
                limits[:, rows] = np.asarray(ranges[name][key], float)[:, None]
                if key != "*":
                    shared[rows] = rows[0]

    def redraw(self, condition: Condition, rng: np.random.Generator) -> dict[str, Any]:
        """The condition with drawn factors on top of its own `scale`."""
        drawn = {}
        for name, (low, high) in self._ranges.items():
            drawn[name] = (low + (high - low) * rng.random(len(low)))[self._shared[name]]
        own = condition.get("scale", ())
        return {**condition, "scale": [*([own] if isinstance(own, Mapping) else own), drawn]}
