"""TensorBoard event files of a run, written while it is in progress.

RUN/tensorboard/by_iteration/condition_0/events…           one folder, and so one line in each chart, per condition
RUN/tensorboard/by_iteration/all/events…                   values common to the conditions
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

from gps.callbacks import Callback
from gps.errors import ConfigError, RunError, install_command
from gps.metrics import Row, make_evaluation_rows, make_rows
from gps.players import EVALUATIONS
from gps.storage.write_errors import report_write_errors

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.records import EvaluationRecord, IterationRecord, PolicyRecord
    from gps.runs import Run

FOLDER = "tensorboard"
"""The folder of the event files in the run directory; the checks of a run ignore it."""

_AXES = ("by_iteration", "by_environment_steps")
_QUANTITIES = (
    "cost", "kl", "kl_bound", "eta", "entropy", "multiplier", "predicted", "actual", "saturated", "policy_kl_step",
)  # fmt: skip
_LOSSES = ("policy_loss_before", "policy_loss_after")
_SECONDS = ("sample_seconds", "fit_seconds", "improve_seconds")


def _compute_success(rows: Sequence[Row]) -> dict[str, float]:
    """Return the share of successful samples; empty if the environment does not report success."""
    known = [(row.successes, row.samples) for row in rows if row.successes is not None]
    return {"success": sum(wins for wins, _ in known) / sum(samples for _, samples in known)} if known else {}


def _collect_deviations(policy: PolicyRecord | None) -> dict[str, float]:
    """Return the standard deviations of the global policy's noise; empty without a policy."""
    return {} if policy is None else {f"policy_deviation_u{i}": float(std) for i, std in enumerate(policy.deviation)}


class TensorBoard(Callback):
    """A callback that writes event files: `gps.run(…, callbacks=[TensorBoard()])`, or `gps run --tensorboard`.

    Args:
        folder: folder of the event files; None for `tensorboard` in the run directory.

    Raises:
        ConfigError: if tensorboardX is not installed.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            hint = install_command("tensorboard")
            raise ConfigError(f"TensorBoard files need one more package: {hint}") from None
        self._folder = None if folder is None else Path(folder)
        self._writers: dict[tuple[str, str], Any] = {}
        self._steps = 0

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        if self._folder is None:
            self._folder = run.path / FOLDER

    def on_iteration(self, record: IterationRecord) -> None:
        """Write the scalars of an iteration. With a folder given, this works without `on_start`.

        Raises:
            RunError: if the files cannot be written.
        """
        rows = make_rows(record)
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

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Write an evaluation without noise, at the last environment step."""
        name = EVALUATIONS[record.what]
        for item in make_evaluation_rows(record):
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
        """Write scalars at their place on each axis, if it has one; None and values that are not finite leave a gap."""
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
        """Return the writer of a folder. It supersedes the events of an interrupted run at `begin` and later.

        tensorboardX's own SummaryWriter would pass every number through a process queue to another thread.
        """
        if (axis, name) not in self._writers:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog

            if self._folder is None:
                raise ConfigError("TensorBoard: no folder; give one, or pass the callback to a run")
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
        """Report errors of the operating system as errors of the run."""
        with report_write_errors(str(self._folder), RunError, "the iteration itself is on disk"):
            yield
