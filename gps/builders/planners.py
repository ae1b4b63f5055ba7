"""Build the settings of a planner from `[algorithm.planner]`."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from gps.builders.environments import make_environment
from gps.config import ExperimentConfig
from gps.config.environment import EnvironmentConfig
from gps.config.noise import NoiseConfig
from gps.config.planner import (
    AdaptivePlannerConfig,
    CEMPlannerConfig,
    ICEMPlannerConfig,
    ILQRPlannerConfig,
    MPPIPlannerConfig,
    PlannerConfig,
    SequencePlannerConfig,
    ShootingPlannerConfig,
)
from gps.environments.contract import BatchEnvironment
from gps.environments.disturbed import names_last_action
from gps.environments.mujoco import MujocoEnv
from gps.environments.mujoco.simulator import MujocoSimulator
from gps.errors import ConfigError
from gps.models.physics.model import PhysicsModel
from gps.planning.adaptive import Adaptation
from gps.planning.cem import CEM
from gps.planning.icem import ICEM
from gps.planning.mppi import MPPI
from gps.planning.shooting import RandomShooting
from gps.planning.simulator import Copies
from gps.planning.sources import (
    AdaptivePlanning,
    ILQRPlanning,
    PolicySource,
    SequencePlanning,
    SimulatorPlanning,
    TrueModelPlanning,
)
from gps.problem import Problem

_OPTIMISERS = {
    ShootingPlannerConfig: RandomShooting,
    CEMPlannerConfig: CEM,
    ICEMPlannerConfig: ICEM,
    MPPIPlannerConfig: MPPI,
}

_OF_MODELS = ("particles", "propagation", "parts")
"""Keys of the planners that mean nothing on the true simulator."""


def make_policy_source(settings: PlannerConfig, seed: int) -> PolicySource:
    """The planner in a model, as configured."""
    if isinstance(settings, ILQRPlannerConfig):
        return ILQRPlanning(**settings.model_dump(exclude={"name"}), seed=seed)
    if isinstance(settings, AdaptivePlannerConfig):
        return AdaptivePlanning(adaptation=Adaptation(**settings.model_dump(exclude={"name"})), seed=seed)
    shared = settings.model_dump(include=set(SequencePlannerConfig.model_fields))
    return SequencePlanning(optimiser=_make_optimiser(settings), **shared, seed=seed)


def make_simulator_source(
    settings: PlannerConfig,
    config: ExperimentConfig,
    directory: Path,
    problem: Problem,
    live: BatchEnvironment | None,
    resources: ExitStack,
) -> PolicySource:
    """The planner on the true simulator, as configured.

    Args:
        live: the environment of the experiment, in which the episodes run.
        resources: closes the copies.

    Raises:
        ConfigError: if the planner needs a model, or the environment cannot be copied as it is.
    """
    if isinstance(settings, AdaptivePlannerConfig):
        raise ConfigError('algorithm.planner.name: "adaptive" corrects a model, and the simulator needs no correction')
    if live is None:
        raise ConfigError("algorithm.model: the simulator is that of an experiment, and there is none here")
    _require_exact(config.environment)
    copied = _leave_out_guards(config.environment)
    _require_copies(copied, directory, live)
    if isinstance(settings, ILQRPlannerConfig):
        return TrueModelPlanning(planning=make_policy_source(settings, config.seed), model=_make_model(problem, live))
    for key in _OF_MODELS:
        if getattr(settings, key) != type(settings).model_fields[key].default:
            raise ConfigError(f"algorithm.planner.{key}: is for planning in a model; leave it out for the simulator")

    def make(count: int) -> MujocoEnv:
        made = make_environment(copied, directory, count)
        assert isinstance(made, MujocoEnv)  # as `_require_copies` has seen
        return made

    copies = Copies(make)
    resources.callback(copies.close)
    keywords = settings.model_dump(include={"horizon", "every", "seconds"})
    return SimulatorPlanning(
        live=live, copies=copies, optimiser=_make_optimiser(settings), **keywords, seed=config.seed
    )


def _make_optimiser(settings: SequencePlannerConfig) -> Any:
    own = settings.model_dump(exclude={"name", *SequencePlannerConfig.model_fields})
    return _OPTIMISERS[type(settings)](**own)


def _make_model(problem: Problem, live: BatchEnvironment) -> PhysicsModel:
    """The simulator as a model with slopes.

    Raises:
        ConfigError: if the state does not determine the simulation, or the reward is part of the cost.
    """
    if problem.reward is not None:
        raise ConfigError('algorithm.planner.name: "ilqr" needs a cost with a formula, and the reward has none')
    simulator = MujocoSimulator(live, {}, problem.conditions)
    none, noise = np.zeros(0), np.zeros(problem.dx)
    return PhysicsModel(none, np.zeros((0, 0)), noise, np.ones(problem.dx + problem.du), simulator)


def _require_copies(config: EnvironmentConfig, directory: Path, live: BatchEnvironment) -> None:
    """ConfigError if the environment cannot be copied."""
    known = live.snapshot(0) is not None
    if known:
        copy = make_environment(config, directory, 1)
        known = isinstance(copy, MujocoEnv)
        copy.close()
    if not known:
        raise ConfigError(
            f"algorithm.model: {config.id or config.mjcf} is no MuJoCo environment of this library, so its simulation "
            "cannot be copied; learn a model of it"
        )


def _require_exact(config: EnvironmentConfig) -> None:
    """ConfigError where a copy of the simulation would not go the way that the live one goes."""
    remembers = names_last_action(config.state) or names_last_action(config.observation)
    for key, disturbs in (
        ("noise", config.noise != NoiseConfig()), ("randomise", bool(config.randomise)), ("state", remembers)
    ):  # fmt: skip
        if disturbs:
            raise ConfigError(
                f"environment.{key}: copies of the simulation know neither noise, delay nor last_action; leave them "
                "out to plan on the simulator, or learn a model"
            )
    if config.sampling != "batch":
        raise ConfigError('environment.sampling: planning on the simulator needs "batch"')


def _leave_out_guards(config: EnvironmentConfig) -> EnvironmentConfig:
    """The environment without what protects a robot: a copy harms nobody."""
    return config.model_copy(update={"action_limits": None, "abort": None, "confirm_reset": False})
