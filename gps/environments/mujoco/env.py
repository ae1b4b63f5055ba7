"""Any MuJoCo model as a Gymnasium vector environment whose simulations step together on one thread pool.

The *state* is a list of named parts of the simulation, read at the new time after every step. A *condition*
is a mapping that fixes the start of an episode exactly: joint positions and velocities, and whatever in the
model differs from its file (where a body stands, what it weighs). Nothing is random, unless a subclass says
so: randomness belongs to the caller.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from mujoco.batch import Batch, SimulationError
from numpy.typing import ArrayLike, NDArray

from gps.environments.cpus import default_threads
from gps.environments.mujoco.cameras import Cameras
from gps.environments.mujoco.conditions import KEYS, Condition, Conditions, Floats, Start
from gps.environments.mujoco.names import identify, joint_slice, names, nearest, require
from gps.environments.parts import PartError, entries, listed_twice, whole

Bools = NDArray[np.bool_]

STAGE_NONE = mujoco.mjtStage.mjSTAGE_NONE.value
STAGE_VEL = mujoco.mjtStage.mjSTAGE_VEL.value
STAGE_ACC = mujoco.mjtStage.mjSTAGE_ACC.value
_DIVERGENCE = slice(mujoco.mjtWarning.mjWARN_BADQPOS.value, mujoco.mjtWarning.mjWARN_BADCTRL.value + 1)


_DERIVED = ("site_position", "site_velocity", "sensor")
"""The kinds of parts that MuJoCo computes from the others."""


@dataclass(frozen=True)
class Mechanics:
    """Where a second-order mechanical system stands in the state vector.

    Attributes:
        position: the slice of the generalised positions, nv wide.
        velocity: the slice of the generalised velocities, nv wide.
        actuation: (nv, nu) which action drives which degree of freedom. A joint's own actuator has 1 there,
            whatever its gear; other transmissions have their moment at the reference pose divided by the
            gear. The row of a degree of freedom that nothing drives is zero.
        dt: the control period in seconds.
    """

    position: slice
    velocity: slice
    actuation: Floats
    dt: float


class MujocoEnv(VectorEnv[Floats, Floats, NDArray[Any]]):
    """`num_envs` simulations of one MJCF model, stepped at once.

    The parts that `state` and `observation` may list, in any order:

    | part | meaning |
    |---|---|
    | `qpos`, `qvel`, `act` | all joint positions (m, rad; quaternions raw), velocities, activations |
    | `qpos:JOINT`, `qvel:JOINT` | those of one joint |
    | `site_position:SITE` | world position of a site, m |
    | `site_position:SITE-TARGET` | the same relative to another site, in world axes: zero at the target |
    | `site_velocity:SITE` | world linear velocity of a site, m/s |
    | `sensor:NAME` | a sensor of the model |
    | `image:CAMERA` | what a camera of the model shows, (height, width, 3) flattened, 0 to 255; in observations alone |
    | `PART[0,2]`, `PART[xy]` | some entries of a part, counted from 0, or x, y, z |

    A policy may see something else than the state, which is what a controller sees: then `observation` lists its parts.

    `gps.environments.mujoco.conditions` lists the keys of a condition. What it does not mention has the model's own
    value, whatever the episode before had.

    A simulation *diverges* when its numbers leave ±1e10, MuJoCo warns of bad positions, velocities,
    accelerations or controls (a NaN action, for one), or MuJoCo raises an error. It then keeps its last
    finite state, counts as terminated, and is not stepped again until it is reset; the others go on
    undisturbed.

    Subclasses may override `reward`, `terminated`, `at_goal` or `success`, and define condition keys of their
    own with `condition_keys` and `resolve`, and another start with `default_start`. Without an `at_goal` or a `success`
    of its own an environment does not tell of success.

    Args:
        num_envs: number of simulations.
        mjcf: path of an MJCF file, or the XML itself.
        state: the parts of the state, in order.
        observation: the parts of what a policy sees, in order; None where that is the state.
        image_size: width and height of pictures, pixels.
        frame_skip: physics steps per control step.
        threads: worker threads; None takes as many as the variable `GPS_THREADS` says, else every CPU that this process
            may use. No number depends on it.
        max_episode_steps: control steps after which an episode is truncated; None for never.

    Attributes:
        model: the compiled `mujoco.MjModel`, with the model's own values.
        batch: the `mujoco.batch.Batch` that steps.
        state_layout: the slice of each part in the state vector.
        observation_layout: the slice of each part in the observation; None where that is the state.
        observation_shapes: the shape of each part in the observation, before it was flattened.
        observation_pictures: the parts of the observation that are pictures.
        observation_dtype: uint8 for pictures alone, float32 for pictures among other parts, else float64.
        dt: control period in seconds.
        nsubsteps: physics steps per control step.
        mechanics: see `Mechanics`; None where the state lacks the whole `qpos` or `qvel`, or has quaternions.

    Raises:
        ValueError: for a model that cannot be read or compiled, an unknown name, or a number out of range.
    """

    condition_keys: ClassVar[tuple[str, ...]] = ()
    """Condition keys that a subclass adds; `resolve` turns them into the ones above."""

    hold: ClassVar[float] = 0.0
    """Seconds for which the goal must have been held without a break to count as success."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.DISABLED, "render_modes": []}

    _known_parts: ClassVar[tuple[str, ...]] = (
        "qpos", "qvel", "act", "qpos:", "qvel:", "site_position:", "site_velocity:", "sensor:", "image:",
    )  # fmt: skip

    _least_stage: ClassVar[int] = STAGE_VEL
    """How far MuJoCo computes at the new time after every step, whatever the state: here, so that `site` is current."""

    _start_stage: ClassVar[int] = STAGE_VEL
    """The same after a reset."""

    _keeps_data: ClassVar[bool] = True
    """Whether each simulation keeps its own mjData: a step then goes on from the stages computed before it."""

    def __init__(
        self,
        num_envs: int = 1,
        *,
        mjcf: str | os.PathLike[str],
        state: Sequence[str],
        observation: Sequence[str] | None = None,
        image_size: Sequence[int] = (64, 64),
        frame_skip: int = 1,
        threads: int | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        for name, value in [("num_envs", num_envs), ("frame_skip", frame_skip), ("threads", threads),
                            ("max_episode_steps", max_episode_steps)]:  # fmt: skip
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.num_envs = num_envs
        self.nsubsteps = frame_skip
        self.max_episode_steps = max_episode_steps
        self.model = model = _load(mjcf, state, observation or ())
        self.dt = float(model.opt.timestep) * frame_skip
        kinds = {part.partition(":")[0] for part in (*state, *(observation or ()))}
        if len(image_size) != 2 or min(image_size) < 1:
            raise ValueError(f"image_size must be a width and a height in pixels, got {image_size}")
        persistent = self._keeps_data or not kinds.isdisjoint(_DERIVED)
        self.batch = Batch(model, num_envs, min(threads or default_threads(), num_envs), persistent=persistent)
        self._stage = self._least_stage

        self._qpos, self._qvel, self._ctrl = map(self.batch.bind, ("qpos", "qvel", "ctrl"))
        self._physics = self.batch.state[:, : 1 + model.nq + model.nv + model.na]  # time, qpos, qvel, act
        self._warnings = self.batch.warning[:, _DIVERGENCE, 1]
        self._sites: dict[str, Floats] = {}
        self._cameras = Cameras(self.batch, (image_size[0], image_size[1]))
        self._bind()
        self._state = self._parts(state, "state")
        self._observation = None if observation is None else self._parts(observation, "observation")
        self.state_layout = self._state.layout
        self.observation_layout = None if self._observation is None else self._observation.layout
        seen = self.observation_layout or {}
        self.observation_pictures = tuple(p for p in seen if p.startswith("image:") and self._whole(p) == p)
        self.observation_shapes = {
            part: self._cameras.shape if part in self.observation_pictures else (where.stop - where.start,)
            for part, where in seen.items()
        }
        self.observation_dtype = np.dtype(np.float64) if self._observation is None else self._observation.dtype
        self.mechanics = self._mechanics()

        limited = model.actuator_ctrllimited.astype(bool)
        self._low = np.where(limited, model.actuator_ctrlrange[:, 0], -np.inf)
        self._high = np.where(limited, model.actuator_ctrlrange[:, 1], np.inf)
        self.single_observation_space = Box(-np.inf, np.inf, (self._state.width,), np.float64)
        self.single_action_space = Box(self._low, self._high, dtype=np.float64)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._conditions = Conditions(self.batch)
        self._states: Floats | None = None  # as last returned; None until the first reset
        self._observing = False  # whether the info has observations
        self._observations: NDArray[Any] | None = None  # as last returned
        self._backup = np.empty_like(self.batch.state)  # the simulations before the step, to undo it
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._limit = np.inf if max_episode_steps is None else max_episode_steps
        self._held = np.zeros(num_envs, dtype=np.int64)  # consecutive states at the goal
        self._hold_steps = max(1, round(self.hold / self.dt))
        self._diverged = np.zeros(num_envs, dtype=bool)
        self._alive: NDArray[np.int32] | None = None  # the simulations to step; None for all

    # -- to be overridden --------------------------------------------------------------------------------

    def reward(self, states: Floats, actions: Floats) -> Floats:
        """Reward of each simulation, (num_envs,), for having arrived in `states` by the applied `actions`."""
        return np.zeros(self.num_envs)

    def terminated(self, states: Floats) -> Bools:
        """Whether each simulation's episode ends in `states`, (num_envs,); one that diverges ends anyway."""
        return np.zeros(self.num_envs, dtype=bool)

    def at_goal(self, states: Floats) -> Bools:
        """Whether each simulation is at its goal now, (num_envs,)."""
        return np.zeros(self.num_envs, dtype=bool)

    def success(self) -> Bools | None:
        """Whether each simulation has now been at its goal for `hold` seconds, (num_envs,); None without a goal."""
        return None if type(self).at_goal is MujocoEnv.at_goal else self._held >= self._hold_steps

    def resolve(self, condition: Condition) -> Condition:
        """A condition in terms of `MujocoEnv`'s own keys, from one that may use `condition_keys`."""
        return condition

    def default_start(self, condition: Condition) -> tuple[Floats, Floats]:
        """Where a simulation starts, `qpos` and `qvel`, as far as its condition's own do not say otherwise."""
        return self._conditions.qpos, self._conditions.qvel

    # -- Gymnasium ---------------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start episodes.

        Args:
            seed: seeds `np_random` and nothing else: a condition fixes the start exactly.
            options: `conditions`, a sequence of one mapping per simulation, or `condition`, one for all of
                them; `reset_mask`, (num_envs,) bool, to leave the other simulations where they are; and `observe`,
                whether there are to be observations until the next reset, which is so by default.

        Returns:
            The states, (num_envs, dx), and the info: `success` where it is known, and `observation`, (num_envs, do),
            where that is not the state.

        Raises:
            ValueError: names the condition, its key and what is wrong; nothing has been changed then.
        """
        if self.closed:
            raise gymnasium.error.ClosedEnvironmentError("the environment has been closed")
        super().reset(seed=seed)
        ids, conditions, observing = self._parse_options(dict(options or {}))
        starts = self._starts(ids, conditions, seed)
        self._conditions.write_models(ids, starts)
        self._cameras.changed(ids)
        self.batch.reset(ids, keyframe=self._conditions.keyframe, stage=STAGE_NONE)
        for i, start in zip(ids, starts, strict=True):
            self._qpos[i], self._qvel[i] = start.qpos, start.qvel
        self.batch.forward(ids, stage=max(self._stage, self._start_stage))
        self._look(ids)

        self._elapsed[ids] = 0
        self._held[ids] = 0
        self._diverged[ids] = False
        self._alive = np.flatnonzero(~self._diverged).astype(np.int32) if self._diverged.any() else None
        states = self._states = self._keep_last_of_diverged(self._state.read(), self._states)
        self._observing = observing
        self._held[ids] = self.at_goal(states)[ids]
        return states.copy(), {**self._succeeded(), **self._observed()}

    def step(self, actions: ArrayLike) -> tuple[Floats, Floats, Bools, Bools, dict[str, Any]]:
        """Apply the actions for one control period.

        Args:
            actions: (num_envs, du); clipped to the limits of the actuators.

        Returns:
            States (num_envs, dx), rewards, terminations (of themselves, or because a simulation has diverged),
            truncations, and the info: `diverged`, (num_envs,) bool, `action`, (num_envs, du), the actions as applied,
            `success` and `observation` as of `reset`.

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
            self._ctrl[failed] = 0.0  # to be undone: MuJoCo would write a warning to a file for each

        np.copyto(self._backup, self.batch.state)
        self._advance(actions, failed)
        states = self._state.read()
        if failed.any() or not self._is_sane(states):
            self._freeze(failed, states)
        states = self._states = self._keep_last_of_diverged(states, self._states)

        self._elapsed += 1
        self._held += 1
        self._held *= self.at_goal(states)
        diverged = self._diverged.copy()
        truncated = self._elapsed >= self._limit
        rewards, terminated, info = self._judge(states, applied)
        info = {**self._succeeded(~diverged), "diverged": diverged, "action": applied, **self._observed(), **info}
        return states.copy(), rewards, terminated | diverged, truncated, info

    def close_extras(self, **kwargs: Any) -> None:
        """Release the simulations and their threads; the environment cannot be used afterwards."""
        self._states = None
        # What keeps the batch alive: it and its views. Some are missing when the constructor raised.
        if "_cameras" in self.__dict__:
            self._cameras.close()
        views = "_qpos", "_qvel", "_ctrl", "_physics", "_warnings", "_sites", "_state", "_observation", "_cameras"
        for name in ("batch", "_conditions", *views):
            self.__dict__.pop(name, None)

    # -- a step, in pieces -------------------------------------------------------------------------------

    def _look(self, ids: NDArray[np.int32]) -> None:
        """Take note of how the simulations `ids`, just reset, stand."""

    def _advance(self, actions: NDArray[Any], failed: Bools) -> None:
        """One control period of physics, by the controls that have been set for the `actions`; marks what failed."""
        self._compute(failed, self.batch.step, nstep=self.nsubsteps, stage=self._stage)

    def _judge(self, states: Floats, applied: Floats) -> tuple[Floats, Bools, dict[str, Any]]:
        """Rewards, terminations and more info for a step that led to `states`."""
        return self.reward(states, applied), self.terminated(states), {}

    def _succeeded(self, sound: Bools | bool = True) -> dict[str, Any]:
        """What the info says of success: nothing where it is not known; of simulations that are not `sound`, no."""
        success = self.success()
        return {} if success is None else {"success": success & sound}

    def _compute(self, failed: Bools, call: Callable[..., None], **options: int) -> None:
        """A `call` of the batch for all that go on; marks those in which MuJoCo raises, the others are computed."""
        try:
            call(self._alive, **options)
        except SimulationError as error:
            failed[error.ids] = True

    # -- services ----------------------------------------------------------------------------------------

    def site(self, name: str) -> Floats:
        """The live, read-only world positions of a site, (num_envs, 3), in metres."""
        if name not in self._sites:
            site = identify(self.model, mujoco.mjtObj.mjOBJ_SITE, name, "site")
            self._sites[name] = self.batch.bind("site_xpos")[:, site]
        return self._sites[name]

    def distance(self, site: str, other: str) -> Floats:
        """The distance between two sites in each simulation now, (num_envs,), in metres."""
        difference = self.site(site) - self.site(other)
        difference *= difference
        return np.sqrt(difference.sum(axis=1))

    def snapshot(self, i: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Copies of simulation `i` as it stands, model and data, to render or to inspect."""
        model, data = self.batch.get_model(i), self.batch.get_data(i)
        mujoco.mj_forward(model, data)
        return model, data

    # -- the state and the observation --------------------------------------------------------------------

    def _bind(self) -> None:
        """Bind what the parts of a subclass need, before any is asked for."""

    def _parts(self, parts: Sequence[str], of: str) -> _Parts:
        """Resolve the parts `of` the state or the observation into what they are read from."""
        layout: dict[str, slice] = {}
        sources = []
        start = 0
        if twice := listed_twice(parts):
            raise PartError(of, twice)
        for part in parts:
            first = start
            try:
                if part.startswith("image:") and of == "state":
                    raise ValueError(f"part {part!r}: a picture may be in the observation, not in the state")
                for source, origin in self._chosen(part):
                    sources.append((slice(start, start := start + source.shape[1]), source, origin))
            except ValueError as error:
                raise PartError(of, str(error)) from None
            layout[part] = slice(first, start)
        if not start:
            raise PartError(of, f"the {of} is empty: list at least one part, for example 'qpos'")
        pictures = [source.dtype == np.uint8 for _, source, _ in sources]
        # Pictures alone stay bytes; as doubles, among other parts, they would be eight times as large.
        dtype = np.uint8 if all(pictures) else np.float32 if any(pictures) else np.float64
        return _Parts(layout, sources, (self.num_envs, start), np.dtype(dtype))

    def _chosen(self, part: str) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        """What a part is read from, as of `_source`: whole, or one by one the entries that were chosen of it."""
        if (name := self._whole(part)) == part:
            yield self._source(part)
            return
        source, origin = self._source(name)
        for i in entries(part, {name: slice(0, source.shape[1])}):
            yield source[:, i : i + 1], None if origin is None else origin[:, i : i + 1]

    def _whole(self, part: str) -> str:
        """The part that a name speaks of. What looks like entries may belong to the name of a thing in the model."""
        try:
            self._source(part)
        except ValueError:
            return whole(part)
        return part

    def _source(self, part: str) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """The live array of a part, (num_envs, width), and the one to subtract from it, if any."""
        model, bind = self.model, self.batch.bind
        kind, _, name = part.partition(":")
        if kind == "image" and name:
            return self._cameras.pixels(name, f"part {part!r}: camera"), None
        if part in ("qpos", "qvel", "act"):
            return bind(part), None
        if kind in ("qpos", "qvel") and name:
            joint = identify(model, mujoco.mjtObj.mjOBJ_JOINT, name, f"part {part!r}: joint")
            return bind(kind)[:, joint_slice(model, kind, joint)], None
        if kind in _DERIVED and name:
            self._stage = max(self._stage, STAGE_VEL)
        if kind == "site_position" and name:
            site, *target = _split_sites(model, name, part)
            return self.site(site), self.site(target[0]) if target else None
        if kind == "site_velocity" and name:
            identify(model, mujoco.mjtObj.mjOBJ_SITE, name, f"part {part!r}: site")
        if kind in ("site_velocity", "sensor") and name:  # `_load` has added sensors of site velocities
            name = part if kind == "site_velocity" else name
            sensor = identify(model, mujoco.mjtObj.mjOBJ_SENSOR, name, f"part {part!r}: sensor")
            # A sensor of forces or accelerations is current only after the last stage, which costs a solve.
            self._stage = max(self._stage, int(model.sensor_needstage[sensor]))
            first = model.sensor_adr[sensor]
            return bind("sensordata")[:, first : first + model.sensor_dim[sensor]], None
        raise ValueError(f"part {part!r} is unknown{nearest(part, self._known_parts)}")

    def _observed(self) -> dict[str, Any]:
        """The entry of the info that holds the observations, where there are any."""
        if self._observation is None or not self._observing:
            self._observations = None
            return {}
        self._cameras.draw()
        self._observations = self._keep_last_of_diverged(self._observation.read(), self._observations)
        return {"observation": self._observations.copy()}

    def _mechanics(self) -> Mechanics | None:
        layout, model = self.state_layout, self.model
        if "qpos" not in layout or "qvel" not in layout or model.nq != model.nv:
            return None
        return Mechanics(layout["qpos"], layout["qvel"], _actuation(model), self.dt)

    # -- divergence --------------------------------------------------------------------------------------

    def _is_sane(self, states: Floats) -> bool:
        """Whether surely no simulation has gone wrong, which is all that most steps ask; `_freeze` looks closer."""
        numbers = self.batch.state
        within = np.vdot(numbers, numbers) < mujoco.mjMAXVAL**2  # then each is; NaN fails every comparison
        return bool(within and isfinite(states.sum()) and not np.count_nonzero(self._warnings))

    def _freeze(self, failed: Bools, states: Floats) -> None:
        """Undo the step of the simulations that `failed` or have gone wrong, if any, and step them no more."""
        bad = failed | self._warnings.any(axis=1)
        bad |= ~(np.abs(self._physics).max(axis=1) < mujoco.mjMAXVAL)
        bad |= ~(np.abs(states).max(axis=1) < mujoco.mjMAXVAL)
        bad &= ~self._diverged
        if not bad.any():
            return
        self.batch.reset(bad, stage=STAGE_NONE)  # clears the warnings
        before = np.abs(self._backup[:, : self._physics.shape[1]]).max(axis=1)
        sound = bad & (before < mujoco.mjMAXVAL)  # or else somebody wrote into `batch` itself
        self.batch.state[sound] = self._backup[sound]
        self._ctrl[bad] = 0.0
        self.batch.forward(bad, stage=max(self._stage, self._start_stage))
        self._diverged |= bad
        self._alive = np.flatnonzero(~self._diverged).astype(np.int32)

    def _keep_last_of_diverged(self, now: NDArray[Any], last: NDArray[Any] | None) -> NDArray[Any]:
        """The states or observations of now, with the last finite ones in the rows of what has diverged."""
        if self._alive is not None and last is not None:
            now[self._diverged] = last[self._diverged]
        return now

    # -- conditions --------------------------------------------------------------------------------------

    def _parse_options(
        self, options: dict[str, Any]
    ) -> tuple[NDArray[np.int32], list[tuple[str, Condition]] | None, bool]:
        """The simulations to reset, the condition of each with its name in error messages, if any, and `observe`."""
        known = ("condition", "conditions", "reset_mask", "observe")
        for key in options:
            if key not in known:
                raise ValueError(f"unknown reset option {key!r}{nearest(key, known)}")
        n, observe = self.num_envs, bool(options.get("observe", True))
        mask = options.get("reset_mask")
        if mask is not None and (np.shape(mask) != (n,) or np.asarray(mask).dtype != bool):
            raise ValueError(f"reset_mask must be {n} booleans, got {mask!r}")
        if self._states is None:  # a simulation must be started before it can be left alone
            mask = None
        ids = np.arange(n, dtype=np.int32) if mask is None else np.flatnonzero(mask).astype(np.int32)
        if "conditions" not in options:
            condition = options.get("condition")
            return ids, None if condition is None else [("condition", condition)] * len(ids), observe
        conditions = options["conditions"]
        if "condition" in options or len(conditions) != n:
            raise ValueError(f"give either one 'condition' or {n} 'conditions', one per simulation")
        return ids, [(f"condition {i}", conditions[i]) for i in ids], observe

    def _starts(
        self, ids: NDArray[np.int32], conditions: list[tuple[str, Condition]] | None, seed: int | None
    ) -> list[Start]:
        """Where each of the simulations `ids` starts, all checked; `seed` is for where there are no conditions."""
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
                raise ValueError(f"{where}: unknown key {key!r}{nearest(str(key), known)}")
        try:
            return self._conditions.read(self.resolve(condition), *self.default_start(condition))
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


# -- helpers ---------------------------------------------------------------------------------------------


class _Parts(NamedTuple):
    """Parts of the simulations, to be read as one array."""

    layout: dict[str, slice]
    sources: list[tuple[slice, NDArray[Any], NDArray[Any] | None]]  # where, what, and what to subtract from it
    shape: tuple[int, int]
    dtype: np.dtype[Any]

    @property
    def width(self) -> int:
        return self.shape[1]

    def read(self) -> NDArray[Any]:
        """A new array of what they are now."""
        values = np.empty(self.shape, self.dtype)
        for part, source, origin in self.sources:
            if origin is None:
                values[:, part] = source
            else:
                np.subtract(source, origin, out=values[:, part])
        return values


def _load(mjcf: str | os.PathLike[str], state: Sequence[str], observation: Sequence[str]) -> mujoco.MjModel:
    """Compile the model, with a sensor for each site velocity and without what a batch does not need of MuJoCo."""
    is_xml = isinstance(mjcf, str) and mjcf.lstrip().startswith("<")
    name = "MJCF string" if is_xml else os.fspath(mjcf)
    if not is_xml and not Path(mjcf).is_file():
        raise ValueError(f"{name}: no such MJCF file")
    try:
        spec = mujoco.MjSpec.from_string(mjcf) if is_xml else mujoco.MjSpec.from_file(name)
        sites = [site.name for site in spec.sites]
        asked = [name for part in (*state, *observation) for name in (part, whole(part))]
        for part in dict.fromkeys(asked):
            kind, _, site = part.partition(":")
            if kind == "site_velocity" and site in sites:
                spec.add_sensor(name=part, type=mujoco.mjtSensor.mjSENS_FRAMELINVEL,
                                objtype=mujoco.mjtObj.mjOBJ_SITE, objname=site)  # fmt: skip
        spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET.value
        model = spec.compile()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    _disable_idle_stages(model)
    return model


def _disable_idle_stages(model: mujoco.MjModel) -> None:
    """Switch off what MuJoCo would compute in vain; no bit depends on it. It is a fifth of the time of small models."""
    if model.ntree == 1 and not model.opt.enableflags & mujoco.mjtEnableBit.mjENBL_SLEEP.value:
        # The constraints of one tree are one island, which need not be searched for.
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ISLAND.value
    types, affinities = model.geom_contype, model.geom_conaffinity
    if not (types[:, None] & affinities).any() and not model.npair and not model.nflex:
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT.value  # no two geoms can ever touch


def _actuation(model: mujoco.MjModel) -> Floats:
    """(nv, nu): which control drives which degree of freedom, without the gears; see `Mechanics`."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    moment = np.zeros((model.nout, model.nv))
    sparse = data.actuator_moment, data.moment_rownnz, data.moment_rowadr, data.moment_colind
    mujoco.mju_sparse2dense(moment, *sparse)
    actuation = np.zeros((model.nv, model.nu))
    for i in range(model.nactuator):
        width, gear = model.actuator_outnum[i], np.linalg.norm(model.actuator_gear[i])
        if gear > 0 and width == model.actuator_ctrlnum[i]:
            control, output = model.actuator_ctrladr[i], model.actuator_outadr[i]
            actuation[:, control : control + width] = moment[output : output + width].T / gear
    return actuation


def _split_sites(model: mujoco.MjModel, name: str, part: str) -> list[str]:
    """The one or two sites that `SITE` or `SITE-TARGET` names; site names may hold hyphens themselves."""
    sites = names(model, mujoco.mjtObj.mjOBJ_SITE)
    if name in sites:
        return [name]
    splits = [(name[:i], name[i + 1 :]) for i, letter in enumerate(name) if letter == "-"]
    for pair in splits:
        if pair[0] in sites and pair[1] in sites:
            return list(pair)
    for candidate in splits[0] if len(splits) == 1 else (name,):
        require(candidate, sites, f"part {part!r}: site")
    raise AssertionError("one of the names is unknown")
