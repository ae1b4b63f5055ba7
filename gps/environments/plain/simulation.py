"""One plain Gymnasium environment as flat numbers: the members that a sampler needs.

The state is the observation, flattened: a `Box` is one part, `observation`; a `Dict` has its keys as parts, in order,
and dots join the keys of nested ones. A `Dict` with exactly the keys `state` and `observation` separates what a
controller sees from what a policy sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from gps.environments import log_file
from gps.environments.contract import Floats
from gps.environments.parts import find_entries, require_distinct, whole
from gps.environments.plain.recipe import Recipe, describe_exception
from gps.errors import ConfigError, SimulationFault

Condition = Mapping[str, Any]

MAX_STATE = 1000
"""A longer state is refused: local models hold matrices of its square for each time step."""


class Outcome(NamedTuple):
    """The result of a step."""

    seen: Floats  # (dx + do,); those before the step if it ended the episode with numbers that are not finite
    reward: float
    terminated: bool
    truncated: bool
    success: bool | None  # None if the environment does not report it
    diverged: bool
    abort: str  # the environment's reason to end the episode, or ""
    applied: Floats | None  # (du,) the action as applied; None if the environment does not report it
    logged: Floats | None  # (du,) the info's `action`, whatever it means; None without one of the action's shape


@dataclass(frozen=True)
class Description:
    """The facts about an environment before it runs, all of them plain JSON.

    Attributes:
        widths: number of entries of each part of the state, in order.
        observation_widths: the same for the observation; None if that is the state.
        observation_shapes: the shape of each part in the observation, before it was flattened.
        observation_pictures: the parts of the observation that are pictures: bytes of (height, width, channels).
        observation_dtype: uint8 if all parts are bytes, float32 if some are, else float64.
        low, high: limits of the flattened action.
        action_dtype: type of the action space.
        max_episode_steps: its own time limit; None without one.
        dt: control period in seconds; NaN if it is unknown.
    """

    widths: dict[str, int]
    observation_widths: dict[str, int] | None
    observation_shapes: dict[str, list[int]]
    observation_pictures: list[str]
    observation_dtype: str
    low: list[float]
    high: list[float]
    action_dtype: str
    max_episode_steps: int | None
    dt: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Simulation:
    """One environment.

    Args:
        recipe: how to make it.
        state: the parts of the state, in order, or some entries of one (`"observation[0,2]"`); None for all parts.
        observation: the same for the observation; None for the state, unless the environment separates them.

    Raises:
        ConfigError: if it cannot be made, its spaces are of another kind than `Box`, or a part is unknown.
    """

    def __init__(
        self, recipe: Recipe, state: Sequence[str] | None = None, observation: Sequence[str] | None = None
    ) -> None:
        self._env = env = recipe.make()
        log_file.switch_off()
        try:
            if not isinstance(env, gymnasium.Env):
                raise ConfigError(f"environment.id: {recipe.name!r} is a {type(env).__name__}, not a gymnasium.Env")
            self._action_space = _require_action_space(env, recipe.name)
            self._spaces = _find_parts(env, recipe.name)
            if set(self._spaces) == {"state", "observation"}:
                state, observation = state or ["state"], observation or ["observation"]
            self._chosen, widths = _choose(self._spaces, state or list(self._spaces), "state", recipe.name)
            observation_widths = None
            controlled = {self._whole(part) for part in state or self._spaces}
            self._only_seen = {self._whole(part) for part in observation or ()} - controlled
            if observation is not None:
                seen, observation_widths = _choose(self._spaces, observation, "observation", recipe.name)
                self._chosen = np.concatenate([self._chosen, seen])
            self._seen = np.zeros(len(self._chosen))
            self.description = Description(
                widths,
                observation_widths,
                _find_shapes(self._spaces, observation_widths or {}),
                _find_pictures(env, self._spaces, observation_widths or {}),
                _find_dtype(env, self._spaces, observation_widths or {}),
                self._action_space.low.astype(np.float64).ravel().tolist(),
                self._action_space.high.astype(np.float64).ravel().tolist(),
                str(self._action_space.dtype),
                _find_limit(env),
                _find_period(env),
            )
        except BaseException:
            env.close()
            raise

    def reset(self, condition: Condition) -> Floats:
        """Start an episode: the condition's `seed` (0 without one) seeds it, its other keys are the options.

        Returns:
            The state and, if it is another one, the observation, (dx + do,).
        """
        options = dict(condition)
        observation, _ = self._env.reset(seed=options.pop("seed", 0), options=options or None)
        self._seen = self._flatten(observation)
        return self._seen

    def step(self, action: Floats) -> Outcome:
        """Apply an action, (du,), that the action space's type holds exactly.

        A part whose shape is not that of its space ends the episode, if only the policy sees it.

        Raises:
            ValueError: if it is a part of the state.
        """
        space = self._action_space
        observation, reward, terminated, truncated, info = self._env.step(
            action.astype(space.dtype).reshape(space.shape)
        )
        success = info.get("success", info.get("is_success"))
        success = None if success is None else bool(success)
        applied, logged = _read_action(info, "applied_action", space), None
        if np.asarray(info.get("action")).shape == space.shape:
            logged = _read_action(info, "action", space)
        try:
            seen = self._flatten(observation)
        except _OtherShape as error:
            if error.part not in self._only_seen:
                raise
            return Outcome(self._seen, _read_reward(reward), False, True, success, False, str(error), applied, logged)
        terminated, truncated = bool(terminated), bool(truncated)
        finite = bool(np.isfinite(seen).all())
        if finite or not (terminated or truncated):
            self._seen = seen
        return Outcome(
            self._seen,
            _read_reward(reward),
            terminated,
            truncated,
            success,
            bool(info.get("diverged", False)) or ((terminated or truncated) and not finite),
            _read_reason(info.get("abort")),
            applied,
            logged,
        )

    def render(self) -> Any:
        return self._env.render()

    def close(self) -> None:
        self._env.close()

    def _whole(self, part: str) -> str:
        """The part without its choice of entries."""
        return part if part in self._spaces else whole(part)

    def _flatten(self, observation: Any) -> Floats:
        """Return the chosen entries of an observation of the environment, (dx + do,)."""
        pieces = []
        for name, (path, shape) in self._spaces.items():
            value = observation
            for key in path:
                value = value[key]
            piece = np.asarray(value, np.float64)
            if piece.shape != shape:
                raise _OtherShape(name, piece.shape, shape)
            pieces.append(piece.ravel())
        return np.concatenate(pieces)[self._chosen]


class _OtherShape(ValueError):
    """The shape of a part is not that of its space."""

    def __init__(self, part: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
        super().__init__(f"{part!r} has the shape {shape}, and its space says {expected}")
        self.part = part


class InProcess:
    """Several simulations in this process, stepped one after another."""

    def __init__(
        self, recipe: Recipe, state: Sequence[str] | None, observation: Sequence[str] | None, count: int
    ) -> None:
        self._all: list[Simulation] = []
        try:
            for _ in range(count):
                self._all.append(Simulation(recipe, state, observation))
        except BaseException:
            self.close()
            raise
        self.description = self._all[0].description

    def reset(self, conditions: Mapping[int, Condition]) -> Iterator[tuple[int, Floats]]:
        """Start episodes; yield the index of each simulation and its first numbers.

        Raises:
            SimulationFault: if one raises.
        """
        for i, condition in conditions.items():
            yield i, _call(i, "reset", self._all[i].reset, condition)

    def step(self, actions: Mapping[int, Floats]) -> Iterator[tuple[int, Outcome]]:
        """Step some simulations; yield the index and the outcome of each.

        Raises:
            SimulationFault: if one raises.
        """
        for i, action in actions.items():
            yield i, _call(i, "step", self._all[i].step, action)

    def render(self) -> tuple[Any, ...]:
        """Return what each simulation draws."""
        return tuple(simulation.render() for simulation in self._all)

    def close(self) -> None:
        while self._all:
            self._all.pop().close()


def _call(i: int, what: str, function: Any, argument: Any) -> Any:
    """Call a function of simulation `i`; what it raises becomes a SimulationFault."""
    try:
        return function(argument)
    except Exception as error:
        raise SimulationFault(i, describe_fault(what, error)) from error


def describe_fault(what: str, error: Exception) -> str:
    """Describe the exception of an environment's `what`, "reset" or "step"."""
    return f"the environment's {what} raised {describe_exception(error)}"


# -- spaces ------------------------------------------------------------------------------------------------------------


def _require_action_space(env: gymnasium.Env, name: str) -> Box:
    """Return the action space; ConfigError if it is not a Box of floats."""
    space = env.action_space
    if not isinstance(space, Box) or space.dtype.kind != "f":
        raise ConfigError(
            f"environment.id: {name!r} has the action space {space}; a controller gives real numbers, "
            "so it must be a Box of floats"
        )
    return space


def _find_parts(env: gymnasium.Env, name: str) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Find the keys and the shape of each part of the observation."""
    parts: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {}

    def visit(space: gymnasium.Space, path: tuple[str, ...]) -> None:
        if isinstance(space, Dict):
            for key, inner in space.spaces.items():
                visit(inner, (*path, key))
        elif isinstance(space, Box):
            parts[".".join(path) or "observation"] = path, space.shape
        else:
            where = f" at {'.'.join(path)!r}" if path else ""
            raise ConfigError(
                f"environment.id: {name!r} has the observation space {space}{where}; a state is real numbers, "
                "so it must be a Box, or a Dict of them"
            )

    visit(env.observation_space, ())
    return parts


def _choose(
    spaces: Mapping[str, Any], parts: Sequence[str], of: str, name: str
) -> tuple[NDArray[np.intp], dict[str, int]]:
    """Choose the entries of the state or the observation; return their indices and the width of each part."""
    layout: dict[str, slice] = {}
    start = 0
    for part, (_, shape) in spaces.items():
        layout[part] = slice(start, start := start + int(np.prod(shape)))
    try:
        require_distinct(parts)
        chosen = {part: find_entries(part, layout) for part in parts}
    except ValueError as error:
        raise ConfigError(f"environment.{of}: {error}") from None
    indices = np.array([i for part in chosen.values() for i in part], dtype=np.intp)
    if not len(indices):
        raise ConfigError(f"environment.{of}: the {of} of {name!r} is empty; choose among {list(layout)}")
    if of == "state" and len(indices) > MAX_STATE:
        raise ConfigError(
            f"environment.state: the state of {name!r} has {len(indices)} entries, and local models take 1 to "
            f'{MAX_STATE}; choose among {list(layout)}, or some entries: "{next(iter(layout), "part")}[0,2]"'
        )
    return indices, {part: len(those) for part, those in chosen.items()}


def _find_shapes(spaces: Mapping[str, Any], widths: Mapping[str, int]) -> dict[str, list[int]]:
    """The shape of each part: that of its space, or the number of entries if only some are chosen."""
    return {part: list(spaces[part][1]) if part in spaces else [width] for part, width in widths.items()}


def _find_pictures(env: gymnasium.Env, spaces: Mapping[str, Any], parts: Iterable[str]) -> list[str]:
    """The parts that are pictures: bytes of three dimensions."""
    return [part for part in parts if part in spaces and len(spaces[part][1]) == 3 and _holds_bytes(env, spaces, part)]


def _find_dtype(env: gymnasium.Env, spaces: Mapping[str, Any], parts: Iterable[str]) -> str:
    """The type of an array with these parts."""
    bytes_ = [_holds_bytes(env, spaces, part) for part in parts]
    return "float64" if not any(bytes_) else "uint8" if all(bytes_) else "float32"


def _holds_bytes(env: gymnasium.Env, spaces: Mapping[str, Any], part: str) -> bool:
    """True if a part, or the part whose entries it chooses, holds bytes."""
    space: Any = env.observation_space
    for key in spaces[part if part in spaces else whole(part)][0]:
        space = space[key]
    return space.dtype == np.uint8


def _find_limit(env: gymnasium.Env) -> int | None:
    """The environment's time limit in steps: that of a `TimeLimit`, its specification's, or its own attribute's."""
    declared = None if env.spec is None else env.spec.max_episode_steps
    limits = [_read_attribute(env, "max_episode_steps") if declared is None else declared]
    wrapped = env
    while isinstance(wrapped, gymnasium.Wrapper):
        if isinstance(wrapped, TimeLimit):
            limits.append(wrapped._max_episode_steps)
        wrapped = wrapped.env
    return min((int(limit) for limit in limits if limit is not None), default=None)


def _find_period(env: gymnasium.Env) -> float:
    """The environment's `dt` in seconds; NaN without one."""
    dt = _read_attribute(env, "dt")
    return float(dt) if isinstance(dt, int | float | np.number) else float("nan")


def _read_attribute(env: gymnasium.Env, name: str) -> Any:
    """An attribute that the innermost environment may have; None without it."""
    inner = env.unwrapped
    return inner.get_wrapper_attr(name) if inner.has_wrapper_attr(name) else None


def _read_reward(reward: Any) -> float:
    """The reward as a number; ValueError if it is an array of several."""
    array = np.asarray(reward, np.float64)
    if array.size != 1:
        raise ValueError(f"the reward has the shape {array.shape}, expected a number")
    return float(array.item())


def _read_action(info: Mapping[str, Any], key: str, space: Box) -> Floats | None:
    """The info's entry as an action, (du,); None without one. ValueError if its shape is not that of an action."""
    if key not in info:
        return None
    action = np.asarray(info[key], np.float64)
    if action.shape != space.shape:
        raise ValueError(f'info["{key}"] has the shape {action.shape}, and an action has {space.shape}')
    return action.ravel()


def _read_reason(abort: Any) -> str:
    """The reason of an abort, from the info's `abort`: a sentence or a bool; "" without an abort."""
    if isinstance(abort, str):
        return abort
    return "the environment asked for it" if abort else ""
