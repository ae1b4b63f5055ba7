"""Check an experiment against the rules that the algorithms rely on."""

from __future__ import annotations

import argparse

from gps.commands._common import OK, USER_ERROR, add_experiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_experiment(parser)
    parser.add_argument("--verbose", action="store_true", help="print every key with its value or its default, too")


def main(args: argparse.Namespace) -> int:
    from gps.conformance import check

    examination = check(args.experiment, args.set)
    print(examination)
    if args.verbose:
        print(f"\n{examination.settings}")
    return OK if examination.ok else USER_ERROR
