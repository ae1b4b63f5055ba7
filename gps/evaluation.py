"""Evaluate a run's policy or controllers on fresh episodes, with intervals."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gps.algorithms.algorithm import AlgorithmState
from gps.algorithms.local.execution import make_executable
from gps.builders import require_memory_for_episodes
from gps.config import FILE_NAME, ExperimentConfig, parse
from gps.errors import ConfigError, RunError
from gps.experiment import Experiment, Played, rebuild
from gps.inspect.statistics import Estimate, estimate, mean, share
from gps.players import Player
from gps.policies.played import LocalControllers
from gps.records import Rollouts
from gps.runs import Run
from gps.sampling import Policy, draw_noise

Noise = Literal["none", "policy"] | float
"""No exploration, the policy's own covariance, or white noise of a standard deviation in units of action.

The environment's own noise comes on top."""

SETTABLE = ("environment.noise", "environment.randomise")
"""The sections that an evaluation may set."""

Starts = Literal["trained", "unseen"]
"""The conditions of the experiment, or its test conditions."""

Choice = Literal["learned"] | Player
"""The policy to evaluate: the learned one, or that of a player (the policy itself or its teacher)."""


@dataclasses.dataclass(frozen=True)
class Score:
    """The score of E episodes of one start, or of all.

    Cost, return and distance are means over the episodes with bootstrap intervals (stratified by condition), success is
    a share with a Wilson interval, which is conservative for several conditions together.
    """

    player: Player
    starts: Starts
    condition: int | None  # None for all of these starts together
    episodes: int
    cost: Estimate | None  # of an episode; None if none was whole
    returns: Estimate | None  # the sum of an episode's rewards; None where all rewards are zero
    successes: int | None  # None where the environment has no success flag
    success: Estimate | None
    distance: Estimate | None  # to the goal at the end, m; None where the environment says none


@dataclasses.dataclass(frozen=True)
class FreshEvaluation:
    """The episodes, their costs, and what was run."""

    iteration: int
    starts: Starts
    player: Player
    seed: int
    noise: Noise
    rollouts: Rollouts
    costs: np.ndarray  # (M, E, T)
    seconds: float  # of an action, wall clock; see `gps.policies.timed`
    repeated: bool  # True if nothing was random, so that one episode of each condition stands for all
    noisy: bool  # True if the environment has noise of its own

    @property
    def scores(self) -> list[Score]:
        """One for each condition, and one for all if there are several."""
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
    player: Choice = "learned",
    overrides: Sequence[str] = (),
) -> FreshEvaluation:
    """Run what an iteration has learned on fresh episodes.

    Args:
        iteration: whose improved controllers or policy to run; None for the last one's.
        episodes: of each start. Where nothing is random one is run: see `FreshEvaluation.repeated`.
        seed: of the noise; with `fresh`, also of the first episode's start, from which the next ones count on.
        fresh: start each episode from a seed of its own in place of its condition's.
        starts: where to start.
        player: what to run.
        overrides: other noise and other random models than the experiment's: `"environment.noise.state=0.02"`.

    Raises:
        GpsError: if there is no such iteration, policy or start, the experiment cannot be built any more, or its starts
            have no seed.
    """
    with restore(run, iteration, overrides) as (built, state):
        conditions = _find_conditions(built, starts)
        require_memory_for_episodes(len(conditions), episodes, built.problem)
        policy, draws = prepare(built, state, noise, episodes, seed, player, len(conditions))
        known = (state.iteration - 1, starts, policy.player, seed, noise)
        if starts == "unseen" and not policy.carries_over:
            who = "this expert" if policy.player is Player.EXPERT else "a local controller"
            raise ConfigError(f"{who} knows its own start alone: from unseen ones only a policy can be run")
        if fresh:
            played = _run_from_fresh_starts(built, policy, draws, conditions, seed)
            return FreshEvaluation(*known, *played, repeated=False, noisy=built.environment.noisy)
        if episodes > 1 and not draws.any() and _is_deterministic(built, policy, draws, conditions, seed):
            draws = draws[:, :1]
        played = built.evaluate(policy, draws, conditions, seed)
        noisy = built.environment.noisy
    return FreshEvaluation(*known, *played, repeated=draws.shape[1] < episodes, noisy=noisy)


def find_players(run: Run, iteration: int | None = None) -> tuple[Player, ...]:
    """Who can be evaluated after an iteration: what was learned, and then its teachers."""
    with restore(run, iteration) as (built, state):
        return tuple(policy.player for policy in (built.algorithm.learned(state), *built.algorithm.teachers(state)))


def _find_conditions(built: Experiment, starts: Starts) -> Sequence[Mapping]:
    if starts == "trained":
        return built.conditions
    unseen = built.config.environment.test_conditions
    if not unseen:
        raise ConfigError("environment.test_conditions: the experiment has none, so there is no unseen start")
    return unseen


@contextlib.contextmanager
def restore(
    run: Run, iteration: int | None = None, overrides: Sequence[str] = (), **options: Any
) -> Iterator[tuple[Experiment, AlgorithmState]]:
    """A run's experiment, built again, and the algorithm's state after an iteration (None: the last).

    Args:
        overrides: of the keys in `SETTABLE`.
        options: further keyword arguments of the environment's constructor.

    Raises:
        ConfigError: for an override of another key, or one that changes the state for which a controller was learned.
    """
    iteration = run.iterations.resolve(iteration)
    config = _override(run.config, overrides)
    if options:
        environment = config.environment.model_copy(update={"options": {**config.environment.options, **options}})
        config = config.model_copy(update={"environment": environment})
    with contextlib.closing(rebuild(run, config)) as built:
        if overrides and run.state_layout and run.state_layout != built.environment.state_layout:
            raise ConfigError(
                f"--set {' --set '.join(overrides)}: the state would be {_format(built.environment.state_layout)}, "
                f"and the controllers were learned for {_format(run.state_layout)}"
            )
        yield built, built.restore(run, iteration)


def _override(config: ExperimentConfig, overrides: Sequence[str]) -> ExperimentConfig:
    """The config with other noise."""
    for override in overrides:
        key = override.partition("=")[0].strip()
        if not any(key == section or key.startswith(f"{section}.") for section in SETTABLE):
            raise ConfigError(f"--set {override}: an evaluation may set {' and '.join(SETTABLE)} alone")
    return parse(config.to_toml(), FILE_NAME, overrides) if overrides else config


def _format(layout: Mapping[str, slice]) -> str:
    return ", ".join(f"{part} [{where.start}:{where.stop}]" for part, where in layout.items())


def prepare(
    built: Experiment,
    state: AlgorithmState,
    noise: Noise,
    episodes: int,
    seed: int,
    player: Choice = "learned",
    starts: int | None = None,
) -> tuple[Policy, np.ndarray]:
    """The policy to run and the noise (M, E, T, du) to add to its actions.

    Args:
        starts: their number, M; None for the number of conditions.
    """
    rng = np.random.default_rng(seed)
    M = len(built.conditions) if starts is None else starts
    policy = _find_policy(built, state, player)
    if noise == "policy":
        policy = _add_exploration(built, state, policy)
        smoothing = built.smoothing
        # Only a policy that carries over is run from another number of starts: its noise is the same from each.
        return policy, draw_noise(policy.repeat(-(-M // len(built.conditions))), episodes, smoothing, rng)[:M]
    shape = M, episodes, built.horizon, built.problem.du
    deviation = 0.0 if noise == "none" else noise
    return policy, deviation * rng.standard_normal(shape)


def _find_policy(built: Experiment, state: AlgorithmState, player: Choice) -> Policy:
    """The policy to run, without exploration."""
    final = built.algorithm.learned(state)
    if player in ("learned", final.player):
        return final
    if player == Player.POLICY:
        raise RunError("after this iteration there is no global policy: local controllers are all that was learned")
    teachers = built.algorithm.teachers(state)
    for teacher in teachers:
        if player == teacher.player:
            return teacher
    there = [policy.player.value for policy in (final, *teachers)]
    raise RunError(f"after this iteration there is no {str(player)!r}; there is {' and '.join(there)}")


def _add_exploration(built: Experiment, state: AlgorithmState, policy: Policy) -> Policy:
    """The same policy with its exploration."""
    sampled = built.algorithm.policy(state)
    if sampled.player is policy.player:
        return sampled
    settings = built.config.algorithm.controller
    if not isinstance(policy, LocalControllers) or settings.execute != "fixed_noise":
        return policy  # which has its own covariance
    controllers = policy.controllers
    return LocalControllers(
        make_executable(controllers, controllers.feedforward, settings.execute, settings.noise), policy.player
    )


def _run_from_fresh_starts(
    built: Experiment, policy: Policy, draws: np.ndarray, conditions: Sequence[Mapping], seed: int
) -> Played:
    """Run episode e of every condition from the start that belongs to the seed `seed` + e."""
    if not built.environment.seeded:
        raise ConfigError("the starts of this environment are those of its conditions: they have no seed to change")
    M, E = draws.shape[:2]
    starts = [{**condition, "seed": seed + e} for condition in conditions for e in range(E)]
    played = built.evaluate(policy.repeat(E), draws.reshape(M * E, 1, *draws.shape[2:]), starts, seed)
    return Played(played.rollouts.regroup(M), played.costs.reshape(M, E, -1), played.seconds)


def _is_deterministic(
    built: Experiment, policy: Policy, draws: np.ndarray, conditions: Sequence[Mapping], seed: int
) -> bool:
    """True if two episodes have the same bits."""
    if built.environment.noisy:
        return False
    two = built.evaluate(policy, draws[:, :2], conditions, seed).rollouts
    return np.array_equal(two.states[:, :1], two.states[:, -1:])


def _score(evaluated: FreshEvaluation, condition: int | None, members: list[int]) -> Score:
    """The score of the conditions `members`; each is a stratum of the bootstrap."""
    rollouts, costs = evaluated.rollouts, evaluated.costs.sum(axis=2)
    whole = rollouts.whole
    episodes = len(members) * rollouts.mask.shape[1]
    successes = None if rollouts.success is None else int(rollouts.succeeded[members].sum())
    known = [costs[m][whole[m]] for m in members]
    distance = rollouts.distance
    return Score(
        evaluated.player,
        evaluated.starts,
        condition,
        episodes=episodes,
        cost=estimate(*known, statistic=mean) if all(map(len, known)) else None,
        returns=estimate(*rollouts.rewards.sum(axis=2)[members], statistic=mean) if rollouts.rewards.any() else None,
        successes=successes,
        success=None if successes is None else share(successes, episodes),
        distance=None if distance is None else estimate(*distance[members], statistic=mean),
    )
