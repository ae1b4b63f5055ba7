"""Algorithms of guided policy search on the nine-slot peg, side by side: `python -m benchmarks.guided`.

Each learns one policy for `experiments/peg_insertion_nine` from 540 episodes, with several seeds, the settings of that
experiment and the overrides in `ALGORITHMS` below, the same for all seeds. Prints a Markdown table, and progress on
stderr.

- *policy, trained* and *unseen*: places of the slot at which the policy, run once without noise, inserts the peg: the
  nine training places, and the sixteen places between and around them. *Local controllers*: the same for the local
  controllers that taught it, at the nine places.
- Each has the successes over all seeds, and in percent the interquartile mean over seeds with its 95 % interval.
- *cost* is the cost of an episode, mean over the places, in the same three parts: interquartile means and intervals.
- *PIGPS* with PI² begins with demonstrations, as in its paper: the controllers of another run after a few iterations
  of `trajopt`. The episodes and seconds of that run are counted; a line below the table has the successes of the
  demonstrations.
- *PILQR, imitated*: the local controllers are those of `pilqr` as trajectory optimiser, bit for bit; the policy
  imitates them in each iteration and does not affect them.
- *seconds* is the median wall clock of a run, from the beginning to the end of its evaluation, including compilation.

A run that fails has its own row and does not enter the others.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from gps.inspect.statistics import Estimate

EXPERIMENT = Path(__file__).resolve().parent.parent / "experiments" / "peg_insertion_nine"


class Algorithm(NamedTuple):
    """A row of the table: its title and its overrides of the experiment.

    With `demonstrations`, a first run has these overrides instead, and the second one begins with its controllers.
    """

    title: str
    overrides: tuple[str, ...]
    demonstrations: tuple[str, ...] = ()


ALGORITHMS = {
    "mdgps-on": Algorithm("MDGPS, on-policy", ()),
    "mdgps-off": Algorithm("MDGPS, off-policy", ("algorithm.sampling=off_policy",)),
    "badmm": Algorithm("BADMM", ("algorithm.name=badmm",)),
    "pilqr": Algorithm("PILQR, imitated", ("algorithm.name=pilqrgps", "algorithm.sampling=off_policy")),
    "pigps": Algorithm(
        "PIGPS, from demonstrations",
        (
            "algorithm.name=pigps",
            "algorithm.kl_step=1.0",
            "algorithm.step_multiplier.min=1.0",
            "algorithm.warm_up=0",
            "algorithm.iterations=9",
            "algorithm.samples=5",
        ),
        demonstrations=("algorithm.name=trajopt", "algorithm.iterations=5", "algorithm.samples=3"),
    ),
    "pigps-pilqr": Algorithm(
        "PIGPS, with PILQR",
        (
            "algorithm.name=pilqrgps",
            "algorithm.kl_step=1.0",
            "algorithm.step_multiplier.min=0.5",
            "algorithm.residual_share=0.1",
        ),
    ),
}

PARTS = {"final": "policy, trained", "unseen": "policy, unseen", "local": "local controllers"}
"""Evaluation (`gps.players.EVALUATIONS`) -> its name in the table."""

COLUMNS = ("algorithm", "seeds", *PARTS.values(), "cost: trained; unseen; local", "episodes (steps)", "seconds")


class RunResult(NamedTuple):
    """The result of a run; with an `error` the other fields are empty."""

    succeeded: Mapping[str, list[bool]] = MappingProxyType({})  # by part of PARTS, then by place
    cost: Mapping[str, float] = MappingProxyType({})
    effort: tuple[int, int] = (0, 0)  # episodes, environment steps
    seconds: float = 0.0
    demonstrated: Sequence[bool] = ()  # successes of the demonstrations, by place
    error: str = ""


def train(algorithm: Algorithm, seed: int, out: str | None) -> RunResult:
    """Train once, or twice if a first run provides demonstrations."""
    import gps

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        overrides, runs = list(algorithm.overrides), []
        if algorithm.demonstrations:
            runs.append(gps.run(EXPERIMENT, seed=seed, overrides=algorithm.demonstrations, out=out or folder))
            path = json.dumps(str(runs[0].path.resolve()))
            overrides.append(f"algorithm.controller.initial={{name='file', path={path}}}")
        runs.append(gps.run(EXPERIMENT, seed=seed, overrides=overrides, out=out or folder))
        seconds = time.perf_counter() - start
        summaries = {part: runs[-1].evaluation_rows(part) for part in PARTS}
        last = [run.iterations[-1] for run in runs]
        effort = sum(record.episodes for record in last), sum(record.environment_steps for record in last)
        demonstrated = [item.solved for run in runs[:-1] for item in run.evaluation_rows("final")]
    return RunResult(
        {part: [item.solved for item in items] for part, items in summaries.items()},
        {part: float(np.mean([item.cost for item in items])) for part, items in summaries.items()},
        effort,
        seconds,
        demonstrated,
    )


def train_in_process(algorithm: Algorithm, seed: int, out: str | None) -> RunResult:
    """Train in a separate process, whose death does not end this one."""
    context = multiprocessing.get_context("spawn")  # JAX does not survive a fork
    with concurrent.futures.ProcessPoolExecutor(1, context) as process:
        try:
            return process.submit(train, algorithm, seed, out).result()
        except Exception as error:
            return RunResult(error=f"{type(error).__name__}: {' '.join(str(error).split())}")


def make_row(title: str, results: Sequence[RunResult], seeds: int) -> tuple[str, ...]:
    """Return a row of the table, from the runs that did not fail."""
    from gps.inspect.formatting import format_interval
    from gps.inspect.statistics import estimate

    if not results:
        return (title, f"0 of {seeds}", *["-"] * (len(COLUMNS) - 2))
    cells = []
    for part in PARTS:
        succeeded = np.array([result.succeeded[part] for result in results])
        cells.append(f"{succeeded.sum()}/{succeeded.size}, {format_percent(estimate(succeeded.mean(axis=1)))}")
    costs = (format_interval(estimate(np.array([result.cost[part] for result in results]))) for part in PARTS)
    episodes, steps = results[0].effort
    return (
        title,
        str(seeds) if len(results) == seeds else f"{len(results)} of {seeds}",
        *cells,
        "; ".join(costs),
        f"{episodes} ({steps:,})",
        f"{statistics.median(result.seconds for result in results):.0f}",
    )


def format_percent(share: Estimate) -> str:
    """Return a share with its interval, such as `93 [88, 100] %`."""
    value, low, high = (100 * float(part) for part in (share.value, share.low, share.high))
    return f"{value:.0f} %" if low == high else f"{value:.0f} [{low:.0f}, {high:.0f}] %"


def describe_settings(algorithm: Algorithm, results: Sequence[RunResult]) -> str:
    """Return a line with the overrides of an algorithm and its demonstrations."""

    def format_overrides(overrides):
        return ", ".join(f"`--set {one}`" for one in overrides) or "the experiment as it is"

    text = f"- {algorithm.title}: {format_overrides(algorithm.overrides)}"
    if not algorithm.demonstrations:
        return text
    reached = [solved for result in results for solved in result.demonstrated]
    return (
        f'{text}, with `algorithm.controller.initial = {{ name = "file", path = RUN }}`, RUN that of '
        f"{format_overrides(algorithm.demonstrations)}, whose controllers insert {sum(reached)}/{len(reached)}"
    )


def make_failed_row(title: str, seed: int, error: str) -> tuple[str, ...]:
    """Return the row of a run that failed."""
    return (title, f"seed {seed}", f"failed: {error}".replace("|", "\\|"), *[""] * (len(COLUMNS) - 3))


def format_line(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def describe_result(name: str, seed: int, result: RunResult) -> str:
    """Return a line about a run."""
    if result.error:
        return f"{name}, seed {seed}: failed: {result.error}"
    parts = (f"{title} {sum(result.succeeded[part])}/{len(result.succeeded[part])}" for part, title in PARTS.items())
    first = f"; demonstrations {sum(result.demonstrated)}/{len(result.demonstrated)}" if result.demonstrated else ""
    return f"{name}, seed {seed}: {'; '.join(parts)}{first}; {result.seconds:.0f} s"


def parse_arguments(argv: Sequence[str] | None = None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0-4", help="FIRST-LAST, or one; default: 0-4")
    parser.add_argument("--only", nargs="+", choices=ALGORITHMS, default=list(ALGORITHMS), help="only these algorithms")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, which affects the seconds; default: 1")
    parser.add_argument("--out", help="keep the runs in this folder; default: delete them")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_arguments(argv)
    first, _, last = args.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes share the machine
    print(format_line(COLUMNS) + "\n|" + "---|" * len(COLUMNS), flush=True)
    failures, notes = 0, []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for name in args.only:
            algorithm, results = ALGORITHMS[name], {}
            runs = {pool.submit(train_in_process, algorithm, seed, args.out): seed for seed in seeds}
            for done in concurrent.futures.as_completed(runs):
                results[runs[done]] = done.result()
                print(describe_result(name, runs[done], done.result()), file=sys.stderr, flush=True)
            ended = [results[seed] for seed in seeds if not results[seed].error]
            print(format_line(make_row(algorithm.title, ended, len(seeds))), flush=True)
            notes.append(describe_settings(algorithm, ended))
            for seed in seeds:
                if results[seed].error:
                    failures += 1
                    print(format_line(make_failed_row(algorithm.title, seed, results[seed].error)), flush=True)
    print("\n" + "\n".join(notes))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
