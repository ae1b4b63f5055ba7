"""Runs of made-up records, for the tests of what shows them."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gps.environments.contract import Entry
from gps.players import FINAL, UNSEEN, Player
from gps.policies.interface import Interface
from gps.records import IterationRecord, MixtureRecord, ModelRecord
from gps.runs import Run
from gps.runs.creating import create_run
from helpers.records import config, covariances, evaluation, record, rollouts, with_policy

LAYOUT = {"qpos": slice(0, 1), "site_position:tip-goal": slice(1, 4)}


INTERFACE = Interface(
    state=(Entry("qpos:knee", "rad"), *(Entry(f"site_position:tip-goal[{axis}]", "m") for axis in "xyz")),
    observation=(),
    action=(Entry("hip", "N m"), Entry("action[1]")),
    low=(-2.0, -math.inf),
    high=(2.0, 0.5),
    dt=0.05,
    horizon=6,
)
"""Of four entries of the state and two of the action, as `LAYOUT` and `record` have them."""


class State(NamedTuple):
    """The state of an algorithm that does not matter."""

    iteration: int


def with_mixture(item: IterationRecord, clusters: int = 3) -> IterationRecord:
    """The same with a mixture as its model; without a model for no clusters."""
    rng = np.random.default_rng([item.iteration, 2])
    d = 2 * item.rollouts.states.shape[-1] + item.rollouts.actions.shape[-1]
    if clusters == 0:
        return item
    mixture = MixtureRecord(
        np.full(clusters, 1 / clusters), rng.normal(size=(clusters, d)), covariances(rng, clusters, d)
    )
    return dataclasses.replace(item, model=ModelRecord(mixture=mixture))


def make_run(
    folder: Path,
    iterations: int = 3,
    *,
    layout: dict[str, slice] | None = LAYOUT,
    clusters: int = 3,
    change: Callable[[IterationRecord], IterationRecord] = lambda item: item,
    overrides: Sequence[str] = (),
    interface: Interface | None = None,
    **sizes: int,
) -> Run:
    """A run; `change` alters its records, `sizes` are M, N, T, dx and du."""
    source = folder / "e"
    source.mkdir(exist_ok=True)
    conditions = ", ".join(f"{{ qpos = [{i}.0, {i}.0] }}" for i in range(sizes.get("M", 2)))
    described = config("description=A <made-up> run.", f"environment.conditions=[{conditions}]", *overrides)
    run = create_run(folder / "runs", "e", 1, described, source, "gps run e", layout, interface=interface)
    with run:
        for k in range(iterations):
            append(run, k, clusters, change, **sizes)
    return run


def make_policy_run(
    folder: Path,
    iterations: int = 3,
    *,
    evaluated: bool = True,
    unseen: int = 3,
    teacher: Player = Player.LOCAL,
    **options,
) -> Run:
    """A run of a global policy, evaluated in a made-up way; `options` are those of `make_run`."""
    sizes = {key: options[key] for key in ("T", "dx", "du") if key in options}
    M = options.get("M", 2)
    trained = ", ".join(f"{{ qpos = [{i}.0, {i}.0] }}" for i in range(M))
    others = ", ".join(f"{{ qpos = [{i}.0, {i}.5] }}" for i in range(unseen))
    overrides = [f"environment.conditions=[{trained}]", f"environment.test_conditions=[{others}]"]
    options.setdefault("change", lambda item: with_policy(item, sampled=item.iteration > 0, teacher=teacher))
    run = make_run(folder, iterations, overrides=overrides, **options)
    for k, (what, player, count) in enumerate(
        [(FINAL, Player.POLICY, M), (UNSEEN, Player.POLICY, unseen), (teacher.value, teacher, M)]
    ):
        if evaluated and count:
            made = rollouts(np.random.default_rng(k), M=count, N=1, **sizes)
            run.write_evaluation(evaluation(made, 1.0 + k, what, player))
    return run


def append(run: Run, k: int, clusters: int = 3, change=lambda item: item, **sizes: int) -> None:
    made = change(with_mixture(record(k, **sizes), clusters))
    run.write(made, State(k), None if made.local is None else made.local.improved)


def cut_short(item: IterationRecord) -> IterationRecord:
    """The same with the first sample of each condition ended after a third of its steps, as `collect` leaves it."""
    mask = item.rollouts.mask.copy()
    mask[:, 0, mask.shape[2] // 3 :] = False
    zeroed = {name: np.where(mask[..., None], getattr(item.rollouts, name), 0.0) for name in ("states", "actions")}
    rollouts = dataclasses.replace(item.rollouts, mask=mask, **zeroed)
    return dataclasses.replace(item, rollouts=rollouts, costs=np.where(mask, item.costs, 0.0))
