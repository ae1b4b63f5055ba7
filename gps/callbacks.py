"""Callbacks: what may watch a run. This module loads fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.records import EvaluationRecord, IterationRecord
    from gps.runs import Run


class Callback:
    """Watch a run. Override the methods of interest; an exception ends the run, with all iterations on disk."""

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        """Called before the first iteration; the run will have `total` iterations."""

    def on_stage(self, iteration: int, stage: str) -> None:
        """Called before each stage.

        Args:
            iteration: the current one; the next one in "begin" and "evaluate".
            stage: "begin" once, while there is no iteration; then "sample", "fit" and "improve" in each iteration; and
                "evaluate" once.
        """

    def on_iteration(self, record: IterationRecord) -> None:
        """Called after an iteration has been written to disk."""

    def on_evaluation(self, record: EvaluationRecord) -> None:
        """Called after something was run without noise, once for each condition."""

    def on_end(self, run: Run) -> None:
        """Called after the last iteration and the evaluations."""


class CallbackList(Callback):
    """Several callbacks as one, called in order."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self._callbacks = tuple(callbacks)

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        for callback in self._callbacks:
            callback.on_start(run, config, total)

    def on_stage(self, iteration: int, stage: str) -> None:
        for callback in self._callbacks:
            callback.on_stage(iteration, stage)

    def on_iteration(self, record: IterationRecord) -> None:
        for callback in self._callbacks:
            callback.on_iteration(record)

    def on_evaluation(self, record: EvaluationRecord) -> None:
        for callback in self._callbacks:
            callback.on_evaluation(record)

    def on_end(self, run: Run) -> None:
        for callback in self._callbacks:
            callback.on_end(run)
