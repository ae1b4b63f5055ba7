"""The system that a global model describes: its entries, time step and conditions."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from gps.environments.contract import BatchEnvironment, Entry
from gps.environments.parts import Layout
from gps.models.stored import System
from gps.problem import Problem


class Modelled(NamedTuple):
    """The system that a model is learned of: an experiment's, or that of recorded episodes.

    Args:
        state_entries, action_entries: dx and du of them.
        layout: the slice of each part in the state; empty where it is unknown.
        dt: control period in seconds; NaN where it is unknown.
        problem: the control problem; None for recorded episodes.
        environment: of the experiment, as physics needs it; None where there is none.
        conditions: of the experiment, by which the environment's models differ.
    """

    state_entries: tuple[Entry, ...]
    action_entries: tuple[Entry, ...]
    layout: Layout = {}  # noqa: RUF012  (never changed)
    dt: float = np.nan
    problem: Problem | None = None
    environment: BatchEnvironment | None = None
    conditions: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def of(cls, problem: Problem, environment: BatchEnvironment | None = None) -> Self:
        """The system of a problem, with names of its own where it has none."""
        states = problem.state_entries or tuple(Entry(f"x{i}") for i in range(problem.dx))
        actions = problem.action_entries or tuple(Entry(f"u{i}") for i in range(problem.du))
        return cls(states, actions, problem.state_layout, problem.dt, problem, environment, problem.conditions)

    @property
    def system(self) -> System:
        """The same as a stored model knows it."""
        x, u = self.state_entries, self.action_entries
        names = (tuple(entry.name for entry in entries) for entries in (x, u))
        units = (tuple(entry.unit for entry in entries) for entries in (x, u))
        state_names, action_names = names
        state_units, action_units = units
        return System(len(x), len(u), state_names, state_units, action_names, action_units, self.dt)
