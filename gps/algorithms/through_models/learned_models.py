"""The models that an algorithm learns from all samples so far, and the record of an iteration that taught them.

New samples judge the old model before it learns from them: the errors and the coverage of a record are those on
episodes that the model had not seen.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from typing_extensions import TypeVar

from gps.algorithms.algorithm import AlgorithmState
from gps.algorithms.local.verdict import judge, make_messages
from gps.costs.terms import Cost, Sum
from gps.dynamics.prior import Transitions
from gps.linear_gaussian.types import Controller
from gps.models.calibration import calibrate
from gps.models.model import GlobalModel, ModelLearner
from gps.models.reward import RewardLearner
from gps.records import IterationRecord, ModelRecord, Rollouts
from gps.sampling.policy import Policy
from gps.status import Status

L = TypeVar("L", bound=ModelLearner, default=ModelLearner, covariant=True)
"""A learner of the dynamics."""


@dataclasses.dataclass(frozen=True)
class ModelState(Generic[L]):
    """The fields that the states of the algorithms with a learned model share, for M conditions."""

    iteration: int
    environment_steps: int
    first: Controller  # the base policy
    model: L  # the learner of the dynamics, with all data so far
    reward: RewardLearner | None  # where the cost has no formula


State = TypeVar("State", bound=ModelState, default=ModelState)


class FittedModels(NamedTuple):
    """The result of `fit`."""

    learner: Any  # of the dynamics, of the type of the settings' learner; None where none is needed
    reward: RewardLearner | None
    record: ModelRecord | None
    sample_costs: Float[np.ndarray, "M N T"]

    @property
    def status(self) -> Status:
        """The status of a condition whose samples are good: learned, or which model is still missing."""
        if self.reward is not None and self.reward.cost is None:
            return Status.NO_REWARD
        if self.learner is None:
            return Status.OK
        return Status.NO_MODEL if self.learner.model is None else Status.LEARNED


class SeededModels(NamedTuple):
    """The result of `fit` of an algorithm whose improvement draws random numbers."""

    models: FittedModels
    seed: int


class World(NamedTuple):
    """The model and the complete cost, in which a policy can be tried."""

    model: GlobalModel
    cost: Cost


def find_world(cost: Cost, learner: ModelLearner, reward: RewardLearner | None) -> World | None:
    """The model with the complete cost; None while either is unknown."""
    model, complete = learner.model, complete_cost(cost, reward)
    return None if model is None or complete is None else World(model, complete)


def learn_models(
    before: ModelLearner, reward: RewardLearner | None, rollouts: Rollouts, seed: int, horizon: int
) -> tuple[ModelLearner, RewardLearner | None, ModelRecord | None]:
    """Let the models learn from samples; the record judges the old model by them, up to `horizon` steps ahead."""
    x, u, mask = rollouts.states, rollouts.actions, rollouts.mask
    learner = before.refit(Transitions.of(x, u, mask), seed)
    record = learner.make_record()
    if record is not None and before.model is not None:
        seen = calibrate(before.model, x, u, mask, horizon)
        record = dataclasses.replace(record, **seen._asdict())
    return learner, reward and learn_reward(reward, rollouts, seed), record


def learn_reward(reward: RewardLearner, rollouts: Rollouts, seed: int) -> RewardLearner:
    """Let the model of the reward learn from samples."""
    M, N, T = rollouts.mask.shape
    x, u = (array.reshape(M * N, T, -1) for array in (rollouts.states, rollouts.actions))
    return reward.refit(x, u, np.where(rollouts.mask, rollouts.rewards, np.nan).reshape(M * N, T), seed)


def complete_cost(cost: Cost, reward: RewardLearner | None) -> Cost | None:
    """The cost with the part that is learned from rewards; None while nothing is known of that."""
    if reward is None:
        return cost
    return None if reward.cost is None else Sum((cost, reward.cost))


# -- record and next state -------------------------------------------------------------------------------------------


def judge_samples(rollouts: Rollouts, good: Status) -> Int[np.ndarray, "M"]:
    """The status of each condition; `good` where nothing is wrong with its samples."""
    status, _ = judge(np.full(len(rollouts.mask), Status.OK), (), rollouts.counted)
    return np.where(status == Status.OK, good, status)


def record_iteration(
    state: AlgorithmState,
    sampled: Policy,
    rollouts: Rollouts,
    models: FittedModels,
    status: Int[np.ndarray, "M"] | None = None,
    details: Callable[[int, int], str] = lambda m, code: "",
    **sides: Any,
) -> IterationRecord:
    """The record of the iteration that began in `state`.

    Args:
        status: of each condition; None for that of the samples and the model.
        details: see `make_messages`.
        sides: of the record, that only some algorithms have.
    """
    status = judge_samples(rollouts, models.status) if status is None else status
    return IterationRecord(
        iteration=state.iteration,
        environment_steps=state.environment_steps + rollouts.steps,
        player=sampled.player,
        rollouts=rollouts,
        costs=models.sample_costs,
        status=status,
        messages=tuple(make_messages(status, rollouts, details)),
        model=models.record,
        **sides,
    )


def advance_state(state: State, rollouts: Rollouts, models: FittedModels, **more: Any) -> State:
    """The state after the iteration, with the models; `more` are fields that only some algorithms have."""
    return dataclasses.replace(
        state,
        iteration=state.iteration + 1,
        environment_steps=state.environment_steps + rollouts.steps,
        model=models.learner,
        reward=models.reward,
        **more,
    )
