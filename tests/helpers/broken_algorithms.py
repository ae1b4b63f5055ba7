"""A sound algorithm that learns nothing, and the ways to break it."""

import dataclasses
from typing import Any

import numpy as np

from gps.algorithms.algorithm import Needs
from gps.linear_gaussian.types import Controller
from gps.policies.played import LocalControllers
from gps.records import IterationRecord


@dataclasses.dataclass(frozen=True)
class State:
    """The state of `Sound`."""

    iteration: int
    environment_steps: int
    controllers: Controller


class Sound:
    """Samples the first controllers for ever. A subclass breaks the contract in a member."""

    needs = Needs()
    state_type: Any = State

    def __init__(self, problem):
        self.problem = problem

    def begin(self, controllers, starts):
        return State(0, 0, controllers.numpy())

    def policy(self, state):
        return LocalControllers(state.controllers)

    def fit(self, state, rollouts, seed):
        return self.problem.costs(rollouts)

    def make_record(self, state, sampled, rollouts, model):
        return IterationRecord(
            iteration=state.iteration,
            environment_steps=state.environment_steps + rollouts.steps,
            player=sampled.player,
            rollouts=rollouts,
            costs=model,
            status=np.zeros(len(model), dtype=int),
            messages=("",) * len(model),
        )

    def improve(self, state, sampled, rollouts, model):
        steps = state.environment_steps + rollouts.steps
        after = dataclasses.replace(state, iteration=state.iteration + 1, environment_steps=steps)
        return after, self.make_record(state, sampled, rollouts, model)

    def learned(self, state):
        return LocalControllers(dataclasses.replace(state.controllers, covariance=0.0 * state.controllers.covariance))

    def teachers(self, state):
        return ()


def with_policy(method, make):
    """`Sound` whose `method` returns what `make` makes of the policy that it returns."""

    def answer(self, state):
        return make(getattr(Sound, method)(self, state))

    return type("Broken", (Sound,), {method: answer})


def with_record(**changes):
    """`Sound` whose record has other fields; a function of (record) gives the value."""

    def make_record(self, *arguments):
        record = Sound.make_record(self, *arguments)
        values = {name: value(record) if callable(value) else value for name, value in changes.items()}
        return dataclasses.replace(record, **values)

    return type("Broken", (Sound,), {"make_record": make_record})
