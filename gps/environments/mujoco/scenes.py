"""The models of an environment's conditions: that of the first one, and the fields in which the others differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import mujoco
import numpy as np
from numpy.typing import NDArray

from gps.environments.contract import Floats
from gps.environments.mujoco.conditions import EDITABLE, Condition
from gps.environments.mujoco.env import MujocoEnv
from gps.errors import ConfigError


class Scenes(NamedTuple):
    """What M conditions make of a model, apart from where its joints start.

    Args:
        names: a text for each condition, by which it is known again.
        model: of condition 0.
        states: MuJoCo's whole state at the start of each condition, with the time and the bodies without joints.
        fields: the values that differ, (M, …) for each field of the model.
    """

    names: tuple[str, ...]
    model: mujoco.MjModel
    states: Floats
    fields: Mapping[str, NDArray[Any]]

    @classmethod
    def read(cls, environment: MujocoEnv, conditions: Sequence[Condition] = ()) -> Self:
        """Read the models of conditions, to each of which the environment is reset.

        Args:
            conditions: none for simulation 0 as it is now.

        Raises:
            ConfigError: for a condition that the environment does not understand.
        """
        found = []
        for m, condition in enumerate(conditions):
            try:
                environment.reset(options={"condition": condition})
            except ValueError as error:
                raise ConfigError(f"condition {m}: {error}") from None
            found.append(environment.snapshot(0))
        models, data = zip(*(found or [environment.snapshot(0)]), strict=True)
        fields = {name: np.stack([getattr(model, name) for model in models]) for name in sorted(EDITABLE)}
        return cls(
            tuple(json.dumps(condition, sort_keys=True, default=_simplify) for condition in conditions) or ("",),
            models[0],
            np.stack([_read_state(*pair) for pair in zip(models, data, strict=True)]),
            {name: values for name, values in fields.items() if (values != values[0]).any()},
        )

    @property
    def places(self) -> Floats:
        """Where the bodies without joints are in each condition, (M, …): what of a state no joint determines."""
        kinds = mujoco.mjtState.mjSTATE_MOCAP_POS.value, mujoco.mjtState.mjSTATE_MOCAP_QUAT.value
        whole = mujoco.mjtState.mjSTATE_INTEGRATION.value
        parts = []
        for kind in kinds:
            found = np.empty((len(self.states), mujoco.mj_stateSize(self.model, kind)))
            for m, state in enumerate(self.states):
                mujoco.mj_extractState(self.model, state, whole, found[m], kind)
            parts.append(found)
        return np.concatenate(parts, axis=1)

    @property
    def derives(self) -> bool:
        """True if MuJoCo derives constants from one of the fields."""
        return any(name in mujoco.MjModel._setconst_inputs for name in self.fields)


def _read_state(model: mujoco.MjModel, data: mujoco.MjData) -> Floats:
    state = np.empty(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION.value))
    data.qacc_warmstart[:] = 0.0
    mujoco.mj_getState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION.value)
    return state


def _simplify(value: Any) -> Any:
    """Return an array, or what else is no JSON, in a form that is."""
    return np.asarray(value).tolist()
