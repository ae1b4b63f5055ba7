"""Write what a run has learned as plain arrays or ONNX, for a robot's computer; the last line printed is the file."""

from __future__ import annotations

import argparse
from pathlib import Path

from gps.commands._common import OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("run", metavar="RUN", nargs="?", help="run directory, or a folder of runs for the newest")
    about = "print the program that evaluates an exported .npz with NumPy alone"
    what.add_argument("--loader", action="store_true", help=about)
    about = ".npz, or .onnx for a neural policy; default: NAME-seedS-iterKKK.npz in the working directory"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=about)
    parser.add_argument("--iteration", type=int, metavar="K", help="what iteration K has made; default: the last")


def main(args: argparse.Namespace) -> int:
    if args.loader:
        from gps.policies.export import read_loader

        print(read_loader(), end="")
        return OK

    from gps.exporting import export
    from gps.runs.run import load_run

    path, what = export(load_run(args.run), args.output, args.iteration)
    print(what)
    print(path)
    return OK
