"""Search the settings of an experiment in a declared space, or continue such a search."""

from __future__ import annotations

import argparse
import shlex

from gps.commands._common import (
    OK,
    add_experiment,
    add_out,
    integer,
    page,
)
from gps.commands._interruption import print_interruption, raise_on_signals


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_experiment(parser)
    about = "file of the parameters; default: tune.toml in the experiment's directory"
    parser.add_argument("--space", metavar="FILE", help=about)
    parser.add_argument("--trials", type=integer(minimum=2), metavar="N", help="settings to try; default: the file's")
    parser.add_argument(
        "-o", "--output", type=page, metavar="FILE", default="tune.html", help="the page; default: %(default)s"
    )
    parser.add_argument("--jobs", type=integer(minimum=1), metavar="N", help="runs at a time; default: one per CPU")
    about = "retries of a run whose worker died; default: 2"
    parser.add_argument("--retries", type=integer(minimum=0), default=2, metavar="N", help=about)
    add_out(parser)
    parser.add_argument("--quiet", action="store_true", help="print only the file of the best setting")


def main(args: argparse.Namespace) -> int:
    from gps.inspect.formatting import align_columns
    from gps.tuning.page import make_tuning_table, write_tuning_page
    from gps.tuning.search import BEST, tune

    def say(line: str) -> None:
        if not args.quiet:
            print(line, flush=True)

    try:
        with raise_on_signals():
            tuned = tune(
                args.experiment,
                space=args.space,
                trials=args.trials,
                overrides=args.set,
                out=args.out,
                jobs=args.jobs,
                retries=args.retries,
                say=say,
            )
    except KeyboardInterrupt as stop:
        return print_interruption(stop, f"to continue: {shlex.join(['gps', *args.argv])}")
    write_tuning_page(tuned, args.output)
    if args.quiet:
        print(tuned.folder / BEST)
        return OK
    print()
    for line in align_columns(make_tuning_table(tuned)):
        print(line)
    print(f"\n{tuned.patch}")
    print(args.output)
    print(tuned.folder / BEST)
    sets = " ".join(f"--set {shlex.quote(override)}" for override in tuned.overrides)
    print(f"gps run {shlex.quote(args.experiment)} {sets}")
    return OK
