"""A MuJoCo environment as a simulator of its system for any values of unknown parameters.

A simulation starts from a state vector: the joints' positions and velocities, and activations, are set from its
entries. Parts that follow from them, such as a site's position, are computed and never read.

A condition may change the model, as the place of a slot: each simulation has the model of its own condition.

With `last_action` in the state (`gps.environments.disturbed`) the commands may come late, by a delay that is known or
is itself to be found. A physics step that lies between two commands gets their mean, weighted by time, so that the
next state has a slope in the delay.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch, SimulationError
from numpy.typing import NDArray

from gps.environments.contract import BatchEnvironment, Bools, Floats
from gps.environments.cpus import count_threads
from gps.environments.disturbed import LAST_ACTION
from gps.environments.mujoco.cameras import Cameras
from gps.environments.mujoco.conditions import Condition
from gps.environments.mujoco.env import MujocoEnv
from gps.environments.mujoco.identified import DELAY, ModelParameters
from gps.environments.mujoco.names import joint_slice
from gps.environments.mujoco.parts import PartReader
from gps.environments.mujoco.scenes import Scenes
from gps.environments.mujoco.stages import STAGE_NONE
from gps.environments.parts import Layout, find_entries, whole
from gps.environments.wrapper import Wrapper
from gps.errors import ConfigError, nearest
from gps.models.physics.parameters import Known, Parameter

_MOST = 1024
"""The most simulations at once; more are simulated in turns."""

_FEWEST = 64

_WARNINGS = slice(mujoco.mjtWarning.mjWARN_BADQPOS.value, mujoco.mjtWarning.mjWARN_BADCTRL.value + 1)


class MujocoSimulator:
    """A `gps.models.physics.simulator.Simulator` of the system of a `MujocoEnv`.

    It has its own simulations, and the model, the time and the bodies without joints of each condition. Noise and rate
    limits of wrappers are not simulated. Calls from several threads take turns.

    Args:
        environment: a `MujocoEnv`, perhaps with wrappers around it.
        parameters: the table of unknown parameters, see `gps.environments.mujoco.identified`; empty for none. They are
            those of all conditions, whatever one says of them.
        conditions: to each of which the environment is reset; without any, all is that of its simulation 0 as it is
            now.
        known: see `Known`. The delay is at most what `last_action` in the state remembers; instead, `parameters` may
            have it. What is assumed are positions or velocities, such as `("qpos:rootx", 0.0)`.
        threads: worker threads; None as for `MujocoEnv`. No number depends on it.

    Raises:
        ConfigError: for an environment that is no `MujocoEnv`, a state that lacks a position, a velocity or an
            activation (it names what is missing), and see `ModelParameters`.
    """

    def __init__(
        self,
        environment: BatchEnvironment,
        parameters: Mapping[str, Any],
        conditions: Sequence[Condition] = (),
        *,
        known: Known = Known(),  # noqa: B008  (an immutable record)
        threads: int | None = None,
    ) -> None:
        inner = environment
        while isinstance(inner, Wrapper):
            inner = inner.env
        if not isinstance(inner, MujocoEnv):
            raise ConfigError(f"physics can be fitted to a MuJoCo environment; {type(inner).__name__} is none")
        self._scenes = Scenes.read(inner, conditions)
        self._model = self._scenes.model
        self._threads = threads or count_threads()
        self._frame_skip = inner.nsubsteps
        self._unknown = ModelParameters(self._model, parameters) if parameters else None
        self._low, self._high = inner.single_action_space.low, inner.single_action_space.high
        self.dx, self.du = environment.single_observation_space.shape[0], self._model.nu
        self._layout, self.remembered = _split_memory(environment.state_layout)
        self._columns = _find_columns(self._model, self._layout, dict(known.assumed))
        self.known = known
        self.determining: tuple[int, ...] = tuple(
            sorted(int(i) for sources, _ in self._columns.values() for i in sources if i >= 0)
        )
        self._delay = self._find_delay(known.delay, inner.dt)
        self._slots: _Slots | None = None
        self._in_use = threading.Lock()  # planners call from several threads, and the slots are the same for all
        self._reserve(_FEWEST)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return () if self._unknown is None else self._unknown.parameters

    @property
    def conditions(self) -> tuple[str, ...]:
        return self._scenes.names

    @property
    def varies(self) -> bool:
        return bool(self._scenes.fields) or (self._scenes.places != self._scenes.places[0]).any().item()

    def simulate(
        self, states: Floats, actions: Floats, values: Floats, conditions: NDArray[np.integer[Any]] | None = None
    ) -> Floats:
        """Return the states after each of H control periods, (B, H, dx); NaN from where a simulation diverges.

        Args:
            states: (B, dx).
            actions: (B, H, du), each for one control period; clipped to the limits of the actuators.
            values: of the parameters, (B, dp).
            conditions: the number of the condition of each, (B,); None for the first. Where there is one, it is that of
                all.
        """
        B, H = actions.shape[:2]
        of_all = conditions is None or len(self.conditions) == 1
        scenes = np.zeros(B, int) if of_all else np.asarray(conditions)
        result = np.full((B, H, self.dx), np.nan)
        with self._in_use:
            slots = self._reserve(B)
            for first in range(0, B, _MOST):
                part = slice(first, first + _MOST)
                clipped = np.clip(actions[part], self._low, self._high)
                slots.run(states[part], clipped, values[part], scenes[part], result[part])
        return result

    def _find_delay(self, known: float, dt: float) -> int | float:
        """Return the number of the parameter that is the delay, or the known delay in physics steps."""
        most = len(self.remembered) // self.du * dt
        names = [parameter.name for parameter in self.parameters]
        if DELAY in names:
            low, high = self.parameters[names.index(DELAY)][1:3]
        else:
            low = high = known
        if not 0.0 <= low <= high <= most * (1 + 1e-12):
            raise ConfigError(
                f"delay: must be between 0 and {most:g} s, as `last_action` in the state remembers "
                f"{len(self.remembered) // self.du} commands, got {low:g} to {high:g}"
            )
        return names.index(DELAY) if DELAY in names else known / dt * self._frame_skip

    def _reserve(self, count: int) -> _Slots:
        """Return slots for at least `count` simulations, or for `_MOST`."""
        size = _FEWEST
        while size < min(count, _MOST):
            size *= 2
        if self._slots is None or self._slots.batch.nsim < size:
            self._slots = _Slots(self, size)
        return self._slots


class _Slots:
    """A batch of simulations that are set to given states, parameters and conditions."""

    def __init__(self, owner: MujocoSimulator, size: int) -> None:
        self._scenes, self._columns, self._frame_skip = owner._scenes, owner._columns, owner._frame_skip
        self._delay, self._step = owner._delay, float(owner._model.opt.timestep)
        self._memory = np.array(owner.remembered, int)
        self._read = np.array([i for part in owner._layout.values() for i in range(part.start, part.stop)])
        self.batch = batch = Batch(owner._model, size, owner._threads)
        reader = PartReader(batch, Cameras(batch, (1, 1)), STAGE_NONE, {})
        try:
            self._parts = reader.resolve(list(owner._layout), "state")
        except ValueError as error:
            raise ConfigError(f"physics needs a state of the model's own parts: {error}") from None
        self._stage = reader.stage
        self._arrays = {name: batch.bind(name) for name in owner._columns}
        self._ctrl = batch.bind("ctrl")
        self._turns = _find_quaternions(owner._model)
        self._physics = batch.state[:, : 1 + owner._model.nq + owner._model.nv + owner._model.na]
        self._warnings = batch.warning[:, _WARNINGS, 1]
        self._unknown = owner._unknown
        changing = () if self._unknown is None else self._unknown.fields
        self._fields = {name: batch.expand(name) for name in (*self._scenes.fields, *changing)}
        self._values = np.full((size, len(owner.parameters)), np.nan)
        self._in_scene = np.zeros(size, int)  # whose model is that of the batch

    def run(self, states: Floats, actions: Floats, values: Floats, scenes: NDArray[Any], result: Floats) -> None:
        """Simulate, and write the states into `result`, (n, H, dx), where they are finite."""
        n = len(states)
        sound = np.isfinite(states).all(axis=1) & np.isfinite(values).all(axis=1)
        self._set_models(np.flatnonzero(sound), values, scenes)
        ids = np.flatnonzero(sound).astype(np.int32)
        dirty = np.flatnonzero(self._warnings.any(axis=1)).astype(np.int32)
        if len(dirty):
            self.batch.reset(dirty, stage=STAGE_NONE)  # clears the warnings
        self._set_states(ids, states, scenes)
        commands = states[:, self._memory].reshape(n, -1, actions.shape[2])  # newest first
        for h in range(actions.shape[1]):
            commands = np.concatenate([actions[:, h, None], commands], axis=1)
            ids = ids[np.isfinite(commands[ids]).all(axis=(1, 2))]
            if not len(ids):
                return
            failed: Bools = np.zeros(n, dtype=bool)
            for nstep, applied in self._schedule(commands[ids], values[ids]):
                self._ctrl[ids] = applied
                try:
                    self.batch.step(ids, nstep=nstep, stage=self._stage)
                except SimulationError as error:
                    failed[error.ids] = True
            reached = self._parts.read()[:n]
            bad = failed[ids] | self._warnings[ids].any(axis=1)
            bad |= ~(np.abs(self._physics[ids]).max(axis=1) < mujoco.mjMAXVAL)
            bad |= ~np.isfinite(reached[ids]).all(axis=1)
            ids = ids[~bad]
            result[ids[:, None], h, self._read] = reached[ids]
            commands = commands[:, : len(self._memory) // actions.shape[2]]
            result[ids[:, None], h, self._memory] = commands[ids].reshape(len(ids), -1)

    def _schedule(self, commands: Floats, values: Floats) -> Iterator[tuple[int, Floats]]:
        """Yield how many physics steps have which controls, in a control period.

        Args:
            commands: (n, 1 + k, du), the newest first, which is the one of this period.
        """
        skip = self._frame_skip
        if not len(self._memory):
            yield skip, commands[:, 0]
            return
        late = (
            values[:, self._delay] / self._step if isinstance(self._delay, int) else np.full(len(values), self._delay)
        )
        for s in range(skip):
            first, last = s - late[:, None], s + 1 - late[:, None]  # of the step, on the clock of the commands
            issued = -skip * np.arange(commands.shape[1])
            weights = np.clip(np.minimum(last, issued + skip) - np.maximum(first, issued), 0.0, 1.0)
            yield 1, np.einsum("nk,nku->nu", weights, commands)

    def _set_models(self, ids: NDArray[np.intp], values: Floats, scenes: NDArray[Any]) -> None:
        """Give the simulations `ids` the models of their conditions and parameters, with the derived constants."""
        moved = ids[self._in_scene[ids] != scenes[ids]]
        for name, of_scenes in self._scenes.fields.items():
            self._fields[name][moved] = of_scenes[scenes[moved]]
        self._in_scene[moved] = scenes[moved]
        self._values[moved] = np.nan  # a condition may have changed what a parameter sets
        derived = moved if self._scenes.derives else moved[:0]
        if self._unknown is not None:
            changed = ids[(self._values[ids] != values[ids]).any(axis=1)]
            self._unknown.write(self._fields, changed, values[changed])
            self._values[changed] = values[changed]
            derived = np.union1d(derived, changed) if self._unknown.derives else derived
        if len(derived):
            self.batch.set_const(derived.astype(np.int32))

    def _set_states(self, ids: NDArray[np.int32], states: Floats, scenes: NDArray[Any]) -> None:
        """Set the simulations `ids` to their states."""
        self.batch.state[ids] = self._scenes.states[scenes[ids]]
        for name, (sources, defaults) in self._columns.items():
            given = sources >= 0
            rows = np.tile(defaults, (len(ids), 1))
            rows[:, given] = states[np.ix_(ids, sources[given])]
            if name == "qpos":
                for first in self._turns:
                    quaternion = rows[:, first : first + 4]
                    length = np.linalg.norm(quaternion, axis=1, keepdims=True)
                    rows[:, first : first + 4] = quaternion / np.where(length > mujoco.mjMINVAL, length, 1.0)
            self._arrays[name][ids] = rows


Columns = dict[str, tuple[NDArray[np.intp], Floats]]
"""For each of `qpos`, `qvel` and `act` the entry of the state that gives each number, -1 for none, and the default."""


def _split_memory(layout: Layout) -> tuple[dict[str, slice], tuple[int, ...]]:
    """Return the parts of the model, and the entries of the part `last_action`."""
    own = {part: where for part, where in layout.items() if whole(part) != LAST_ACTION}
    others = [part for part in layout if part not in own and part != LAST_ACTION]
    if others:
        raise ConfigError(f"physics needs the whole {LAST_ACTION!r}, not {others[0]!r}")
    memory = layout.get(LAST_ACTION, slice(0, 0))
    return own, tuple(range(memory.start, memory.stop))


def _find_columns(model: mujoco.MjModel, layout: Layout, assumed: Mapping[str, float]) -> Columns:
    """Find the entries of the state from which a simulation is set."""
    wholes = {"qpos": model.nq, "qvel": model.nv, "act": model.na}
    inner = _find_joints(model)
    sources = {name: np.full(width, -1) for name, width in wholes.items()}
    defaults = {name: np.full(width, np.nan) for name, width in wholes.items()}
    for part, where in layout.items():
        found = _locate(part, wholes, inner)
        for i, (name, k) in enumerate(found or ()):
            sources[name][k] = where.start + i
    for part, value in assumed.items():
        found = _locate(part, wholes, inner)
        if found is None or not np.isfinite(value):
            raise ConfigError(f"assumed: {part!r} = {value!r}: expected a number for a position or velocity"
                              f"{nearest(part, [*wholes, *inner])}")  # fmt: skip
        for name, k in found:
            defaults[name][k] = value
    missing = [
        _name(name, k, inner)
        for name, width in wholes.items()
        for k in range(width)
        if sources[name][k] < 0 and np.isnan(defaults[name][k])
    ]
    if missing:
        raise ConfigError(
            f"the state does not determine the simulation: it lacks {', '.join(missing)}; add the parts to "
            'environment.state. For one without effect, set `assumed = { "qpos:JOINT" = 0.0 }` of the model'
        )
    return {name: (sources[name], defaults[name]) for name, width in wholes.items() if width}


def _find_joints(model: mujoco.MjModel) -> dict[str, tuple[str, int, int]]:
    """The parts `qpos:JOINT` and `qvel:JOINT`: the array, and its first and last + 1 entry."""
    found = {}
    for joint in range(model.njnt):
        if name := model.joint(joint).name:
            for kind in ("qpos", "qvel"):
                where = joint_slice(model, kind, joint)
                found[f"{kind}:{name}"] = kind, where.start, where.stop
    return found


def _locate(
    part: str, wholes: Mapping[str, int], inner: Mapping[str, tuple[str, int, int]]
) -> list[tuple[str, int]] | None:
    """The array and the number within it of each entry of a part; None for a part that is computed."""
    spans = {name: (name, 0, width) for name, width in wholes.items()} | dict(inner)
    name = part if part in spans else part.rpartition("[")[0]
    if name not in spans:
        return None
    array, first, last = spans[name]
    entries = find_entries(part, {name: slice(0, last - first)})
    return [(array, first + k) for k in entries]


def _name(array: str, k: int, inner: Mapping[str, tuple[str, int, int]]) -> str:
    """Name a number of `qpos`, `qvel` or `act` as a part."""
    for part, (kind, first, last) in inner.items():
        if kind == array and first <= k < last:
            return part if last - first == 1 else f"{part}[{k - first}]"
    return f"{array}[{k}]"


def _find_quaternions(model: mujoco.MjModel) -> list[int]:
    """The first entry of each quaternion in `qpos`."""
    free, ball = mujoco.mjtJoint.mjJNT_FREE.value, mujoco.mjtJoint.mjJNT_BALL.value
    kinds = zip(model.jnt_type.tolist(), model.jnt_qposadr.tolist(), strict=True)
    return [first + (3 if kind == free else 0) for kind, first in kinds if kind in (free, ball)]
