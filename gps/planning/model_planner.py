"""The planner that optimises action sequences in a global model.

A plan depends on the planner's seed, the step and the number of the episode alone, not on the other episodes or the
number of threads: each state's search is a computation of its own, and several run at the same time.
"""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax
from gps.costs.terms import Cost
from gps.environments.cpus import count_threads
from gps.models.model import GlobalModel, for_condition
from gps.models.propagation import Propagation, count_particles, draw_beliefs, follow_beliefs, roll_out_particles
from gps.planning.objective import Course, average_course, total_costs
from gps.planning.planner import number_conditions
from gps.planning.searching import make_key, search_compiled, search_outside
from gps.planning.sequence_plans import SequencePlans, assemble_plans, begin_guesses
from gps.planning.sequences import ActionRange, Found, SequenceOptimiser

_AFTER = 2**31 - 1
"""The number of the round in which the plan itself is evaluated."""


class _Setting(NamedTuple):
    """What a search in a model needs besides a state: a pytree whose other leaves are static."""

    model: Any
    cost: Cost
    optimiser: SequenceOptimiser[Any]
    range: ActionRange
    end: Array
    seed: Array
    particles: int
    propagation: Propagation
    kinds: str  # the classes in model and cost, which JAX does not tell apart if they have equally many fields


class _Where(NamedTuple):
    """A state, its step, and the numbers of its episode and its condition."""

    x: Array
    t: Array
    row: Array
    condition: Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelPlanner:
    """Action sequences in a model, as a `gps.planning.planner.Planner`.

    Args:
        model: see `gps.models.model.GlobalModel`.
        cost: a JAX function of (x, u, t).
        optimiser: of action sequences.
        range: limits and units of the actions.
        end: T; steps from there on cost nothing.
        horizon: H, steps of a plan.
        particles: P, for each sequence; 1 where the propagation is "mean".
        propagation: see `gps.models.propagation`.
        seed: of all random numbers.
        seconds: the time limit for the plan of one state, beyond which the fallback acts; None for none. With a limit
            the plans depend on the speed of the machine.
        hold: the action of the first step's fallback; None for no action.
        parts: the parts that a round's sequences are divided into, which run at the same time when a single state is
            planned for. The rounding depends on it.
        conditions: M, where the model differs between them: the states come in so many equal blocks. 1 where the model
            is the same for all.
    """

    model: GlobalModel
    cost: Cost
    optimiser: SequenceOptimiser[Any]
    range: ActionRange
    end: int
    horizon: int = 25
    particles: int = 5
    propagation: Propagation = "ts1"
    seed: int = 0
    seconds: float | None = None
    hold: Float[np.ndarray, "du"] | None = None
    parts: int = 1
    conditions: int = 1

    def plan(self, states: Float[np.ndarray, "B dx"], t: int, last: SequencePlans | None) -> SequencePlans:
        """The plans of B states at step t; see `Planner.plan`. A plan that fails is replaced, see `fallback`."""
        before = None if last is None else last.shift()
        begun = (
            begin_guesses(self.range, self._still, len(states), self.horizon, self.optimiser.guesses)
            if before is None
            else before.guesses
        )
        states = np.asarray(states, float)
        setting, numbers = self._setting, number_conditions(len(states), self.conditions)
        where = [_Where(x, np.int32(t), np.int32(row), numbers[row]) for row, x in enumerate(states)]
        if before is None:
            self._run(setting, where[0], begun[0], threads=1)  # compiles, once and outside of the time limit
        threads = min(count_threads(), len(states))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                answers = list(pool.map(partial(self._run, setting, threads=1), where, begun))
        else:
            answers = [self._run(setting, *pair, threads=count_threads()) for pair in zip(where, begun, strict=True)]
        return assemble_plans(answers, before, self.range, self._still, self.seconds)

    @property
    def _setting(self) -> _Setting:
        particles = count_particles(self.propagation, self.particles)
        end, seed = np.int32(self.end), np.uint32(self.seed % 2**32)
        kinds = str(jax.tree.structure((self.model, self.cost)))
        return _Setting(
            self.model, self.cost, self.optimiser, self.range, end, seed, particles, self.propagation, kinds
        )

    @property
    def _still(self) -> Float[np.ndarray, "du"]:
        return np.asarray(self.range.idle if self.hold is None else self.hold, float)

    def _run(
        self, setting: _Setting, where: _Where, guesses: Float[np.ndarray, "G H du"], threads: int
    ) -> tuple[Found, Course, float]:
        """Plan for one state; what was found (with the actions in their own unit), its course, and the seconds."""
        began = time.perf_counter()
        if self.parts == 1:
            answer = _plan(setting, where, guesses)
        else:
            answer = _plan_in_parts(setting, where, guesses, self.parts, threads)
        found, course = jax.tree.map(np.asarray, answer)
        return found, course, time.perf_counter() - began


def _draw(setting: _Setting, where: _Where) -> tuple[Any, Array]:
    """Return the functions that the particles follow (None for the mean), and the key of the search."""
    to_draw, to_search = jax.random.split(make_key(setting.seed, where.t, where.row))
    model = for_condition(setting.model, where.condition)
    return draw_beliefs(model, setting.propagation, setting.particles, to_draw), to_search


def _evaluate(
    setting: _Setting, where: _Where, functions: Any, sequences: Float[Array, "S H du"], key: Array
) -> tuple[Array, Array]:
    """Return `roll_out_particles`'s costs and states of sequences in units."""
    advance = follow_beliefs(for_condition(setting.model, where.condition), functions, setting.propagation)
    actions, idle = setting.range.to_actions(sequences), setting.range.idle
    return roll_out_particles(
        advance, setting.particles, setting.cost, where.x, actions, idle, where.t, setting.end, key
    )


def _conclude(setting: _Setting, where: _Where, functions: Any, found: Found, key: Array) -> tuple[Found, Course]:
    """Return what was found, in the unit of the actions, and its course."""
    course = average_course(*_evaluate(setting, where, functions, found.actions[None], jax.random.fold_in(key, _AFTER)))
    width = setting.range.width
    return (
        found._replace(
            actions=setting.range.to_actions(found.actions),
            curvature=found.curvature / (width[:, None] * width),
        ),
        course,
    )


@eqx.filter_jit
def _plan(setting: _Setting, where: _Where, guesses: Float[Array, "G H du"]) -> tuple[Found, Course]:
    functions, key = _draw(setting, where)

    def objective(sequences: Array, to_evaluate: Array) -> Array:
        return total_costs(*_evaluate(setting, where, functions, sequences, to_evaluate))

    found = search_compiled(setting.optimiser, objective, guesses, setting.range.bounds, key)
    return _conclude(setting, where, functions, found, key)


def _plan_in_parts(
    setting: _Setting, where: _Where, guesses: Float[Array, "G H du"], parts: int, threads: int
) -> tuple[Found, Course]:
    """Plan for one state in a Python loop, with each round's sequences in parts that run at the same time."""
    functions, key = _draw_alone(setting, where)
    with ThreadPoolExecutor(min(threads, parts)) as pool:

        def objective(sequences: Array, to_evaluate: Array) -> Array:
            pieces = np.array_split(np.asarray(sequences), parts)
            costs = pool.map(lambda piece: _evaluate_alone(setting, where, functions, piece, to_evaluate), pieces)
            return np.concatenate([np.asarray(part) for part in costs])

        found = search_outside(setting.optimiser, objective, guesses, setting.range.bounds, key)
    return _conclude_alone(setting, where, functions, found, key)


_draw_alone, _conclude_alone = eqx.filter_jit(_draw), eqx.filter_jit(_conclude)


@eqx.filter_jit
def _evaluate_alone(setting: _Setting, where: _Where, functions: Any, sequences: Array, key: Array) -> Array:
    return total_costs(*_evaluate(setting, where, functions, sequences, key))
