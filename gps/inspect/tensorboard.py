"""TensorBoard event files of a run, written while it is in progress.

RUN/tensorboard/all/events…           the means over the conditions, what they share, and the hyperparameters
RUN/tensorboard/condition_0/events…   one folder, and so one line in each chart, per condition, where there are several

The horizontal axis is that of `gps compare`: environment steps.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gps.callbacks import Callback
from gps.errors import ConfigError, RunError, install_command
from gps.inspect.scalars import (
    ALL,
    FINAL_NUMBERS,
    Scalars,
    collect_evaluation_scalars,
    collect_hyperparameters,
    collect_scalars,
)
from gps.storage.write_errors import report_write_errors

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.records import EvaluationRecord, IterationRecord
    from gps.runs import Run

FOLDER = "tensorboard"
"""The folder of the event files in the run directory; the checks of a run ignore it."""


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
        self._hyperparameters: dict[str, float | str | bool] | None = None
        self._writers: dict[str, Any] = {}
        self._steps = 0

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        if self._folder is None:
            self._folder = run.path / FOLDER
        self._hyperparameters = collect_hyperparameters(config)
        if done := len(run.iterations):  # a run that goes on
            self._steps = run.rows(done - 1)[0].environment_steps

    def on_iteration(self, record: IterationRecord) -> None:
        """Write the scalars of an iteration. With a folder given, this works without `on_start`.

        Raises:
            RunError: if the files cannot be written.
        """
        self._steps = record.environment_steps
        self._write(collect_scalars(record))

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Write an evaluation without noise, at the last environment step."""
        self._write(collect_evaluation_scalars(record))

    def on_end(self, run: Run) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _write(self, groups: Scalars) -> None:
        from tensorboardX.summary import scalar

        with self._writing():
            for group, scalars in groups.items():
                writer = self._get_writer(group)
                for name, value in scalars.items():
                    self._write_summary(writer, scalar(name, value))
            for writer in self._writers.values():
                writer.flush()

    def _get_writer(self, group: str) -> Any:
        """Return the writer of a group. It supersedes the events of an interrupted run at this step and later.

        tensorboardX's own SummaryWriter would pass every number through a process queue to another thread.
        """
        if group not in self._writers:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event, SessionLog

            if self._folder is None:
                raise ConfigError("TensorBoard: no folder; give one, or pass the callback to a run")
            folder = self._folder / group
            folder.mkdir(parents=True, exist_ok=True)
            writer = EventsWriter(str(folder / "events"), f".{self._steps}")
            writer.write_event(Event(step=self._steps, session_log=SessionLog(status=SessionLog.START)))
            self._writers[group] = writer
            if group == ALL and self._hyperparameters is not None:
                self._write_hyperparameters(writer, self._hyperparameters)
        return self._writers[group]

    def _write_hyperparameters(self, writer: Any, settings: dict[str, float | str | bool]) -> None:
        """Write the table of the HParams tab: the settings, and the names of the scores to rank runs by."""
        from tensorboardX.summary import hparams

        for summary in hparams(settings, dict.fromkeys(FINAL_NUMBERS, 0.0)):
            self._write_summary(writer, summary)

    def _write_summary(self, writer: Any, summary: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        writer.write_event(Event(wall_time=time.time(), step=self._steps, summary=summary))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Report errors of the operating system as errors of the run."""
        with report_write_errors(str(self._folder), RunError, "the iteration itself is on disk"):
            yield
