"""Success of the experiments over seeds, and the number of steps it takes: `python -m benchmarks.seeds`.

Prints a Markdown table. The result of a run is that of its final controllers, run once without noise in every
condition; all steps of training are counted. The rows below each experiment are zero actions and uniformly random
actions.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np

from gps.callbacks import Callback

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"
COLUMNS = (
    "experiment", "seeds solved", "conditions solved", "final cost [95 %]", "steps", "episodes",
    "first iteration with only successes", "seconds",
)  # fmt: skip


def train(name: str, seed: int) -> dict:
    """Run an experiment with the shipped settings."""
    import gps

    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        last = _Last()
        gps.run(EXPERIMENTS / name, seed=seed, out=out, callbacks=[last])
    return last.row | {"seconds": time.perf_counter() - start}


def run_baseline(name: str, seed: int | None) -> dict:
    """Run one episode of each condition without learning: random actions, or zero actions if the seed is None."""
    from gps.config import load
    from gps.experiment import Experiment
    from gps.linear_gaussian import initial
    from gps.policies.played import LocalControllers
    from gps.sampling import collect

    with closing(Experiment(load(EXPERIMENTS / name), EXPERIMENTS / name)) as built:
        # As many samples as in training, since `built.environment` has that many simulations.
        M, N, T, space = len(built.conditions), built.samples, built.horizon, built.environment.single_action_space
        shape = (M, N, T, *space.shape)
        noise = np.zeros(shape) if seed is None else np.random.default_rng(seed).uniform(space.low, space.high, shape)
        zero = LocalControllers(initial.zero(M, T, built.problem.dx, built.problem.du, 1.0))
        rollouts = collect(built.environment, zero, built.conditions, noise, 0)
        costs = built.problem.costs(rollouts)
    return _summarize(rollouts.succeeded[:, 0], costs[:, :1])


class _Last(Callback):
    """A callback that keeps the numbers of a run for the table."""

    def __init__(self):
        self.row = {"first": None}

    def on_iteration(self, record):
        self.row["steps"] = record.environment_steps
        self.row["episodes"] = record.episodes
        if self.row["first"] is None and record.rollouts.succeeded.all():
            self.row["first"] = record.iteration

    def on_evaluation(self, record):
        if record.what == "final":
            self.row |= _summarize(record.rollouts.succeeded[:, 0], record.costs)


def _summarize(succeeded, costs) -> dict:
    """Return the successes of one episode in each condition, and the mean of the episodes' costs."""
    return {"succeeded": succeeded, "cost": float(costs.sum(axis=(1, 2)).mean())}


def make_row(title: str, results: list[dict]) -> tuple[str, ...]:
    """Return a row of the table from the results of several seeds."""
    from gps.inspect.formatting import format_interval
    from gps.inspect.statistics import estimate

    succeeded = np.array([result["succeeded"] for result in results])
    firsts = [np.inf if result.get("first") is None else result["first"] for result in results]
    trained = "steps" in results[0]
    return (
        title,
        f"{succeeded.all(axis=1).sum()}/{len(results)}",
        f"{succeeded.sum()}/{succeeded.size}",
        format_interval(estimate(np.array([result["cost"] for result in results]))),
        f"{results[0]['steps']:,}" if trained else "0",
        f"{results[0]['episodes']}" if trained else "0",
        ("never" if np.isinf(first := statistics.median(firsts)) else f"{first:g}") if trained else "",
        f"{statistics.median(result['seconds'] for result in results):.1f}" if trained else "",
    )


def main() -> None:
    known = sorted(path.parent.name for path in EXPERIMENTS.glob("*/experiment.toml"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"default: all of {', '.join(known)}")
    parser.add_argument("--seeds", default="0-9", help="FIRST-LAST, or one seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    arguments = parser.parse_args()
    if unknown := set(arguments.experiments) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the machine
    context = multiprocessing.get_context("spawn")  # JAX does not survive a fork
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs, context) as pool:
        print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
        for name in arguments.experiments or known:
            n = len(seeds)
            trained = list(pool.map(train, [name] * n, seeds))
            random = list(pool.map(run_baseline, [name] * n, seeds))
            zero = [pool.submit(run_baseline, name, None).result()]
            for title, results in ((name, trained), ("— zero actions", zero), ("— random actions", random)):
                print("| " + " | ".join(make_row(title, results)) + " |", flush=True)


if __name__ == "__main__":
    main()
