"""Go on with a run that was stopped, or beyond its end."""

from __future__ import annotations

import argparse
from typing import Any

from gps.commands._common import add_run, integer
from gps.commands._learning import add_watching, learn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--from", dest="start", type=integer(minimum=0), metavar="K", help="do iteration K and all after it anew"
    )
    parser.add_argument(
        "--iterations", type=integer(minimum=1), metavar="N", help="N more; default: what the experiment lacks"
    )
    about = "whether the run goes on after an iteration that went wrong; default: the experiment's algorithm.on_trouble"
    parser.add_argument("--on-trouble", choices=("continue", "stop"), help=about)
    add_watching(parser)


def main(args: argparse.Namespace) -> int:
    def action(**watching: Any) -> None:
        from gps import experiment

        experiment.resume(
            args.run, start=args.start, iterations=args.iterations, on_trouble=args.on_trouble, **watching
        )

    return learn(action, args)
