"""A simulation that a learned controller acts in, one control period at a time, and that can be pushed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import mujoco
import numpy as np

from gps.builders import make_environment
from gps.environments.mujoco import MujocoEnv
from gps.environments.wrapper import Wrapper
from gps.errors import DrawingError, RunError
from gps.evaluation import prepare, restore
from gps.sampling.log import pack_input

if TYPE_CHECKING:
    from gps.environments.contract import BatchEnvironment
    from gps.experiment import Experiment
    from gps.runs import Run
    from gps.sampling.policy import Policy

State = Literal["running", "solved", "ended"]
"""An episode in progress; one whose last step was a success; one that the environment has ended."""

_GRAVITY = 9.81


class LiveSimulation:
    """One simulation, at the start of a condition until `step` is called. Make it by `open_simulation`.

    After the T steps of an episode the controller of the last step goes on acting, until `restart`.

    Attributes:
        condition: the number of the condition.
        t: control steps since the start.
        cost: the experiment's cost since the start, of the first T steps.
        state: of the episode.
        num_envs: 1, as `gps.environments.mujoco.offscreen` needs it.
    """

    num_envs = 1

    def __init__(self, built: Experiment, policy: Policy, environment: BatchEnvironment, condition: int) -> None:
        inner: Any = environment
        while isinstance(inner, Wrapper):
            inner = inner.env
        if not isinstance(inner, MujocoEnv):
            raise DrawingError("gps view --sim needs a MuJoCo simulation, and this environment is none")
        self._built, self._policy, self._environment = built, policy, environment
        self._forces = inner.batch.bind("xfrc_applied")
        self.restart(condition)
        self.model, _ = self.snapshot()

    @property
    def dt(self) -> float:
        """The control period, s."""
        return self._environment.dt if np.isfinite(self._environment.dt) else 1 / 30

    @property
    def conditions(self) -> int:
        """The number of conditions."""
        return len(self._built.conditions)

    @property
    def horizon(self) -> int:
        """T, the steps of an episode."""
        return self._built.horizon

    @property
    def bodies(self) -> dict[str, int]:
        """The bodies that can be pushed, by name: those that move."""
        moving = [k for k in range(1, self.model.nbody) if self.model.body_weldid[k] != 0]
        return {self.model.body(k).name or f"body {k}": k for k in moving}

    @property
    def weight(self) -> float:
        """The weight of all bodies that move, N: a force to compare a push with."""
        mass = float(self.model.body_mass[list(self.bodies.values())].sum()) if self.bodies else 0.0
        return max(mass * _GRAVITY, 0.1)

    def restart(self, condition: int | None = None) -> None:
        """Go back to the start of a condition, None for the same one, without forces.

        Raises:
            RunError: if there is no such condition.
        """
        if condition is not None:
            if not 0 <= condition < self.conditions:
                raise RunError(f"there is no condition {condition}; the run has 0 to {self.conditions - 1}")
            self.condition = condition
        options: dict[str, Any] = {"conditions": [self._built.conditions[self.condition]]}
        if self._environment.noisy:
            options["episodes"] = [(1, 0, self.condition, 0)]
        self._states, self._info = self._environment.reset(seed=self._built.config.seed, options=options)
        self._forces[:] = 0.0
        self.t, self.cost = 0, 0.0
        self.state: State = "running"

    def set_forces(self, forces: np.ndarray) -> None:
        """Set the force (N) and torque (N m) on each body, (nbody, 6), until they are set again."""
        self._forces[0] = forces

    def push(self, body: int, force: np.ndarray) -> None:
        """Set the force on a body's centre of mass, (3,) N in world coordinates, and none on the others."""
        self._forces[0] = 0.0
        self._forces[0, body, :3] = force

    def step(self) -> None:
        """Let the controller act for one control period; nothing happens in an episode that the environment ended."""
        if self.state != "running":
            return
        action = self._act()
        before = np.asarray(self._info.get("state", self._states))[0]
        self._states, _, terminated, truncated, self._info = self._environment.step(action[None])
        if self.t < self.horizon:
            applied = np.asarray(self._info.get("applied_action", action[None]))[0]
            self.cost += float(self._built.problem.cost(before, applied, self.t))
        self.t += 1
        if terminated[0] or truncated[0]:
            success = "success" in self._info and bool(self._info["success"][0])
            self.state = "solved" if success else "ended"

    def _act(self) -> np.ndarray:
        """The action of this condition's controller; the policy is asked for all conditions, as in a rollout."""
        sight, observes = self._built.problem.sight, self._policy.observes
        shape = (self.conditions, 1)
        observed = np.asarray(self._info.get("observation", self._states))
        parts = [np.broadcast_to(self._states, (*shape, self._states.shape[-1]))] if observes != "observation" else []
        if observes != "state":
            if sight.image_shape is not None:
                parts.append(np.broadcast_to(sight.image(observed), (*shape, *sight.image_shape)))
            numbers = sight.vector(observed)
            parts.append(np.broadcast_to(numbers, (*shape, numbers.shape[-1])))
        actions = self._policy.act(pack_input(parts, observes), min(self.t, self.horizon - 1))
        return np.asarray(actions, dtype=float)[self.condition, 0]

    def snapshot(self, i: int = 0) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """Return copies of the model and the data as they are now."""
        found = self._environment.snapshot(i)
        assert found is not None
        return found


@contextlib.contextmanager
def open_simulation(run: Run, iteration: int | None = None, condition: int = 0) -> Iterator[LiveSimulation]:
    """Play what an iteration of a run has learned, None for the last one.

    Raises:
        GpsError: if there is no such iteration or condition, or the environment is no MuJoCo simulation.
    """
    with restore(run, iteration) as (built, state):
        policy, _ = prepare(built, state, "none", 1, 0)
        with contextlib.closing(make_environment(built.config.environment, run.source, 1)) as environment:
            yield LiveSimulation(built, policy, environment, condition)
