"""The `gps` command: parses, calls, prints.

Exit codes: 0; 1 for a fault nobody foresaw; 2 for what the user can mend (`gps: error: …`); 130 after Ctrl-C.
Imports are within the functions, so that `gps --help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gps.errors import GpsError, RunError

if TYPE_CHECKING:
    from gps.console import Progress
    from gps.runs import Run

OK, UNFORESEEN, MENDABLE, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without η prints ? rather than a traceback
    argv = sys.argv[1:] if argv is None else list(argv)
    args = _parser().parse_args(argv)
    args.argv = argv
    try:
        code = args.function(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `gps list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if args.traceback:
            raise
        return _report(error)


def _report(error: Exception) -> int:
    """Say what went wrong in plain words."""
    if isinstance(error, GpsError):
        for line in str(error).splitlines():
            print(f"gps: error: {line}", file=sys.stderr)
        return MENDABLE
    print(f"gps: unexpected {type(error).__name__}: {error}", file=sys.stderr)
    print(
        "gps: what is on disk stays there; the same command with --traceback shows where it happened", file=sys.stderr
    )
    return UNFORESEEN


# -- commands --------------------------------------------------------------------------------------------------------


def _run(args: argparse.Namespace) -> int:
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
        )

    return _learn(action, args)


def _resume(args: argparse.Namespace) -> int:
    def action(progress: Progress) -> None:
        from gps import experiment

        experiment.resume(args.run, start=args.start, iterations=args.iterations, callbacks=[progress])

    return _learn(action, args)


def _learn(action: Callable[[Progress], None], args: argparse.Namespace) -> int:
    """Run or resume; whatever happens, the run directory is the last line printed."""
    from gps.console import Progress

    code, progress = OK, Progress(args.quiet)
    try:
        with progress:
            action(progress)
    except KeyboardInterrupt:
        code = INTERRUPTED
        print(f"\ngps: interrupted; {_whats_left(progress.run)}", file=sys.stderr)
    except BrokenPipeError:
        raise
    except Exception as error:
        if args.traceback:
            raise
        code = _report(error)
        if progress.run is not None:
            print(f"gps: {_whats_left(progress.run)}", file=sys.stderr)
    if progress.run is not None:
        sys.stderr.flush()
        print(progress.run.path)
    return code


def _whats_left(run: Run | None) -> str:
    if run is None:
        return "nothing had been written yet"
    count = len(run.iterations)
    return f"{count} whole iteration{'s' * (count != 1)} on disk; `gps resume {shlex.quote(str(run.path))}` goes on"


def _list(args: argparse.Namespace) -> int:
    from gps.inspect.tables import aligned
    from gps.runs import find_runs

    runs = find_runs(args.folder)
    if not runs:
        print(f"no runs in {args.folder}", file=sys.stderr)
        return OK
    head = ("run", "seed", "iterations", "final cost", "success", "started (UTC)", "state")
    for line in aligned([head, *(_summary(path) for path in runs)]):
        print(line)
    return OK


def _summary(path: Any) -> tuple[str, ...]:
    """A line of `gps list`."""
    from gps.inspect.tables import number
    from gps.runs import Run

    seed = iterations = cost = success = started = "-"
    try:
        run = Run.open(path)
        seed, started = str(run.seed), run.started[:16].replace("T", " ")
        done, planned = len(run.iterations), run.config.algorithm.iterations
        iterations = f"{done}/{planned}"
        state = "running" if run.active else "finished" if done >= planned else "stopped"
        rows = run.rows(done - 1) if done else []
        if rows:
            cost = number(sum(row.cost for row in rows) / len(rows))
            success = f"{sum(row.successes for row in rows)}/{sum(row.samples for row in rows)} samples"
        if evaluation := run.evaluation_summary:
            cost = number(sum(item.cost for item in evaluation) / len(evaluation))
            success = f"{sum(item.solved for item in evaluation)}/{len(evaluation)} conditions"
    except GpsError:
        state = "damaged"
    return str(path), seed, iterations, cost, success, started, state


def _show(args: argparse.Namespace) -> int:
    from gps.runs import load_run

    run = load_run(args.run)
    if args.iteration is None:
        _show_run(run, args)
    else:
        _show_iteration(run, args)
    return OK


def _show_run(run: Run, args: argparse.Namespace) -> None:
    from gps.inspect import tables

    last = run.last_whole()
    rows = [row for k in range(0 if last is None else last + 1) for row in run.rows(k)]
    evaluation = run.evaluation_summary
    if rows and args.condition is not None:
        _require_condition(args.condition, 1 + max(row.condition for row in rows))
        rows = [row for row in rows if row.condition == args.condition]
        evaluation = [item for item in evaluation if item.condition == args.condition]
    if args.json:
        run.verify()
        head = {"run": str(run.path), "name": run.name, "seed": run.seed, "started": run.started}
        _print_json(head | {"metrics": rows, "evaluation": evaluation})
        return
    config = run.config
    print(run.path)
    if config.description:
        print(config.description)
    print(f"seed {run.seed}, {len(run.iterations)} of {config.algorithm.iterations} iterations, started {run.started}")
    for line in [tables.header(), *tables.lines(rows)] if rows else []:
        print(line)
    for line in tables.evaluation_lines(evaluation) if evaluation else []:
        print(line)
    run.verify()


def _show_iteration(run: Run, args: argparse.Namespace) -> None:
    from gps.inspect import tables

    count = len(run.iterations)
    iteration = args.iteration + count if args.iteration < 0 else args.iteration
    run.iterations.require(iteration)
    record = run.iterations[iteration]
    conditions: Sequence[int] = range(len(record.statuses))
    if args.condition is not None:
        _require_condition(args.condition, len(conditions))
        conditions = [args.condition]
    if args.json:
        _print_json({"run": str(run.path), "iteration": iteration, "conditions": tables.detailed(record, conditions)})
    else:
        print(tables.describe(record, conditions))


def _require_condition(condition: int, count: int) -> None:
    if not 0 <= condition < count:
        raise RunError(f"there is no condition {condition}; the run has 0 to {count - 1}")


def _print_json(value: Any) -> None:
    import json

    from gps.inspect.tables import plain

    print(json.dumps(plain(value), allow_nan=False, ensure_ascii=False))


def _check(args: argparse.Namespace) -> int:
    from gps import experiment

    for line in experiment.check(args.experiment, args.set):
        print(line)
    return OK


# -- arguments -------------------------------------------------------------------------------------------------------


class _Version(argparse.Action):
    """Prints the version; asked for only here, since finding it takes a moment."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import gps

        print(f"gps {getattr(gps, '__version__', 'of unknown version')}")
        parser.exit()


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"expected an integer >= {least}, got {text!r}")
        return value

    return parse


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gps",
        description="Guided policy search: local-model trajectory optimisation for robots.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where an error happened")

    def command(name: str, function: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about, parents=[common], allow_abbrev=False)
        made.set_defaults(function=function)
        return made

    def add_set(to: argparse.ArgumentParser) -> None:
        about = "override a key of experiment.toml; repeatable"
        to.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help=about)

    run = command("run", _run, "Run an experiment; the last line printed is the run directory.")
    run.add_argument("experiment", metavar="DIR", help="directory with experiment.toml")
    run.add_argument("--seed", type=_whole(0), metavar="N", help="of everything random; default: the experiment's")
    run.add_argument("--iterations", type=_whole(1), metavar="N", help="how many; default: the experiment's")
    add_set(run)
    run.add_argument("--out", metavar="DIR", help="folder of the run directories, in place of ./runs")
    run.add_argument("--quiet", action="store_true", help="print the run directory alone")

    resume = command("resume", _resume, "Go on with a run that was stopped, or beyond its end.")
    resume.add_argument("run", metavar="RUN", help="run directory, or a folder of runs for the newest")
    resume.add_argument(
        "--from", dest="start", type=_whole(0), metavar="K", help="do iteration K and all after it anew"
    )
    resume.add_argument("--iterations", type=_whole(1), metavar="N", help="N more; default: what the experiment lacks")
    resume.add_argument("--quiet", action="store_true", help="print the run directory alone")

    runs = command("list", _list, "List runs.")
    runs.add_argument("folder", metavar="DIR", nargs="?", default="runs", help="default: ./runs")

    show = command("show", _show, "Show a run, or what happened in one of its iterations.")
    show.add_argument("run", metavar="RUN", help="run directory, or a folder of runs for the newest")
    show.add_argument("--iteration", type=int, metavar="K", help="controller, model and search of one; -1 for the last")
    show.add_argument("--condition", type=int, metavar="M", help="this condition alone")
    show.add_argument("--json", action="store_true", help="for a machine; with --iteration, all matrices")

    check = command("check", _check, "Build an experiment, try one short rollout and update, and report.")
    check.add_argument("experiment", metavar="DIR", help="directory with experiment.toml")
    add_set(check)
    return parser


if __name__ == "__main__":
    sys.exit(main())
