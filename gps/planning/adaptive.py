"""A controller that adapts a global model within each episode, and replans at each step.

At each step, each episode for itself: the transition just seen enters the evidence about what the model misses
(`gps.dynamics.adaptation`), the model is corrected around the state and the action that was planned for it, and a few
rounds of iterative LQR improve the plan in the corrected model. So a model of other systems serves for this one within
one attempt (Fu, Levine & Abbeel 2016). At step 0 the episode knows nothing but the model.
"""

import time
from typing import Any, NamedTuple, Self

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost
from gps.dynamics.adaptation import Correction, Evidence, correct
from gps.linear_gaussian.types import pytree
from gps.models.belief import DRAWS, believe_at
from gps.models.model import GlobalModel, PlanningModel, for_condition, varies
from gps.planning.fallback import Trouble
from gps.planning.ilqr import Plan, PlanningProblem, improve_plan
from gps.planning.linearising import predict_courses
from gps.planning.objective import Course
from gps.planning.planner import number_conditions
from gps.planning.played import Planned
from gps.players import Player
from gps.problem import Problem
from gps.sampling.policy import Observes


@pytree
class CorrectedModel:
    """A global model f with a correction: x' = f(z) + b + B (z − center). A `PlanningModel`."""

    model: PlanningModel
    correction: Correction

    @property
    def deviations(self) -> Float[Array, "dz"]:
        return self.model.deviations

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        F, c = self.model.linearise(x, u)
        center, b, B, _ = self.correction
        return F + B, c + b - B @ center


class Adaptation(NamedTuple):
    """How to adapt.

    Args:
        strength, degrees: how far the model and its noise are trusted: see `gps.dynamics.residual`.
        forgetting: λ, the factor on the weight of a sample per step; 1 forgets nothing.
        least_noise: floor under the deviation of the noise, relative to that of the data.
        horizon: steps of a plan.
        rounds, first_rounds: of iterative LQR at each step, and at the first one.
    """

    strength: float = 1.0
    degrees: float = 1.0
    forgetting: float = 0.95
    least_noise: float = 1e-3
    horizon: int = 20
    rounds: int = 2
    first_rounds: int = 20


class _Memory(NamedTuple):
    """What B episodes carry from one step to the next."""

    evidence: Evidence
    plans: Plan
    predicted: Float[Array, "B dx"]  # f at the last z
    last: Float[Array, "B dz"]  # z
    fine: Bool[Array, "B"]  # False where the last plan was not finite, and the one before it goes on


class AdaptivePolicy:
    """The controller, as a sampler runs it: a `gps.sampling.policy.Policy` of M conditions and T steps.

    It acts without noise, as it must know the actions that were taken. It remembers the episodes between two steps and
    forgets them at step 0, so it plays one batch of episodes at a time.

    Args:
        problem: its cost must have a formula.
        model: any global model.
        conditions: M.
        settings: see `Adaptation`.
        seed: of the functions that are drawn from the model for its doubt.
    """

    player: Player = Player.PLANNER
    observes: Observes = "state"
    abstains: str = ""
    parameters: None = None

    def __init__(
        self,
        problem: Problem,
        model: GlobalModel,
        conditions: int,
        settings: Adaptation = Adaptation(),  # noqa: B008  # an immutable record
        seed: int = 0,
    ) -> None:
        self._problem, self._model, self._conditions = problem, model, conditions
        self._settings, self._seed = settings, seed
        self.carries_over = not varies(model)
        self._memory: _Memory | None = None
        self._course: Course | None = None
        self._seconds: list[float] = []  # that the plan of one episode took, at each step
        self._troubles: list[Int[np.ndarray, B]] = []
        draw, self._key = jax.random.split(jax.random.key(seed))
        self._functions = model.draw(draw, DRAWS)

    @property
    def covariance(self) -> Float[np.ndarray, "M T du du"]:
        du = self._problem.du
        return np.zeros((self._conditions, self._problem.horizon, du, du))

    def repeat(self, count: int) -> Self:
        return type(self)(self._problem, self._model, self._conditions * count, self._settings, self._seed)

    def replan(self) -> Self:
        return self.repeat(1)  # it always does

    def act(self, seen: Float[np.ndarray, "M N dx"], t: int) -> Float[np.ndarray, "M N du"]:
        """The first action of each episode's plan."""
        began = time.perf_counter()
        problem, settings = self._problem, self._settings
        states = np.asarray(seen, float).reshape(-1, problem.dx)
        if t == 0 or self._memory is None:
            self._memory, rounds = self._begin(states), settings.first_rounds
        else:
            plans = jax.tree.map(np.asarray, self._memory.plans).shift()
            self._memory, rounds = self._memory._replace(plans=plans), settings.rounds
        low, high = (np.broadcast_to(limit, problem.du) for limit in problem.limits)
        planning = PlanningProblem(self._model, low, high, self._model.deviations, np.int32(problem.horizon))
        weights = np.array(settings[:4])  # an array, so that other numbers need no other compilation
        key, where = jax.random.fold_in(self._key, t), self._number(len(states))
        self._memory = _advance(
            planning,
            self._functions,
            problem.cost,
            weights,
            self._memory,
            states,
            where,
            np.int32(t),
            np.int32(rounds),
            key,
        )
        actions = np.asarray(self._memory.plans.actions[:, 0])
        if t == 0:
            idle, end = np.clip(0.0, low, high), np.int32(problem.horizon)
            plans = np.asarray(self._memory.plans.actions)
            course = predict_courses(self._model, problem.cost, states, where, plans, idle, np.int32(0), end)
            self._course, self._seconds, self._troubles = jax.tree.map(np.asarray, course), [], []
        self._seconds.append((time.perf_counter() - began) / len(states))
        self._troubles.append(np.where(self._memory.fine, Trouble.NONE, Trouble.NOT_FINITE).astype(np.int32))
        return actions.reshape(*np.shape(seen)[:-1], problem.du)

    @property
    def planned(self) -> Planned | None:
        """What was planned in the last episodes: the forecast is that of the model before the first step."""
        if self._course is None:
            return None
        one = np.ones(len(self._course.costs))
        return Planned.of(
            self._course,
            self._conditions,
            range(len(self._seconds)),
            seconds=[seconds * one for seconds in self._seconds],
            effective=[one for _ in self._seconds],
            troubles=self._troubles,
        )

    def _number(self, count: int) -> Float[np.ndarray, "B"]:
        """The condition of each of `count` states, where the model differs between them."""
        return number_conditions(count, 1 if self.carries_over else self._conditions)

    def _begin(self, states: Float[np.ndarray, "B dx"]) -> _Memory:
        problem = self._problem
        plans = Plan.none(len(states), min(self._settings.horizon, problem.horizon), problem.du)
        origins = np.concatenate([states, np.zeros((len(states), problem.du))], axis=1)
        scale = jnp.asarray(self._model.deviations)
        evidence = jax.vmap(lambda origin: Evidence.none(origin, scale, problem.dx))(jnp.asarray(origins))
        return _Memory(
            evidence, plans, jnp.full(states.shape, jnp.nan), jnp.asarray(origins), jnp.ones(len(states), bool)
        )


@eqx.filter_jit
def _advance(
    planning: PlanningProblem,
    functions: Any,
    cost: Cost,
    weights: Array,
    memory: _Memory,
    states: Array,
    conditions: Array,
    t: Array,
    rounds: Array,
    key: Array,
) -> _Memory:
    """Take in the transitions just seen, correct the model and improve the plans: each episode for itself."""

    def advance(memory: _Memory, x: Array, number: Array) -> _Memory:
        here, drawn = planning.for_condition(number), for_condition(functions, number)
        return _advance_one(here, drawn, cost, weights, memory, x, t, rounds, key)

    return jax.vmap(advance)(memory, states, conditions)


def _advance_one(
    planning: PlanningProblem,
    functions: Any,
    cost: Cost,
    weights: Array,
    memory: _Memory,
    x: Array,
    t: Array,
    rounds: Array,
    key: Array,
) -> _Memory:
    strength, degrees, forgetting, least_noise = weights
    model: Any = planning.model  # global
    scale, dx = memory.evidence.scale, len(x)
    evidence = memory.evidence.add(memory.last, x - memory.predicted, forgetting)
    u = memory.plans.actions[0]
    belief = believe_at(model, functions, x, u, key).complete((least_noise * scale[:dx]) ** 2, scale)
    z = jnp.concatenate([x, u])
    correction = correct(evidence, z, belief.noise, belief.doubt, belief.slope_covariances, strength, degrees)
    corrected = planning._replace(model=CorrectedModel(model, correction))
    plan = improve_plan(corrected, cost, x, t, memory.plans, rounds, memory.plans.actions[None][:0])
    fine = jnp.isfinite(plan.actions).all()  # False where the model is not finite: the last plan goes on
    plan = jax.tree.map(lambda new, old: jnp.where(fine, new, old), plan, memory.plans)
    u = plan.actions[0]
    return _Memory(evidence, plan, model.mean(x, u), jnp.concatenate([x, u]), fine)
