"""A run's controllers on fresh episodes: what they are worth, with intervals."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from gps.errors import ConfigError, RunError
from gps.experiment import Experiment
from gps.inspect.statistics import Estimate, estimate, mean, share
from gps.records import Rollouts
from gps.runs import Run
from gps.sampling import Policy, exploration_noise

Noise = Literal["none", "policy"] | float
"""None at all, the controllers' own covariance, or white noise of a standard deviation in units of action."""


@dataclasses.dataclass(frozen=True)
class Score:
    """What E episodes of one condition (or of all) came to.

    Cost and return are means over the episodes with bootstrap intervals (stratified by condition), success a share with
    a Wilson interval, which for several conditions together is rather too wide than too narrow.
    """

    condition: int | None  # None for all conditions together
    episodes: int
    cost: Estimate | None  # of an episode; None if none was whole
    returns: Estimate | None  # the sum of an episode's rewards; None where all rewards are zero
    successes: int
    success: Estimate


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """The episodes, what they came to, and what was run."""

    iteration: int
    seed: int
    noise: Noise
    rollouts: Rollouts
    costs: np.ndarray  # (M, E, T)
    repeated: bool  # whether nothing was random, so that one episode of each condition says all

    @property
    def scores(self) -> list[Score]:
        """One for each condition, and one for all where there are several."""
        M = len(self.costs)
        each = [_score(self, m, [m]) for m in range(M)]
        return each + ([_score(self, None, list(range(M)))] if M > 1 else [])


def evaluate(
    run: Run,
    iteration: int | None = None,
    episodes: int = 20,
    noise: Noise = "none",
    seed: int = 0,
    fresh: bool = False,
) -> Evaluated:
    """Run the controllers that an iteration has made on fresh episodes.

    Args:
        iteration: whose improved controllers; None for the last one's.
        episodes: of each condition. Where nothing is random one is run: see `Evaluated.repeated`.
        seed: of the noise; and of the first episode's start, where starts are fresh: the next ones' count on from it.
        fresh: start each episode from a seed of its own in place of its condition's.

    Raises:
        GpsError: if there is no such iteration, the experiment cannot be built any more, or its starts have no seed.
    """
    with restored(run, iteration) as (built, state):
        policy, draws = played(built, state, noise, episodes, seed)
        if fresh:
            rollouts, costs = _from_fresh_starts(built, policy, draws, seed)
            return Evaluated(state.iteration - 1, seed, noise, rollouts, costs, repeated=False)
        if episodes > 1 and not draws.any() and _deterministic(built, policy, draws):
            draws = draws[:, :1]
        rollouts, costs = built.evaluate(policy, draws)
    return Evaluated(state.iteration - 1, seed, noise, rollouts, costs, repeated=draws.shape[1] < episodes)


@contextlib.contextmanager
def restored(run: Run, iteration: int | None = None, **options: Any) -> Iterator[tuple[Experiment, Any]]:
    """A run's experiment, built again, and the algorithm's state after an iteration (None: the last).

    Args:
        options: further keyword arguments of the environment's constructor.
    """
    count = len(run.iterations)
    if not count:
        raise RunError(f"{run.path}: no iteration was finished, so there are no controllers to run")
    iteration = count - 1 if iteration is None else iteration + count if iteration < 0 else iteration
    run.iterations.require(iteration)
    config = run.config
    if options:
        environment = config.environment.model_copy(update={"options": {**config.environment.options, **options}})
        config = config.model_copy(update={"environment": environment})
    with contextlib.closing(Experiment(config, run.path)) as built:
        yield built, run.state(iteration, built.algorithm.state_type)


def played(built: Experiment, state: Any, noise: Noise, episodes: int, seed: int) -> tuple[Policy, np.ndarray]:
    """The policy to run and the noise (M, E, T, du) to add to their actions."""
    rng = np.random.default_rng(seed)
    if noise == "policy":
        policy = built.algorithm.policy(state)
        smoothing = built.config.algorithm.controller.smoothing
        return policy, exploration_noise(policy, episodes, smoothing, rng)
    shape = len(built.conditions), episodes, built.horizon, *built.environment.single_action_space.shape
    deviation = 0.0 if noise == "none" else noise
    return built.algorithm.final(state), deviation * rng.standard_normal(shape)


def _from_fresh_starts(built: Experiment, policy: Policy, draws: np.ndarray, seed: int):
    """Episode e of every condition starts as `seed` + e says."""
    if not getattr(built.environment, "seeded", False):
        raise ConfigError("the starts of this environment are those of its conditions: they have no seed to change")
    M, E = draws.shape[:2]
    starts = [{**condition, "seed": seed + e} for condition in built.conditions for e in range(E)]
    rollouts, costs = built.evaluate(policy.repeated(E), draws.reshape(M * E, 1, *draws.shape[2:]), starts)
    return rollouts.regrouped(M), costs.reshape(M, E, -1)


def _deterministic(built: Experiment, policy: Policy, draws: np.ndarray) -> bool:
    """Whether two episodes have the same bits."""
    two, _ = built.evaluate(policy, draws[:, :2])
    return np.array_equal(two.states[:, :1], two.states[:, -1:])


def _score(evaluated: Evaluated, condition: int | None, members: list[int]) -> Score:
    """The score of the conditions `members`, each of which is a stratum of the bootstrap."""
    rollouts, costs = evaluated.rollouts, evaluated.costs.sum(axis=2)
    whole = rollouts.mask.all(axis=2)
    successes = rollouts.succeeded[members]
    known = [costs[m][whole[m]] for m in members]
    return Score(
        condition,
        episodes=successes.size,
        cost=estimate(*known, statistic=mean) if all(map(len, known)) else None,
        returns=estimate(*rollouts.rewards.sum(axis=2)[members], statistic=mean) if rollouts.rewards.any() else None,
        successes=int(successes.sum()),
        success=share(int(successes.sum()), successes.size),
    )
