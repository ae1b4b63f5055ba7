"""Show a run, or one of its iterations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gps.commands._common import OK, add_run, print_json, require_condition

if TYPE_CHECKING:
    from gps.runs.run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--iteration", type=int, metavar="K", help="show controller, model and search of iteration K; -1 for the last"
    )
    parser.add_argument("--condition", type=int, metavar="M", help="show only this condition")
    parser.add_argument("--json", action="store_true", help="print JSON; with --iteration, all matrices")


def main(args: argparse.Namespace) -> int:
    from gps.runs.run import load_run

    run = load_run(args.run)
    if args.iteration is None:
        _show_run(run, args)
    else:
        _show_iteration(run, args)
    return OK


def _show_run(run: Run, args: argparse.Namespace) -> None:
    from gps.inspect import tables
    from gps.runs.run import EVALUATIONS

    last = run.last_whole()
    rows = [row for k in range(0 if last is None else last + 1) for row in run.rows(k)]
    evaluations = {what: run.evaluated_summary(what) for what in EVALUATIONS}
    if rows and args.condition is not None:
        require_condition(args.condition, 1 + max(row.condition for row in rows))
        rows = [row for row in rows if row.condition == args.condition]
        evaluations = {
            what: items if what == "unseen" else [item for item in items if item.condition == args.condition]
            for what, items in evaluations.items()
        }
    if args.json:
        run.verify()
        head = {"run": str(run.path), "name": run.name, "seed": run.seed, "started": run.started}
        others = {EVALUATIONS[what]: items for what, items in evaluations.items() if items}
        print_json(head | {"metrics": rows, "evaluation": evaluations["final"]} | others)
        return
    config = run.config
    print(run.path)
    if config.description:
        print(config.description)
    print(f"seed {run.seed}, {len(run.iterations)} of {config.algorithm.iterations} iterations, started {run.started}")
    if rows:
        print(tables.header())
    for line in tables.lines(rows):
        print(line)
    policies = [(k, policy) for k in sorted({row.iteration for row in rows}) if (policy := run.policy(k)) is not None]
    for line in tables.policy_table(policies):
        print(line)
    for what, items in evaluations.items():
        for line in tables.evaluation_lines(items, what, what == "final" and run.has_policy(last)) if items else []:
            print(line)
    if policies and args.condition is None and (solved := tables.solved_line(evaluations)):
        print(solved)
    run.verify()


def _show_iteration(run: Run, args: argparse.Namespace) -> None:
    from gps.inspect import tables

    count = len(run.iterations)
    iteration = args.iteration + count if args.iteration < 0 else args.iteration
    run.iterations.require(iteration)
    record = run.iterations[iteration]
    conditions: Sequence[int] = range(len(record.statuses))
    if args.condition is not None:
        require_condition(args.condition, len(conditions))
        conditions = [args.condition]
    if args.json:
        print_json({"run": str(run.path), "iteration": iteration, "conditions": tables.detailed(record, conditions)})
    else:
        print(tables.describe(record, conditions))
