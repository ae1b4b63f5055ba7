"""Robots that nobody tuned: `python -m benchmarks.yard FOLDER` runs each experiment in a folder, over seeds.

Prints a Markdown table. An experiment states its goal by parts of the state that are zero at the goal
(`site_position:SITE-TARGET`): the distance is the largest of them at the end of the final evaluation, in metres, NaN
where that episode ended early. `--set` changes a setting of all experiments.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from gps.callbacks import Callback

COLUMNS = "experiment", "within", "distances (m), a seed in brackets", "costlier", "absurd and ok", "steps", "seconds"

ABSURD = 1e3
"""A predicted change of more than this many times the cost is absurd."""


class _Last(Callback):
    """A callback that keeps the numbers of a run for the table."""

    def __init__(self) -> None:
        self.absurd = self.steps = 0
        self.costs: list[float] = []

    def on_start(self, run, config, total):
        self.layout = run.state_layout

    def on_iteration(self, record):
        from gps.records import mean_of_whole
        from gps.status import Status

        self.steps = record.environment_steps
        cost = mean_of_whole(record.costs, record.rollouts.mask)
        self.costs.append(float(np.mean(cost)))
        if record.local is not None:
            ok = np.array([Status(code).ok for code in record.status])
            self.absurd += int((ok & (np.abs(record.local.predicted) > ABSURD * np.abs(cost))).sum())

    def on_evaluation(self, record):
        if record.what == "final":
            rollouts = record.rollouts
            parts = [part for part, _ in self.layout.items() if part.startswith("site_position:") and "-" in part]
            ends = [np.linalg.norm(rollouts.states[:, 0, -1, self.layout[part]], axis=-1) for part in parts]
            self.distances = np.where(rollouts.mask[:, 0].all(axis=-1), np.max(ends, axis=0), np.nan)


def measure(experiment: Path, seed: int, overrides: tuple[str, ...]) -> dict:
    """Run an experiment as it is and return its distances."""
    import gps
    from gps.errors import GpsError

    start, last = time.perf_counter(), _Last()
    with tempfile.TemporaryDirectory() as out:
        try:
            gps.run(experiment, seed=seed, out=out, overrides=overrides, callbacks=[last])
        except GpsError as error:
            return {"error": str(error)}
    return {
        "distances": last.distances,
        "steps": last.steps,
        "absurd": last.absurd,
        "costlier": last.costs[-1] > last.costs[0],
        "seconds": time.perf_counter() - start,
    }


def make_row(name: str, results: list[dict], within: float) -> tuple[str, ...]:
    """A row of the table from the results of several seeds."""
    whole = [result for result in results if "error" not in result]
    for result in results:
        if "error" in result:
            print(f"{name}: {result['error']}", flush=True)
    if not whole:
        return name, *("",) * (len(COLUMNS) - 1)
    distances = np.array([result["distances"] for result in whole])
    listed = " ".join("[" + " ".join(f"{d:.3f}" for d in row) + "]" for row in distances)
    return (
        name,
        f"{(distances <= within).sum()}/{distances.size}",
        listed,
        f"{sum(result['costlier'] for result in whole)}/{len(whole)}",
        str(sum(result["absurd"] for result in whole)),
        f"{whole[0]['steps']:,}",
        f"{np.median([result['seconds'] for result in whole]):.1f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="its subfolders with an experiment.toml are run")
    parser.add_argument("names", nargs="*", help="only these subfolders")
    parser.add_argument("--within", type=float, default=0.02, help="metres (default: 0.02)")
    parser.add_argument("--seeds", default="0-4", help="FIRST-LAST, or one seed (default: 0-4)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: 2)")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    folders = sorted(path.parent for path in arguments.folder.glob("*/experiment.toml"))
    folders = [folder for folder in folders if not arguments.names or folder.name in arguments.names]

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the machine
    os.environ.setdefault("GPS_THREADS", "1")
    context = multiprocessing.get_context("spawn")  # JAX does not survive a fork
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs, context) as pool:
        submitted = {
            folder: [pool.submit(measure, folder, seed, tuple(arguments.overrides)) for seed in seeds]
            for folder in folders
        }
        print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
        for folder, futures in submitted.items():
            row = make_row(folder.name, [future.result() for future in futures], arguments.within)
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
