"""Show a run, or one of its iterations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gps.commands._common import OK, add_run, find_width, print_json, require_condition

if TYPE_CHECKING:
    from gps.runs import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--iteration", type=int, metavar="K", help="show controller, model and search of iteration K; -1 for the last"
    )
    parser.add_argument("--condition", type=int, metavar="M", help="show only this condition")
    parser.add_argument("--json", action="store_true", help="print JSON; with --iteration, all matrices")


def main(args: argparse.Namespace) -> int:
    from gps.runs import load_run

    run = load_run(args.run)
    if args.iteration is None:
        _show_run(run, args)
    else:
        _show_iteration(run, args)
    return OK


def _describe_start(run: Run) -> str:
    return f"started {run.started[:16].replace('T', ' ')} UTC"


def _show_run(run: Run, args: argparse.Namespace) -> None:
    from gps.inspect import tables
    from gps.inspect.formatting import name_run
    from gps.players import EVALUATIONS, FINAL, UNSEEN, Player

    last = run.last_whole()
    rows = [row for k in range(0 if last is None else last + 1) for row in run.rows(k)]
    evaluations = {what: run.evaluation_rows(what) for what in EVALUATIONS}
    if rows and args.condition is not None:
        require_condition(args.condition, 1 + max(row.condition for row in rows))
        rows = [row for row in rows if row.condition == args.condition]
        evaluations = {
            what: found if what == UNSEEN else [row for row in found if row.condition == args.condition]
            for what, found in evaluations.items()
        }
    if args.json:
        run.verify()
        head = {"run": str(run.path), "name": run.name, "seed": run.seed, "started": run.started}
        others = {EVALUATIONS[what]: found for what, found in evaluations.items() if found}
        print_json(head | {"metrics": rows, "evaluation": evaluations[FINAL]} | others)
        return
    config = run.config
    print(run.path)
    if config.description:
        print(config.description)
    print(f"seed {run.seed}, {len(run.iterations)} of {config.algorithm.iterations} iterations, {_describe_start(run)}")
    for line in tables.format_rows(rows, find_width()):
        print(name_run(line, run.path))
    players = {row.iteration: Player(row.player) for row in rows}
    policies = [(k, players[k], policy) for k in sorted(players) if (policy := run.policy_record(k)) is not None]
    for line in tables.format_policies(policies):
        print(line)
    optimised = [(k, record) for k in sorted(players) if (record := run.optimisation_record(k)) is not None]
    for line in tables.format_optimisations(optimised):
        print(line)
    models = [(k, model) for k in sorted(players) if (model := run.model_record(k)) is not None]
    for line in tables.format_models(models):
        print(line)
    for what, found in evaluations.items():
        for line in tables.describe_evaluation(what, found) if found else []:
            print(line)
    for line in tables.compare_with_teacher(evaluations):
        print(line)
    if policies and args.condition is None and (solved := tables.describe_solved(evaluations)):
        print(solved)
    run.verify()


def _show_iteration(run: Run, args: argparse.Namespace) -> None:
    from gps.inspect.formatting import name_run
    from gps.inspect.iteration import describe_iteration, export_iteration

    iteration = run.iterations.resolve(args.iteration)
    record = run.iterations[iteration]
    conditions: Sequence[int] = range(len(record.statuses))
    if args.condition is not None:
        require_condition(args.condition, len(conditions))
        conditions = [args.condition]
    if args.json:
        print_json({"run": str(run.path), "iteration": iteration, "conditions": export_iteration(record, conditions)})
    else:
        entries = () if run.interface is None else run.interface.state
        print(name_run(describe_iteration(record, conditions, entries), run.path))
