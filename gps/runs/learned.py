"""Read the policy of a run from its directory, without its environment, which may be an absent robot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gps.errors import RunError
from gps.runs.run import Run

if TYPE_CHECKING:
    from gps.linear_gaussian.types import Controller
    from gps.policies.neural import NeuralPolicy


def learned(run: Run, iteration: int | None = None) -> NeuralPolicy | Controller:
    """The neural policy after an iteration, or its improved controllers as they are executed, a batch of M.

        policy = gps.learned(run)
        action = policy.act(observation)

    Args:
        iteration: None for the last; negative numbers count from the end.

    Raises:
        RunError: if there is no such iteration, it is damaged, or its policy cannot be evaluated or was not stored.
    """
    iteration = run.iterations.resolve(iteration)
    policy = run.policy(iteration)
    if policy is None:
        raise RunError(
            f"{run.path}: iteration {iteration} learned nothing that can be stored, such as a planner; `gps evaluate` "
            "runs it in its environment"
        )
    return policy
