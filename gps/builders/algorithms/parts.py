"""The inputs of the builders of algorithms, and what several families take from them."""

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from gps.builders.policies import make_learner
from gps.config import ExperimentConfig
from gps.config.policy import PolicyConfig
from gps.environments.contract import BatchEnvironment
from gps.environments.parts import find_entries
from gps.errors import ConfigError
from gps.policies.learner import Learner
from gps.problem import Problem


class Parts(NamedTuple):
    """The inputs of every builder: the experiment's configuration and its problem."""

    config: ExperimentConfig
    directory: Path
    problem: Problem
    environment: BatchEnvironment | None  # the simulator of a physics model, or that is planned on
    resources: ExitStack  # closes what the algorithm holds

    def make_learner(self, settings: PolicyConfig) -> Learner:
        """The policy before its training, by the experiment's seed."""
        return make_learner(settings, self.problem, self.config.seed)


def find_observed_entries(
    problem: Problem, environment: BatchEnvironment | None, why: str = "it is rolled out in a model of the state"
) -> tuple[int, ...]:
    """The entry of the state that each entry of the policy's observation is.

    Args:
        why: the policy may observe nothing but the state, for the message.

    Raises:
        ConfigError: if the policy observes something else, for then no model of the state can tell how it would act.
    """
    layout = None if environment is None else environment.observation_layout
    if layout is None and problem.sight.image_shape is None and len(problem.sight.numbers) == problem.dx:
        return tuple(range(problem.dx))
    names = [entry.name for entry in problem.state_entries]
    entries: list[int] = []
    for part in layout or ["it"]:
        try:
            entries += find_entries(part, problem.state_layout, names)
        except ValueError as error:
            raise ConfigError(
                f"environment.observation: {part} is no part of the state. The policy can observe nothing else, since "
                f"{why}: list parts of environment.state only"
            ) from error
    return tuple(entries)
