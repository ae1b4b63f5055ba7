"""Read the options of a reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gps.environments.mujoco.conditions import Condition
from gps.environments.mujoco.names import suggest


class ResetOptions(NamedTuple):
    """The options of a reset.

    Attributes:
        ids: the simulations to reset.
        conditions: the name in error messages and the condition of each of them; None if no condition was given.
        observe: True if the info must have the observations until the next reset.
    """

    ids: NDArray[np.int32]
    conditions: list[tuple[str, Condition]] | None
    observe: bool


def read_options(options: Mapping[str, Any], num_envs: int, started: bool) -> ResetOptions:
    """Check the options of `MujocoEnv.reset`.

    Args:
        started: False before the first reset, which resets all simulations whatever the mask.

    Raises:
        ValueError: for an unknown option, or a mask or conditions of another length.
    """
    known = ("condition", "conditions", "reset_mask", "observe")
    for key in options:
        if key not in known:
            raise ValueError(f"unknown reset option {key!r}{suggest(key, known)}")
    observe = bool(options.get("observe", True))
    mask = options.get("reset_mask")
    if mask is not None and (np.shape(mask) != (num_envs,) or np.asarray(mask).dtype != bool):
        raise ValueError(f"reset_mask must be {num_envs} booleans, got {mask!r}")
    chosen = np.ones(num_envs, dtype=bool) if mask is None or not started else mask
    ids = np.flatnonzero(chosen).astype(np.int32)
    if "conditions" not in options:
        condition = options.get("condition")
        return ResetOptions(ids, None if condition is None else [("condition", condition)] * len(ids), observe)
    conditions = options["conditions"]
    if "condition" in options or len(conditions) != num_envs:
        raise ValueError(f"give either one 'condition' or {num_envs} 'conditions', one per simulation")
    return ResetOptions(ids, [(f"condition {i}", conditions[i]) for i in ids], observe)
