"""The contract of a batch environment: every member that the library uses, with its shape, unit and default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from gps.dynamics.velocity_filter import VelocityFilter
from gps.environments.parts import Layout, name_part
from gps.linear_gaussian.mechanics import Mechanics

if TYPE_CHECKING:
    import mujoco

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Entry(NamedTuple):
    """The name, the unit and the span of one entry of the state or the action.

    Units are SI symbols, such as `m`, `rad/s` or `N m`; "" if the entry has none or it is unknown. The span is the
    width of the interval in which it moves, such as a joint's range; NaN if it is unknown.
    """

    name: str
    unit: str = ""
    span: float = float("nan")


class BatchEnvironment(Protocol):
    """`num_envs` simulations that step together: a Gymnasium vector environment with a named state.

    An environment derives from it and inherits the defaults: `class MyEnv(VectorEnv, BatchEnvironment)`. It must set
    `num_envs`, `single_observation_space`, `single_action_space` and `state_layout`, and define `reset` and `step`.

    Attributes:
        num_envs: number of simulations, B.
        single_observation_space: the space of one state, (dx,) float64.
        single_action_space: the space of one action, (du,) floats; its limits clip the actions.
        metadata: Gymnasium's; `autoreset_mode`, if it is there, must be `AutoresetMode.DISABLED`, and `render_fps` is
            the frame rate of a video where `dt` is NaN.
        render_mode: "rgb_array" if `render` returns a picture of each simulation, else None.
        state_layout: the slice of each named part in the state; the slices cover its dx entries.
        observation_layout: the slice of each part in the observation, (do,), which is what a policy sees; None where
            the observation is the state.
        observation_shapes: the shape of each part of the observation before it was flattened. It must have the
            pictures.
        observation_pictures: the parts of the observation that are pictures, (height, width, channels), 0 to 255.
        references: the parts of the observation that depend on the step of an episode alone, such as a point to follow:
            their values in the steps 0, 1, ... of an episode, (steps, width), at least as many as it has. A policy
            that is trained in a model of the state knows them there; other parts of the observation it may not have.
        observation_dtype: the type of an array of observations: uint8 for pictures alone, float32 for pictures among
            other parts, else float64.
        mechanics: the place of positions and velocities in the state; None if it is unknown.
        dt: control period in seconds; NaN if it is unknown.
        max_episode_steps: the environment's own time limit in control steps; None without a limit.
        seeded: True if a condition may have a `seed` that decides where its episodes start.
        sensor_noise: standard deviation of the noise on each entry of the state, (dx,) or one number; 0 where it is
            exact or nothing is known.
        filter: what made the state from the measurements, if its velocities are estimated; None if they are measured.
        noisy: True if episodes from the same start differ by noise: `reset` then takes the option `episodes`.
    """

    num_envs: int
    single_observation_space: Box
    single_action_space: Box
    metadata: dict[str, Any] = {}  # noqa: RUF012  (Gymnasium's own declaration)
    render_mode: str | None = None
    state_layout: Layout
    observation_layout: Layout | None = None
    observation_shapes: Mapping[str, tuple[int, ...]] = {}
    observation_pictures: tuple[str, ...] = ()
    references: Mapping[str, Floats] = {}
    observation_dtype: np.dtype[Any] = np.dtype(np.float64)
    mechanics: Mechanics | None = None
    dt: float = float("nan")
    max_episode_steps: int | None = None
    seeded: bool = False
    sensor_noise: Floats | float = 0.0
    filter: VelocityFilter | None = None
    noisy: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """The files from which its model was read, by their absolute paths; a run keeps copies of them."""
        return ()

    @property
    def state_entries(self) -> tuple[Entry, ...]:
        """The name and unit of each entry of the state, dx of them; here `PART[i]` from the layout, without units."""
        return name_entries(self.state_layout, self.single_observation_space.shape[0])

    @property
    def observation_entries(self) -> tuple[Entry, ...]:
        """The name and unit of each number of the observation, without its pictures; see `state_entries`."""
        if self.observation_layout is None:
            return self.state_entries
        numbers = [part for part in self.observation_layout if part not in self.observation_pictures]
        widths = {part: self.observation_layout[part].stop - self.observation_layout[part].start for part in numbers}
        return tuple(Entry(name) for part, width in widths.items() for name in name_part(part, width))

    @property
    def action_entries(self) -> tuple[Entry, ...]:
        """The name and unit of each entry of the action, du of them; here `action[i]`, without units."""
        du = self.single_action_space.shape[0]
        return name_entries({"action": slice(0, du)}, du)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start episodes.

        Args:
            seed: for an environment that is random itself; a condition says where an episode starts.
            options: `conditions`, a sequence of B mappings; `reset_mask`, (B,) bool, if only some simulations start
                an episode (the others are not used until their next reset); and `observe`, False if the caller does
                not read the observations until the next reset. `observe` comes only with an `observation_layout`.
                To a `noisy` environment also `episodes`, B tuples of integers: the noise of an episode depends on
                `seed` and its tuple alone. Without them there is no noise.

        Returns:
            The states, (B, dx), and the info: `observation`, (B, do), with an `observation_layout`; `action`, (B, du),
            if known, the actions that are in effect at the start; `state` as in `step`.

        Raises:
            ValueError: for a condition that the environment does not understand.
        """
        ...

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Apply the actions, (B, du), for one control period.

        Returns:
            States (B, dx), rewards (B,), terminations (B,) bool, truncations (B,) bool, and the info. All entries of
            the info are optional, but for `observation`, (B, do), with an `observation_layout`: `applied_action`,
            (B, du), the actions as applied, without which they count as clipped to the action space; `success`, (B,)
            bool; `distance`, (B,), to the goal, in metres; `diverged`, (B,) bool; `abort`, B sentences, each the reason
            why an episode was ended, or ""; from a `noisy` environment `state`, (B, dx), the states without sensor
            noise. Terminated by a success, an episode is whole. An entry `action` is a mere log: it is compared with
            the applied actions by `gps check`.
        """
        ...

    def render(self) -> tuple[Any, ...] | None:
        """Return a picture of each simulation, (height, width, 3) uint8, if `render_mode` is "rgb_array"."""
        return None

    def close(self, **kwargs: Any) -> None:
        """Release everything that the environment holds."""
        return None

    def rest(self, mask: Bools) -> None:
        """Stop stepping some simulations, (B,) bool, until their next reset: the caller has ended their episodes.

        Here it does nothing: the simulations go on and the caller ignores them.
        """
        return None

    def holding_action(self, i: int) -> Floats | None:
        """Return the action that keeps simulation `i` where it has been reset to, (du,); None if it is unknown."""
        return None

    def snapshot(self, i: int) -> tuple[mujoco.MjModel, mujoco.MjData] | None:
        """Return copies of simulation `i`, MuJoCo's model and data, to draw or to inspect; None if it has none."""
        return None


def name_entries(layout: Layout, width: int) -> tuple[Entry, ...]:
    """Name each of `width` entries after its part, without units; see `gps.environments.parts.name_part`."""
    result = [Entry(f"[{i}]") for i in range(width)]
    for part, where in layout.items():
        result[where] = [Entry(name) for name in name_part(part, where.stop - where.start)]
    return tuple(result)


_MEMBERS = tuple(
    dict.fromkeys(
        [
            *BatchEnvironment.__annotations__,
            *(name for name in vars(BatchEnvironment) if not name.startswith("_")),
        ]
    )
)
"""The names of the contract's members."""


def list_missing_members(environment: object) -> list[str]:
    """The names of the contract's members that an environment lacks, in order; empty if it satisfies the contract."""
    there = set(dir(environment))  # it finds a property without evaluating it; `hasattr` finds a forwarded attribute
    missing = [name for name in _MEMBERS if name not in there and not hasattr(environment, name)]
    cls = type(environment)
    undefined = (VectorEnv, BatchEnvironment)  # their `reset` and `step` are placeholders
    own = {name for c in cls.__mro__ if c not in undefined for name in vars(c)}
    return missing + [name for name in ("reset", "step") if name not in missing and name not in own]
