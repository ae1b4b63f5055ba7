"""Build an expert from an earlier run: what it has learned is a policy, local controllers, or a model to plan in."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path

from gps.algorithms.through_models.mbrl import MBRL
from gps.config import ExperimentConfig
from gps.config.algorithms.through_models import MBRLConfig
from gps.config.expert import RunExpertConfig
from gps.config.model import SimulatorModelConfig
from gps.environments.contract import BatchEnvironment
from gps.environments.parts import Layout
from gps.errors import ConfigError
from gps.experts.contract import FixedExpert
from gps.experts.planning import PlanningExpert
from gps.experts.stored import StoredExpert
from gps.linear_gaussian.types import Controller
from gps.players import Player
from gps.policies.neural import NeuralPolicy
from gps.problem import Problem
from gps.records import Rollouts
from gps.runs import Run, load_run


def read_expert(
    settings: RunExpertConfig,
    config: ExperimentConfig,
    directory: Path,
    problem: Problem,
    environment: BatchEnvironment | None = None,
) -> FixedExpert:
    """The expert that an earlier run has learned.

    Args:
        directory: of this experiment, to which the path of the run is relative.
        environment: the simulator of a physics model.

    Raises:
        ConfigError: if it does not fit this experiment.
        RunError: if there is no such run or iteration, or it is damaged.
    """
    run = load_run(directory / settings.path)
    key, iteration = f"algorithm.expert.path: {run.path}", run.iterations.resolve(settings.iteration)
    policy = run.policy(iteration)
    if policy is None:
        return _rebuild_planner(settings.find_lessons(iteration), run, iteration, key, problem, environment)
    _require_fit(policy, run, key, config, problem)
    return FixedExpert(StoredExpert(policy))


def _require_fit(
    policy: NeuralPolicy | Controller, run: Run, key: str, config: ExperimentConfig, problem: Problem
) -> None:
    """ConfigError if a policy or controllers do not fit this experiment."""
    dx, du = problem.dx, problem.du
    if isinstance(policy, Controller):
        expected = len(config.environment.conditions), problem.horizon, du, dx
        if policy.feedback.shape != expected:
            raise ConfigError(
                f"{key} has controllers of shape (M, T, du, dx) = {policy.feedback.shape}, and this experiment needs "
                f"{expected}"
            )
        if run.config.environment.conditions != config.environment.conditions:
            raise ConfigError(f"{key} has controllers for other conditions, and each knows its own start alone")
    elif policy.network.image_shape is not None:
        raise ConfigError(f"{key} has a policy that takes pictures, and an expert is given the state")
    elif (sizes := (policy.network.vector_size, policy.network.action_size)) != (dx, du):
        raise ConfigError(
            f"{key} has a policy of {sizes[0]} observations and {sizes[1]} actions, and this experiment has {dx} and "
            f"{du}: an expert is given the state"
        )


# -- planners --------------------------------------------------------------------------------------------------------


def _rebuild_planner(
    lessons: Iterable[int],
    run: Run,
    iteration: int,
    key: str,
    problem: Problem,
    environment: BatchEnvironment | None,
) -> FixedExpert:
    """The planner of a run, in the model that it has learned, for the cost of this experiment.

    Args:
        lessons: iterations whose episodes are the first lessons if they were planned.
    """
    from gps.builders.algorithms import make_algorithm  # which builds experts too

    algorithm = run.config.algorithm
    if not isinstance(algorithm, MBRLConfig) or isinstance(algorithm.model, SimulatorModelConfig):
        raise ConfigError(
            f"{key} has learned neither a policy nor a model to plan in: an expert is a run with a policy, with local "
            'controllers, or of algorithm.name = "mbrl" with a learned model'
        )
    made = make_algorithm(run.config, run.source, problem, environment)
    assert isinstance(made, MBRL)
    state = run.state(iteration, made.state_type)
    _require_same_state(run, state.first, key, problem)
    planner = dataclasses.replace(made, version="1.5").make_planner(state)
    if planner is None:
        raise ConfigError(f"{key} has no model to plan in after iteration {iteration}")
    episodes = tuple(_read_lessons(run, lessons))
    return FixedExpert(PlanningExpert(planner), model=made.find_model(state), episodes=episodes)


def _require_same_state(run: Run, first: Controller, key: str, problem: Problem) -> None:
    """ConfigError if the states and actions of a run are not those of this experiment."""
    (du, dx), layout, own = first.feedback.shape[-2:], run.state_layout, problem.state_layout
    if (dx, du) != (problem.dx, problem.du) or (layout and own and layout != own):
        raise ConfigError(
            f"{key} plans for {dx} states ({_name(layout)}) and {du} actions, and this experiment has {problem.dx} "
            f"({_name(own)}) and {problem.du}"
        )


def _name(layout: Layout | None) -> str:
    return ", ".join(layout or ["unnamed"])


def _read_lessons(run: Run, iterations: Iterable[int]) -> Iterator[Rollouts]:
    """The episodes of the iterations in which the planner acted."""
    for iteration in iterations:
        if run.rows(iteration)[0].player == Player.PLANNER:
            yield run.rollouts(iteration)[0]
