"""Load code from outside this package: entry points of installed packages, and an experiment's `task.py`."""
