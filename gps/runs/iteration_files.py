"""What the files of an iteration's folder hold: the record in parts, the state that follows it, and a view as CSV.

What cannot be read is `Damage`: it names the file and what is wrong with it.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from gps.storage.folders import Damage, verified

if TYPE_CHECKING:  # loaded when first needed: what lists runs should be fast
    import numpy as np

METRICS, STATE, REST = "metrics.csv", "state.npz", "record.npz"

_PARTS = {  # file -> fields of IterationRecord; the others are in REST
    "rollouts.npz": ("rollouts", "costs"),
    "controllers.npz": ("controllers", "improved"),
    "dynamics.npz": ("dynamics", "marginals"),
    "search.npz": ("search", "multiplier", "predicted", "actual", "entropy", "status"),
    "timing.npz": ("seconds",),
}
FILES = (*_PARTS, REST, METRICS, STATE)

_MAX_TEXT_BYTES = 64 << 20

T = TypeVar("T")


@functools.cache
def parts() -> dict[str, Any]:
    """File -> the kind of named tuple of the fields of IterationRecord that it holds."""
    from gps.records import IterationRecord

    hints = typing.get_type_hints(IterationRecord)
    named = {name for names in _PARTS.values() for name in names}
    parts = _PARTS | {REST: tuple(name for name in hints if name not in named)}
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(IterationRecord)
        if field.default is not dataclasses.MISSING
    }
    return {file: _part(names, hints, defaults) for file, names in parts.items()}


def _part(names: Sequence[str], hints: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """A named tuple of some fields of the record; those that have a default there have it here."""
    part = collections.namedtuple("Part", names, defaults=[defaults[name] for name in names if name in defaults])
    part.__annotations__ = {name: hints[name] for name in names}
    return part


@functools.cache
def evaluation_type() -> Any:
    """The kind of named tuple of what an evaluation's file holds."""
    import numpy as np

    from gps.records import Rollouts

    return NamedTuple("Evaluation", [("rollouts", Rollouts), ("costs", np.ndarray)])


def read_arrays(folder: Path, file: str, kind: type[T]) -> T:
    """What a file holds, as an instance of `kind`."""
    from gps.storage.serialization import CorruptFile, unflatten

    try:
        return unflatten(kind, read_file(folder, file))
    except CorruptFile as error:
        raise Damage(folder / file, str(error)) from None


def read_file(folder: Path, file: str) -> dict[str, np.ndarray]:
    """The arrays in a file, by their dotted keys."""
    from gps.storage.serialization import CorruptFile, read_npz

    path = verified(folder, file)
    try:
        return read_npz(path)
    except CorruptFile as error:
        raise Damage(path, str(error)) from None


def read_text(folder: Path) -> str:
    """The metrics, as they are written."""
    return verified(folder, METRICS, _MAX_TEXT_BYTES).read_bytes().decode()


def read_csv(folder: Path, kind: type[T]) -> list[T]:
    """The metrics, as rows of a kind."""
    from gps.inspect.tables import from_csv

    try:
        return from_csv(read_text(folder), kind)
    except ValueError as error:
        raise Damage(folder / METRICS, f"not what gps wrote ({error})") from None
