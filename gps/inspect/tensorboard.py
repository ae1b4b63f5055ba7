"""A run as TensorBoard event files, written while it goes.

RUN/tensorboard/by_iteration/condition_0/events…           one folder, and so one line in each chart, per condition
RUN/tensorboard/by_iteration/all/events…                   what the conditions share
RUN/tensorboard/by_environment_steps/condition_0/events…   the same against environment steps
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gps.errors import ConfigError, RunError
from gps.inspect import tables

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.experiment import Callback
    from gps.records import IterationRecord, PolicyRecord, Rollouts
    from gps.runs.run import Run
else:
    Callback = object  # what it is made of is above this package

FOLDER = "tensorboard"
"""In the run directory, whose checks do not look at it."""

_AXES = ("by_iteration", "by_environment_steps")
_QUANTITIES = (
    "cost", "kl", "kl_bound", "eta", "entropy", "multiplier", "predicted", "actual", "saturated", "policy_kl_step",
)  # fmt: skip
_LOSSES = ("policy_loss_before", "policy_loss_after")
_SECONDS = ("sample_seconds", "fit_seconds", "improve_seconds")


def _compute_success(rows: Sequence[tables.Row]) -> dict[str, float]:
    """The share of the samples that succeeded; nothing where the environment does not tell."""
    reporting = [row for row in rows if row.successes is not None]
    return (
        {"success": sum(row.successes for row in reporting) / sum(row.samples for row in reporting)}
        if reporting
        else {}
    )


def _collect_deviations(policy: PolicyRecord | None) -> dict[str, float]:
    """How widely the global policy explores; nothing without one."""
    return {} if policy is None else {f"policy_deviation_u{i}": float(std) for i, std in enumerate(policy.deviation)}


class TensorBoard(Callback):
    """A callback that writes event files: `gps.run(…, callbacks=[TensorBoard()])`, or `gps run --tensorboard`.

    Args:
        folder: where to write; None for `tensorboard` in the run directory, once there is one.

    Raises:
        ConfigError: if tensorboardX is not installed.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise ConfigError('TensorBoard files need one more package: pip install "gps[tensorboard]"') from None
        self._folder = None if folder is None else Path(folder)
        self._writers: dict[tuple[str, str], Any] = {}
        self._steps = 0

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        if self._folder is None:
            self._folder = run.path / FOLDER

    def on_stage(self, iteration: int, stage: str) -> None:
        """Nothing."""

    def on_iteration(self, record: IterationRecord) -> None:
        """Write the scalars of an iteration; it is all that must be called where a folder was given.

        Raises:
            RunError: if they cannot be written.
        """
        rows = tables.rows(record)
        self._steps = record.environment_steps
        at = (record.iteration, record.environment_steps)
        for row in rows:
            scalars = {name: getattr(row, name) for name in _QUANTITIES}
            self._write(f"condition_{row.condition}", scalars | _compute_success([row]), at)
        shared = {
            "cost": float(np.mean([row.cost for row in rows])),
            "environment_steps": record.environment_steps,
            **_compute_success(rows),
            **_collect_deviations(record.policy),
        }
        self._write("all", shared | {name: getattr(rows[0], name) for name in _SECONDS + _LOSSES}, at)
        self._flush()

    def on_evaluation(self, rollouts: Rollouts, costs: np.ndarray, what: str = "final") -> None:
        """The final controllers without noise, at the last environment step."""
        name = "evaluation" if what == "final" else f"evaluation_{what}"
        for item in tables.evaluation(rollouts, costs):
            scalars = {f"{name}_cost": item.cost}
            if item.successes is not None:
                scalars[f"{name}_success"] = item.successes / item.rollouts
            self._write(f"condition_{item.condition}", scalars, (None, self._steps))
        self._flush()

    def on_end(self, run: Run) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write(self, name: str, scalars: Mapping[str, float | None], at: tuple[int | None, int]) -> None:
        """Scalars on each axis that there is a place `at`; None, or a value that is not finite, leaves a gap."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        for axis, place in zip(_AXES, at, strict=True):
            if place is None:
                continue
            with self._writing():
                writer = self._get_writer(axis, name, place)
                for key, value in scalars.items():
                    if value is not None and math.isfinite(value):
                        summary = scalar(f"{axis}/{key}", value)
                        writer.write_event(Event(wall_time=time.time(), step=place, summary=summary))

    def _get_writer(self, axis: str, name: str, begin: int) -> Any:
        """The writer of a folder. It supersedes what an interrupted run has left there at `begin` and after it.

        tensorboardX's own SummaryWriter would pass every number through a process queue to a thread of its own.
        """
        if (axis, name) not in self._writers:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog

            if self._folder is None:
                raise ConfigError("TensorBoard: give it a folder, or let a run call it")
            folder = self._folder / axis / name
            folder.mkdir(parents=True, exist_ok=True)
            writer = EventsWriter(str(folder / "events"), f".{begin}")
            writer.write_event(Event(step=begin, session_log=SessionLog(status=SessionLog.START)))
            self._writers[axis, name] = writer
        return self._writers[axis, name]

    def _flush(self) -> None:
        with self._writing():
            for writer in self._writers.values():
                writer.flush()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Errors of the operating system as errors of the run."""
        try:
            yield
        except OSError as error:
            why = error.strerror or error
            raise RunError(f"{self._folder}: cannot be written: {why}; the iteration itself is on disk") from None
