"""Build the expert from `[algorithm.expert]`: a planner, an object of `task.py`, or what a run has learned."""

from pathlib import Path

from gps.builders.checks import call_factory
from gps.builders.environments import require_room
from gps.builders.run_experts import read_expert
from gps.config import ExperimentConfig
from gps.config.algorithms.distilled import DistillationBase
from gps.config.expert import ExpertConfig, PlannerExpertConfig, RunExpertConfig, TaskExpertConfig
from gps.dynamics.mixture import MixturePrior
from gps.environments.contract import BatchEnvironment
from gps.errors import ConfigError
from gps.experts.contract import Expert, ExpertSource, FixedExpert, adapt_expert
from gps.extensions import task_file
from gps.planning.replanner import ReplanningExpert
from gps.problem import Problem


def make_expert_source(
    settings: DistillationBase,
    config: ExperimentConfig,
    directory: Path,
    problem: Problem,
    environment: BatchEnvironment | None = None,
) -> ExpertSource:
    """The expert of a distillation.

    Args:
        environment: the simulator of an expert that plans in a physics model.

    Raises:
        ConfigError: if it is not there, has no `act`, or does not fit this experiment.
    """
    # The state holds the samples of all iterations in memory.
    require_room(
        problem.sight, len(config.environment.conditions) * settings.samples * settings.memory, problem.horizon
    )
    return make_expert(settings.expert, config, directory, problem, environment)


def make_expert(
    chosen: ExpertConfig,
    config: ExperimentConfig,
    directory: Path,
    problem: Problem,
    environment: BatchEnvironment | None = None,
) -> ExpertSource:
    """The expert as configured; see `make_expert_source`."""
    match chosen:
        case PlannerExpertConfig():
            return _make_planner(chosen, problem)
        case TaskExpertConfig():
            return FixedExpert(_find_in_task(chosen, directory))
        case RunExpertConfig():
            return read_expert(chosen, config, directory, problem, environment)


def _make_planner(settings: PlannerExpertConfig, problem: Problem) -> ReplanningExpert:
    if problem.reward is not None:
        raise ConfigError(
            'algorithm.expert: a planner needs the cost of any action, and cost = "reward" gives only that of the '
            "actions that were taken; say what a step costs in [[cost]] sections"
        )
    prior = MixturePrior(**settings.dynamics.model_dump())
    return ReplanningExpert(problem, prior=prior, **settings.model_dump(exclude={"name", "dynamics"}))


def _find_in_task(settings: TaskExpertConfig, directory: Path) -> Expert:
    key, place = "algorithm.expert.function", directory / task_file.NAME
    found = task_file.find(place, settings.function, key)
    if isinstance(found, type):
        found = call_factory(found, f"{place}: {settings.function}", **settings.options)
    elif settings.options:
        raise ConfigError(f"algorithm.expert.options: {settings.function} is no class, so that it takes none")
    try:
        return adapt_expert(found)
    except TypeError:
        raise ConfigError(f"{key}: {settings.function} of {place} has no act(states, t)") from None
