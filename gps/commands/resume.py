"""Continue a run that was stopped, or extend a finished one."""

from __future__ import annotations

import argparse
from typing import Any

from gps.commands._common import add_run, integer
from gps.commands._learning import add_watching, learn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "A run keeps copies of its settings and files, and goes on with them. Later changes in the experiment's "
        "directory have no effect on it."
    )
    add_run(parser)
    parser.add_argument(
        "--from", dest="start", type=integer(minimum=0), metavar="K", help="repeat iteration K and all later ones"
    )
    parser.add_argument(
        "--iterations",
        type=integer(minimum=1),
        metavar="N",
        help="number of further iterations; default: up to the experiment's number",
    )
    about = "what to do after an iteration that went wrong; default: algorithm.on_trouble of the experiment"
    parser.add_argument("--on-trouble", choices=("continue", "stop"), help=about)
    add_watching(parser)


def main(args: argparse.Namespace) -> int:
    def action(**watching: Any) -> None:
        from gps.experiment import resume

        resume(args.run, start=args.start, iterations=args.iterations, on_trouble=args.on_trouble, **watching)

    return learn(action, args)
