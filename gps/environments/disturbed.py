"""The disturbances of a real system: noise, delay, a rate limit, a model that differs from episode to episode."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from gps.environments.contract import BatchEnvironment, Entry, Floats
from gps.environments.parts import Layout, PartError, find_entries, require_distinct, whole
from gps.environments.wrapper import Wrapper

LAST_ACTION = "last_action"
"""The part of the state that holds the latest commands."""

Redraw = Callable[[Mapping[str, Any], np.random.Generator], Mapping[str, Any]]
"""`redraw(condition, rng)`: the condition of an episode with the changes that are drawn for it."""


@dataclasses.dataclass(frozen=True)
class Disturbance:
    """The sizes of the disturbances of an environment with states (dx,), actions (du,) and observations (do,).

    Args:
        state: standard deviation of the sensor noise on each entry of the state, in its unit.
        observation: the same for the observation, besides what it shows of the state; None if it is the state.
        measured: the entry of the state that each entry of the observation shows, with its noise; -1 for none.
        action: standard deviation of the noise on each action, in its unit.
        delay: control steps from a command to its effect.
        rate: largest change of each command from one control step to the next, in its unit; infinite without a limit.
    """

    state: Floats
    action: Floats
    rate: Floats
    delay: int = 0
    observation: Floats | None = None
    measured: np.ndarray | None = None

    @property
    def blurs_actions(self) -> bool:
        """True if the applied actions are not the commands of the same step."""
        return self.delay > 0 or bool(self.action.any())


class Disturbed(Wrapper):
    """A batch environment with sensor noise, action noise, a delay and a rate limit of actions, and a random model.

    A command is the action that a controller wants, within the limits of the action space and of the rate. It takes
    effect `delay` steps later, with noise; `info["applied_action"]` is the command, because a controller knows no more.
    The returned states are measured, with noise; `info["state"]` are the true ones, from which the inner environment
    computes its reward, its ends and its success.

    The part `last_action` of the state holds the commands that a controller must remember: the newest max(1, delay),
    newest first. With it a delayed or rate-limited system is a Markov process. It has no noise. Before the first
    command it holds the action that is in effect at the start: `info["applied_action"]` of the inner `reset`, or else
    0, or the limit that is nearest to 0.

    The noise of an episode depends on the `seed` of `reset` and its numbers in the option `episodes` alone, not on the
    batch, the time at which it runs, or the other disturbances. Without numbers there is no noise, and no random model.

    Args:
        env: the inner environment.
        disturbance: the sizes, for the inner environment's states.
        state, observation: parts, in order, those of the inner environment and `last_action`; None for the inner
            environment's own.
        redraw: draws the model of each episode, see `Redraw`; None for the model as it is.

    Raises:
        PartError: if a part is unknown or listed twice.
    """

    def __init__(
        self,
        env: BatchEnvironment,
        disturbance: Disturbance,
        state: Sequence[str] | None = None,
        observation: Sequence[str] | None = None,
        redraw: Redraw | None = None,
    ) -> None:
        super().__init__(env)
        self._disturbance, self._redraw = disturbance, redraw
        space, B = env.single_action_space, env.num_envs
        self._low, self._high = np.asarray(space.low, float), np.asarray(space.high, float)
        du = len(self._low)
        self._commands = np.zeros((B, max(1, disturbance.delay), du))  # newest first
        remembered = self._commands[0].size
        (dx,) = env.single_observation_space.shape
        self._own = np.flatnonzero(np.zeros(0) if disturbance.observation is None else disturbance.observation > 0)
        draws = disturbance.state.any() or disturbance.action.any() or self._own.size
        self._draws = du + dx + len(self._own) if draws else 0  # numbers that an episode draws in a step
        self._generators: list[np.random.Generator | None] = [None] * B
        self.noisy = env.noisy or bool(draws) or redraw is not None

        entries, self.state_layout = _arrange(state, "state", env.state_layout, dx, remembered)
        self._entries = entries
        inner = np.broadcast_to(np.asarray(env.sensor_noise, float), dx)
        self.sensor_noise = np.concatenate([np.hypot(inner, disturbance.state), np.zeros(remembered)])[entries]
        self._state_entries = tuple([*env.state_entries, *self._name_commands()][i] for i in entries)
        self.set_spaces(Box(-np.inf, np.inf, (len(entries),), np.float64), space)
        if (own := env.mechanics) is not None:
            position, velocity = (_move(part, entries) for part in (own.position, own.velocity))
            self.mechanics = dataclasses.replace(own, position=position, velocity=velocity)
        if env.observation_layout is not None:
            do = sum(part.stop - part.start for part in env.observation_layout.values())
            of = "observation"
            self._seen, self.observation_layout = _arrange(observation, of, env.observation_layout, do, remembered)
            kept = {part: shape for part, shape in env.observation_shapes.items() if part in self.observation_layout}
            mine = {part: (s.stop - s.start,) for part, s in self.observation_layout.items() if part not in kept}
            self.observation_shapes = {**kept, **mine}
            if mine or self._own.size:
                self.observation_dtype = np.promote_types(env.observation_dtype, np.float32)

    @property
    def state_entries(self) -> tuple[Entry, ...]:
        """The inner environment's, and for a command `last_action:NAME` in the unit of the action."""
        return self._state_entries

    def _name_commands(self) -> list[Entry]:
        return [
            Entry(f"{LAST_ACTION}:{entry.name}" + (f"[t-{age}]" if age > 1 else ""), entry.unit)
            for age in range(1, self._commands.shape[1] + 1)
            for entry in self.env.action_entries
        ]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start episodes; see the contract about the option `episodes`."""
        options = dict(options or {})
        started = np.asarray(options.get("reset_mask", np.ones(self.num_envs, bool)))
        numbers = options.get("episodes", [None] * self.num_envs)
        if not self.env.noisy:
            options.pop("episodes", None)
        conditions = list(options.get("conditions", [options.get("condition", {})] * self.num_envs))
        for i in np.flatnonzero(started).tolist():
            self._generators[i] = rng = None if numbers[i] is None else _make_generator(seed, numbers[i])
            if self._redraw is not None and rng is not None:
                conditions[i] = self._redraw(conditions[i], rng)
        if self._redraw is not None:
            options.pop("condition", None)
            options["conditions"] = conditions
        states, info = self.env.reset(seed=seed, options=options)
        begun = info.get("applied_action", np.zeros_like(self._commands[:, 0]))
        self._commands[started] = np.clip(begun, self._low, self._high)[started, None]
        return self._measure(states, info, self._draw())

    def step(self, actions: Floats) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Send commands, and apply those whose time has come; `info` has the commands and the true states."""
        size, newest = self._disturbance, self._commands[:, 0]
        commands = np.clip(np.asarray(actions, np.float64), self._low, self._high)
        commands = np.clip(commands, newest - size.rate, newest + size.rate)
        applied = self._commands[:, -1] if size.delay else commands
        draws = self._draw()
        if draws is not None:
            applied = applied + size.action * draws[:, : len(self._low)]
        states, rewards, terminated, truncated, info = self.env.step(applied)
        if not size.blurs_actions:  # what the inner environment made of them, such as rounded numbers
            commands = info.get("applied_action", commands)
        self._commands = np.concatenate([commands[:, None], self._commands[:, :-1]], axis=1)
        states, info = self._measure(states, {**info, "applied_action": commands}, draws)
        return states, rewards, terminated, truncated, info

    def _draw(self) -> Floats | None:
        """Standard normal numbers for one step of each simulation, (B, du + dx + own); None without noise."""
        if not self._draws or all(rng is None for rng in self._generators):
            return None
        silence = np.zeros(self._draws)
        return np.array([silence if rng is None else rng.standard_normal(self._draws) for rng in self._generators])

    def _measure(self, states: Floats, info: dict[str, Any], draws: Floats | None) -> tuple[Floats, dict[str, Any]]:
        """The states as measured, and the info with the true ones and with the observations as measured."""
        size, du = self._disturbance, len(self._low)
        memory = self._commands.reshape(self.num_envs, -1)
        info["state"] = np.concatenate([states, memory], axis=1)[:, self._entries]
        measured = states if draws is None else states + size.state * draws[:, du : du + states.shape[1]]
        if "observation" in info:
            info["observation"] = self._observe(info["observation"], measured, draws, memory)
        return np.concatenate([measured, memory], axis=1)[:, self._entries], info

    def _observe(self, seen: np.ndarray, measured: Floats, draws: Floats | None, memory: Floats) -> np.ndarray:
        """The observations as measured, with the same noise as the state where they show the same."""
        size = self._disturbance
        if draws is not None and size.observation is not None and size.measured is not None:
            seen = seen.astype(self.observation_dtype)
            du_dx = len(self._low) + measured.shape[1]
            shared = np.flatnonzero(size.measured >= 0)
            seen[:, shared] = measured[:, size.measured[shared]]
            seen[:, self._own] += size.observation[self._own] * draws[:, du_dx:]
        if len(self._seen) > seen.shape[1]:
            seen = np.concatenate([seen, memory.astype(self.observation_dtype)], axis=1)[:, self._seen]
        return seen


def _make_generator(seed: int | None, numbers: Sequence[int]) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed or 0, spawn_key=tuple(numbers)))


def _arrange(
    parts: Sequence[str] | None, of: str, inner: Layout, width: int, remembered: int
) -> tuple[list[int], dict[str, slice]]:
    """The entries of [inner; commands] that the parts name, in order, and the slice of each part."""
    known = {**inner, LAST_ACTION: slice(width, width + remembered)}
    entries: list[int] = []
    layout: dict[str, slice] = {}
    try:
        require_distinct(parts or ())
        for part in inner if parts is None else parts:
            chosen = find_entries(part, known)
            layout[part] = slice(len(entries), len(entries) + len(chosen))
            entries += chosen
    except ValueError as error:
        raise PartError(of, str(error)) from None
    return entries, layout


def _move(part: slice, entries: list[int]) -> slice:
    """The new place of a part whose entries stay together."""
    first = entries.index(part.start)
    return slice(first, first + part.stop - part.start)


def names_last_action(parts: Sequence[str] | None) -> bool:
    """True if `last_action`, or some entries of it, is among the parts."""
    return any(whole(part) == LAST_ACTION for part in parts or ())
