"""Run many algorithms on one task with the same budget of steps, and show them on one page."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gps.commands._common import (
    OK,
    UNEXPECTED,
    USER_ERROR,
    add_out,
    integer,
    page,
)
from gps.commands._interruption import print_interruption, raise_on_signals
from gps.metrics import ABSENT

if TYPE_CHECKING:
    from gps.ladder.climbing import RungRuns
    from gps.ladder.rungs import Ladder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A run that is finished is kept, and one that was begun is resumed: the same command again continues the "
        "ladder after Ctrl-C or a killed process. A rung that fails does not stop the others. docs/ladder.md has more."
    )
    about = "directory with experiment.toml (the task) and ladder.toml, or a name that `gps list --experiments` prints"
    parser.add_argument("ladder", metavar="DIR", help=about)
    about = "the page; default: %(default)s"
    parser.add_argument("-o", "--output", type=page, metavar="FILE", default="ladder.html", help=about)
    parser.add_argument("--rungs", metavar="NAME,…", help="such as 0.5,1.0; default: all")
    parser.add_argument("--seeds", metavar="SEEDS", help="such as 0-4 or 0,3,5; default: the ladder's")
    about = "environment steps of each run; default: the ladder's"
    parser.add_argument("--budget", type=integer(minimum=1), metavar="STEPS", help=about)
    parser.add_argument("--jobs", type=integer(minimum=1), metavar="N", help="runs at a time; default: one per CPU")
    about = "retries of a run whose worker died; default: 2"
    parser.add_argument("--retries", type=integer(minimum=0), default=2, metavar="N", help=about)
    add_out(parser)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--plan", action="store_true", help="print the rungs and their iterations, and run nothing")
    either.add_argument("--page-only", action="store_true", help="make the page of the runs that are there")
    parser.add_argument("--quiet", action="store_true", help="print only the page")


def main(args: argparse.Namespace) -> int:
    from gps.inspect.formatting import align_columns
    from gps.ladder.climbing import climb, read_ladder_runs
    from gps.ladder.page import make_ladder_table, write_ladder_page
    from gps.ladder.rungs import make_rungs
    from gps.sweeps.console import SweepProgress

    names = None if args.rungs is None else [name.strip() for name in args.rungs.split(",")]
    ladder = make_rungs(args.ladder, names=names, seeds=args.seeds, budget=args.budget)
    for rung in ladder.rungs:
        if rung.fault:
            print(f"gps: {rung.name}: left out: {rung.fault}", file=sys.stderr)
    if args.plan:
        for line in align_columns(_make_plan(ladder)):
            print(line)
        return OK
    progress = SweepProgress(args.quiet)
    try:
        with raise_on_signals(), progress:
            if args.page_only:
                runs = read_ladder_runs(ladder, args.out)
            else:
                runs = climb(ladder, out=args.out, jobs=args.jobs, retries=args.retries, watch=progress)
    except KeyboardInterrupt as stop:
        again = shlex.join(["gps", *args.argv])
        done = f"{progress.finished} of {progress.total} runs are finished"
        return print_interruption(stop, f"{done}; to continue: {again}")
    results = write_ladder_page(ladder, runs, args.output)
    if not args.quiet:
        print()
        for line in align_columns(make_ladder_table(results)):
            print(line)
        print()
        for result in results:
            for fault in result.faults:
                print(f"{result.rung.name}: {fault}")
    print(args.output)
    return _find_exit_code(runs)


def _make_plan(ladder: Ladder) -> list[list[str]]:
    """The rungs as a table: what each run of them comes to."""
    rows = [["rung", "runs", "iterations", "samples", "steps", "probe", "what it does"]]
    for rung in ladder.rungs:
        algorithm = None if rung.config is None else rung.config.algorithm
        numbers = [ABSENT] * 2 if algorithm is None else [str(algorithm.iterations), str(algorithm.samples)]
        rows.append([
            rung.name, str(len(rung.entries)), *numbers, f"{rung.steps:,}", str(rung.probe), rung.title,
        ])  # fmt: skip
    return rows


def _find_exit_code(runs: Sequence[RungRuns]) -> int:
    """0 if all runs are finished, 2 if the user can fix what is missing, otherwise 1."""
    failed = [run for item in runs for run in item.runs if run.state != "finished"]
    if any(not run.mendable for run in failed):
        return UNEXPECTED
    return USER_ERROR if failed or any(item.rung.fault for item in runs) else OK
