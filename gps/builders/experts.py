"""From `[algorithm.expert]` to who is asked: a planner, an object of `task.py`, or what a run has learned."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gps.builders.checks import made
from gps.builders.costs import reward_model
from gps.builders.environments import require_room
from gps.config import ExperimentConfig
from gps.config.expert import PlannerExpertConfig, RunExpertConfig, TaskExpertConfig
from gps.dynamics.mixture import MixturePrior
from gps.environments.contract import BatchEnvironment
from gps.errors import ConfigError
from gps.experts.stored import Stored
from gps.extensions import task_file
from gps.linear_gaussian.types import Controller
from gps.planning.replanner import Planner


def expert(
    config: ExperimentConfig, directory: Path, environment: BatchEnvironment, total_cost: Callable, T: int
) -> dict[str, Any]:
    """The expert of the algorithms that ask one, and for how long; nothing for the others.

    Raises:
        ConfigError: if it is not there, has no `act`, or does not fit this experiment.
    """
    chosen = getattr(config.algorithm, "expert", None)
    if chosen is not None:  # the state holds the samples of all iterations that are remembered
        episodes = len(config.environment.conditions) * config.algorithm.samples * config.algorithm.memory
        require_room(environment, episodes, T)
    match chosen:
        case None:
            return {}
        case PlannerExpertConfig() as settings:
            return {"expert": _planner(settings, config, environment, total_cost, T), "steps": T}
        case TaskExpertConfig() as settings:
            return {"expert": _of_task(settings, directory), "steps": T}
        case RunExpertConfig() as settings:
            return {"expert": _of_run(settings, config, directory, environment, T), "steps": T}


def _planner(
    settings: PlannerExpertConfig, config: ExperimentConfig, environment: BatchEnvironment, total_cost, T
) -> Planner:
    if reward_model(config) is not None:
        raise ConfigError(
            'algorithm.expert: a planner needs to know what any action would cost, and cost = "reward" tells it only '
            "of those that were taken; say what a step costs in [[cost]] sections"
        )
    space = environment.single_action_space
    own = settings.model_dump(exclude={"name", "dynamics"})
    low, high = (np.asarray(limit, dtype=float) for limit in (space.low, space.high))
    prior = MixturePrior(**settings.dynamics.model_dump())
    return Planner(cost=total_cost, low=low, high=high, steps=T, prior=prior, **own)


class _Function:
    """A function as an object with `act`."""

    def __init__(self, act: Callable) -> None:
        self.act = act


def _of_task(settings: TaskExpertConfig, directory: Path) -> Any:
    key, place = "algorithm.expert.function", directory / task_file.NAME
    found = task_file.find(place, settings.function, key)
    if isinstance(found, type):
        found = made(found, f"{place}: {settings.function}", **settings.options)
    elif settings.options:
        raise ConfigError(f"algorithm.expert.options: {settings.function} is no class, so that it takes none")
    elif callable(found) and not hasattr(found, "act"):
        found = _Function(found)
    if not callable(getattr(found, "act", None)):
        raise ConfigError(f"{key}: {settings.function} of {place} has no act(states, t)")
    return found


def _of_run(
    settings: RunExpertConfig, config: ExperimentConfig, directory: Path, environment: BatchEnvironment, T: int
) -> Stored:
    from gps.exporting import learned
    from gps.runs.run import load_run

    run = load_run(directory / settings.path)
    key = f"algorithm.expert.path: {run.path}"
    policy = learned(run, settings.iteration)
    (dx,), (du,) = environment.single_observation_space.shape, environment.single_action_space.shape
    if isinstance(policy, Controller):
        expected = len(config.environment.conditions), T, du, dx
        if policy.feedback.shape != expected:
            raise ConfigError(
                f"{key} has controllers of shape (M, T, du, dx) = {policy.feedback.shape}, and this experiment needs "
                f"{expected}"
            )
        if run.config.environment.conditions != config.environment.conditions:
            raise ConfigError(f"{key} has controllers for other conditions, and each knows its own start alone")
    elif getattr(policy.network, "image_shape", None) is not None:
        raise ConfigError(f"{key} has a policy that sees pictures, and an expert sees the state")
    elif (sizes := (policy.network.vector_size, policy.network.action_size)) != (dx, du):
        raise ConfigError(
            f"{key} has a policy of {sizes[0]} observations and {sizes[1]} actions, and this experiment has {dx} and "
            f"{du}: an expert sees the state"
        )
    return Stored(policy)
