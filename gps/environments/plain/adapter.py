"""Run any plain Gymnasium environment as a batch of simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from gps.environments.contract import BatchEnvironment, Bools, Floats
from gps.environments.cpus import count_threads
from gps.environments.plain.processes import Processes
from gps.environments.plain.recipe import Recipe
from gps.environments.plain.simulation import InProcess, Outcome
from gps.errors import SimulationFault


class GymnasiumBatch(VectorEnv[Floats, Floats, NDArray[Any]], BatchEnvironment):
    """`num_envs` simulations of a plain Gymnasium environment that step in several processes.

    The state is the flattened observation, unless the environment separates them; see
    `gps.environments.plain.simulation`. A condition is a mapping: its `seed` (0 without one) seeds the reset, its other
    keys are the reset's options. After the end of its episode a simulation does not step until its reset, and keeps its
    last state. No number depends on the number of processes.

    Args:
        num_envs: number of simulations.
        recipe: how to make one.
        state: parts of the state, in order, or some entries of one (`"observation[0,2]"`); None for all parts.
        observation: the same for the observation; None for the state, unless the environment separates them.
        threads: number of processes; None takes the number in the variable `GPS_THREADS`, or without it one process
            for each CPU. With 1, or a recipe that another process cannot follow, the simulations step in this process,
            which cannot kill one.
        step_timeout: time limit of a step in seconds, after which its process is killed.

    Raises:
        ConfigError: if it cannot be made, its spaces are of another kind than `Box`, or a part is unknown.
    """

    single_observation_space: Box
    single_action_space: Box
    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED, "render_modes": []}  # noqa: RUF012
    seeded = True  # a condition's `seed` decides where it starts

    def __init__(
        self,
        num_envs: int,
        recipe: Recipe,
        *,
        state: Sequence[str] | None = None,
        observation: Sequence[str] | None = None,
        threads: int | None = None,
        step_timeout: float = 60.0,
    ) -> None:
        self.num_envs = num_envs
        text = recipe.to_text()
        self._simulations: InProcess | Processes
        self.render_mode = recipe.options.get("render_mode")
        if threads == 1 or text is None or self.render_mode is not None:  # it draws in this process
            self._simulations = InProcess(recipe, state, observation, num_envs)
        else:
            self._simulations = Processes(
                text, state, observation, num_envs, min(threads or count_threads(), num_envs), step_timeout
            )
        description = self._simulations.description
        self.max_episode_steps, self.dt = description.max_episode_steps, description.dt
        self.state_layout, dx = _lay_out(description.widths)
        do = 0
        if description.observation_widths is not None:
            self.observation_layout, do = _lay_out(description.observation_widths)
        self.observation_dtype = np.dtype(description.observation_dtype)
        self.observation_shapes = {part: tuple(shape) for part, shape in description.observation_shapes.items()}
        self.observation_pictures = tuple(description.observation_pictures)

        self._dtype = np.dtype(description.action_dtype)  # the environment's; the numbers here are float64
        self._low, self._high = np.array(description.low), np.array(description.high)
        self.single_observation_space = Box(-np.inf, np.inf, (dx,), np.float64)
        self.single_action_space = Box(self._low, self._high, dtype=np.float64)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._seen = np.zeros((num_envs, dx + do))  # states and, where there are any, observations
        self._dx = dx
        self._terminated, self._truncated, self._success, self._diverged = np.zeros((4, num_envs), dtype=bool)
        self._judged = np.zeros(num_envs, dtype=bool)  # True once an episode has reported success or failure
        self._alive = np.zeros(num_envs, dtype=bool)
        self._started = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start episodes.

        Args:
            seed: without effect: the conditions have seeds.
            options: `conditions`, a sequence of one mapping per simulation, or `condition`, one for all of them; and
                `reset_mask`, (num_envs,) bool: the other simulations do not step until their reset.

        Returns:
            The states, (num_envs, dx), and the info: `observation`, (num_envs, do), if that is not the state.

        Raises:
            SimulationFault: if a reset raises or hangs, or its process dies.
        """
        options = options or {}
        conditions = options.get("conditions", [options.get("condition", {})] * self.num_envs)
        if len(conditions) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} conditions, one per simulation, got {len(conditions)}")
        self._alive = np.array(options.get("reset_mask", np.ones(self.num_envs)), dtype=bool)
        for flags in (self._terminated, self._truncated, self._success, self._diverged, self._judged):
            flags[self._alive] = False
        self._started = True
        for i, seen in self._simulations.reset({i: conditions[i] for i in np.flatnonzero(self._alive).tolist()}):
            self._seen[i] = seen
        return self._seen[:, : self._dx].copy(), self._observe()

    def step(self, actions: ArrayLike) -> tuple[Floats, Floats, Bools, Bools, dict[str, Any]]:
        """Apply each action for one step.

        Args:
            actions: (num_envs, du); clipped to the limits of the action space and rounded to its type.

        Returns:
            States (num_envs, dx), rewards, terminations, truncations, and the info: `diverged`, (num_envs,) bool;
            `success`, the same, if an environment has reported it; `applied_action`, (num_envs, du), the environment's
            own `applied_action` if it reports one, or else the clipped actions; `action`, the same, if an environment
            has logged one; `abort`, a list of the reasons of aborts, "" without one; `observation` as in `reset`. After
            the end of its episode a simulation has a reward of 0.

        Raises:
            SimulationFault: if a step raises or hangs, its process dies, or its action is not finite.
            ValueError: for actions of another shape.
        """
        if not self._started:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        if np.shape(actions) != self.action_space.shape:
            raise ValueError(f"actions must have shape {self.action_space.shape}, got {np.shape(actions)}")
        with np.errstate(over="ignore"):  # a number too large for the type is beyond every limit
            applied = np.clip(actions, self._low, self._high).astype(self._dtype).astype(np.float64)
        stepped = np.flatnonzero(self._alive).tolist()
        for i in stepped:
            if not np.isfinite(applied[i]).all():
                raise SimulationFault(i, f"it was given the action {applied[i].tolist()}, which is not finite")
        rewards, aborts = np.zeros(self.num_envs), [""] * self.num_envs
        logged: dict[int, Floats] = {}
        for i, outcome in self._simulations.step({i: applied[i] for i in stepped}):
            self._take(i, outcome)
            rewards[i], aborts[i] = outcome.reward, outcome.abort
            if outcome.applied is not None:
                applied[i] = outcome.applied
            if outcome.logged is not None:
                logged[i] = outcome.logged
        self._alive &= ~(self._terminated | self._truncated)
        info = {"diverged": self._diverged.copy(), "applied_action": applied, "abort": aborts, **self._observe()}
        if logged:
            info["action"] = np.stack([logged.get(i, action) for i, action in enumerate(applied)])
        if self._judged.any():
            info["success"] = self._success.copy()
        return self._seen[:, : self._dx].copy(), rewards, self._terminated.copy(), self._truncated.copy(), info

    def render(self) -> tuple[Any, ...] | None:
        """Return what each simulation draws; None unless the environment was made with a `render_mode`."""
        return self._simulations.render() if isinstance(self._simulations, InProcess) else None

    def rest(self, mask: Bools) -> None:
        """Stop stepping these simulations, (num_envs,) bool, until their next reset."""
        self._alive &= ~mask

    def close_extras(self, **kwargs: Any) -> None:
        """Close the simulations and end their processes."""
        if "_simulations" in self.__dict__:  # it is missing if the constructor raised
            self._simulations.close()

    def _observe(self) -> dict[str, Any]:
        """The info's entry `observation`, if there is an observation."""
        return (
            {}
            if self.observation_layout is None
            else {"observation": self._seen[:, self._dx :].astype(self.observation_dtype)}
        )

    def _take(self, i: int, outcome: Outcome) -> None:
        """Record the outcome of a step of simulation `i`."""
        self._seen[i] = outcome.seen
        self._terminated[i] = outcome.terminated or bool(outcome.abort)
        self._truncated[i] = outcome.truncated
        self._success[i], self._judged[i] = bool(outcome.success), self._judged[i] or outcome.success is not None
        self._diverged[i] = outcome.diverged


def _lay_out(widths: Mapping[str, int]) -> tuple[dict[str, slice], int]:
    """The slice of each part, and the width of all together."""
    layout, end = {}, 0
    for part, width in widths.items():
        layout[part] = slice(end, end := end + width)
    return layout, end
