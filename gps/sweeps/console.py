"""The output of `gps sweep`: a line for each run that ends, a live display on a terminal, a table at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from gps.inspect.formatting import align_columns, format_number
from gps.metrics import ABSENT
from gps.sweeps.batch import Watch
from gps.sweeps.folder import PlannedRun, Sweep, SweepRun
from gps.sweeps.settings import describe_setting

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_MOST = 12
"""The largest number of runs in the live display."""


class SweepProgress(Watch):
    """Prints the progress of a sweep. Use it as a context manager, which restores the terminal.

    Args:
        quiet: print nothing.

    Attributes:
        sweep: the sweep, once it has begun.
        total, finished: numbers of runs.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.sweep: Sweep | None = None
        self.total = self.finished = 0
        self._quiet = quiet
        self._console: Console | None = None
        self._live: Live | None = None
        self._began = time.monotonic()
        self._before = self._steps = 0  # iterations on disk at the start, and planned iterations
        self._at_work: dict[str, PlannedRun] = {}
        self._ended = 0  # planned iterations of the runs that have ended

    def __enter__(self) -> Self:
        if not self._quiet and sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            self._console = Console(highlight=False, markup=False)
            self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    # -- callbacks -----------------------------------------------------------------------------------------------

    def on_start(self, sweep: Sweep, todo: Sequence[PlannedRun], jobs: int) -> None:
        self.sweep, self.total = sweep, len(sweep.entries)
        self.finished = self.total - len(todo)
        waiting = {entry.name for entry in todo}
        self._steps = sum(entry.iterations for entry in sweep.entries)
        self._ended = sum(entry.iterations for entry in sweep.entries if entry.name not in waiting)
        begun = {entry.name: done for entry in todo if (done := sweep.count_iterations(entry))}
        self._before = self._ended + sum(begun.values())
        skipped = f", {self.finished} finished before" if self.finished else ""
        resumed = f", {len(begun)} to be resumed" if begun else ""
        self._print(f"{sweep.path}: {self.total} run{'s' * (self.total != 1)}{skipped}{resumed}; {jobs} at a time")

    def on_begin(self, entry: PlannedRun) -> None:
        if entry.name in self._at_work:
            self._print(f"{_make_label(entry)}: the worker died; the run was begun again", style="yellow")
        self._at_work[entry.name] = entry

    def on_run(self, run: SweepRun) -> None:
        self._at_work = {name: entry for name, entry in self._at_work.items() if _make_label(entry) != run.label}
        self._ended += run.planned
        self.finished += run.state == "finished"
        if run.state == "finished":
            self._print(f"{run.label}: cost {_format_cost(run)}, solved {_format_solved(run)}")
        elif run.message:
            self._print(f"{run.label}: {run.state}: {run.message.splitlines()[0]}", style="red")

    def on_waiting(self) -> None:
        self._print("no worker is left; waiting for one (Ctrl-C is safe: everything on disk is kept)", style="yellow")

    # -- output --------------------------------------------------------------------------------------------------

    def _print(self, text: str, style: str | None = None) -> None:
        if self._console is not None:
            self._console.print(text, style=style, soft_wrap=True)
        elif not self._quiet:
            print(text, flush=True)

    def _draw(self) -> RenderableType:
        """Return the live display: one bar for the sweep and one for each run in progress."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        if self.sweep is None:
            return "starting"
        rows = [
            (_make_label(entry), self.sweep.count_iterations(entry), entry.iterations)
            for entry in [*self._at_work.values()]
        ]
        done = self._ended + sum(row[1] for row in rows)
        grid = Table.grid(padding=(0, 2))
        grid.add_row(
            f"{self.finished} of {self.total} runs",
            ProgressBar(self._steps, done, width=30),
            self._estimate_remaining(done),
        )
        for label, iterations, planned in rows[:_MOST]:
            grid.add_row(
                f"  {label}", ProgressBar(planned, iterations, width=30), f"iteration {iterations} of {planned}"
            )
        return Group(grid, *([f"  and {len(rows) - _MOST} more"] if len(rows) > _MOST else []))

    def _estimate_remaining(self, done: int) -> str:
        """Return the estimated time left, from the iterations so far."""
        if done <= self._before:
            return ""
        seconds = (time.monotonic() - self._began) / (done - self._before) * (self._steps - done)
        return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"


def _make_label(entry: PlannedRun) -> str:
    return f"{describe_setting(entry.setting)} seed {entry.seed}".lstrip()


def _format_cost(run: SweepRun) -> str:
    return ABSENT if run.cost is None else format_number(run.cost)


def _format_solved(run: SweepRun) -> str:
    return ABSENT if run.solved is None else f"{run.solved}/{run.conditions}"


def make_table(sweep: Sweep) -> list[str]:
    """Return a table of all runs and their outcomes, and below it why some failed."""
    runs = sweep.runs
    varied = any(run.settings for run in runs)
    head = (*(("settings",) if varied else ()), "seed", "iterations", "final cost", "solved", "state", "run")
    lines = [head] + [
        (
            *((describe_setting(run.settings),) if varied else ()),
            str(run.seed),
            f"{run.iterations}/{run.planned}",
            _format_cost(run),
            _format_solved(run),
            run.state,
            ABSENT if run.path is None else str(run.path.relative_to(sweep.path)),
        )
        for run in runs
    ]
    reasons = [f"{run.label}: {line}" for run in runs for line in run.message.splitlines()]
    return ["", *align_columns(lines), *([""] if reasons else []), *reasons]
