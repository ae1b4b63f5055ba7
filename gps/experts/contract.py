"""The contract of experts, who say what to do in a state.

An expert for a distillation is any object with

    act(states, t) -> actions          states (B, dx) of B episodes at step t, actions (B, du); NumPy

where the B episodes are those of all conditions, condition by condition. It is called along each episode, step by step,
and t = 0 begins new ones: so it may remember its plans. It may also have

    advise(states, t) -> (actions, precisions)      with precisions (B, du, du), or None: the expert acts by
                                                    N(action, precision⁻¹), as one does that minimises a cost-to-go Q
                                                    with entropy at a temperature α: precision = Quu / α
    carries_over                                    False if it knows the starts of its conditions alone

`adapt_expert` makes an `Expert` of it. An expert that learns the dynamics from the samples, such as a planner, is made
by an `ExpertSource` in each iteration.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from gps.dynamics.prior import DynamicsPrior
from gps.errors import ExpertFault, one_line
from gps.linear_gaussian.linalg import is_semi_definite
from gps.models.model import GlobalModel
from gps.records import Rollouts


class Advice(NamedTuple):
    """The expert's actions and their precisions. A row that is not finite is no advice."""

    actions: Float[np.ndarray, "... du"]
    precisions: Float[np.ndarray, "... du du"] | None  # None where the expert reports none


class Expert(Protocol):
    """Advice for B episodes at a time."""

    @property
    def carries_over(self) -> bool:
        """False if it knows the starts of its conditions alone."""

    def advise(self, states: Float[np.ndarray, "B dx"], t: int) -> Advice:
        """The advice at step t, requested along each episode; t = 0 begins new episodes."""


class ExpertSource(Protocol):
    """The source of each iteration's expert: a fixed one, or one made from dynamics fitted to the samples."""

    @property
    def prior(self) -> DynamicsPrior | None:
        """The model of the dynamics before the first samples, which is refitted to them; None without one."""

    @property
    def model(self) -> GlobalModel | None:
        """The model that the expert plans in, where a policy can practise; None without one.

        Such an expert can be asked from any step of an episode on.
        """

    @property
    def episodes(self) -> tuple[Rollouts, ...]:
        """Recorded episodes in which the expert acted, the newest last; each is of one iteration."""

    def make_expert(self, prior: DynamicsPrior | None, cost_unit: float) -> Expert | None:
        """The expert that has learned from the samples; None while that is not enough.

        Args:
            prior: the refitted model.
            cost_unit: the mean absolute cost of a step.
        """


@dataclasses.dataclass(frozen=True)
class FixedExpert:
    """The source of an expert that learns nothing."""

    expert: Expert
    prior: None = None
    model: GlobalModel | None = None
    episodes: tuple[Rollouts, ...] = ()

    def make_expert(self, prior: DynamicsPrior | None, cost_unit: float) -> Expert:
        return self.expert


@runtime_checkable
class _Acts(Protocol):
    def act(self, states: Any, t: int) -> Any: ...


@runtime_checkable
class _Advises(Protocol):
    def advise(self, states: Any, t: int) -> Any: ...


@runtime_checkable
class _SaysWhetherItCarriesOver(Protocol):
    carries_over: bool


@dataclasses.dataclass(frozen=True)
class _Adapted:
    """An expert of another's making."""

    ask: Callable[[Any, int], tuple[Any, Any]]
    carries_over: bool

    def advise(self, states: Float[np.ndarray, "B dx"], t: int) -> Advice:
        return Advice(*self.ask(states, t))


def adapt_expert(expert: Any) -> Expert:
    """An `Expert` from an object with `act`, or from a function of (states, t).

    Raises:
        TypeError: if it is neither.
    """
    carries_over = bool(expert.carries_over) if isinstance(expert, _SaysWhetherItCarriesOver) else True
    if isinstance(expert, _Advises):
        return _Adapted(expert.advise, carries_over)
    act = expert.act if isinstance(expert, _Acts) else expert
    if not callable(act):
        raise TypeError("an expert needs act(states, t)")
    return _Adapted(lambda states, t: (act(states, t), None), carries_over)


def ask(expert: Expert, states: Float[np.ndarray, "M N dx"], t: int, du: int) -> Advice:
    """The expert's advice at step t, for N episodes of each of M conditions.

    A precision that is not positive semi-definite becomes NaN.

    Raises:
        ExpertFault: if it raises, or answers in another shape.
    """
    M, N, dx = states.shape
    flat = states.reshape(M * N, dx)
    try:
        actions, precisions = expert.advise(flat, t)
        actions = np.asarray(actions, dtype=float)
        precisions = None if precisions is None else np.asarray(precisions, dtype=float)
    except ExpertFault:
        raise
    except Exception as error:
        raise ExpertFault(f"the expert raised at step {t}: {type(error).__name__}: {one_line(error)}") from error
    for what, array, shape in (("actions", actions, (M * N, du)), ("precisions", precisions, (M * N, du, du))):
        if array is not None and array.shape != shape:
            raise ExpertFault(
                f"the expert's {what} at step {t} have the shape {array.shape}; expected {shape} for states of shape "
                f"{flat.shape}"
            )
    actions = actions.reshape(M, N, du)
    if precisions is None:
        return Advice(actions, None)
    firm = np.where(is_semi_definite(precisions)[:, None, None], precisions, np.nan)
    return Advice(actions, firm.reshape(M, N, du, du))
