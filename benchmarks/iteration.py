"""A compiled iteration of the peg insertion, 4 conditions x 5 samples: the physics and the rest."""

from pathlib import Path

import numpy as np

from benchmarks.timing import print_table

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "peg_insertion"


def main() -> None:
    import tempfile
    import time

    import gps

    class Watch(gps.Callback):
        def __init__(self):
            self.rows, self.written = [], []

        def on_stage(self, iteration, stage):
            if stage == "sample":
                self.written.append(time.perf_counter())

        def on_iteration(self, record):
            whole = time.perf_counter() - self.written[-1]
            seconds = record.seconds
            self.rows.append((seconds.sample, seconds.fit, seconds.improve))
            self.rows[-1] += (whole - sum(self.rows[-1]),)

    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        gps.run(EXPERIMENT, iterations=16, overrides=["algorithm.samples=5"], out=folder, callbacks=[watch])
    sample, fit, improve, write = np.median(np.array(watch.rows)[4:], axis=0) * 1e3
    print_table(
        "An iteration of the peg insertion, 4 x 5 rollouts, median ms",
        ["sampling", "fitting", "improving", "(fitting + improving) / sampling", "writing to disk"],
        [(sample, fit, improve, (fit + improve) / sample, write)],
    )
