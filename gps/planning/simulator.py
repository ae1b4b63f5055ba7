"""Planning on the true simulator: each sequence of actions runs in a copy of the live simulation.

The live simulation is read and never written. Its snapshot holds its whole integration state, also what the state
vector lacks (activations, the warm start of the contact solver, the time) and its own model, so that a copy takes the
very steps that the live one will take, bit for bit. All copies step together on MuJoCo's thread pool.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import mujoco
import numpy as np
from jaxtyping import Bool, Float

from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost
from gps.environments.contract import BatchEnvironment
from gps.environments.mujoco.env import MujocoEnv
from gps.environments.mujoco.stages import STAGE_VEL
from gps.planning.objective import Course
from gps.planning.searching import make_key, search_outside
from gps.planning.sequence_plans import SequencePlans, assemble_plans, begin_guesses
from gps.planning.sequences import ActionRange, Found, SequenceOptimiser

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION.value


class Snapshot(NamedTuple):
    """A simulation at one moment."""

    model: mujoco.MjModel
    condition: dict[str, Any]  # its positions and velocities, from which an environment resets its own records
    numbers: Float[np.ndarray, "n"]  # the whole integration state


def take_snapshot(environment: BatchEnvironment, i: int) -> Snapshot:
    """Return simulation `i` as it is now, without a change to it.

    Raises:
        ValueError: if the environment is no MuJoCo simulation.
    """
    pair = environment.snapshot(i)
    if pair is None:
        raise ValueError("planning on the true simulator needs a MuJoCo environment: this one has no snapshot")
    model, data = pair
    numbers = np.empty(mujoco.mj_stateSize(model, _STATE))
    mujoco.mj_getState(model, data, numbers, _STATE)
    return Snapshot(model, {"qpos": data.qpos.copy(), "qvel": data.qvel.copy()}, numbers)


class Flight(NamedTuple):
    """What S copies went through."""

    states: Float[np.ndarray, "S h dx"]  # h = H + 1
    actions: Float[np.ndarray, "S H du"]  # as applied
    rewards: Float[np.ndarray, "S H"]
    going: Bool[np.ndarray, "S h"]  # False after the end of an episode
    diverged: Bool[np.ndarray, "S"]


class Copies:
    """Copies of a simulation, in environments of their own.

    Args:
        make: returns an environment of the live one's kind with a number of simulations. It is called once for each
            number.
    """

    def __init__(self, make: Callable[[int], MujocoEnv]) -> None:
        self._make = make
        self._environments: dict[int, MujocoEnv] = {}

    def fly(self, snapshot: Snapshot, actions: Float[np.ndarray, "S H du"]) -> Flight:
        """Apply each sequence of actions in a copy of the snapshot."""
        S, H, _ = actions.shape
        environment = self._find(S)
        states = [self._set(environment, snapshot)]
        applied, rewards = np.empty(actions.shape), np.zeros((S, H))
        going, diverged = np.ones((S, H + 1), dtype=bool), np.zeros(S, dtype=bool)
        for h in range(H):
            after, rewards[:, h], terminated, _, info = environment.step(actions[:, h])
            states.append(after)
            applied[:, h] = info["applied_action"]
            going[:, h + 1] = going[:, h] & ~terminated
            diverged |= info["diverged"]
        return Flight(np.stack(states, axis=1), applied, rewards, going, diverged)

    def _find(self, count: int) -> MujocoEnv:
        if count not in self._environments:
            self._environments[count] = self._make(count)
        return self._environments[count]

    def _set(self, environment: MujocoEnv, snapshot: Snapshot) -> Float[np.ndarray, "S dx"]:
        """Put all simulations where the snapshot is; the states."""
        batch = environment.batch
        batch.set_models(snapshot.model)
        states, _ = environment.reset(options={"condition": snapshot.condition})
        batch.state[...] = snapshot.numbers
        if batch.persistent:  # it would go on from the stages that the reset computed
            batch.forward(stage=STAGE_VEL)
            batch.state[...] = snapshot.numbers
        return states

    def close(self) -> None:
        """Release the copies."""
        for environment in self._environments.values():
            environment.close()
        self._environments.clear()


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulatorPlanner:
    """Action sequences on the true simulator, as a `gps.planning.planner.Planner`: row i is live simulation i.

    Where there are more episodes than simulations, they run in groups, and row i is simulation i modulo their number:
    the plans of the groups that do not run at the time mean nothing.

    Args:
        live: the environment in which the episodes run, with a simulation for each of them.
        copies: see `Copies`; whoever makes them closes them.
        cost: a JAX function of (x, u, t).
        reward_weight: what the environment's reward counts, as a negative cost: 1 if it is the cost, 0 if it is not.
        optimiser, range, end, horizon, seed, seconds, hold: see `gps.planning.model_planner.ModelPlanner`.
    """

    live: BatchEnvironment
    copies: Copies
    cost: Cost
    optimiser: SequenceOptimiser[Any]
    range: ActionRange
    end: int
    horizon: int = 25
    reward_weight: float = 0.0
    seed: int = 0
    seconds: float | None = None
    hold: Float[np.ndarray, "du"] | None = None

    def plan(self, states: Float[np.ndarray, "B dx"], t: int, last: SequencePlans | None) -> SequencePlans:
        """The plans at step t of the live simulations, which are in these states; see `Planner.plan`."""
        before = None if last is None else last.shift()
        still = self._idle if self.hold is None else np.asarray(self.hold, float)
        if before is None:
            guesses = begin_guesses(self.range, still, len(states), self.horizon, self.optimiser.guesses)
            if self.seconds is not None:
                self._run(0, t, guesses[0])  # compiles outside of the time limit
        else:
            guesses = before.guesses
        live = [self._run(row, t, guesses[row]) for row in range(min(len(states), self.live.num_envs))]
        answers = [live[row % len(live)] for row in range(len(states))]
        return assemble_plans(answers, before, self.range, still, self.seconds)

    def _run(self, row: int, t: int, guesses: Float[np.ndarray, "G H du"]) -> tuple[Found, Course, float]:
        """Plan for live simulation `row`; what was found, its course, and the seconds."""
        began = time.perf_counter()
        snapshot = take_snapshot(self.live, row)

        def objective(sequences: Array, key: Array) -> Float[np.ndarray, "S"]:
            flight = self.copies.fly(snapshot, self._to_actions(np.asarray(sequences)))
            return _sum_costs(self._charge(flight, t), flight)

        key = _make_key(np.uint32(self.seed % 2**32), np.int32(t), np.int32(row))
        low, high = self.range.bounds
        found = jax.tree.map(np.asarray, search_outside(self.optimiser, objective, guesses, (low, high), key))
        actions = self._to_actions(found.actions)
        flight = self.copies.fly(snapshot, actions[None])
        costs = self._charge(flight, t)
        course = Course(_sum_costs(costs, flight)[0], costs[0], flight.states[0], np.zeros_like(flight.states[0]))
        curvature = found.curvature / np.outer(self.range.width, self.range.width)
        return found._replace(actions=actions, curvature=curvature), course, time.perf_counter() - began

    @property
    def _idle(self) -> Float[np.ndarray, "du"]:
        return np.clip(0.0, self.range.low, self.range.high)

    def _to_actions(self, units: Float[np.ndarray, "*batch du"]) -> Float[np.ndarray, "*batch du"]:
        """`ActionRange.to_actions` in NumPy: a call of JAX costs more than the numbers."""
        low, high, middle, width = self.range
        return np.clip(middle + width * units, low, high)

    def _charge(self, flight: Flight, t: int) -> Float[np.ndarray, "S h"]:
        """The cost of each step, and of the state after the last one."""
        S = len(flight.actions)
        idle = np.broadcast_to(self._idle, (S, 1, flight.actions.shape[-1]))
        actions = np.concatenate([flight.actions, idle], axis=1)
        counts = flight.going & (t + np.arange(self.horizon + 1) < self.end)
        costs = np.where(counts, np.asarray(_charge_all(self.cost, flight.states, actions, np.int32(t))), 0.0)
        costs[:, :-1] -= self.reward_weight * np.where(counts[:, :-1], flight.rewards, 0.0)
        return costs


_make_key = jax.jit(make_key)


@eqx.filter_jit
def _charge_all(cost: Cost, states: Array, actions: Array, t: Array) -> Array:
    times = t + jnp.arange(states.shape[1])
    return jax.vmap(jax.vmap(cost), (0, 0, None))(states, actions, times)


def _sum_costs(costs: Float[np.ndarray, "S h"], flight: Flight) -> Float[np.ndarray, "S"]:
    """The cost of each sequence; +inf where the simulation diverged or the cost is not finite."""
    total = costs.sum(axis=1)
    return np.where(flight.diverged | ~np.isfinite(total), np.inf, total)
