"""The progress of a run in a notebook: one table that follows it, in place of a growing list of lines."""

from __future__ import annotations

import html
import sys
import time
from typing import TYPE_CHECKING, Any

from gps.callbacks import Callback
from gps.inspect.console import Progress
from gps.inspect.notebook import MOST_ROWS, RUN_HEADER, make_run_row, render_table
from gps.runs.stages import describe_stage

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.records import EvaluationRecord, IterationRecord
    from gps.runs import Run


class NotebookProgress(Callback):
    """Show a run while it is under way: `gps.run(…, callbacks=[NotebookProgress()])`.

    In Jupyter it is one table with a row for each iteration, which is replaced as the run goes on; elsewhere, the lines
    of `gps run`.
    """

    def __init__(self) -> None:
        self._plain = None if _find_display() is not None else Progress()
        self._name, self._total, self._state = "", 0, "starting"
        self._rows: list[list[str]] = []
        self._results: list[str] = []
        self._handle: Any = None
        self._began = time.perf_counter()

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        if self._plain is not None:
            self._plain.on_start(run, config, total)
            return
        self._began = time.perf_counter()
        self._name, self._total = f"{run.name}, seed {run.seed}", total
        self._rows = [make_run_row(run.rows(k)) for k in range(len(run.iterations))]  # of a run that goes on
        self._results, self._handle = [], None
        self._show("starting")

    def on_stage(self, iteration: int, stage: str) -> None:
        if self._plain is None:
            self._show(describe_stage(iteration, self._total, stage))

    def on_iteration(self, record: IterationRecord) -> None:
        from gps.metrics import make_rows

        if self._plain is not None:
            self._plain.on_iteration(record)
            return
        self._rows.append(make_run_row(make_rows(record)))

    def on_evaluation(self, record: EvaluationRecord) -> None:
        from gps.inspect.tables import describe_evaluation
        from gps.metrics import make_evaluation_rows

        if self._plain is not None:
            self._plain.on_evaluation(record)
            return
        self._results += describe_evaluation(record.what, make_evaluation_rows(record))

    def on_end(self, run: Run) -> None:
        if self._plain is not None:
            self._plain.on_end(run)
            return
        self._show(f"{len(self._rows)} iterations, {time.perf_counter() - self._began:.1f} s")

    def _show(self, state: str) -> None:
        """Replace what is shown, or show it for the first time."""
        view = _View(self._name, state, self._rows[-MOST_ROWS:], self._results)
        if self._handle is None:
            display = _find_display()
            self._handle = None if display is None else display(view, display_id=True)
        else:
            self._handle.update(view)


class _View:
    """The text and the table of a moment, in the two forms that a notebook asks for."""

    def __init__(self, name: str, state: str, rows: list[list[str]], results: list[str]) -> None:
        self._text = "\n".join([name, f"  {state}"])
        self._rows, self._results = list(rows), "\n".join(results)

    def __repr__(self) -> str:
        from gps.inspect.formatting import align_columns

        return "\n".join(filter(None, [self._text, *align_columns([RUN_HEADER, *self._rows]), self._results]))

    def _repr_html_(self) -> str:
        results = f"<pre>{html.escape(self._results)}</pre>" if self._results else ""
        return render_table(self._text, RUN_HEADER, self._rows) + results


def _find_display() -> Any:
    """Return the function that shows an object in the notebook that this process serves; None elsewhere."""
    kernel = sys.modules.get("ipykernel.zmqshell")  # a notebook has loaded it
    if kernel is None:
        return None
    from IPython import get_ipython
    from IPython.display import display

    if not isinstance(get_ipython(), kernel.ZMQInteractiveShell):
        return None

    return display
