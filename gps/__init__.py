"""Guided policy search and local-model trajectory optimisation.

    run = gps.run("experiments/peg_insertion", seed=1)
    run.iterations[-1].improved[0].act(state, t)  # the controller of a condition
    gps.learned(run).act(observation)  # the policy, where the algorithm trains one

Everything is imported when it is first used.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from gps.version import __version__ as __version__

if TYPE_CHECKING:
    from gps.callbacks import Callback
    from gps.conformance import check
    from gps.evaluation import evaluate
    from gps.experiment import resume, run
    from gps.exporting import export
    from gps.inspect.comparison import compare
    from gps.inspect.report.page import report
    from gps.rendering import render
    from gps.runs import Run, load_run
    from gps.runs.learned import learned
    from gps.sweeps import Sweep, sweep

_HOME = {
    "Callback": "gps.callbacks",
    "Run": "gps.runs",
    "Sweep": "gps.sweeps",
    "check": "gps.conformance",
    "compare": "gps.inspect.comparison",
    "evaluate": "gps.evaluation",
    "export": "gps.exporting",
    "learned": "gps.runs",
    "load_run": "gps.runs",
    "render": "gps.rendering",
    "report": "gps.inspect.report.page",
    "resume": "gps.experiment",
    "run": "gps.experiment",
    "sweep": "gps.sweeps",
}

__all__ = [
    "Callback", "Run", "Sweep", "check", "compare", "evaluate", "export", "learned", "load_run", "render", "report",
    "resume", "run", "sweep",
]  # fmt: skip


def __getattr__(name: str):
    if name in _HOME:
        value = getattr(_import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'gps' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
