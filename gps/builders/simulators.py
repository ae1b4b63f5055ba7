"""Build the simulator of a physics model: from the environment, or from a MuJoCo model of what is no simulation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gps.builders.modelled import Modelled
from gps.environments.contract import BatchEnvironment
from gps.errors import ConfigError, one_line


def make_simulator(modelled: Modelled, parameters: Mapping[str, Any], known: Any, key: str) -> Any:
    """The simulator of a system whose environment is a `MujocoEnv`.

    Args:
        parameters: the table of unknown parameters.
        known: see `gps.models.physics.parameters.Known`.
        key: the place of the section, for messages.

    Raises:
        ConfigError: see `gps.environments.mujoco.simulator.MujocoSimulator`.
    """
    from gps.environments.mujoco.simulator import MujocoSimulator

    if modelled.environment is None:
        raise ConfigError(f"{key}: a physics model needs the experiment's simulator, and these data have none")
    try:
        return MujocoSimulator(modelled.environment, parameters, modelled.conditions, known=known)
    except ConfigError as error:
        raise ConfigError(f"{key}: {one_line(error)}") from None


def attach_simulator(learner: Any, modelled: Modelled, key: str) -> Any:
    """The learner that was read from a file, with a simulator if it needs one; see `make_simulator`."""
    from gps.models.physics.learner import PhysicsLearner
    from gps.models.residual import ResidualLearner

    physics = learner.base if isinstance(learner, ResidualLearner) else learner
    if not isinstance(physics, PhysicsLearner):
        return learner
    table: dict[str, Any] = {}
    for parameter in physics.parameters:
        field, _, name = parameter.name.partition(":")
        bounds = {"bounds": [parameter.low, parameter.high], "start": parameter.start}
        if name:
            table.setdefault(field, {})[name] = bounds
        else:
            table[field] = bounds
    return learner.attach(make_simulator(modelled, table, physics.known, key))


def make_own_simulation(mjcf: Path, state: Sequence[str] | None, modelled: Modelled, key: str) -> BatchEnvironment:
    """A simulation of a system whose environment is none, such as a real robot.

    Args:
        mjcf: the MuJoCo model; its controls are the actions of the system.
        state: the parts of it that are the system's state, in this order; None for those of the system's names.
        key: the place of the path, for messages.

    Raises:
        ConfigError: if the model cannot be read, or its states, actions or time steps are not those of the system.
    """
    from gps.environments.mujoco import MujocoEnv

    parts = list(modelled.layout) if state is None else list(state)
    try:
        step = MujocoEnv(1, mjcf=mjcf, state=parts).dt
        skip = round(modelled.dt / step) if np.isfinite(modelled.dt) else 1
        simulation = MujocoEnv(1, mjcf=mjcf, state=parts, frame_skip=max(skip, 1))
    except ValueError as error:
        raise ConfigError(f"{key}: {one_line(error)}") from None
    for what, own, given in (
        ("states", len(simulation.state_entries), len(modelled.state_entries)),
        ("actions", len(simulation.action_entries), len(modelled.action_entries)),
    ):
        if own != given:
            raise ConfigError(f"{key}: {mjcf.name} has {own} {what} with state = {parts}; this experiment has {given}")
    if not np.isclose(simulation.dt, modelled.dt, rtol=1e-6):
        raise ConfigError(f"{key}: steps of {modelled.dt:g} s are no multiple of the model's timestep of {step:g} s")
    return simulation
