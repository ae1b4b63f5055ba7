"""`gps tune`: search the settings of an experiment, with few seeds for many settings and more for the better ones.

`file` reads the space, `search` looks for settings, `page` shows what was found. The runs are those of an ordinary
sweep, so a search that was stopped is continued by the same command.
"""

from gps.tuning.search import Tuned, tune

__all__ = ["Tuned", "tune"]
