"""The errors of this library. Each message names the cause, the place and what to do; none is a bare ValueError.

GpsError
├── ConfigError       an experiment file: file, key, what was expected, the nearest known key
├── EnvironmentFault  an environment raised, died, hung, or returned what is not finite or of another shape
│   └── SimulationFault   the same of one simulation of a batch; who knows says which sample it was
├── ExpertFault       an expert that raises, or answers in another shape, or with what is not a number: the step
├── CostFault         a cost that raises, or is not finite: condition, sample and step
├── TroubleError      an iteration that went wrong, where the experiment says that this stops the run
├── RunError          a run directory: missing, incomplete, altered, or of another version
├── DrawingError      a picture or a video: no OpenGL, an environment that cannot be drawn, a package that is missing
├── PolicyError       a neural policy: observations, images or training data of another shape, an export that cannot be
└── SweepError        a sweep: seeds or values that make no sense, a folder in use, workers that cannot be reached
"""

import difflib
from collections.abc import Iterable


class GpsError(Exception):
    """Base of all errors a user can cause or mend."""


class ConfigError(GpsError):
    """Something is wrong in an experiment file, a `--set` override or a `task.py`."""


class EnvironmentFault(GpsError):
    """An environment raised, or returned NaN or an array of another shape."""


class SimulationFault(EnvironmentFault):
    """What `EnvironmentFault` says, of one simulation of a batch.

    Args:
        simulation: its index in the batch.
        what: what it did, in words.
    """

    def __init__(self, simulation: int, what: str) -> None:
        super().__init__(f"simulation {simulation}: {what}")
        self.simulation, self.what = simulation, what


class CostFault(GpsError):
    """A cost raised, or its value or a derivative was not finite."""


class TroubleError(GpsError):
    """An iteration went wrong, and `algorithm.on_trouble = "stop"`. It is on disk; the run can be resumed."""


class ExpertFault(GpsError):
    """An expert raised, or its actions were not finite or of another shape."""


class RunError(GpsError):
    """A run directory is missing, incomplete or altered."""


class DrawingError(GpsError):
    """A picture cannot be drawn or a video cannot be written."""


class PolicyError(GpsError):
    """What a neural policy is given (observations, images, training data) does not fit, or it cannot be exported."""


class SweepError(GpsError):
    """A sweep cannot be started, or its workers cannot be reached."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the known name closest to `name`, or `""`."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def one_line(error: BaseException) -> str:
    """The message of an error, on one line."""
    return " ".join(str(error).split())
