"""Run directories: what a run writes, how it is read again, and how a run under way is paused or stopped."""

from gps.runs.finding import find_runs, load_run, locate_runs, shorten_run
from gps.runs.iterations import Iterations
from gps.runs.learned import learned
from gps.runs.run import Run

__all__ = ["Iterations", "Run", "find_runs", "learned", "load_run", "locate_runs", "shorten_run"]
