"""The errors of this library. Each message names the cause, the place and the remedy.

GpsError
├── ConfigError       an experiment file: file, key, what was expected, the nearest known key
├── EnvironmentFault  an environment raised, died, hung, or returned a value that is not finite or of the wrong shape
│   └── SimulationFault   the same for one simulation of a batch; the sampler adds which sample it was
├── AlgorithmFault    an algorithm breaks its contract: the method, what came, what was expected
├── ExpertFault       an expert raised, or its actions have the wrong shape or are not finite: step
├── CostFault         a cost raised or is not finite: condition, sample and step
├── TroubleError      an iteration failed, and the experiment stops the run on trouble
├── RunError          a run directory is missing, incomplete, altered, or of another version
├── RecordingError    recorded episodes: a file, row or column, what was expected
├── StoredModelError  a file of a model is missing, damaged, of another version or for another system
├── DrawingError      a picture or a video cannot be made: no OpenGL, nothing to draw, a missing package
├── BackendError      JAX cannot start on the platform that JAX_PLATFORMS names
├── PolicyError       a neural policy: observations, images or training data do not fit, or the export is impossible
└── SweepError        a sweep: invalid seeds or values, a folder in use, unreachable workers
"""

import difflib
from collections.abc import Iterable

from gps.version import DISTRIBUTION


class GpsError(Exception):
    """Base of all errors that a user can cause or fix."""


class ConfigError(GpsError):
    """An experiment file, a `--set` override or a `task.py` is invalid."""


class EnvironmentFault(GpsError):
    """An environment raised, or returned NaN or an array of the wrong shape."""


class SimulationFault(EnvironmentFault):
    """One simulation of a batch raised, or returned NaN or an array of the wrong shape.

    Args:
        simulation: its index in the batch.
        what: what happened, for the message.
    """

    def __init__(self, simulation: int, what: str) -> None:
        super().__init__(f"simulation {simulation}: {what}")
        self.simulation, self.what = simulation, what


class CostFault(GpsError):
    """A cost raised, or its value or a derivative was not finite."""


class AlgorithmFault(GpsError):
    """An algorithm raised, or one of its methods broke its contract."""


class TroubleError(GpsError):
    """An iteration failed, and `algorithm.on_trouble = "stop"`. It is on disk, and the run can be resumed."""


class ExpertFault(GpsError):
    """An expert raised, or its actions were not finite or of the wrong shape."""


class RunError(GpsError):
    """A run directory is missing, incomplete or altered."""


class FormatError(RunError):
    """A run directory was written in another format than this version reads."""


class RecordingError(GpsError):
    """A file of recorded episodes is missing or not laid out as documented, or there is too little in it."""


class StoredModelError(GpsError):
    """A file of a global model is missing, damaged, or does not fit."""


class DrawingError(GpsError):
    """A picture cannot be drawn or a video cannot be written."""


class BackendError(GpsError):
    """JAX cannot start on the platform that `JAX_PLATFORMS` names."""


class PolicyError(GpsError):
    """The observations, images or training data do not fit a neural policy, or it cannot be exported."""


class SweepError(GpsError):
    """A sweep cannot be started, or its workers cannot be reached."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` with the known name closest to `name`, or `""` if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra of this distribution."""
    return f'pip install "{DISTRIBUTION}[{extra}]"'


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line."""
    return " ".join(str(error).split())
