"""Run an experiment; the last line printed is the run directory."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from gps.commands._common import add_experiment, add_out, integer
from gps.commands._learning import add_watching, learn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_experiment(parser)
    parser.add_argument(
        "--seed", type=integer(minimum=0), metavar="N", help="seed of all random numbers; default: the experiment's"
    )
    parser.add_argument(
        "--iterations", type=integer(minimum=1), metavar="N", help="number of iterations; default: the experiment's"
    )
    add_out(parser)
    add_watching(parser)


def main(args: argparse.Namespace) -> int:
    def action(**watching: Any) -> None:
        from gps.experiment import run

        run(
            args.experiment,
            seed=args.seed,
            iterations=args.iterations,
            overrides=args.set,
            out=args.out,
            command=shlex.join(["gps", *args.argv]),
            **watching,
        )

    return learn(action, args)
