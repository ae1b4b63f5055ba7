"""The files of an iteration's folder and of an evaluation's: the record by sides, the policy, and the state.

What cannot be read is `Damage`: it names the file and what is wrong with it.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int

from gps.linear_gaussian.types import Controller
from gps.players import Player
from gps.policies.neural import NeuralPolicy
from gps.policies.stored import flatten_policy, read_policy
from gps.records import (
    EvaluationRecord,
    IterationRecord,
    LocalRecord,
    ModelRecord,
    OptimisationRecord,
    PlannerRecord,
    PolicyRecord,
    Rollouts,
    Seconds,
)
from gps.runs.layout import POLICY, ROLLOUTS, SIDES, STATE, TIMING
from gps.storage.folders import Damage, check_file, has_sum, list_summed
from gps.storage.serialization import CorruptFile, flatten, read_npz, unflatten, write_npz

T = TypeVar("T")


class _Samples(NamedTuple):
    rollouts: Rollouts
    costs: Float[np.ndarray, "M N T"]


class _ActionTime(NamedTuple):
    seconds: float


class _Core(NamedTuple):
    iteration: int
    environment_steps: int
    player: Player
    status: Int[np.ndarray, "M"]
    messages: tuple[str, ...]


_SIDE_TYPES: Mapping[str, type] = {
    "local": LocalRecord,
    "policy": PolicyRecord,
    "model": ModelRecord,
    "planner": PlannerRecord,
    "optimisation": OptimisationRecord,
}


def write_iteration(
    folder: Path, record: IterationRecord, state: Any, policy: NeuralPolicy | Controller | None
) -> None:
    """Write an iteration's record, the state after it, and the policy that it learned."""
    write_npz(folder / ROLLOUTS, flatten(_Samples(record.rollouts, record.costs)))
    core = _Core(record.iteration, record.environment_steps, record.player, record.status, record.messages)
    write_npz(folder / "record.npz", flatten(core))
    write_npz(folder / TIMING, flatten(record.seconds))
    for side, file in SIDES.items():
        if (part := getattr(record, side)) is not None:
            write_npz(folder / file, flatten(part))
    if policy is not None:
        write_npz(folder / POLICY, flatten_policy(policy))
    write_npz(folder / STATE, flatten(state))


def read_record(folder: Path) -> IterationRecord:
    """The record of an iteration, with the sides that it has."""
    samples = read_as(_Samples, folder, ROLLOUTS)
    core = read_as(_Core, folder, "record.npz")
    seconds = read_as(Seconds, folder, TIMING)
    there = list_summed(folder)
    sides = {side: read_side(folder, side) for side, file in SIDES.items() if file in there}
    return IterationRecord(**samples._asdict(), **core._asdict(), seconds=seconds, **sides)


def read_samples(folder: Path) -> tuple[Rollouts, np.ndarray]:
    """The rollouts of an iteration and their costs (M, N, T)."""
    rollouts, costs = read_as(_Samples, folder, ROLLOUTS)
    return rollouts, costs


def read_side(folder: Path, side: str) -> Any:
    """One side of an iteration's record; None if it has no such side."""
    return read_as(_SIDE_TYPES[side], folder, SIDES[side]) if has_sum(folder, SIDES[side]) else None


def read_learned(folder: Path) -> NeuralPolicy | Controller | None:
    """The policy that an iteration learned; None if it has none to store."""
    if not has_sum(folder, POLICY):
        return None
    arrays = read_arrays(folder, POLICY)
    try:
        return read_policy(arrays)
    except CorruptFile as error:
        raise Damage(folder / POLICY, str(error)) from None


def write_evaluation(folder: Path, record: EvaluationRecord) -> None:
    """Write an evaluation; its time is in a file of its own, since it differs between equal runs."""
    arrays = flatten(record)
    time = arrays.pop("seconds")
    write_npz(folder / ROLLOUTS, arrays)
    write_npz(folder / TIMING, {"seconds": time})


def read_evaluation(folder: Path) -> EvaluationRecord:
    """An evaluation."""
    record = read_as(EvaluationRecord, folder, ROLLOUTS)
    if not has_sum(folder, TIMING):
        return record
    return dataclasses.replace(record, seconds=read_as(_ActionTime, folder, TIMING).seconds)


def read_as(kind: type[T], folder: Path, file: str) -> T:
    """The content of a file, as an instance of `kind`."""
    try:
        return unflatten(kind, read_arrays(folder, file))
    except CorruptFile as error:
        raise Damage(folder / file, str(error)) from None


def read_arrays(folder: Path, file: str) -> dict[str, np.ndarray]:
    """The arrays in a file, by their dotted keys."""
    path = check_file(folder, file)
    try:
        return read_npz(path)
    except CorruptFile as error:
        raise Damage(path, str(error)) from None
