"""Any plain Gymnasium environment as a batch of simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from gps.environments.cpus import default_threads
from gps.environments.plain.processes import Processes
from gps.environments.plain.recipe import Recipe
from gps.environments.plain.simulation import Floats, InProcess, Outcome
from gps.errors import SimulationFault

Bools = NDArray[np.bool_]


class GymnasiumBatch(VectorEnv[Floats, Floats, NDArray[Any]]):
    """`num_envs` simulations of a plain Gymnasium environment, stepped in several processes.

    The state is the flattened observation, unless the environment tells one from the other; see
    `gps.environments.plain.simulation`. A condition is a mapping: its `seed` (0 without one) seeds the reset, its other keys
    are the reset's options. An episode that has ended is not stepped any more until it is reset, and keeps its last
    state. No number depends on how many processes there are.

    Args:
        num_envs: number of simulations.
        recipe: how to make one.
        state: parts of the state, in order, or some entries of one (`"observation[0,2]"`); None for the usual.
        observation: the same of what a policy sees; None for the state, unless the environment tells them apart.
        threads: processes to spread the simulations over; None takes as many as the variable `GPS_THREADS` says, else
            one for each CPU. 1, or a recipe that another process cannot follow, steps them in this process, where none
            can be killed.
        step_timeout: seconds after which a simulation that has not finished a step is killed.

    Attributes:
        state_layout: the slice of each part in the state.
        observation_layout: the slice of each part in the observation; None where that is the state.
        observation_shapes: the shape of each part in the observation, before it was flattened.
        observation_pictures: the parts of the observation that are bytes of (height, width, channels).
        observation_dtype: uint8 where all of it is, float32 where some is, else float64.
        max_episode_steps: the environment's own time limit; None without one.
        dt: control period in seconds; NaN where it is unknown.
        mechanics: None: nothing is known of what moves.

    Raises:
        ConfigError: if it cannot be made, its spaces are of another kind than `Box`, or a part is unknown.
    """

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.DISABLED, "render_modes": []}
    mechanics = None
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
        if threads == 1 or text is None or self.render_mode is not None:  # pictures stay in this process
            self._simulations = InProcess(recipe, state, observation, num_envs)
        else:
            self._simulations = Processes(
                text, state, observation, num_envs, min(threads or default_threads(), num_envs), step_timeout
            )
        described = self._simulations.description
        self.max_episode_steps, self.dt = described.max_episode_steps, described.dt
        self.state_layout, dx = _laid_out(described.widths)
        self.observation_layout, do = None, 0
        if described.observation_widths is not None:
            self.observation_layout, do = _laid_out(described.observation_widths)
        self.observation_dtype = np.dtype(described.observation_dtype)
        self.observation_shapes = {part: tuple(shape) for part, shape in described.observation_shapes.items()}
        self.observation_pictures = tuple(described.observation_pictures)

        self._dtype = np.dtype(described.action_dtype)  # of the environment; the numbers here are float64
        self._low, self._high = np.array(described.low), np.array(described.high)
        self.single_observation_space = Box(-np.inf, np.inf, (dx,), np.float64)
        self.single_action_space = Box(self._low, self._high, dtype=np.float64)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._seen = np.zeros((num_envs, dx + do))  # states and, where there are any, observations
        self._dx = dx
        self._terminated, self._truncated, self._success, self._diverged = np.zeros((4, num_envs), dtype=bool)
        self._judged = np.zeros(num_envs, dtype=bool)  # whether the environment has told of success in this episode
        self._alive = np.zeros(num_envs, dtype=bool)
        self._started = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start episodes.

        Args:
            seed: without effect: a condition says everything.
            options: `conditions`, a sequence of one mapping per simulation, or `condition`, one for all of them; and
                `reset_mask`, (num_envs,) bool: the other simulations rest until they are reset.

        Returns:
            The states, (num_envs, dx), and the info: `observation`, (num_envs, do), where that is not the state.

        Raises:
            SimulationFault: if the reset of one raises, hangs, or its process dies.
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
        return self._seen[:, : self._dx].copy(), self._observed()

    def step(self, actions: ArrayLike) -> tuple[Floats, Floats, Bools, Bools, dict[str, Any]]:
        """Apply the actions, each once.

        Args:
            actions: (num_envs, du); clipped to the limits of the action space and rounded to its type.

        Returns:
            States (num_envs, dx), rewards, terminations, truncations, and the info: `diverged`, (num_envs,) bool;
            `success`, the same, where an environment has told of it; `action`, (num_envs, du), the actions as applied;
            `abort`, a list of why each episode was ended from outside, empty where it was not; `observation` as of
            `reset`. What has ended has a reward of 0.

        Raises:
            SimulationFault: if the step of one raises, hangs, or its process dies, or its action is not finite.
            ValueError: for actions of another shape.
        """
        if not self._started:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        if np.shape(actions) != self.action_space.shape:
            raise ValueError(f"actions must have shape {self.action_space.shape}, got {np.shape(actions)}")
        with np.errstate(over="ignore"):  # what is too large for the type is beyond every limit
            applied = np.clip(actions, self._low, self._high).astype(self._dtype).astype(np.float64)
        stepped = np.flatnonzero(self._alive).tolist()
        for i in stepped:
            if not np.isfinite(applied[i]).all():
                raise SimulationFault(i, f"it was given the action {applied[i].tolist()}, which is not finite")
        rewards, aborts = np.zeros(self.num_envs), [""] * self.num_envs
        for i, outcome in self._simulations.step({i: applied[i] for i in stepped}):
            self._take(i, outcome)
            rewards[i], aborts[i] = outcome.reward, outcome.abort
            if outcome.action is not None:
                applied[i] = outcome.action
        self._alive &= ~(self._terminated | self._truncated)
        info = {"diverged": self._diverged.copy(), "action": applied, "abort": aborts, **self._observed()}
        if self._judged.any():
            info["success"] = self._success.copy()
        return self._seen[:, : self._dx].copy(), rewards, self._terminated.copy(), self._truncated.copy(), info

    def render(self) -> tuple[Any, ...] | None:
        """What each simulation draws; None unless the environment was made with a `render_mode`."""
        return self._simulations.render() if isinstance(self._simulations, InProcess) else None

    def rest(self, mask: Bools) -> None:
        """Do not step these, (num_envs,) bool, until they are reset: their episodes were ended from outside."""
        self._alive &= ~mask

    def close_extras(self, **kwargs: Any) -> None:
        """Close the simulations and end their processes."""
        if hasattr(self, "_simulations"):  # it is missing when the constructor raised
            self._simulations.close()

    def _observed(self) -> dict[str, Any]:
        return (
            {}
            if self.observation_layout is None
            else {"observation": self._seen[:, self._dx :].astype(self.observation_dtype)}
        )

    def _take(self, i: int, outcome: Outcome) -> None:
        self._seen[i] = outcome.seen
        self._terminated[i] = outcome.terminated or bool(outcome.abort)
        self._truncated[i] = outcome.truncated
        self._success[i], self._judged[i] = bool(outcome.success), self._judged[i] or outcome.success is not None
        self._diverged[i] = outcome.diverged


def _laid_out(widths: Mapping[str, int]) -> tuple[dict[str, slice], int]:
    """The slice of each part, and the width of all together."""
    layout, end = {}, 0
    for part, width in widths.items():
        layout[part] = slice(end, end := end + width)
    return layout, end
