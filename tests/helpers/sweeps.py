"""A disturbance of sweeps."""

import os
import signal
import threading
import time

from gps.sweeps import Watch


class Killer(Watch):
    """Kills the workers of some runs, once each, when the first iteration is on disk."""

    def __init__(self, *seeds: int) -> None:
        self.seeds = set(seeds)
        self.killed: dict[int, int] = {}

    def on_start(self, sweep, todo, jobs):
        self._thread = threading.Thread(target=self._hunt, args=[sweep], daemon=True)
        self._thread.start()

    def _hunt(self, sweep):
        end = time.monotonic() + 600
        while self.seeds - self.killed.keys() and time.monotonic() < end:
            for entry in sweep.entries:
                events = sweep.read_journal(entry)
                if entry.seed in self.seeds - self.killed.keys() and events and events[-1].event == "begin":
                    assert events[-1].pid != os.getpid()
                    if done := sweep.count_iterations(entry):
                        os.kill(events[-1].pid, signal.SIGKILL)
                        self.killed[entry.seed] = done
            time.sleep(0.01)
