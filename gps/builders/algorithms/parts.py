"""The inputs of the builders of algorithms, and what several families take from them."""

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gps.builders.policies import make_learner
from gps.config import ExperimentConfig
from gps.config.policy import PolicyConfig
from gps.environments.contract import BatchEnvironment
from gps.environments.parts import find_entries, whole
from gps.errors import ConfigError
from gps.policies.learner import Learner
from gps.policies.observed import Observed
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


def find_observed(
    problem: Problem, environment: BatchEnvironment | None, why: str = "it is rolled out in a model of the state"
) -> Observed:
    """Return the policy's observation as a function of the state and the step.

    Args:
        why: the policy may observe nothing but the state and references, for the message.

    Raises:
        ConfigError: if the policy observes something else, for then no model of the state can tell how it would act, or
            if a reference does not last for an episode.
    """
    layout = None if environment is None else environment.observation_layout
    if layout is None and problem.sight.image_shape is None and len(problem.sight.numbers) == problem.dx:
        return Observed(tuple(range(problem.dx)))
    known = {} if environment is None else environment.references
    names = [entry.name for entry in problem.state_entries]
    entries: list[int] = []
    chosen: list[Float[np.ndarray, "T dr"]] = [np.zeros((problem.horizon, 0))]
    for part in layout or ["it"]:
        if (name := whole(part)) in known:
            values = _read_reference(name, known[name], problem.horizon)
            first = problem.dx + sum(array.shape[1] for array in chosen)
            entries += find_entries(part, {name: slice(first, first + values.shape[1])})
            chosen.append(values)
            continue
        try:
            entries += find_entries(part, problem.state_layout, names)
        except ValueError as error:
            either = f"the state nor a reference ({', '.join(known)})" if known else "the state"
            raise ConfigError(
                f"environment.observation: {part} is {'neither ' if known else 'no '}part of {either}. The policy can "
                f"observe nothing else, since {why}: list parts of environment.state only"
            ) from error
    return Observed(tuple(entries), np.concatenate(chosen, axis=1))


def _read_reference(part: str, values: object, horizon: int) -> Float[np.ndarray, "T dr"]:
    """A reference in the steps of an episode; ConfigError if it has too few, or a number that is not finite."""
    array, place = np.asarray(values, float), f"environment.observation: the reference {part}"
    if array.ndim != 2:
        raise ConfigError(f"{place} has the shape {array.shape}, not (steps, entries)")
    if len(array) < horizon:
        raise ConfigError(
            f"{place} has values for {len(array)} steps, and an episode has {horizon}; set environment.horizon to "
            f"{len(array)} or less"
        )
    if not np.isfinite(array[:horizon]).all():
        raise ConfigError(f"{place} is not finite in each step of an episode")
    return array[:horizon]
