"""Run an experiment; the last line printed is the run directory."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from gps.commands._common import add_experiment, whole
from gps.commands._learning import learn

if TYPE_CHECKING:
    from gps.console import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_experiment(parser)
    parser.add_argument("--seed", type=whole(0), metavar="N", help="of everything random; default: the experiment's")
    parser.add_argument("--iterations", type=whole(1), metavar="N", help="how many; default: the experiment's")
    parser.add_argument("--out", metavar="DIR", help="folder of the run directories, in place of ./runs")
    parser.add_argument("--quiet", action="store_true", help="print the run directory alone")


def main(args: argparse.Namespace) -> int:
    def action(progress: Progress) -> None:
        from gps import experiment

        experiment.run(
            args.experiment,
            seed=args.seed,
            iterations=args.iterations,
            overrides=args.set,
            out=args.out,
            callbacks=[progress],
            command=shlex.join(["gps", *args.argv]),
            confirm=progress.confirm,
        )

    return learn(action, args)
