"""Build an experiment, try one short rollout and update, and report."""

from __future__ import annotations

import argparse

from gps.commands._common import OK, add_experiment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_experiment(parser)


def main(args: argparse.Namespace) -> int:
    from gps import experiment

    for line in experiment.check(args.experiment, args.set):
        print(line)
    return OK
