"""The whole `gps run experiments/peg_insertion` as a process: wall clock and peak memory, first and second run."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.iteration import EXPERIMENT
from benchmarks.timing import print_table


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ, XDG_CACHE_HOME=str(Path(folder) / "cache"))  # nothing compiled yet
        for when in ("first", "second"):
            command = [sys.executable, "-m", "gps.cli", "run", str(EXPERIMENT), "--out", folder]
            start = time.perf_counter()
            output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            wall = time.perf_counter() - start
            summary = next(line for line in output.splitlines() if line.startswith("solved"))
            rows.append((when, wall, summary.split(";")[0], summary.split(";")[1].strip()))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print_table("gps run experiments/peg_insertion", ["run", "wall clock, s", "result", "effort"], rows)
    print(f"\npeak memory of one process: {peak:.0f} MiB")
