"""The iterations of a run on disk, as a sequence."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, overload

from gps.errors import RunError
from gps.runs.layout import ITERATIONS
from gps.storage.folders import SUMS, Damage

if TYPE_CHECKING:
    from gps.records import IterationRecord
    from gps.runs.run import Run


class Iterations(Sequence["IterationRecord"]):
    """The iterations of a run on disk, read on access."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __len__(self) -> int:
        try:
            names = os.listdir(self._run.path / ITERATIONS)
        except OSError:
            return 0
        return 1 + max(
            (int(name) for name in names if name.isascii() and name.isdecimal() and 3 <= len(name) <= 9), default=-1
        )

    @overload
    def __getitem__(self, index: int) -> IterationRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[IterationRecord]: ...
    def __getitem__(self, index: int | slice) -> IterationRecord | list[IterationRecord]:
        from gps.runs import iteration_files as files

        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        if not self._is_there(index):
            count = len(self)
            if not -count <= index < count:
                raise IndexError(f"iteration {index} of {count}")
            index %= count
        with self._run.explain_damage():
            return files.read_record(self._run.folder(index))

    def resolve(self, iteration: int | None) -> int:
        """The number of an iteration that is there: None is the last one, negative numbers count from the end.

        Raises:
            RunError: if there is none.
        """
        count = len(self)
        if not count:
            raise RunError(f"{self._run.path}: no iteration was finished, so nothing was learned")
        iteration = -1 if iteration is None else iteration
        iteration += count if iteration < 0 else 0
        self.require(iteration)
        return iteration

    def stamp(self, iteration: int) -> int:
        """Microseconds since 1970 at which an iteration was written; it changes when the iteration is done again."""
        self.require(iteration)
        with self._run.explain_damage():
            try:
                return (self._run.folder(iteration) / SUMS).stat().st_mtime_ns // 1000
            except OSError as error:
                raise Damage.of(error, self._run.folder(iteration) / SUMS) from None

    def require(self, iteration: int) -> None:
        """Raise a RunError unless there is such an iteration."""
        if not self._is_there(iteration) and not 0 <= iteration < len(self):
            some = f"it has 0 to {len(self) - 1}" if len(self) else "it has none"
            raise RunError(f"{self._run.path}: there is no iteration {iteration}; {some}")

    def _is_there(self, iteration: int) -> bool:
        """True if an iteration has a folder: a quick answer, since to count them takes longer the more there are."""
        return iteration >= 0 and self._run.folder(iteration).is_dir()

    def __repr__(self) -> str:
        return f"<{len(self)} iterations of {self._run.path}>"
