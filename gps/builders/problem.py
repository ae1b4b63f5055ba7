"""Build the `Problem` that every algorithm, prior, expert and planner is given."""

from pathlib import Path

import numpy as np

from gps.builders.costs import make_cost, make_reward_model
from gps.builders.disturbances import find_half_ranges
from gps.config import ExperimentConfig
from gps.environments.contract import BatchEnvironment
from gps.observations import Sight
from gps.problem import Limits, Problem


def make_problem(config: ExperimentConfig, directory: Path, environment: BatchEnvironment, horizon: int) -> Problem:
    """The experiment's problem.

    Raises:
        ConfigError: if the cost does not fit the environment.
    """
    (dx,), (du,) = environment.single_observation_space.shape, environment.single_action_space.shape
    low, high = (np.asarray(limit, dtype=float) for limit in (
        environment.single_action_space.low, environment.single_action_space.high
    ))  # fmt: skip
    names = [entry.name for entry in environment.state_entries]
    return Problem(
        cost=make_cost(
            config, directory, environment.state_layout, dx, du, horizon, names, find_half_ranges(low, high)
        ),
        dx=dx,
        du=du,
        horizon=horizon,
        reward=make_reward_model(config),
        limits=Limits(low, high),
        dt=environment.dt,
        mechanics=environment.mechanics,
        state_layout=environment.state_layout,
        state_entries=environment.state_entries,
        action_entries=environment.action_entries,
        sensor_noise=environment.sensor_noise,
        filter=environment.filter,
        conditions=tuple(config.environment.conditions),
        observation=Sight.of(environment),
    )
