"""Run an experiment with many seeds and settings, or continue an unfinished sweep."""

from __future__ import annotations

import argparse
import shlex

from gps.commands._common import (
    EXPERIMENT,
    OK,
    UNEXPECTED,
    USER_ERROR,
    add_out,
    integer,
)
from gps.commands._interruption import print_interruption, raise_on_signals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("experiment", metavar="DIR", help=EXPERIMENT)
    parser.add_argument("--seeds", metavar="SEEDS", help="such as 0-9 or 0,3,5 or 0-3,7; default: the experiment's")
    about = "values to vary (all combinations are run), or one value for all runs; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE,…", help=about)
    parser.add_argument(
        "--iterations", type=integer(minimum=1), metavar="N", help="iterations of each run; default: the experiment's"
    )
    parser.add_argument(
        "--jobs", type=integer(minimum=1), metavar="N", help="runs at a time; default: one per CPU or worker"
    )
    parser.add_argument(
        "--backend", default="local", metavar="NAME", help="local (processes), dask or ray; default: local"
    )
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="address of a Dask or Ray cluster; default: start one here"
    )
    parser.add_argument(
        "--retries",
        type=integer(minimum=0),
        default=2,
        metavar="N",
        help="retries of a run whose worker died; default: 2",
    )
    add_out(parser)
    parser.add_argument("--name", metavar="NAME", help="name of the sweep's folder; default: sweep- and a digest")
    parser.add_argument("--quiet", action="store_true", help="print only the sweep's folder")


def main(args: argparse.Namespace) -> int:
    from gps.sweeps import sweep
    from gps.sweeps.console import SweepProgress, make_table

    progress = SweepProgress(args.quiet)
    try:
        with raise_on_signals(), progress:
            sweep(
                args.experiment,
                seeds=args.seeds,
                overrides=args.set,
                iterations=args.iterations,
                out=args.out,
                name=args.name,
                jobs=args.jobs,
                backend=args.backend,
                address=args.address,
                retries=args.retries,
                watch=progress,
            )
    except KeyboardInterrupt as stop:
        done, total = progress.finished, progress.total
        again = shlex.join(["gps", *args.argv])
        return print_interruption(stop, f"{done} of {total} runs are finished; to continue: {again}")
    made = progress.sweep
    assert made is not None
    if args.quiet:
        print(made.path)
    else:
        for line in make_table(made):
            print(line)
        print(f"\ngps compare {shlex.quote(str(made.path))}")
    failed = [run for run in made.runs if run.state != "finished"]
    return OK if not failed else USER_ERROR if all(run.mendable for run in failed) else UNEXPECTED
