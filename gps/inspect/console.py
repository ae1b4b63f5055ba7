"""The console of `gps run` and `gps resume`.

A line for each iteration and condition, trouble in words below it, and, on a terminal, a live status line. The
formats are those of `gps.inspect.tables`.
"""

from __future__ import annotations

import itertools
import sys
import time
from typing import TYPE_CHECKING, Self

from gps.callbacks import Callback
from gps.inspect.formatting import fold_line
from gps.runs.provenance import describe_change
from gps.runs.stages import LOADING, describe_stage
from gps.status import Severity
from gps.status import Status as RunStatus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from gps.config import ExperimentConfig
    from gps.inspect.tables import Column
    from gps.metrics import EvaluationRow
    from gps.records import EvaluationRecord, IterationRecord, Seconds
    from gps.runs import Run

_STYLES = {Severity.WARNING: "yellow", Severity.ERROR: "red"}


class Progress(Callback):
    """Print a run as it goes. Use it as a context manager: it leaves the terminal as it was.

    Args:
        quiet: print nothing.

    Attributes:
        run: the run, once it has begun.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.run: Run | None = None
        self._quiet = quiet
        self._console: Console | None = None
        self._status: Status | None = None
        self._total = 0
        self._last: IterationRecord | None = None
        self._columns: tuple[Column, ...] = ()
        self._seconds: list[Seconds] = []
        self._evaluations: dict[str, list[EvaluationRow]] = {}
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        if not self._quiet and sys.stdout.isatty():
            from rich.console import Console

            self._console = Console(highlight=False, markup=False)
            self._status = self._console.status(LOADING)
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        self.run, self._total = run, total
        conditions, algorithm = len(config.environment.conditions), config.algorithm
        if config.description:
            self._print(config.description)
        self._print(
            f"{run.name}: {conditions} condition{'s' * (conditions != 1)}, {algorithm.samples} samples of each, "
            f"{total} iteration{'s' * (total != 1)}, seed {run.seed}"
        )
        for note in run.kept.notes:
            self._print(f"note: {note}")
        if change := describe_change(run.versions):
            self._print(f"note: {change}")
        if run.first is not None and not len(run.iterations):
            from gps.inspect.first import describe_first

            for text in describe_first(run.first):
                self._print(text)
        self._say("starting")

    def on_stage(self, iteration: int, stage: str) -> None:
        self._say(describe_stage(iteration, self._total, stage))

    def on_iteration(self, record: IterationRecord) -> None:
        from gps.inspect.formatting import name_run
        from gps.inspect.tables import (
            choose_columns,
            describe_model,
            describe_optimisation,
            describe_policy,
            describe_trouble,
            format_header,
            format_row,
        )
        from gps.metrics import make_rows

        rows = make_rows(record)
        if self._last is None:
            self._columns = choose_columns(rows, None if self._console is None else self._console.width)
            self._print(format_header(self._columns))
        self._last = record
        self._seconds.append(record.seconds)
        for row in rows:
            style = _STYLES.get(RunStatus[row.status].severity)
            self._print(format_row(row, self._columns), style)
            if (trouble := describe_trouble(row)) is not None:
                self._print(name_run(trouble, None if self.run is None else self.run.path), style)
        of_policy = describe_policy(record.policy), describe_optimisation(record.optimisation)
        for text in itertools.chain(describe_model(record.model), *of_policy):
            self._print(text)
        if record.iteration == 0 and self.run is not None and self.run.first is not None:
            from gps.inspect.first import describe_first_samples

            self._print(f"{'':10}{describe_first_samples(self.run.first, record)}")

    def on_evaluation(self, record: EvaluationRecord) -> None:
        from gps.inspect.tables import describe_evaluation
        from gps.metrics import make_evaluation_rows

        self._evaluations[record.what] = make_evaluation_rows(record)
        for text in describe_evaluation(record.what, self._evaluations[record.what]):
            self._print(text)

    def on_end(self, run: Run) -> None:
        from gps.inspect.tables import compare_with_teacher, describe_seconds, describe_solved

        for text in compare_with_teacher(self._evaluations):
            self._print(text)
        solved = describe_solved(self._evaluations)
        parts = [solved] if solved else []
        if self._last is not None:
            parts.append(f"{self._last.episodes} episodes, {self._last.environment_steps} environment steps")
        if parts:
            self._print("; ".join(parts))
        self._print(describe_seconds(time.perf_counter() - self._began, self._seconds))

    def confirm(self, question: str) -> bool:
        """Ask on the terminal, without the status line."""
        from gps.environments.guard import ask_operator

        if self._status is None:
            return ask_operator(question)
        self._status.stop()
        try:
            return ask_operator(question)
        finally:
            self._status.start()

    def say(self, text: str) -> None:
        """Print a line about the run, among those of its iterations."""
        self._print(text)

    def tell(self, text: str) -> None:
        """Print what a person must know even of a quiet run, then on stderr."""
        if self._quiet:
            print(text, file=sys.stderr, flush=True)
        else:
            self._print(text)

    def _print(self, text: str, style: str | None = None) -> None:
        if self._console is not None:
            self._console.print(fold_line(text, self._console.width), style=style, soft_wrap=True)
        elif not self._quiet:
            print(text, flush=True)

    def _say(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)
