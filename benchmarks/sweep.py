"""`gps sweep` of 8 seeds with 2 jobs, compared with the same runs in sequence: wall clock of the whole commands."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import print_table

EXPERIMENT = Path(__file__).resolve().parent.parent / "experiments" / "pendulum_swingup"
SEEDS = 8
TARGET = 0.6  # of the sequential time


def main() -> None:
    sweep = ("sweep", "--seeds", f"0-{SEEDS - 1}", "--jobs")
    ways = {
        f"{SEEDS} times `gps run`": [("run", "--seed", str(seed)) for seed in range(SEEDS)],
        "`gps sweep --jobs 1`": [(*sweep, "1")],
        "`gps sweep --jobs 2`": [(*sweep, "2")],
    }
    _time_commands([("run", "--seed", "0")])  # fills the compilation cache
    seconds = {way: _time_commands(commands) for way, commands in ways.items()}
    *_, two = seconds.values()
    rows = [(way, value, two / value) for way, value in seconds.items()]
    head = ["way", "wall clock, s", f"two jobs / this (target {TARGET})"]
    print_table(f"{SEEDS} seeds of experiments/{EXPERIMENT.name}", head, rows)


def _time_commands(commands: list[tuple[str, ...]]) -> float:
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        for name, *options in commands:
            command = [sys.executable, "-m", "gps.cli", name, str(EXPERIMENT), *options, "--out", out, "--quiet"]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
