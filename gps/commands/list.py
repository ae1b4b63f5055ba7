"""List runs, or the experiments that come with the package."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gps.commands._common import OK, find_width
from gps.errors import FormatError, GpsError
from gps.metrics import ABSENT
from gps.players import TEACHERS, UNSEEN


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", nargs="?", default="runs", help="folder of runs; default: ./runs")
    about = "list the experiments that come with the package, by the names that gps run and other commands take"
    parser.add_argument("--experiments", action="store_true", help=about)


def main(args: argparse.Namespace) -> int:
    from gps.inspect.formatting import align_columns, drop_columns
    from gps.runs import find_runs

    if args.experiments:
        _print_experiments()
        return OK
    runs = find_runs(args.folder)
    if not runs:
        print(f"no runs in {args.folder}; gps list --experiments names what gps run can begin with", file=sys.stderr)
        return OK
    table = [_HEAD, *(_summarize(path) for path in runs)]
    shown = [name for i, name in enumerate(_HEAD) if name not in _APART or any(line[i] != ABSENT for line in table[1:])]
    cells = [[cell for name, cell in zip(_HEAD, line, strict=True) if name in shown] for line in table]
    for line in align_columns(drop_columns(cells, find_width(), ("started (UTC)", "seed"))):
        print(line)
    return OK


def _print_experiments() -> None:
    """Print the name of each shipped experiment with the first sentence of its description."""
    from gps.config import list_experiments, load
    from gps.inspect.formatting import hang_text

    about = {name: load(directory).description for name, directory in list_experiments().items()}
    room = max(map(len, about)) + 2
    for name, text in about.items():
        print(hang_text(f"{name:<{room}}", text.partition(". ")[0].rstrip("."), find_width()))


_APART = {UNSEEN: UNSEEN, **{player.all: player.value for player in TEACHERS}}
"""Optional column -> the evaluation that it shows, a key of `gps.players.EVALUATIONS`."""

_HEAD = ("run", "seed", "iterations", "final cost", "success", *_APART, "started (UTC)", "state")


def _summarize(path: Any) -> tuple[str, ...]:
    """Return the cells of a run in `gps list`."""
    from gps.inspect.formatting import format_number
    from gps.metrics import count_solved, sum_successes
    from gps.runs import Run, shorten_run

    seed = iterations = cost = success = started = ABSENT
    apart = [ABSENT] * len(_APART)
    try:
        run = Run.open(path)
        seed, started = str(run.seed), run.started[:16].replace("T", " ")
        done, planned = len(run.iterations), run.config.algorithm.iterations
        iterations = f"{done}/{planned}"
        state = "running" if run.active else "finished" if done >= planned else "stopped"
        rows = run.rows(done - 1) if done else []
        if rows:
            cost = format_number(sum(row.cost for row in rows) / len(rows))
            if (counts := sum_successes(rows)) is not None:
                success = f"{counts[0]}/{counts[1]} samples"
        if evaluation := run.evaluation_rows():
            cost = format_number(sum(item.cost for item in evaluation) / len(evaluation))
            count = count_solved(evaluation)
            success = ABSENT if count is None else f"{count} conditions"
        apart = [count_solved(run.evaluation_rows(what)) or ABSENT for what in _APART.values()]
    except FormatError:
        state = "other format"
    except GpsError:
        state = "damaged"
    return shorten_run(path), seed, iterations, cost, success, *apart, started, state
