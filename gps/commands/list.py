"""List runs."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gps.commands._common import OK
from gps.errors import GpsError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", nargs="?", default="runs", help="default: ./runs")


def main(args: argparse.Namespace) -> int:
    from gps.inspect.tables import aligned
    from gps.runs import find_runs

    runs = find_runs(args.folder)
    if not runs:
        print(f"no runs in {args.folder}", file=sys.stderr)
        return OK
    head = ("run", "seed", "iterations", "final cost", "success", "started (UTC)", "state")
    for line in aligned([head, *(_summary(path) for path in runs)]):
        print(line)
    return OK


def _summary(path: Any) -> tuple[str, ...]:
    """A line of `gps list`."""
    from gps.inspect.tables import number
    from gps.runs import Run

    seed = iterations = cost = success = started = "-"
    try:
        run = Run.open(path)
        seed, started = str(run.seed), run.started[:16].replace("T", " ")
        done, planned = len(run.iterations), run.config.algorithm.iterations
        iterations = f"{done}/{planned}"
        state = "running" if run.active else "finished" if done >= planned else "stopped"
        rows = run.rows(done - 1) if done else []
        if rows:
            cost = number(sum(row.cost for row in rows) / len(rows))
            success = f"{sum(row.successes for row in rows)}/{sum(row.samples for row in rows)} samples"
        if evaluation := run.evaluation_summary:
            cost = number(sum(item.cost for item in evaluation) / len(evaluation))
            success = f"{sum(item.solved for item in evaluation)}/{len(evaluation)} conditions"
    except GpsError:
        state = "damaged"
    return str(path), seed, iterations, cost, success, started, state
