"""Rollouts of a policy in a batch of simulations, one action at a time.

The episodes of all conditions run in groups as large as the batch: a batch with room for all of them runs them at once,
a batch of a single simulation (a robot) runs one after another. The policy computes the actions of all episodes each
time, so an episode has the same bits in either way.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from gps.environments.contract import BatchEnvironment
from gps.errors import EnvironmentFault, GpsError, PolicyError, SimulationFault, one_line
from gps.observations import Sight
from gps.records import Rollouts
from gps.sampling.log import Log, ObservationLog, pack_input
from gps.sampling.policy import Policy

WholeAt = Literal["success", "termination"]
"""The ends after which an episode is whole, and its remaining steps cost nothing: see `collect`."""


class Starts(NamedTuple):
    """The start of each condition."""

    states: Float[np.ndarray, "M dx"]
    holds: Float[np.ndarray, "M du"]  # the action that keeps it there; NaN where the environment knows none


def read_starts(environment: BatchEnvironment, conditions: Sequence[Mapping[str, Any]]) -> Starts:
    """The start of each condition: the environment is reset to each of them.

    Raises:
        EnvironmentFault: see `collect`.
        ValueError: if the environment does not understand a condition.
    """
    states = np.zeros((len(conditions), environment.single_observation_space.shape[0]))
    holds = np.full((len(conditions), *environment.single_action_space.shape), np.nan)
    for episodes in _split(len(states), environment.num_envs):
        try:
            first, _ = _reset(environment, conditions[episodes], None, False, None)
        except SimulationFault as fault:
            raise _locate(fault, episodes, 1, "reset") from fault
        states[episodes] = first[: episodes.stop - episodes.start]
        for i, m in enumerate(range(episodes.start, episodes.stop)):
            if (hold := environment.holding_action(i)) is not None:
                holds[m] = hold
    if not np.isfinite(states).all():
        raise EnvironmentFault(_describe_bad(states, states.shape, slice(0, None), 1, "reset"))
    return Starts(states, holds)


def collect(
    environment: BatchEnvironment,
    policy: Policy,
    conditions: Sequence[Mapping[str, Any]],
    noise: Float[np.ndarray, "M N T du"],
    seed: int,
    observe: bool = True,
    whole_at: WholeAt = "success",
    stream: Sequence[int] | None = None,
) -> Rollouts:
    """Run N episodes from each of M conditions, with `noise` added to the policy's actions.

    An episode that ends (terminated, truncated, aborted or diverged) keeps its rows up to there and is masked
    afterwards. An observation of a wrong shape, or one that is not finite, ends its episode too, except in the first
    step. With M·N simulations or more, episode m·N + n (sample n of condition m) runs in the simulation of that number,
    and the others are not reset.

    Args:
        observe: record the observations of an environment that has an `observation_layout`, which may take time
            (pictures). Those that the policy acts on are recorded anyway.
        whole_at: which episodes that the environment terminates before step T are whole all the same: those whose
            last step was a success, or all. A truncation before step T counts as an abort.
        stream: integers that, with `seed`, the condition and the sample, decide the noise of a `noisy` environment
            (see the contract); None for episodes without its noise.

    Raises:
        EnvironmentFault: if the environment raises, hangs or dies, or returns a state, a first observation or a reward
            that is not finite, or a state or a first observation of another shape.
        PolicyError: if the policy's action is not finite, unless it `abstains`: then the episode ends there.
    """
    M, N, T, du = noise.shape
    observations = None
    if environment.observation_layout is not None and (observe or policy.observes != "state"):
        observations = ObservationLog.empty(T, M * N, Sight.of(environment), environment.observation_dtype)
    noisy = environment.noisy and stream is not None
    log = Log.empty(T, M * N, environment.single_observation_space.shape[0], du, observations, noisy)
    by_step = np.ascontiguousarray(noise.reshape(M * N, T, du).swapaxes(0, 1))
    starts = [condition for condition in conditions for _ in range(N)]
    for episodes in _split(M * N, environment.num_envs):
        group = _Group(environment, policy, log, M, N, episodes, whole_at, stream if noisy else None)
        group.run(starts[episodes], by_step[:, episodes], seed)
    space = environment.single_action_space
    return log.to_rollouts(noise, (log.wanted < space.low) | (log.wanted > space.high))


def _split(episodes: int, simulations: int) -> list[slice]:
    """The episodes that run at the same time."""
    return [slice(k, min(k + simulations, episodes)) for k in range(0, episodes, simulations)]


def _reset(
    environment: BatchEnvironment,
    starts: Sequence[Mapping[str, Any]],
    seed: int | None,
    observe: bool,
    numbers: Sequence[tuple[int, ...]] | None,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Start episodes in the first simulations: the states (B, dx) and the info.

    Args:
        numbers: of each episode, which decide the noise of the environment; None for no noise.
    """
    idle = environment.num_envs - len(starts)
    options: dict[str, Any] = {"conditions": [*starts, *[starts[-1]] * idle]}
    if idle:
        options["reset_mask"] = np.arange(environment.num_envs) < len(starts)
    if not observe and environment.observation_layout is not None:
        options["observe"] = False
    if numbers is not None:
        options["episodes"] = [*numbers, *[numbers[-1]] * idle]
    return environment.reset(seed=seed, options=options)


@dataclasses.dataclass
class _Group:
    """The episodes that run at the same time, n of M·N, in the first n of B simulations.

    Args:
        episodes: their numbers.
        stream: see `collect`.
    """

    environment: BatchEnvironment
    policy: Policy
    log: Log
    M: int
    N: int
    episodes: slice
    whole_at: WholeAt
    stream: Sequence[int] | None

    def run(self, starts: Sequence[Mapping[str, Any]], noise: Float[np.ndarray, "T n du"], seed: int) -> None:
        """Run them from `starts` and write the log."""
        environment, policy, log, episodes = self.environment, self.policy, self.log, self.episodes
        (T, n, du), B, space = noise.shape, environment.num_envs, environment.single_action_space
        never, alive = np.zeros(B, dtype=bool), np.ones(n, dtype=bool)
        inputs = log.view_inputs(self.M, policy.observes)  # zeros for the groups that did not run yet
        expected = B, log.states.shape[2]
        stage, t = "reset", 0
        try:
            state, info = _reset(environment, starts, seed, log.observations is not None, self._number_episodes())
            stage = "step"
            for t in range(T):
                if state.shape != expected or not isfinite(state.sum()):
                    raise EnvironmentFault(_describe_bad(state, expected, episodes, self.N, f"step {t}"))
                log.states[t, episodes], log.mask[t, episodes] = state[:n], alive
                if log.truth is not None:
                    log.truth[t, episodes] = info.get("state", state)[:n]
                if log.observations is not None:
                    alive = self._end(alive, t, *self._write_observations(log.observations, t, info))
                    if not alive.any():
                        break  # no action follows
                seen = pack_input([part[t] for part in inputs], policy.observes)
                mean = _act(policy, seen, t, (self.M, self.N, du))
                wanted = mean.reshape(self.M * self.N, du)[episodes] + noise[t]
                log.wanted[t, episodes] = wanted
                if not isfinite(wanted.sum()):
                    wanted, alive = self._check_actions(wanted, alive, t)
                    if not alive.any():
                        break
                if n < B:
                    wanted = np.concatenate([wanted, np.zeros((B - n, du))])
                state, rewards, terminated, truncated, info = environment.step(wanted)
                applied = info.get("applied_action")
                log.actions[t, episodes] = (np.clip(wanted, space.low, space.high) if applied is None else applied)[:n]
                if "success" in info:
                    log.success[t, episodes] = info["success"][:n]
                if "distance" in info:
                    log.distance[episodes] = np.where(alive, info["distance"][:n], log.distance[episodes])
                ended = (terminated | truncated)[:n]
                if ended.any():
                    self._record_ends(alive & ended, t, T, terminated[:n], info)
                    # The last step led to no ordinary transition where the simulation diverged.
                    log.mask[t, episodes] &= ~info.get("diverged", never)[:n]
                    alive &= ~ended
                log.rewards[t, episodes] = rewards[:n]
                if not isfinite(rewards.sum()):
                    self._check_rewards(rewards[:n], t)
                if not alive.any():
                    break
        except SimulationFault as fault:
            raise _locate(fault, episodes, self.N, "reset" if stage == "reset" else f"step {t}") from fault
        except GpsError:
            raise
        except Exception as error:
            message = f"the environment's {stage} raised at step {t}: {type(error).__name__}: {one_line(error)}"
            raise EnvironmentFault(message) from error

    def _number_episodes(self) -> list[tuple[int, ...]] | None:
        """What numbers each episode for the noise of the environment: the stream, its condition, its sample."""
        if self.stream is None:
            return None
        return [(*self.stream, *divmod(k, self.N)) for k in range(self.episodes.start, self.episodes.stop)]

    def _record_ends(
        self,
        ends: Bool[np.ndarray, "n"],
        t: int,
        T: int,
        terminated: Bool[np.ndarray, "n"],
        info: Mapping[str, Any],
    ) -> None:
        """Record which episodes are whole, and why others were ended from outside."""
        log, first = self.log, self.episodes.start
        aborted, diverged = info.get("abort"), info.get("diverged")
        for i in np.flatnonzero(ends):
            if aborted is not None and aborted[i]:
                log.aborts.append((first + i, t, aborted[i]))
            elif diverged is not None and diverged[i]:
                continue
            elif terminated[i]:
                whole = self.whole_at == "termination" or log.success[t, first + i] > 0
                log.finished[first + i] = whole and t + 1 < T
            elif t + 1 < T:
                length = t + 1
                why = f"the environment truncated the episode at step {length}; set environment.horizon = {length}"
                log.aborts.append((first + i, t, why))

    def _end(
        self, alive: Bool[np.ndarray, "n"], t: int, lost: Bool[np.ndarray, "n"], why: str
    ) -> Bool[np.ndarray, "n"]:
        """End the `lost` episodes before step t; the ones that are alive afterwards."""
        ends = alive & lost
        if not ends.any():
            return alive
        self.log.aborts.extend((self.episodes.start + i, t - 1, why) for i in np.flatnonzero(ends))
        alive = alive & ~lost
        self.log.mask[t, self.episodes] = alive
        if alive.any():
            idle = np.ones(self.environment.num_envs - len(alive), dtype=bool)
            self.environment.rest(np.concatenate([~alive, idle]))
        return alive

    def _write_observations(
        self, log: ObservationLog, t: int, info: Mapping[str, Any]
    ) -> tuple[Bool[np.ndarray, "n"], str]:
        """Write the observations at step t; True for each episode whose observation is unusable, and why.

        At the first step an unusable observation is a fault.
        """
        now, expected, when = info.get("observation"), (self.environment.num_envs, log.sight.width), f"step {t}"
        n = self.episodes.stop - self.episodes.start
        if now is None:
            raise EnvironmentFault(f'the environment has an observation_layout, but no info["observation"] at {when}')
        fits = now.shape == expected
        if fits and np.isfinite(now.sum()):
            log.write(t, self.episodes, now[:n])
            return np.zeros(n, dtype=bool), ""
        if t == 0:
            raise EnvironmentFault(_describe_bad(now, expected, self.episodes, self.N, when, "observation"))
        if not fits:
            return np.ones(n, dtype=bool), f"the observations have the shape {now.shape} in place of {expected}"
        bad = ~np.isfinite(now[:n]).all(axis=1)
        log.write(t, self.episodes, np.where(bad[:, None], 0, now[:n]))
        return bad, "the observation is not finite"

    def _check_actions(
        self, wanted: Float[np.ndarray, "n du"], alive: Bool[np.ndarray, "n"], t: int
    ) -> tuple[Float[np.ndarray, "n du"], Bool[np.ndarray, "n"]]:
        """End the episodes in which the policy abstains (all NaN); raise a PolicyError for other non-finite actions."""
        if why := self.policy.abstains:
            lost = ~np.isfinite(wanted).all(axis=1)
            alive = self._end(alive, t, lost, why)
            wanted[lost] = 0.0
        bad = np.flatnonzero(alive & ~np.isfinite(wanted).all(axis=1))
        if bad.size:
            where = _describe_place(self.episodes.start + bad[0], self.N, f"step {t}")
            raise PolicyError(
                f"the policy's action is not finite: {where}, entry {np.argmin(np.isfinite(wanted[bad[0]]))}"
            )
        return wanted, alive

    def _check_rewards(self, rewards: Float[np.ndarray, "n"], t: int) -> None:
        """Raise an EnvironmentFault if a reward that counts is not finite."""
        bad = np.flatnonzero(self.log.mask[t, self.episodes] & ~np.isfinite(rewards))
        if bad.size:
            where = _describe_place(self.episodes.start + bad[0], self.N, f"step {t}")
            raise EnvironmentFault(f"the environment returned the reward {rewards[bad[0]]}: {where}")


def _act(policy: Policy, seen: Any, t: int, shape: tuple[int, int, int]) -> Float[np.ndarray, "M N du"]:
    """The policy's actions; an exception of the policy, or another shape, becomes a PolicyError."""
    try:
        actions = np.asarray(policy.act(seen, t))
    except GpsError:
        raise
    except Exception as error:
        raise PolicyError(f"the policy raised at step {t}: {type(error).__name__}: {one_line(error)}") from error
    if actions.shape != shape:
        raise PolicyError(f"the policy's actions at step {t} have the shape {actions.shape}; expected {shape}")
    return actions


def _locate(fault: SimulationFault, episodes: slice, samples: int, when: str) -> EnvironmentFault:
    """The fault of a simulation, with its condition and sample."""
    return EnvironmentFault(f"{_describe_place(episodes.start + fault.simulation, samples, when)}: {fault.what}")


def _describe_place(episode: int, samples: int, when: str) -> str:
    return f"condition {episode // samples}, sample {episode % samples}, {when}"


def _describe_bad(
    array: np.ndarray, expected: tuple[int, ...], episodes: slice, samples: int, when: str, what: str = "state"
) -> str:
    """Describe the fault in states or observations."""
    if array.shape != expected:
        return f"the environment returned {what}s of shape {array.shape} at {when}, expected {expected}"
    row, entry = np.argwhere(~np.isfinite(array))[0]
    where = _describe_place(episodes.start + row, samples, when)
    return f"the environment returned a {what} that is not finite: {where}, entry {entry}"
