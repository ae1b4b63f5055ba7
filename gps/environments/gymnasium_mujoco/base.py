"""The base of Gymnasium's MuJoCo environments as batches of simulations.

The originals read everything right after `mj_step`, when bodies, sites and contact forces still come from the last
stage of the integrator, a fraction of a step behind `qpos`. To get the same bits we read at the same moment; parts of
the state that must be current are computed afterwards, which does not change the next step.
"""

from __future__ import annotations

import abc
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, ClassVar, Literal

import gymnasium
import mujoco
import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray

from gps.environments.contract import Bools, Floats
from gps.environments.mujoco.conditions import Condition
from gps.environments.mujoco.entries import name_state
from gps.environments.mujoco.env import MujocoEnv
from gps.environments.mujoco.mechanics import find_mechanics
from gps.environments.mujoco.names import identify, suggest
from gps.environments.mujoco.stages import STAGE_ACC, STAGE_NONE
from gps.environments.mujoco.starts import Start

Outcome = tuple[Floats, Bools, dict[str, Any]]
"""Rewards (n,), terminations (n,) and the infos of a step, one entry per simulation."""

_ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"


class GymnasiumMujocoEnv(MujocoEnv, abc.ABC):
    """One of Gymnasium's MuJoCo environments as a batch; a subclass defines its observation and its outcome.

    The state is the original's observation. `state` may choose other parts: those of `MujocoEnv` and
    `observation`.

    A condition may have a `seed` besides the keys of every `MujocoEnv`: the episode starts where the original
    starts after `reset(seed=seed)`, and `qpos`, `qvel`, … change that start. The default seed is 0. Without
    conditions `reset` does what Gymnasium's vector environments do: `seed + i` seeds simulation i, and without a
    `seed` each simulation goes on with its own random numbers.

    Two things differ from the original: a simulation that diverges stops (see `MujocoEnv`) with a reward of
    0, whereas MuJoCo resets the original in silence, and a finished episode does not start again by itself.

    Args:
        num_envs, state, observation, image_size, threads, max_episode_steps: see `MujocoEnv`; the default limit is the
            registered one.
        options: the keyword arguments of the original, such as `frame_skip` and `xml_file`.

    Attributes:
        options: the original's keyword arguments, including its defaults.

    Raises:
        ValueError: for an option that the original does not have; see also `MujocoEnv`.
    """

    id: ClassVar[str]
    """The Gymnasium id of the original."""

    defaults: ClassVar[Mapping[str, Any]]
    """The original's keyword arguments and their defaults, except those of its renderer."""

    fields: ClassVar[tuple[str, ...]] = ()
    """The fields of mjData that the class reads besides `qpos` and `qvel`: attributes, one row per simulation."""

    velocity_noise: ClassVar[Literal["uniform", "normal"]] = "uniform"
    """The distribution of the velocities at the start, if `draw` is not overridden."""

    condition_keys = ("seed",)
    seeded = True  # a condition's `seed` decides where it starts

    xpos: Floats
    """The positions of the bodies, (n, nbody, 3), m, if `fields` has "xpos"."""

    contact_forces: Floats
    """Contact torques and forces on each body in the last step, (n, nbody, 6), if `reads_contact_forces`; N m and N."""

    velocity: Floats
    """The velocity of the `place` over the last step, (n, k), m/s."""

    _least_stage = STAGE_NONE  # the originals read everything as `mj_step` leaves it
    _start_stage = STAGE_ACC  # or, at the start of an episode, `mj_forward`
    _keeps_data = False

    def __init__(
        self,
        num_envs: int = 1,
        *,
        state: Sequence[str] | None = None,
        observation: Sequence[str] | None = None,
        image_size: Sequence[int] = (64, 64),
        threads: int | None = None,
        max_episode_steps: int | Literal["default"] | None = "default",
        **options: Any,
    ) -> None:
        for name in options:
            if name not in self.defaults:
                known = (*self.defaults, "state", "observation", "image_size", "threads", "max_episode_steps")
                raise ValueError(f"{self.id}: unknown option {name!r}{suggest(name, known)}")
        self.options = SimpleNamespace(**{**self.defaults, **options})
        self.spec = gymnasium.spec(self.id)
        self._generators: dict[int, np.random.Generator] = {}  # for simulations that were reset without conditions
        self._keeps_data = self.reads_contact_forces()
        with warnings.catch_warnings():  # Gymnasium's models use deprecated options
            warnings.filterwarnings("ignore", message="compiler attribute")
            super().__init__(
                num_envs,
                mjcf=_find_model(self.options.xml_file),
                state=("observation",) if state is None else state,
                observation=observation,
                image_size=image_size,
                frame_skip=self.options.frame_skip,
                threads=threads,
                max_episode_steps=self.spec.max_episode_steps if max_episode_steps == "default" else max_episode_steps,
            )
        if (whole := self._find_joints()) is not None:
            self._reveal_joints(*whole)

    # -- to be defined ---------------------------------------------------------------------------------------

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw a random start, `qpos` and `qvel`, with the same calls of the generator as the original.

        Here: the model's own start with noise of `reset_noise_scale` on every position and velocity.
        """
        scale, model = self.options.reset_noise_scale, self.model
        qpos = model.qpos0 + rng.uniform(low=-scale, high=scale, size=model.nq)
        if self.velocity_noise == "normal":
            return qpos, scale * rng.standard_normal(model.nv)
        return qpos, rng.uniform(low=-scale, high=scale, size=model.nv)

    @abc.abstractmethod
    def observation(self) -> Sequence[Floats]:
        """Return the pieces of the observation, each (n, width), in order."""

    @abc.abstractmethod
    def outcome(self, actions: NDArray[Any]) -> Outcome:
        """Return the rewards, terminations and infos of the step just taken; `actions` are (n, du), unclipped."""

    def place(self) -> Floats:
        """The positions, (n, k), whose `velocity` over the step `outcome` reads; k may be 0."""
        return self.qpos[:, :0]

    def whereabouts(self) -> dict[str, Floats]:
        """The infos about the position of each simulation, after a step and after a reset."""
        return {}

    def reads_contact_forces(self) -> bool:
        """True if the class reads `contact_forces`; they take time."""
        return False

    # -- services --------------------------------------------------------------------------------------------

    def body(self, name: int | str) -> Floats:
        """The live position of a body, by name or number, (n, 3), in metres; for classes with `xpos` in `fields`."""
        if name not in self._bodies:
            found: Any = name
            if isinstance(name, str):
                found = identify(self.model, mujoco.mjtObj.mjOBJ_BODY, name, f"{self.id} needs one more body:")
            elif not 0 <= name < self.model.nbody:
                raise ValueError(f"{self.id}: there is no body {name}, only 0 to {self.model.nbody - 1}")
            self._bodies[name] = self.xpos[:, found]
        return self._bodies[name]

    # -- where it starts -------------------------------------------------------------------------------------

    def default_start(self, condition: Condition) -> tuple[Floats, Floats]:
        seed = condition.get("seed", 0)
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
            raise ValueError(f"seed: must be a whole number, 0 or more, got {seed!r}")
        return self.draw(np_random(int(seed))[0])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Start episodes as `MujocoEnv` does; without conditions `seed` counts, see the class."""
        states, info = super().reset(seed=seed, options=options)
        return states, {**info, **self.whereabouts()}

    def _find_starts(
        self, ids: NDArray[np.int32], conditions: list[tuple[str, Condition]] | None, seed: int | None
    ) -> list[Start]:
        if conditions is not None:
            return super()._find_starts(ids, conditions, seed)
        for i in map(int, ids):
            if seed is not None or i not in self._generators:
                self._generators[i] = np_random(None if seed is None else seed + i)[0]
        return [self._conditions.read({}, *self.draw(self._generators[int(i)])) for i in ids]

    # -- a step ----------------------------------------------------------------------------------------------

    def _bind(self) -> dict[str, NDArray[Any]]:
        self.qpos, self.qvel = self._qpos, self._qvel
        for name in self.fields:
            setattr(self, name, self.batch.bind(name))
        self._bodies: dict[int | str, Floats] = {}
        self._data = mujoco.MjData(self.model) if self.reads_contact_forces() else None
        self.contact_forces = np.zeros((self.num_envs, self.model.nbody, 6))
        self._original = np.concatenate(self.observation(), axis=1)
        self._place = np.array(self.place())
        self.velocity = np.zeros_like(self._place)
        return {"observation": self._original}

    def _find_joints(self) -> tuple[int, int] | None:
        """Find the first position and the first velocity in the state; None unless it holds all of them in a row each.

        Nobody lists them: numbers that occur nowhere else show where they go.
        """
        nq, nv = self.model.nq, self.model.nv
        if list(self.state_layout) != ["observation"] or nq != nv:
            return None
        before = self._qpos[0].copy(), self._qvel[0].copy()
        marks = 0.1 + np.arange(nq + nv) / np.pi
        self._qpos[0], self._qvel[0] = marks[:nq], marks[nq:]
        seen = np.concatenate(self.observation(), axis=1)[0]
        self._qpos[0], self._qvel[0] = before
        windows = np.lib.stride_tricks.sliding_window_view(seen, min(nq, len(seen)))
        places = [np.flatnonzero((windows == part).all(axis=1)) for part in (marks[:nq], marks[nq:])]
        return None if not all(len(place) for place in places) else (int(places[0][0]), int(places[1][0]))

    def _reveal_joints(self, position: int, velocity: int) -> None:
        """Say which entries of the observation are the positions and the velocities."""
        whole = {"qpos": slice(0, self.model.nq), "qvel": slice(self.model.nq, 2 * self.model.nq)}
        known = name_state(self.model, whole, {part: part for part in whole}, {})
        entries = list(self._state_entries)
        for first, part in ((position, whole["qpos"]), (velocity, whole["qvel"])):
            for i, entry in enumerate(known[part]):
                entries[first + i] = entry._replace(name=entries[first + i].name)
        self._state_entries = tuple(entries)
        nv = self.model.nv
        places = {"qpos": slice(position, position + nv), "qvel": slice(velocity, velocity + nv)}
        self.mechanics = find_mechanics(self.model, places, self.dt)

    def _record_start(self, ids: NDArray[np.int32]) -> None:
        self.contact_forces[ids] = 0.0  # as after `mj_resetData`
        self._original[ids] = np.concatenate(self.observation(), axis=1)[ids]
        self._place[ids] = self.place()[ids]

    def _advance(self, actions: NDArray[Any], failed: Bools) -> None:
        self._compute(failed, self.batch.step, nstep=self.nsubsteps)
        if self._data is not None:
            self._read_contact_forces()
        with np.errstate(invalid="ignore", over="ignore"):  # simulations may diverge
            place = np.array(self.place())
            self.velocity = (place - self._place) / self.dt
            self._place = place
            np.concatenate(self.observation(), axis=1, out=self._original)
            self._outcome = self.outcome(actions)
        if self._stage > STAGE_NONE:
            self._compute(failed, self.batch.forward, stage=self._stage)

    def _read_contact_forces(self) -> None:
        """Call `mj_rnePostConstraint`, as the original does after its step: MuJoCo's batch cannot."""
        assert self._data is not None
        for i in range(self.num_envs) if self._divergence.alive is None else self._divergence.alive:
            self.batch.get_data(i, self._data)
            mujoco.mj_rnePostConstraint(self.model, self._data)
            self.contact_forces[i] = self._data.cfrc_ext

    def _freeze(self, failed: Bools, states: Floats) -> None:
        super()._freeze(failed, states)
        self.contact_forces[self._divergence.diverged] = 0.0

    def _judge(self, states: Floats, applied: Floats) -> Outcome:
        outcome = self._outcome
        if self._divergence.alive is not None:  # a simulation that has diverged has no outcome
            rewards, terminated, info = outcome
            lost = self._divergence.diverged
            columns = {name: np.where(lost if a.ndim == 1 else lost[:, None], 0.0, a) for name, a in info.items()}
            outcome = np.where(lost, 0.0, rewards), terminated & ~lost, columns
        return outcome

    def close_extras(self, **kwargs: Any) -> None:
        super().close_extras(**kwargs)
        for name in ("qpos", "qvel", "_bodies", *self.fields):
            self.__dict__.pop(name, None)


def options(inherited: Mapping[str, Any] | None = None, /, **own: Any) -> Mapping[str, Any]:
    """Make an unchangeable mapping of keyword arguments and defaults: the inherited ones, updated with `own`."""
    return MappingProxyType({**(inherited or {}), **own})


def norm(vectors: Floats) -> Floats:
    """The lengths of the rows of (n, k), with the same bits as `np.linalg.norm` of each row."""
    return np.sqrt(np.vecdot(vectors, vectors))


def squares(actions: NDArray[Any]) -> NDArray[Any]:
    """The sum of squares of each row of (n, …), in its own precision, with the same bits as NumPy's sum of each row."""
    return np.square(actions).reshape(len(actions), -1).sum(axis=1)


def _find_model(xml_file: str) -> Path:
    """Find a model as the originals do: among Gymnasium's own, unless it begins with ".", "/" or "~"."""
    if xml_file.startswith((".", "/", "~")):
        return Path(xml_file).expanduser()
    return _ASSETS / xml_file
