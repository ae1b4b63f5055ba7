"""Rollouts of a policy in a batch of simulations, one action at a time.

The episodes of all conditions run in groups as large as the batch: a batch that has room for all of them runs them at
once, one of a single simulation (a robot) runs one after another. The policy is asked for all episodes each time,
so an episode has the same bits in either way.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8

from gps.environments.contract import BatchEnvironment
from gps.errors import EnvironmentFault, GpsError, PolicyError, SimulationFault, one_line
from gps.observations import Pixels, Sight
from gps.records import Abort, Rollouts
from gps.sampling.policy import Policy, StatesAndObservations


def read_starts(environment: BatchEnvironment, conditions: Sequence[Mapping]) -> Float[np.ndarray, "M dx"]:
    """The state in which each condition starts: the environment is reset to each of them.

    Raises:
        EnvironmentFault: as of `collect`.
        ValueError: if the environment does not understand a condition.
    """
    states = np.zeros((len(conditions), environment.single_observation_space.shape[0]))
    for group in _groups(len(states), environment.num_envs):
        try:
            states[group] = _reset(environment, conditions[group], None, False)[0][: group.stop - group.start]
        except SimulationFault as fault:
            raise _named(fault, group, 1, "reset") from fault
    if not np.isfinite(states).all():
        raise EnvironmentFault(_describe_bad_state(states, states.shape, slice(0, None), 1, "reset"))
    return states


def collect(
    environment: BatchEnvironment,
    policy: Policy,
    conditions: Sequence[Mapping],
    noise: Float[np.ndarray, "M N T du"],
    seed: int,
    observe: bool = True,
) -> Rollouts:
    """Run N episodes from each of M conditions, with `noise` added to the policy's actions.

    An episode that ends (terminated, truncated, aborted or diverged) keeps its rows up to there and is masked
    afterwards; so does one whose observation, after the first, has another shape than was declared or is not finite.
    With M·N simulations or more, episode m·N + n, sample n of condition m, runs in the simulation of that number, and
    those that are left over are not reset.

    Args:
        observe: whether to record the observations of an environment that has an `observation_layout`, which may take
            time (pictures); those that the policy acts on are recorded anyway.

    Raises:
        EnvironmentFault: if the environment raises, hangs or dies, or returns a state, a first observation or a reward
            that is not finite, or a state or a first observation of another shape.
        PolicyError: if the policy's action is not finite, unless it `abstains`: then the episode ends there.
    """
    M, N, T, du = noise.shape
    episodes = M * N
    log = _Log.empty(T, episodes, environment.single_observation_space.shape[0], du)
    if environment.observation_layout is not None and (observe or policy.observes != "state"):
        log = log.observing(Sight.of(environment), environment.observation_dtype)
    noise_by_step = np.ascontiguousarray(noise.reshape(episodes, T, du).swapaxes(0, 1))
    starts = [condition for condition in conditions for _ in range(N)]
    for group in _groups(episodes, environment.num_envs):
        _run(environment, policy, (M, N), group, starts[group], noise_by_step[:, group], seed, log)
    space = environment.single_action_space
    return log.rollouts(noise, (log.wanted < space.low) | (log.wanted > space.high))


class _Log(NamedTuple):
    """What happened: a row for each step, a column for each episode."""

    states: Float[np.ndarray, "T MN dx"]
    wanted: Float[np.ndarray, "T MN du"]
    actions: Float[np.ndarray, "T MN du"]
    rewards: Float[np.ndarray, "T MN"]
    success: Num[np.ndarray, "T MN"]  # 1 for yes, 0 for no, -1 where the environment does not tell
    mask: np.ndarray
    aborts: list[tuple[int, int, str]]  # episode, step, reason
    sight: Sight | None = None  # None where there are no observations, or nobody wants them
    observations: Num[np.ndarray, "T MN do"] | None = None
    images: UInt8[np.ndarray, "T MN H W C"] | None = None

    @classmethod
    def empty(cls, T: int, episodes: int, dx: int, du: int) -> "_Log":
        shape = T, episodes
        flags = np.full(shape, -1, dtype=np.int8), np.zeros(shape, dtype=bool)
        return cls(np.zeros((*shape, dx)), np.zeros((*shape, du)), np.zeros((*shape, du)), np.zeros(shape), *flags, [])

    def observing(self, sight: Sight, dtype: np.typing.DTypeLike) -> "_Log":
        """The same with room for observations, `dtype` that of those without pictures."""
        shape, numbers = self.mask.shape, len(sight.numbers)
        if sight.image_shape is None:
            return self._replace(sight=sight, observations=np.zeros((*shape, numbers), dtype))
        images = np.zeros((*shape, *sight.image_shape), np.uint8)
        return self._replace(sight=sight, observations=np.zeros((*shape, numbers)), images=images)

    def record(self, t: int, group: slice, observations: Float[np.ndarray, "n do"]) -> None:
        """Put down the observations of a group at step t."""
        self.observations[t, group] = self.sight.vector(observations)
        if self.images is not None:
            self.images[t, group] = self.sight.image(observations)

    def seen(self, M: int, observes: str) -> tuple[np.ndarray, ...]:
        """Live views, (T, M, N, ...), of what a policy that `observes` this or that sees, for `_packed`."""
        observed = tuple(part for part in (self.images, self.observations) if part is not None) or (self.states,)
        parts = {"state": (self.states,), "observation": observed, "both": (self.states, *observed)}[observes]
        return tuple(part.reshape(len(part), M, part.shape[1] // M, *part.shape[2:]) for part in parts)  # may be empty

    def rollouts(self, noise: Float[np.ndarray, "M N T du"], clipped: np.ndarray) -> Rollouts:
        M, N, _, du = noise.shape
        mask = self.mask

        def by_condition(array):
            array[~mask] = 0  # in place: of pictures, a copy is much
            return np.ascontiguousarray(array.swapaxes(0, 1)).reshape(M, N, *array.shape[:1], *array.shape[2:])

        saturated = by_condition(clipped).sum(axis=(1, 2, 3)) / np.maximum(by_condition(mask).sum(axis=(1, 2)) * du, 1)
        return Rollouts(
            by_condition(self.states), by_condition(self.actions), noise, by_condition(self.rewards),
            by_condition(self.success > 0).astype(bool) if (self.success >= 0).any() else None,
            by_condition(mask).astype(bool), saturated,
            tuple(Abort(i // N, i % N, t, reason) for i, t, reason in self.aborts),
            None if self.observations is None else by_condition(self.observations),
            None if self.images is None else by_condition(self.images),
        )  # fmt: skip


def _packed(parts: Sequence[np.ndarray], observes: str) -> np.ndarray | Pixels | StatesAndObservations:
    """What a policy is given, of the parts that `_Log.seen` tells."""
    if observes == "both":
        return StatesAndObservations(parts[0], _packed(parts[1:], "observation"))
    return Pixels(*parts) if len(parts) > 1 else parts[0]


def _groups(episodes: int, simulations: int) -> list[slice]:
    """The episodes that run at the same time."""
    return [slice(k, min(k + simulations, episodes)) for k in range(0, episodes, simulations)]


def _reset(environment: BatchEnvironment, starts: Sequence[Mapping], seed: int | None, observe: bool):
    """Start episodes in the first simulations: the states (B, dx) and the info."""
    idle = environment.num_envs - len(starts)
    options: dict = {"conditions": [*starts, *[starts[-1]] * idle]}
    if idle:
        options["reset_mask"] = np.arange(environment.num_envs) < len(starts)
    if not observe and environment.observation_layout is not None:
        options["observe"] = False
    return environment.reset(seed=seed, options=options)


def _run(environment, policy, count, group, starts, noise, seed, log) -> None:
    """Run a group of the `count` = (M, N) episodes, from `starts` and with `noise` (T, n, du) of their own."""
    (M, N), (T, n, du), B = count, noise.shape, environment.num_envs
    never = np.zeros(B, dtype=bool)
    alive = np.ones(n, dtype=bool)
    seen = log.seen(M, policy.observes)  # of the groups whose turn has not come: zeros
    expected = B, log.states.shape[2]
    what, t = "reset", 0
    try:
        state, info = _reset(environment, starts, seed, log.sight is not None)
        what = "step"
        for t in range(T):
            if state.shape != expected or not isfinite(state.sum()):
                raise EnvironmentFault(_describe_bad_state(state, expected, group, N, f"step {t}"))
            log.states[t, group], log.mask[t, group] = state[:n], alive
            if log.sight is not None:
                alive = _ended(environment, log, t, group, alive, *_note(log, t, group, info, N, B))
                if not alive.any():
                    break  # no action follows
            mean = _act(policy, _packed([part[t] for part in seen], policy.observes), t, (M, N, du))
            wanted = mean.reshape(M * N, du)[group] + noise[t]
            log.wanted[t, group] = wanted
            if not isfinite(wanted.sum()):
                if why := policy.abstains:
                    lost = ~np.isfinite(wanted).all(axis=1)
                    alive = _ended(environment, log, t, group, alive, lost, why)
                    if not alive.any():
                        break
                    wanted[lost] = 0.0
                _check_actions(wanted, alive, group, N, t)
            if n < B:
                wanted = np.concatenate([wanted, np.zeros((B - n, du))])
            state, rewards, terminated, truncated, info = environment.step(wanted)
            log.actions[t, group] = info.get("action", wanted)[:n]
            if "success" in info:
                log.success[t, group] = info["success"][:n]
            ended = (terminated | truncated)[:n]
            if ended.any():
                log.aborts.extend(
                    (group.start + i, t, info["abort"][i])
                    for i in np.flatnonzero(ended & alive) if info.get("abort", never)[i]
                )  # fmt: skip
                # What the last step led to is no ordinary transition when the simulation diverged.
                log.mask[t, group] &= ~info.get("diverged", never)[:n]
                alive &= ~ended
            log.rewards[t, group] = rewards[:n]
            if not isfinite(rewards.sum()):
                _check_rewards(rewards[:n], log.mask[t, group], group, N, t)
            if not alive.any():
                break
    except SimulationFault as fault:
        raise _named(fault, group, N, "reset" if what == "reset" else f"step {t}") from fault
    except GpsError:
        raise
    except Exception as error:
        message = f"the environment's {what} raised at step {t}: {type(error).__name__}: {error}"
        raise EnvironmentFault(message) from error


def _act(policy, seen, t, shape: tuple[int, int, int]) -> Float[np.ndarray, "M N du"]:
    """The policy's actions; an exception of the policy, or another shape, becomes a PolicyError."""
    try:
        actions = np.asarray(policy.act(seen, t))
    except GpsError:
        raise
    except Exception as error:
        text = one_line(error)
        raise PolicyError(f"the policy raised at step {t}: {type(error).__name__}: {text}") from error
    if actions.shape != shape:
        raise PolicyError(f"the policy's actions at step {t} have the shape {actions.shape}; expected {shape}")
    return actions


def _ended(environment, log, t, group, alive, lost, why) -> Bool[np.ndarray, "n"]:
    """Those of a group's episodes that are alive once the `lost` ones have ended before step t, and why they did."""
    ends = alive & lost
    if not ends.any():
        return alive
    log.aborts.extend((group.start + i, t - 1, why) for i in np.flatnonzero(ends))
    alive = alive & ~lost
    log.mask[t, group] = alive
    if alive.any():
        environment.rest(np.concatenate([~alive, np.ones(environment.num_envs - len(alive), dtype=bool)]))
    return alive


def _note(log, t, group, info, samples, simulations) -> tuple[Bool[np.ndarray, "n"], str]:
    """Record the observations of a group at step t; which of them nobody can go on with, and why.

    Those that are not what was declared, or not finite, are a fault at the first step; later they end their episodes.
    """
    now, expected, when = info.get("observation"), (simulations, log.sight.width), f"step {t}"
    n = group.stop - group.start
    if now is None:
        raise EnvironmentFault(f'the environment has an observation_layout, but no info["observation"] at {when}')
    fits = now.shape == expected
    if fits and np.isfinite(now.sum()):
        log.record(t, group, now[:n])
        return np.zeros(n, dtype=bool), ""
    if t == 0:
        raise EnvironmentFault(_describe_bad_state(now, expected, group, samples, when, "observation"))
    if not fits:
        return np.ones(n, dtype=bool), f"the observations have the shape {now.shape} in place of {expected}"
    bad = ~np.isfinite(now[:n]).all(axis=1)
    log.record(t, group, np.where(bad[:, None], 0, now[:n]))
    return bad, "the observation is not finite"


def _check_actions(actions, alive, group, samples, t) -> None:
    """A fault if an action of an episode that goes on is not finite."""
    bad = np.flatnonzero(alive & ~np.isfinite(actions).all(axis=1))
    if bad.size:
        where, entry = _place(group.start + bad[0], samples, f"step {t}"), np.argmin(np.isfinite(actions[bad[0]]))
        raise PolicyError(f"the policy's action is not finite: {where}, entry {entry}")


def _check_rewards(rewards, mask, group, samples, t) -> None:
    """A fault if a reward that counts is not finite."""
    bad = np.flatnonzero(mask & ~np.isfinite(rewards))
    if bad.size:
        where = _place(group.start + bad[0], samples, f"step {t}")
        raise EnvironmentFault(f"the environment returned the reward {rewards[bad[0]]}: {where}")


def _named(fault: SimulationFault, group: slice, samples: int, when: str) -> EnvironmentFault:
    """A simulation's fault, told of its sample."""
    return EnvironmentFault(f"{_place(group.start + fault.simulation, samples, when)}: {fault.what}")


def _place(episode: int, samples: int, when: str) -> str:
    return f"condition {episode // samples}, sample {episode % samples}, {when}"


def _describe_bad_state(state, expected, group, samples, when, what="state") -> str:
    if state.shape != expected:
        return f"the environment returned {what}s of shape {state.shape} at {when}, expected {expected}"
    row, entry = np.argwhere(~np.isfinite(state))[0]
    where = _place(group.start + row, samples, when)
    return f"the environment returned a {what} that is not finite: {where}, entry {entry}"
