"""An algorithm whose every answer is checked against its contract, so that a mistake is named where it is made.

The checks cost microseconds; `gps check` does the expensive ones.
"""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import numpy as np
from jaxtyping import Float

from gps.algorithms.algorithm import Algorithm, AlgorithmState, AnyAlgorithm, Needs
from gps.errors import AlgorithmFault, GpsError, one_line
from gps.linear_gaussian.types import Controller
from gps.players import EVALUATIONS, Player
from gps.policies.neural import NeuralPolicy
from gps.problem import Problem
from gps.protocols import list_missing
from gps.records import (
    IterationRecord,
    LocalRecord,
    ModelRecord,
    OptimisationRecord,
    PlannerRecord,
    PolicyRecord,
    Rollouts,
)
from gps.sampling.policy import Observes, Policy
from gps.status import Status

T = TypeVar("T")


class CheckedAlgorithm:
    """An algorithm that raises an `AlgorithmFault` where the one within breaks its contract.

    Args:
        algorithm: any object.
        conditions: M.

    Raises:
        AlgorithmFault: if a member is missing. It names the method, what came, and what was expected, in one line.
    """

    def __init__(self, algorithm: Any, conditions: int) -> None:
        if missing := list_missing(algorithm, Algorithm):
            raise AlgorithmFault(
                f"the algorithm, a {type(algorithm).__name__}, has no {_join(missing)}; "
                "gps.algorithms.algorithm.Algorithm says what it must have"
            )
        self._inner: AnyAlgorithm = algorithm
        self._M = conditions
        _require(isinstance(algorithm.problem, Problem), "problem", algorithm.problem, "a gps.problem.Problem")
        _require(isinstance(algorithm.needs, Needs), "needs", algorithm.needs, "gps.algorithms.algorithm.Needs")

    @property
    def problem(self) -> Problem:
        return self._inner.problem

    @property
    def needs(self) -> Needs:
        return self._inner.needs

    @property
    def state_type(self) -> Any:
        return self._inner.state_type

    def begin(self, controllers: Controller, starts: Float[np.ndarray, "M dx"]) -> AlgorithmState:
        state = _call("begin", self._inner.begin, controllers, starts)
        _call("begin", _check_state, "begin", state, 0, 0)
        return state

    def policy(self, state: AlgorithmState) -> Policy:
        policy = _call("policy", self._inner.policy, state)
        _call("policy", self._check_policy, "policy", policy)
        return policy

    def fit(self, state: AlgorithmState, rollouts: Rollouts, seed: int) -> Any:
        return _call("fit", self._inner.fit, state, rollouts, seed)

    def improve(
        self, state: AlgorithmState, sampled: Policy, rollouts: Rollouts, model: Any
    ) -> tuple[AlgorithmState, IterationRecord]:
        answer = _call("improve", self._inner.improve, state, sampled, rollouts, model)
        is_pair = isinstance(answer, tuple) and len(answer) == 2
        _require(is_pair, "improve", answer, "the next state and an IterationRecord")
        after, record = answer
        steps = state.environment_steps + rollouts.steps
        _call("improve", _check_state, "improve", after, state.iteration + 1, steps)
        _call("improve", self._check_record, record, state.iteration, steps, sampled, rollouts)
        return after, record

    def learned(self, state: AlgorithmState) -> Policy:
        policy = _call("learned", self._inner.learned, state)
        _call("learned", self._check_policy, "learned", policy)
        parameters = _call("learned", lambda: policy.parameters)
        storable = parameters is None or isinstance(parameters, Controller | NeuralPolicy)
        _require(storable, "learned().parameters", parameters, "a NeuralPolicy, a batch of Controllers, or None")
        return policy

    def parameters(self, state: AlgorithmState) -> Any:
        """The parameters of `learned(state)`, unchecked: a stored state may be damaged, and not by the algorithm."""
        return _call("learned", lambda: self._inner.learned(state).parameters)

    def teachers(self, state: AlgorithmState) -> tuple[Policy, ...]:
        teachers = _call("teachers", self._inner.teachers, state)
        _require(isinstance(teachers, tuple), "teachers", teachers, "a tuple of policies")
        for teacher in teachers:
            _call("teachers", self._check_policy, "teachers", teacher)
            known = teacher.player.value in EVALUATIONS
            _require(known, "teachers", teacher.player, f"a player that is one of {_join(EVALUATIONS)}")
        players = [teacher.player.value for teacher in teachers]
        _require(len(set(players)) == len(players), "teachers", players, "different players")
        return teachers

    def _check_policy(self, method: str, policy: Any) -> None:
        if missing := list_missing(policy, Policy):
            raise AlgorithmFault(
                f"algorithm.{method} returned a {type(policy).__name__} without {_join(missing)}; "
                "gps.sampling.policy.Policy says what a policy must have"
            )
        where = f"{method}().player"
        _require(isinstance(policy.player, Player), where, policy.player, "a gps.players.Player")
        _require(
            policy.observes in get_args(Observes), f"{method}().observes", policy.observes, _join(get_args(Observes))
        )
        problem = self.problem
        covariance = _require_array(
            f"{method}().covariance", policy.covariance, (self._M, problem.horizon, problem.du, problem.du)
        )
        variances = np.diagonal(covariance, axis1=-2, axis2=-1)
        _require(
            (variances >= 0).all(), f"{method}().covariance", f"the variance {variances.min():.3g}", "none below 0"
        )

    def _check_record(self, record: Any, iteration: int, steps: int, sampled: Policy, rollouts: Rollouts) -> None:
        _require(isinstance(record, IterationRecord), "improve", record, "an IterationRecord as the second value")
        M, T, dx, du = self._M, self.problem.horizon, self.problem.dx, self.problem.du
        expected = {"iteration": iteration, "environment_steps": steps, "player": sampled.player}
        for name, value in expected.items():
            came = getattr(record, name)
            _require(came == value, f"improve: record.{name}", came, repr(value))
        _require_array("improve: record.costs", record.costs, rollouts.mask.shape)
        status = _require_array("improve: record.status", record.status, (M,))
        codes = {int(one) for one in Status}
        unknown = [int(code) for code in status if int(code) not in codes]
        _require(not unknown, "improve: record.status", unknown, "codes of gps.status.Status")
        texts = isinstance(record.messages, tuple) and all(isinstance(text, str) for text in record.messages)
        enough = texts and len(record.messages) == M
        _require(enough, "improve: record.messages", record.messages, f"a tuple of {M} strings")
        sides = {
            "local": LocalRecord,
            "policy": PolicyRecord,
            "model": ModelRecord,
            "planner": PlannerRecord,
            "optimisation": OptimisationRecord,
        }
        for name, kind in sides.items():
            side = getattr(record, name)
            _require(
                side is None or isinstance(side, kind), f"improve: record.{name}", side, f"{kind.__name__} or None"
            )
        if record.local is not None:
            improved = record.local.improved
            _require(isinstance(improved, Controller), "improve: record.local.improved", improved, "a Controller")
            _require_array("improve: record.local.improved.feedback", improved.feedback, (M, T, du, dx))
            _require_array("improve: record.local.improved.covariance", improved.covariance, (M, T, du, du))


def _call(method: str, function: Callable[..., T], *arguments: Any) -> T:
    """The answer of a method, or of a check that reads it; an exception that is not ours becomes an AlgorithmFault."""
    try:
        return function(*arguments)
    except GpsError:
        raise
    except Exception as error:
        raise AlgorithmFault(f"algorithm.{method} raised {type(error).__name__}: {one_line(error)}") from error


def _check_state(method: str, state: Any, iteration: int, steps: int) -> None:
    if missing := list_missing(state, AlgorithmState):
        raise AlgorithmFault(
            f"algorithm.{method} returned a {type(state).__name__} without {_join(missing)} as the state; "
            "gps.algorithms.algorithm.AlgorithmState says what it must have"
        )
    _require(state.iteration == iteration, f"{method}: state.iteration", state.iteration, repr(iteration))
    came = state.environment_steps
    _require(came == steps, f"{method}: state.environment_steps", came, repr(steps))


def _require(condition: bool | np.bool_, place: str, came: Any, expected: str) -> None:
    if not condition:
        shown = came if isinstance(came, str) else repr(came)
        shown = shown if len(shown) <= 80 else f"a {type(came).__name__}"
        raise AlgorithmFault(f"algorithm.{place}: got {shown}; expected {expected}")


def _require_array(place: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The value as an array of numbers of this shape, all finite."""
    array = np.asarray(value)
    _require(array.dtype.kind in "biuf", place, f"an array of {array.dtype}", "numbers")
    _require(array.shape == shape, place, f"the shape {array.shape}", str(shape))
    _require(np.isfinite(array).all(), place, "values that are not finite", "finite ones")
    return array


def _join(names: Any) -> str:
    return ", ".join(map(str, names))
