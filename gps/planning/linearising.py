"""The planner that linearises any model along its plan: iterative LQR with limits, see `gps.planning.ilqr`.

It needs the model's slopes and its cost's derivatives, and is then far quicker than a search by samples; where small
changes of the plan do not help, it finds no way out but by its random guesses.
"""

import dataclasses
import time
from typing import Self

import equinox as eqx
import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost
from gps.models.model import PlanningModel, for_condition
from gps.models.propagation import follow_prediction, roll_out_particles
from gps.planning.ilqr import FIRST, Plan, PlanningProblem, draw_guesses, improve_plans
from gps.planning.objective import Course, average_course
from gps.planning.planner import number_conditions
from gps.planning.sequence_plans import SequencePlans, assemble_plans, begin_guesses
from gps.planning.sequences import ActionRange, Found


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearisedPlans(SequencePlans):
    """Plans by iterative LQR, with the damping μ that the next search begins with. Their curvature is Quu itself."""

    mu: Float[np.ndarray, "B"]

    def shift(self, steps: int = 1) -> Self:
        return dataclasses.replace(super().shift(steps), mu=np.minimum(self.mu, FIRST))


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearisingPlanner:
    """Iterative LQR in a model, as a `gps.planning.planner.Planner`; the seconds are those of all plans over B.

    Args:
        model: see `gps.models.model.PlanningModel`; a `GlobalModel` is one.
        rounds, first_rounds: of linearisation, LQR and rollout, at each step and at the first one.
        tries, first_tries: random sequences that are tried at each step, and at the first one (None: as many).
        first_starts: the cheapest of these and of the plan that are improved at the first step; the best one is kept.
        tried: actions of whole episodes, E of them, that are tried at step 0 as well.
        attempts: made so far; with another number the random sequences are others.
        cost, range, end, horizon, seconds, hold, conditions: see `gps.planning.model_planner.ModelPlanner`.
    """

    model: PlanningModel
    cost: Cost
    range: ActionRange
    end: int
    horizon: int = 25
    rounds: int = 2
    first_rounds: int = 20
    tries: int = 8
    first_tries: int | None = None
    first_starts: int = 1
    tried: Float[np.ndarray, "E T du"] | None = None
    attempts: int = 0
    seconds: float | None = None
    hold: Float[np.ndarray, "du"] | None = None
    conditions: int = 1

    def plan(self, states: Float[np.ndarray, "B dx"], t: int, last: LinearisedPlans | None) -> LinearisedPlans:
        """The plans of B states at step t; see `Planner.plan`. A plan that fails is replaced, see `fallback`."""
        states = np.asarray(states, float)
        before = None if last is None else last.shift()
        still = np.asarray(self.range.idle if self.hold is None else self.hold, float)
        if before is None:
            units, mu = begin_guesses(self.range, still, len(states), self.horizon, 1), np.full(len(states), FIRST)
            if self.seconds is not None:  # compiles outside of the time limit
                first = self.first_tries or self.tries
                for tries, starts in {(self.tries, 1), (first, self.first_starts)}:
                    self._improve(states, t, units, mu, 0, tries, starts)
        else:
            units, mu = before.guesses, before.mu
        began = time.perf_counter()
        tries, rounds = self.tries, self.rounds
        if before is None:
            tries, rounds = tries if self.first_tries is None else self.first_tries, self.first_rounds
        plan, course = self._improve(states, t, units, mu, rounds, tries, self.first_starts if before is None else 1)
        seconds = (time.perf_counter() - began) / len(states)
        guesses = np.asarray(self.range.to_units(plan.actions))[:, None]
        answers = [
            (
                Found(plan.actions[row], guesses[row], plan.curvature[row], np.float64(1.0)),
                jax.tree.map(lambda array, row=row: array[row], course),
                seconds,
            )
            for row in range(len(states))
        ]
        made = assemble_plans(answers, before, self.range, still, self.seconds)
        return LinearisedPlans(**vars(made), mu=np.where(made.troubles > 0, FIRST, plan.mu))

    def _improve(
        self,
        states: Float[np.ndarray, "B dx"],
        t: int,
        units: Float[np.ndarray, "B 1 H du"],
        mu: Float[np.ndarray, "B"],
        rounds: int,
        count: int,
        starts: int,
    ) -> tuple[Plan, Course]:
        """Improve plans, with `count` random sequences to start from as well, and predict their course."""
        low, high = np.asarray(self.range.low), np.asarray(self.range.high)
        du = len(low)
        scale = np.asarray(self.model.deviations)
        scale = np.where(np.isfinite(scale) & (scale > 0), scale, 1.0)  # 0 where the data never vary
        problem = PlanningProblem(self.model, low, high, scale, np.int32(self.end))
        actions = np.asarray(self.range.to_actions(units[:, 0]))
        plan = Plan(actions, mu, np.tile(np.eye(du), (len(states), 1, 1)))
        where = number_conditions(len(states), self.conditions)
        tries = draw_guesses(problem, self.horizon, count, t, self.attempts)
        if t == 0 and self.tried is not None:
            tries = np.concatenate([tries, self.tried[:, : self.horizon]])
        plan = improve_plans(problem, self.cost, states, t, plan, rounds, tries, where, starts)
        idle, end = np.clip(0.0, low, high), np.int32(self.end)
        course = predict_courses(self.model, self.cost, states, where, plan.actions, idle, np.int32(t), end)
        return plan, jax.tree.map(np.asarray, course)


@eqx.filter_jit
def predict_courses(
    model: PlanningModel,
    cost: Cost,
    states: Array,
    conditions: Array,
    actions: Array,
    idle: Array,
    t: Array,
    end: Array,
) -> Course:
    """Return the course of each plan, from each state in its own condition (JAX)."""
    key = jax.random.key(0)

    def predict(x: Array, number: Array, plan: Array) -> Course:
        def follow_slope(x: Array, u: Array) -> Array:
            F, c = for_condition(model, number).linearise(x, u)
            return F @ jnp.concatenate([x, u]) + c

        advance = follow_prediction(follow_slope)
        return average_course(*roll_out_particles(advance, 1, cost, x, plan[None], idle, t, end, key))

    return jax.vmap(predict)(states, conditions, actions)
