"""Describe the first controllers: the actions that hold the starts, and the findings of the probe."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from gps.config.controller import HoldInitialConfig
from gps.conformance.finding import Finding, Level
from gps.experiment import Experiment
from gps.inspect.first import describe_first


def describe_first_controllers(built: Experiment) -> Iterator[str]:
    """Lines for the summary: the held actions, if there are any, and the first controllers with what a probe found."""
    choice, first = built.config.algorithm.controller.initial, built.first
    if isinstance(choice, HoldInitialConfig):
        yield f"hold          {_describe_hold(built)}, {_find_source(built, choice)}"
    told = describe_first(first)
    if not told:
        feedback = "with" if np.asarray(first.controllers.feedback).any() else "without"
        noise = ", ".join(dict.fromkeys(f"{value:.3g}" for value in first.noise))
        why = ""
        if isinstance(choice, HoldInitialConfig) and not np.isfinite(first.span).any():
            why = " without a probe, as no range of the state is known"
        told = [f"{choice.name}{why}; noise {noise} {feedback} feedback"]
    yield f"first         {'; '.join(told)}"


def _describe_hold(built: Experiment) -> str:
    """The held action of condition 0; neighbours with the same value stand together."""
    hold = built.first.hold
    size = np.maximum(np.abs(hold).max(axis=0), built.first.noise)
    values = [f"{value:.3g}" for value in np.where(np.abs(hold[0]) > 1e-6 * size, hold[0], 0.0)]
    known = zip(built.environment.action_entries, values, strict=True)
    parts = [
        f"{', '.join(entry.name for entry, _ in those)}: {value} {unit}".rstrip()
        for (unit, value), those in groupby(known, key=lambda action: (action[0].unit, action[1]))
    ]
    return "; ".join(parts) + ("" if np.allclose(hold, hold[0], atol=1e-6 * size.max()) else " in condition 0")


def _find_source(built: Experiment, choice: HoldInitialConfig) -> str:
    if choice.hold is not None:
        return "as given"
    known = np.isfinite(built.starts.holds).all(axis=1)
    if known.all():
        return "from the model"
    return "where the model tells none, by default" if known.any() else "by default, as the environment tells none"


def check_strength(built: Experiment) -> Iterator[Finding]:
    """A note on an action that would hold a start and is at its limit: the drive may be too weak."""
    hold = built.first.hold
    low, high = (np.broadcast_to(limit, hold.shape) for limit in built.problem.limits)
    if not np.isfinite(built.starts.holds).any() or not np.isfinite(hold).all():
        return
    width = np.where(np.isfinite(high - low), high - low, 1.0)
    room = np.minimum(hold - low, high - hold) / width
    m, i = np.unravel_index(np.argmin(room), room.shape)
    rule = "the limits leave room around the action that holds the start"
    if room[m, i] > 1e-4:
        yield Finding(rule)
        return
    name, unit, _ = built.environment.action_entries[i]
    yield Finding(
        rule,
        f"{name} is at its limit of {f'{hold[m, i]:.3g} {unit}'.strip()} in condition {m}, and may be too weak",
        "none is needed if the start may move; else start in another pose, or take a stronger drive",
        Level.NOTE,
    )
