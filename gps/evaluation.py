"""A run's policy or controllers on fresh episodes: what they are worth, with intervals."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gps.algorithms.local.execution import executed
from gps.errors import ConfigError, RunError
from gps.experiment import Experiment
from gps.inspect.statistics import Estimate, estimate, mean, share
from gps.records import Rollouts
from gps.runs.run import Run
from gps.sampling import Policy, exploration_noise

Noise = Literal["none", "policy"] | float
"""None at all, the controllers' own covariance, or white noise of a standard deviation in units of action."""

Starts = Literal["trained", "unseen"]
"""The conditions of the experiment, or its test conditions."""

Player = Literal["learned", "policy", "local", "expert"]
"""What has been learned, a global policy where there is one; that policy and nothing else; who has taught it: its local
controllers, or an expert."""


@dataclasses.dataclass(frozen=True)
class Score:
    """What E episodes of one start (or of all) came to.

    Cost and return are means over the episodes with bootstrap intervals (stratified by condition), success a share with
    a Wilson interval, which for several conditions together is rather too wide than too narrow.
    """

    starts: Starts
    condition: int | None  # None for all of these starts together
    episodes: int
    cost: Estimate | None  # of an episode; None if none was whole
    returns: Estimate | None  # the sum of an episode's rewards; None where all rewards are zero
    successes: int | None  # None where the environment does not tell of success
    success: Estimate | None


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """The episodes, what they came to, and what was run."""

    iteration: int
    starts: Starts
    player: Literal["policy", "local", "expert"]  # what was run
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
    starts: Starts = "trained",
    player: Player = "learned",
) -> Evaluated:
    """Run what an iteration has made on fresh episodes.

    Args:
        iteration: whose improved controllers, or policy; None for the last one's.
        episodes: of each start. Where nothing is random one is run: see `Evaluated.repeated`.
        seed: of the noise; and of the first episode's start, where starts are fresh: the next ones' count on from it.
        fresh: start each episode from a seed of its own in place of its condition's.
        starts: where to start.
        player: what to run.

    Raises:
        GpsError: if there is no such iteration, policy or start, the experiment cannot be built any more, or its starts
            have no seed.
    """
    with restored(run, iteration) as (built, state):
        conditions = _conditions(built, starts)
        policy, draws = played(built, state, noise, episodes, seed, player, len(conditions))
        shown = player if player != "learned" else "policy" if policy.carries_over else "local"
        known = (state.iteration - 1, starts, shown, seed, noise)
        if starts == "unseen" and not policy.carries_over:
            who = "this expert" if player == "expert" else "a local controller"
            raise ConfigError(f"{who} knows its own start alone: from unseen ones only a policy can be run")
        if fresh:
            rollouts, costs = _from_fresh_starts(built, policy, draws, conditions, seed)
            return Evaluated(*known, rollouts, costs, repeated=False)
        if episodes > 1 and not draws.any() and _deterministic(built, policy, draws, conditions):
            draws = draws[:, :1]
        rollouts, costs = built.evaluate(policy, draws, conditions)
    return Evaluated(*known, rollouts, costs, repeated=draws.shape[1] < episodes)


def _conditions(built: Experiment, starts: Starts) -> Sequence[Mapping]:
    if starts == "trained":
        return built.conditions
    unseen = built.config.environment.test_conditions
    if not unseen:
        raise ConfigError("environment.test_conditions: the experiment has none, so there is no unseen start")
    return unseen


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
        yield built, built.restored(run, iteration)


def played(
    built: Experiment,
    state: Any,
    noise: Noise,
    episodes: int,
    seed: int,
    player: Player = "learned",
    starts: int | None = None,
) -> tuple[Policy, np.ndarray]:
    """The policy to run and the noise (M, E, T, du) to add to its actions.

    Args:
        starts: how many there are, M; None for the conditions' number.
    """
    rng = np.random.default_rng(seed)
    M = len(built.conditions) if starts is None else starts
    policy = _chosen(built, state, player)
    if noise == "policy":
        policy = _exploring(built, state, policy)
        smoothing = built.config.algorithm.controller.smoothing
        # Only a policy that carries over is run from another number of starts: its noise is the same from each.
        return policy, exploration_noise(policy.repeated(-(-M // len(built.conditions))), episodes, smoothing, rng)[:M]
    shape = M, episodes, built.horizon, *built.environment.single_action_space.shape
    deviation = 0.0 if noise == "none" else noise
    return policy, deviation * rng.standard_normal(shape)


def _chosen(built: Experiment, state: Any, player: Player) -> Policy:
    """What runs without exploration."""
    final, others = built.algorithm.final(state), built.algorithm.further(state)
    if player == "policy" and not final.carries_over:
        raise RunError("after this iteration there is no global policy: local controllers are all that was learned")
    if player in others:
        return others[player]
    there = ("local" if not final.carries_over else "policy", *others)
    if player != "learned" and player not in there:
        raise RunError(
            f"after this iteration there is nothing that is called {player!r}; there is {' and '.join(there)}"
        )
    return final


def _exploring(built: Experiment, state: Any, policy: Policy) -> Policy:
    """The same with its exploration."""
    sampled = built.algorithm.policy(state)
    if type(sampled) is type(policy):
        return sampled
    settings = built.config.algorithm.controller
    if policy.carries_over or settings.execute != "fixed_noise":
        return policy  # which has its own covariance
    return executed(policy, policy.feedforward, settings.execute, settings.noise)


def _from_fresh_starts(
    built: Experiment, policy: Policy, draws: np.ndarray, conditions: Sequence[Mapping], seed: int
) -> tuple[Rollouts, np.ndarray]:
    """Episode e of every condition starts as `seed` + e says."""
    if not built.environment.seeded:
        raise ConfigError("the starts of this environment are those of its conditions: they have no seed to change")
    M, E = draws.shape[:2]
    starts = [{**condition, "seed": seed + e} for condition in conditions for e in range(E)]
    rollouts, costs = built.evaluate(policy.repeated(E), draws.reshape(M * E, 1, *draws.shape[2:]), starts)
    return rollouts.regrouped(M), costs.reshape(M, E, -1)


def _deterministic(built: Experiment, policy: Policy, draws: np.ndarray, conditions: Sequence[Mapping]) -> bool:
    """Whether two episodes have the same bits."""
    two, _ = built.evaluate(policy, draws[:, :2], conditions)
    return np.array_equal(two.states[:, :1], two.states[:, -1:])


def _score(evaluated: Evaluated, condition: int | None, members: list[int]) -> Score:
    """The score of the conditions `members`, each of which is a stratum of the bootstrap."""
    rollouts, costs = evaluated.rollouts, evaluated.costs.sum(axis=2)
    whole = rollouts.mask.all(axis=2)
    episodes = len(members) * rollouts.mask.shape[1]
    successes = None if rollouts.success is None else int(rollouts.succeeded[members].sum())
    known = [costs[m][whole[m]] for m in members]
    return Score(
        evaluated.starts,
        condition,
        episodes=episodes,
        cost=estimate(*known, statistic=mean) if all(map(len, known)) else None,
        returns=estimate(*rollouts.rewards.sum(axis=2)[members], statistic=mean) if rollouts.rewards.any() else None,
        successes=successes,
        success=None if successes is None else share(successes, episodes),
    )
