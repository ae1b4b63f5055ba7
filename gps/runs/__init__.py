"""Run directories: what a run writes, how it is read again, and how a run that is under way is paused or stopped."""

from gps.runs.run import Iterations, Run, find_runs, load_run

__all__ = ["Iterations", "Run", "find_runs", "load_run"]
