"""Any MuJoCo model as a Gymnasium vector environment whose simulations step together on one thread pool.

The *state* is a list of named parts of the simulation, read at the new time after every step. A *condition*
is a mapping that fixes the start of an episode exactly: joint positions and velocities, and changes of the model
(where a body stands, its mass). Nothing is random unless a subclass makes it so: randomness belongs to the caller.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from mujoco.batch import Batch, SimulationError
from numpy.typing import ArrayLike, NDArray

from gps.environments.contract import BatchEnvironment, Bools, Entry, Floats
from gps.environments.cpus import count_threads
from gps.environments.mujoco.cameras import Cameras
from gps.environments.mujoco.conditions import KEYS, Condition, Conditions
from gps.environments.mujoco.divergence import Divergence
from gps.environments.mujoco.entries import name_actions, name_state
from gps.environments.mujoco.files import list_files
from gps.environments.mujoco.goal import Goal
from gps.environments.mujoco.holding import find_holding_action
from gps.environments.mujoco.loading import load_model, locate_model
from gps.environments.mujoco.mechanics import find_mechanics
from gps.environments.mujoco.names import suggest
from gps.environments.mujoco.parts import DERIVED, PartReader
from gps.environments.mujoco.resetting import read_options
from gps.environments.mujoco.stages import STAGE_NONE, STAGE_VEL
from gps.environments.mujoco.starts import Start

MOST_FRAME_SKIP = 1000
"""The most physics steps per control step: more are a slip, and a step would take seconds."""

MOST_PIXELS = 1024
"""The largest width and height of a picture."""


class MujocoEnv(VectorEnv[Floats, Floats, NDArray[Any]], BatchEnvironment):
    """`num_envs` simulations of one MJCF model that step together.

    `state` and `observation` list parts in any order:

    | part | meaning |
    |---|---|
    | `qpos`, `qvel`, `act` | all joint positions (m, rad; quaternions raw), velocities, activations |
    | `qpos:JOINT`, `qvel:JOINT` | those of one joint |
    | `site_position:SITE` | world position of a site, m |
    | `site_position:SITE-TARGET` | the same relative to another site, in world axes: zero at the target |
    | `site_position:SITE-[x, y, z]` | the same relative to a point of the world |
    | `site_velocity:SITE` | world linear velocity of a site, m/s |
    | `sensor:NAME` | a sensor of the model |
    | `image:CAMERA` | a camera's picture, (height, width, 3) flattened, 0 to 255; only in observations |
    | `PART[0,2]`, `PART[xy]` | some entries of a part, counted from 0, or x, y, z |

    A controller sees the state. A policy sees the observation, if `observation` is given, else the state as well.

    `gps.environments.mujoco.conditions` lists the keys of a condition. Whatever a condition does not mention has the
    model's own value, also if the episode before had another one.

    A simulation *diverges* when its numbers leave ±1e10, MuJoCo warns of bad positions, velocities,
    accelerations or controls (a NaN action, for one), or MuJoCo raises an error. It then keeps its last
    finite state, counts as terminated, and does not step again until its reset; the others go on
    undisturbed.

    Subclasses may override `reward`, `terminated`, `at_goal` or `success`, define condition keys of their
    own with `condition_keys` and `resolve`, and another start with `default_start`. Without an `at_goal` or a `success`
    of its own an environment reports no success.

    Args:
        num_envs: number of simulations.
        mjcf: path of an MJCF or URDF file, or the XML itself. A relative path is looked up beside the module that
            defines the environment's class, then in the experiment's folder; in a script, which has neither, in the
            working directory.
        state: the parts of the state, in order; None for `qpos`, `qvel`, and `act` if the model has activations.
        observation: the parts of the observation, in order; None if the policy sees the state.
        image_size: width and height of pictures, pixels.
        frame_skip: physics steps per control step.
        keyframe: the name of the model's keyframe that is the default start; None for `start` or `home`, or else the
            reference pose at rest.
        actuators: actuators to add to the model, see `gps.environments.mujoco.actuators.add_actuators`.
        success: what success means, for a class without an `at_goal` of its own.
        threads: worker threads; None takes the number in the variable `GPS_THREADS`, or without it every CPU that this
            process may use. No number depends on it.
        max_episode_steps: control steps after which an episode is truncated; None for never.

    Attributes:
        model: the compiled `mujoco.MjModel`, with the model's own values.
        file: the path of the model; None if it was given as XML.
        batch: the `mujoco.batch.Batch` that steps.
        nsubsteps: physics steps per control step.
        mechanics: None if the state lacks the whole `qpos` or `qvel`, or has quaternions.

    The other attributes are those of `BatchEnvironment`.

    Raises:
        ValueError: for a model that cannot be read or compiled, an unknown name, or a number out of range.
    """

    single_observation_space: Box
    single_action_space: Box

    condition_keys: ClassVar[tuple[str, ...]] = ()
    """Condition keys that a subclass adds; `resolve` turns them into `MujocoEnv`'s own."""

    hold: ClassVar[float] = 0.0
    """Success means that a simulation has been at its goal for this many seconds without a break."""

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED, "render_modes": []}  # noqa: RUF012

    _least_stage: ClassVar[int] = STAGE_VEL
    """The least stage that MuJoCo computes after each step. This one keeps `site` current."""

    _start_stage: ClassVar[int] = STAGE_VEL
    """The same after a reset."""

    _keeps_data: bool = True
    """True if each simulation keeps its own mjData: a step then goes on from the stages computed before it."""

    def __init__(
        self,
        num_envs: int = 1,
        *,
        mjcf: str | os.PathLike[str],
        state: Sequence[str] | None = None,
        observation: Sequence[str] | None = None,
        image_size: Sequence[int] = (64, 64),
        frame_skip: int = 1,
        keyframe: str | None = None,
        actuators: Mapping[str, Any] | None = None,
        success: Goal | None = None,
        threads: int | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        _require_counts(num_envs=num_envs, frame_skip=frame_skip, threads=threads, max_episode_steps=max_episode_steps)
        if frame_skip > MOST_FRAME_SKIP:
            raise ValueError(f"frame_skip must be at most {MOST_FRAME_SKIP}, got {frame_skip}")
        self.num_envs, self.nsubsteps, self.max_episode_steps = num_envs, frame_skip, max_episode_steps
        if len(image_size) != 2 or not 1 <= min(image_size) <= max(image_size) <= MOST_PIXELS:
            raise ValueError(f"image_size must be a width and a height in pixels, 1 to {MOST_PIXELS}, got {image_size}")
        parts = *(state or ()), *(observation or ())
        found = locate_model(mjcf, type(self))
        self.file = Path(os.path.abspath(found)) if isinstance(found, Path) else None
        self.model = model = load_model(found, parts, actuators)
        if state is None:
            state = ("qpos", "qvel", "act") if model.na else ("qpos", "qvel")
            parts = *state, *parts
        self.dt = float(model.opt.timestep) * frame_skip
        persistent = self._keeps_data or any(part.partition(":")[0] in DERIVED for part in parts)
        self.batch = Batch(model, num_envs, min(threads or count_threads(), num_envs), persistent=persistent)
        self._qpos, self._qvel, self._ctrl = map(self.batch.bind, ("qpos", "qvel", "ctrl"))
        self._cameras = Cameras(self.batch, (image_size[0], image_size[1]))
        self._lay_out(state, observation)
        self._make_spaces()
        self.mechanics = find_mechanics(model, self.state_layout, self.dt)

        self._conditions = Conditions(self.batch, keyframe)
        self._divergence = Divergence(self.batch, max(self._stage, self._start_stage))
        self._states: Floats | None = None  # as last returned; None until the first reset
        self._observing = False  # whether the info has observations
        self._observations: NDArray[Any] | None = None  # as last returned
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._limit = np.inf if max_episode_steps is None else max_episode_steps
        self._goal = self._find_goal(success)
        self._within = np.nan if success is None else success.within
        self._stays_successful = success is not None and success.stays
        self._held = np.zeros(num_envs, dtype=np.int64)  # consecutive states at the goal
        self._hold_steps = max(1, round((self.hold if success is None else success.hold) / self.dt))

    def _lay_out(self, state: Sequence[str], observation: Sequence[str] | None) -> None:
        """Resolve the parts of the state and the observation and set the attributes that describe them."""
        own = self._bind()
        reader = self._reader = PartReader(self.batch, self._cameras, self._least_stage, own)
        self._state = reader.resolve(state, "state")
        self._observation = None if observation is None else reader.resolve(observation, "observation")
        self._stage = reader.stage
        self.state_layout = self._state.layout
        self._state_entries = name_state(
            self.model, self.state_layout, {part: reader.whole(part) for part in state}, own
        )
        self._observation_entries = self._state_entries
        self._action_entries = name_actions(self.model)
        if self._observation is not None:
            layout = self.observation_layout = self._observation.layout
            numbers = {part: where for part, where in layout.items() if not part.startswith("image:")}
            wholes = {part: reader.whole(part) for part in numbers}
            self._observation_entries = name_state(self.model, numbers, wholes, own)
            self.observation_pictures = tuple(p for p in layout if p.startswith("image:") and reader.whole(p) == p)
            self.observation_shapes = {
                part: self._cameras.shape if part in self.observation_pictures else (where.stop - where.start,)
                for part, where in layout.items()
            }
            self.observation_dtype = self._observation.dtype

    def _find_goal(self, success: Goal | None) -> Callable[[], Floats] | None:
        """Return a function that gives each simulation's distance from the goal of `success` now, (num_envs,), m."""
        if success is None:
            return None
        cls = type(self)
        if cls.at_goal is not MujocoEnv.at_goal or cls.success is not MujocoEnv.success:
            raise ValueError(f"success: {cls.__name__} says itself what success is; leave one of the two out")
        site, target = self._reader.span(success.distance, "success.distance")
        if target is None:
            raise ValueError(
                f"success.distance: {success.distance!r} has no target: write SITE-TARGET, or SITE-[x, y, z] in metres"
            )
        origin = target
        return lambda: np.linalg.norm(site - origin, axis=1)

    def _make_spaces(self) -> None:
        """Set the spaces; controls without limits have infinite ones."""
        limited = self.model.actuator_ctrllimited.astype(bool)
        self._low = np.where(limited, self.model.actuator_ctrlrange[:, 0], -np.inf)
        self._high = np.where(limited, self.model.actuator_ctrlrange[:, 1], np.inf)
        self.single_observation_space = Box(-np.inf, np.inf, (self._state.width,), np.float64)
        self.single_action_space = Box(self._low, self._high, dtype=np.float64)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    # -- to be overridden --------------------------------------------------------------------------------

    def reward(self, states: Floats, actions: Floats) -> Floats:
        """The reward of each simulation, (num_envs,), for its arrival in `states` by the applied `actions`."""
        return np.zeros(self.num_envs)

    def terminated(self, states: Floats) -> Bools:
        """True for each simulation whose episode ends in `states`, (num_envs,). Divergence ends an episode anyway."""
        return np.zeros(self.num_envs, dtype=bool)

    def at_goal(self, states: Floats) -> Bools:
        """True for each simulation that is at its goal now, (num_envs,)."""
        return np.zeros(self.num_envs, dtype=bool) if self._goal is None else self._goal() <= self._within

    def success(self) -> Bools | None:
        """True for each simulation that has been at its goal for `hold` seconds, (num_envs,); None without a goal."""
        if type(self).at_goal is MujocoEnv.at_goal and self._goal is None:
            return None
        return self._held >= self._hold_steps

    def resolve(self, condition: Condition) -> Condition:
        """Translate a condition that may use `condition_keys` into one of `MujocoEnv`'s own keys."""
        return condition

    def default_start(self, condition: Condition) -> tuple[Floats, Floats]:
        """The `qpos` and `qvel` of the start, if the condition does not override them."""
        return self._conditions.qpos, self._conditions.qvel

    # -- what it consists of -----------------------------------------------------------------------------

    @property
    def files(self) -> tuple[Path, ...]:
        """The model's file and all that it needs."""
        return () if self.file is None else list_files(self.file)

    # -- names and units ---------------------------------------------------------------------------------

    @property
    def state_entries(self) -> tuple[Entry, ...]:
        """The name and unit of each entry of the state, such as `qpos:elbow` in rad."""
        return self._state_entries

    @property
    def observation_entries(self) -> tuple[Entry, ...]:
        """The name and unit of each number of the observation, without its pictures."""
        return self._observation_entries

    @property
    def action_entries(self) -> tuple[Entry, ...]:
        """The name and unit of each entry of the action: the actuators' names; see `name_actions` about units."""
        return self._action_entries

    # -- Gymnasium ---------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start episodes.

        Args:
            seed: seeds `np_random` and nothing more: a condition fixes the start exactly.
            options: `conditions`, a sequence of one mapping per simulation, or `condition`, one for all of
                them; `reset_mask`, (num_envs,) bool, False for the simulations that stay where they are; and `observe`,
                False to leave out the observations until the next reset (default: True).

        Returns:
            The states, (num_envs, dx), and the info: `success` if the environment reports it, `action`,
            (num_envs, du), the controls at the start, and `observation`, (num_envs, do), if that is not the state.

        Raises:
            ValueError: names the condition, its key and what is wrong; nothing has been changed then.
        """
        if self.closed:
            raise gymnasium.error.ClosedEnvironmentError("the environment has been closed")
        super().reset(seed=seed)
        ids, conditions, observing = read_options(options or {}, self.num_envs, self._states is not None)
        starts = self._find_starts(ids, conditions, seed)
        self._conditions.write_models(ids, starts)
        self._cameras.forget_models(ids)
        self.batch.reset(ids, keyframe=np.array([start.keyframe for start in starts], int), stage=STAGE_NONE)
        self._conditions.write_starts(ids, starts)
        self.batch.forward(ids, stage=max(self._stage, self._start_stage))
        self._record_start(ids)

        self._elapsed[ids] = 0
        self._held[ids] = 0
        self._divergence.clear(ids)
        states = self._states = self._divergence.keep_last(self._state.read(), self._states)
        self._observing = observing
        self._held[ids] = self.at_goal(states)[ids]
        return states.copy(), {**self._report_success(), "applied_action": self._ctrl.copy(), **self._observe()}

    def step(self, actions: ArrayLike) -> tuple[Floats, Floats, Bools, Bools, dict[str, Any]]:
        """Apply the actions for one control period.

        Args:
            actions: (num_envs, du); clipped to the limits of the actuators.

        Returns:
            States (num_envs, dx), rewards, terminations (`terminated`, or the simulation has diverged),
            truncations, and the info: `diverged`, (num_envs,) bool, `applied_action`, (num_envs, du), and `success` and
            `observation` as in `reset`.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
            ValueError: for actions of another shape.
        """
        if self._states is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        actions = np.asarray(actions)
        if actions.shape != self._ctrl.shape:
            raise ValueError(f"actions must have shape {self._ctrl.shape}, got {actions.shape}")
        applied = np.minimum(np.maximum(actions, self._low, dtype=np.float64), self._high)
        self._ctrl[...] = applied
        failed = np.zeros(self.num_envs, dtype=bool)
        if not isfinite(applied.sum()):
            failed = ~np.isfinite(applied).all(axis=1)
            self._ctrl[failed] = 0.0  # the step is undone below: MuJoCo would write a warning to a file for each

        divergence = self._divergence
        divergence.save()
        self._advance(actions, failed)
        states = self._state.read()
        if failed.any() or not divergence.is_ruled_out(states):
            self._freeze(failed, states)
        states = self._states = divergence.keep_last(states, self._states)

        self._elapsed += 1
        at_goal = self.at_goal(states)
        if self._stays_successful:
            at_goal = at_goal | (self._held > 0)
        self._held += 1
        self._held *= at_goal
        diverged = divergence.diverged.copy()
        truncated = self._elapsed >= self._limit
        rewards, terminated, info = self._judge(states, applied)
        own = {"diverged": diverged, "applied_action": applied}
        info = {**self._report_success(~diverged), **own, **self._observe(), **info}
        return states.copy(), rewards, terminated | diverged, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Release the simulations and their threads; the environment cannot be used afterwards."""
        self._states = None
        if "_cameras" in self.__dict__:  # some attributes are missing if the constructor raised
            self._cameras.close()
        # The batch lives as long as something refers to it or to its arrays.
        views = "_qpos", "_qvel", "_ctrl", "_state", "_observation", "_goal"
        for name in ("batch", "_conditions", "_cameras", "_reader", "_divergence", *views):
            self.__dict__.pop(name, None)

    # -- a step, in pieces -------------------------------------------------------------------------------

    def _record_start(self, ids: NDArray[np.int32]) -> None:
        """Record what a subclass needs of the simulations `ids`, which have just been reset."""

    def _advance(self, actions: NDArray[Any], failed: Bools) -> None:
        """Run one control period of physics with the controls of the `actions`, and mark the simulations that fail."""
        self._compute(failed, self.batch.step, nstep=self.nsubsteps, stage=self._stage)

    def _freeze(self, failed: Bools, states: Floats) -> None:
        """Undo the step of the simulations that `failed` or have gone wrong, and stop them."""
        self._divergence.freeze(failed, states)

    def _judge(self, states: Floats, applied: Floats) -> tuple[Floats, Bools, dict[str, Any]]:
        """Return the rewards, the terminations and more info for a step that led to `states`."""
        return self.reward(states, applied), self.terminated(states), {}

    def _report_success(self, sound: Bools | bool = True) -> dict[str, Any]:
        """The info's entries `success`, False for simulations that are not `sound`, and `distance`, if it has them."""
        success = self.success()
        distance = {} if self._goal is None else {"distance": self._goal()}
        return distance if success is None else {"success": success & sound, **distance}

    def _observe(self) -> dict[str, Any]:
        """The info's entry `observation`, if there is an observation and the caller reads it."""
        if self._observation is None or not self._observing:
            self._observations = None
            return {}
        self._cameras.draw()
        self._observations = self._divergence.keep_last(self._observation.read(), self._observations)
        return {"observation": self._observations.copy()}

    def _compute(self, failed: Bools, call: Callable[..., None], **options: int) -> None:
        """Make a `call` of the batch for the live simulations, and mark those in which MuJoCo raises an error."""
        try:
            call(self._divergence.alive, **options)
        except SimulationError as error:
            failed[error.ids] = True

    def _bind(self) -> dict[str, NDArray[Any]]:
        """Bind the arrays that a subclass reads; return the parts that only it has, each (num_envs, width) and live."""
        return {}

    # -- services ----------------------------------------------------------------------------------------

    def site(self, name: str) -> Floats:
        """The live, read-only world positions of a site, (num_envs, 3), in metres."""
        return self._reader.site(name)

    def distance(self, site: str, other: str) -> Floats:
        """The distance between two sites in each simulation now, (num_envs,), in metres."""
        difference = self.site(site) - self.site(other)
        difference *= difference
        return np.sqrt(difference.sum(axis=1))

    def snapshot(self, i: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Return copies of simulation `i` as it is now, model and data, to draw or to inspect."""
        model, data = self.batch.get_model(i), self.batch.get_data(i)
        mujoco.mj_forward(model, data)
        return model, data

    def holding_action(self, i: int) -> Floats | None:
        """Return the action that keeps simulation `i` where it is, (nu,); None if the actuators are too weak."""
        return find_holding_action(*self.snapshot(i))

    # -- conditions --------------------------------------------------------------------------------------

    def _find_starts(
        self, ids: NDArray[np.int32], conditions: list[tuple[str, Condition]] | None, seed: int | None
    ) -> list[Start]:
        """Check all conditions and return the start of each simulation in `ids`; without conditions `seed` counts."""
        parsed: dict[int, Start] = {}  # many simulations often share one condition
        for where, condition in conditions or [("condition", {})]:
            if id(condition) not in parsed:
                parsed[id(condition)] = self._parse(condition, where)
        if conditions is None:
            return list(parsed.values()) * len(ids)
        return [parsed[id(condition)] for _, condition in conditions]

    def _parse(self, condition: Condition, where: str) -> Start:
        """Check a condition; `where` begins the error messages."""
        known = (*self.condition_keys, *KEYS)
        if not isinstance(condition, Mapping):
            raise ValueError(f"{where}: must be a mapping, got {condition!r}")
        for key in condition:
            if key not in known:
                raise ValueError(f"{where}: unknown key {key!r}{suggest(str(key), known)}")
        try:
            return self._conditions.read(self.resolve(condition), *self.default_start(condition))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def _require_counts(**numbers: int | None) -> None:
    """ValueError for a number below 1."""
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
