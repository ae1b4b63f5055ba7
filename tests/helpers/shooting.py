"""A family of algorithms that this library does not have: random shooting in one linear model of all samples.

`tests/test_planner_plugin.py` installs this file as a package of its own. It has no local controllers and no policy: it
learns a planner, and its record has only the sides of the model and of the planner.
"""

import dataclasses
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float

from gps.algorithms.algorithm import Needs
from gps.costs import evaluate_cost
from gps.linear_gaussian.types import Controller
from gps.players import Player
from gps.problem import Problem
from gps.records import IterationRecord, ModelRecord, PlannerRecord, Rollouts
from gps.sampling.policy import Observes
from gps.status import Status


class LinearModel(NamedTuple):
    """x' = [x; u; 1]ᵀ W, by ridge regression on all transitions so far."""

    inputs: Float[np.ndarray, "I dz"]
    successors: Float[np.ndarray, "I dx"]

    @property
    def weights(self) -> Float[np.ndarray, "dz dx"]:
        dz, dx = self.inputs.shape[1], self.successors.shape[1]
        prior = np.eye(dz, dx)  # the state stays as it is
        gram = self.inputs.T @ self.inputs + 1e-6 * np.eye(dz)
        return prior + np.linalg.solve(gram, self.inputs.T @ (self.successors - self.inputs @ prior))

    def extend(self, rollouts: Rollouts) -> Self:
        """The model with the transitions of `rollouts` added."""
        known = rollouts.mask[..., :-1] & rollouts.mask[..., 1:]
        x, successors = rollouts.states[..., :-1, :][known], rollouts.states[..., 1:, :][known]
        z = np.concatenate([x, rollouts.actions[..., :-1, :][known], np.ones((len(x), 1))], axis=1)
        return self._replace(
            inputs=np.concatenate([self.inputs, z]), successors=np.concatenate([self.successors, successors])
        )

    def errors(self) -> Float[np.ndarray, "dx"]:
        """The root mean square error of each entry of the state."""
        return np.sqrt(np.mean((self.inputs @ self.weights - self.successors) ** 2, axis=0))


class State(NamedTuple):
    iteration: int
    environment_steps: int
    conditions: int
    model: LinearModel


@dataclasses.dataclass(frozen=True)
class Shooter:
    """In each state, the first action of the cheapest of random plans."""

    problem: Problem
    model: LinearModel
    conditions: int
    candidates: int
    lookahead: int
    noise: float

    player: Player = Player.PLANNER
    observes: Observes = "state"
    abstains: str = ""
    carries_over: bool = True
    parameters: None = None

    @property
    def covariance(self) -> Float[np.ndarray, "M T du du"]:
        du = self.problem.du
        return np.broadcast_to(np.eye(du) * self.noise**2, (self.conditions, self.problem.horizon, du, du))

    def act(self, seen: Any, t: int) -> Float[np.ndarray, "M N du"]:
        plans, costs = self.plan(seen.reshape(-1, seen.shape[-1]), t)
        return plans[costs.argmin(axis=1), 0].reshape(*seen.shape[:2], -1)

    def plan(self, states: Float[np.ndarray, "B dx"], t: int) -> tuple[np.ndarray, Float[np.ndarray, "B K"]]:
        """Random plans (K, H, du) and what each costs from each state in the model."""
        shape = (self.candidates, self.lookahead, self.problem.du)
        plans = np.random.default_rng(t).uniform(-1.0, 1.0, shape)
        x = np.repeat(states[:, None], self.candidates, axis=1)
        weights, total = self.model.weights, np.zeros(x.shape[:2])
        for h in range(self.lookahead):
            u = np.broadcast_to(plans[:, h], (*x.shape[:2], self.problem.du))
            one_step = np.ones((*x.shape[:2], 1))
            total += evaluate_cost(self.problem.cost, x[:, :, None], u[:, :, None], one_step > 0)[..., 0]
            x = np.concatenate([x, u, one_step], axis=-1) @ weights
        return plans, total

    def repeat(self, count: int) -> Self:
        return dataclasses.replace(self, conditions=self.conditions * count)


@dataclasses.dataclass(frozen=True)
class Shooting:
    problem: Problem
    candidates: int
    lookahead: int
    noise: float
    state_type: Any = State

    @property
    def needs(self) -> Needs:
        return Needs(derivatives=False)

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> State:
        dx, du = self.problem.dx, self.problem.du
        return State(0, 0, len(starts), LinearModel(np.zeros((0, dx + du + 1)), np.zeros((0, dx))))

    def policy(self, state: State) -> Shooter:
        return Shooter(self.problem, state.model, state.conditions, self.candidates, self.lookahead, self.noise)

    def fit(self, state: State, rollouts: Rollouts, seed: int) -> LinearModel:
        return state.model.extend(rollouts)

    def improve(
        self, state: State, sampled: Shooter, rollouts: Rollouts, model: LinearModel
    ) -> tuple[State, IterationRecord]:
        costs = self.problem.costs(rollouts)
        steps = state.environment_steps + int(rollouts.mask.sum())
        planned = sampled.plan(rollouts.states[:, :, 0].reshape(-1, self.problem.dx), 0)[1].min(axis=1)
        record = IterationRecord(
            iteration=state.iteration,
            environment_steps=steps,
            player=sampled.player,
            rollouts=rollouts,
            costs=costs,
            status=np.full(state.conditions, Status.OK),
            messages=("",) * state.conditions,
            model=ModelRecord(one_step_error=model.errors()),
            planner=PlannerRecord(
                predicted=planned.reshape(rollouts.mask.shape[:2]).mean(axis=1),
                actual=costs.sum(axis=2).mean(axis=1),
            ),
        )
        return State(state.iteration + 1, steps, state.conditions, model), record

    def learned(self, state: State) -> Shooter:
        return dataclasses.replace(self.policy(state), noise=0.0)

    def teachers(self, state: State) -> tuple[()]:
        return ()


def make_shooting(problem: Problem, config: Any) -> Shooting:
    """The algorithm of an experiment: the key `lookahead` of `[algorithm]` is its own."""
    section = config.algorithm
    return Shooting(problem, 64, section.options["lookahead"], section.controller.noise)
