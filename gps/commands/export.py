"""Export the policy or the controllers of a run as plain arrays or ONNX; the last line printed is the file."""

from __future__ import annotations

import argparse
from pathlib import Path

from gps.commands._common import OK, add_iteration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("run", metavar="RUN", nargs="?", help="run directory, or a folder of runs (uses the newest)")
    about = "print a program that runs an exported .npz with NumPy only"
    what.add_argument("--loader", action="store_true", help=about)
    about = "file: .npz, or .onnx for a neural policy; default: NAME-seedS-iterKKK.npz in the working directory"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=about)
    add_iteration(parser, "iteration to export")
    about = "condition whose local controller to export; default: all, in order"
    parser.add_argument("--condition", type=int, metavar="M", help=about)


def main(args: argparse.Namespace) -> int:
    if args.loader:
        from importlib.resources import files

        print(files("gps").joinpath("policies", "load_policy.py").read_text(encoding="utf-8"), end="")
        return OK

    from gps.exporting import export
    from gps.runs import load_run

    path, what = export(load_run(args.run), args.output, args.iteration, args.condition)
    print(what)
    print(path)
    return OK
