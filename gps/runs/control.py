"""Pause, resume and stop a run from another thread, process or page.

A request is a small file in the run directory, `control.json`, written whole or not at all. The run looks for it
between its stages and iterations:

- *pause* lets it wait before its next stage, until the request is taken back (`resume`) or becomes another one.
  While it waits there is a file `paused.json`, which says where.
- *stop* ends it as soon as the iteration under way is on disk: what was sampled is not thrown away. `gps resume` goes
  on from there, bit for bit as if it had never stopped.

Whatever was requested before a run begins (or is resumed) is forgotten, and nothing is left behind when it ends.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gps.errors import RunError, nearest
from gps.storage.folders import replace

if TYPE_CHECKING:
    import numpy as np

    from gps.config import ExperimentConfig
    from gps.experiment import Callback
    from gps.records import IterationRecord, Rollouts
    from gps.runs.run import Run
else:
    Callback = object  # who only asks for a pause need not import the whole experiment

REQUESTS = ("pause", "resume", "stop")

_REQUEST, _PAUSED = "control.json", "paused.json"
_MAX_BYTES = 1 << 10
_POLL = 0.1  # seconds between two looks while it waits


class Stopped(KeyboardInterrupt):
    """Ends a run on request, as Ctrl-C would."""


# -- who asks --------------------------------------------------------------------------------------------------------


def request(run: Path, what: str) -> None:
    """Ask the process that writes a run to pause, resume or stop. It will look between its stages.

    Raises:
        RunError: for another request, or if it cannot be written.
    """
    if what not in REQUESTS:
        raise RunError(f"{what!r}: a run can be asked to {', '.join(REQUESTS)}{nearest(what, REQUESTS)}")
    try:
        if what == "resume":
            (run / _REQUEST).unlink(missing_ok=True)
        else:
            replace(run / _REQUEST, json.dumps({"request": what}) + "\n")
    except OSError as error:
        raise RunError(f"{run / _REQUEST}: cannot be written: {error.strerror}") from None


def read_request(run: Path) -> str | None:
    """`"pause"`, `"stop"`, or None. A file that is not what `request` writes asks for nothing."""
    what = _read(run / _REQUEST).get("request")
    return what if what in ("pause", "stop") else None


def read_pause(run: Path) -> str | None:
    """Where a run waits, as `"iteration 3, fit"`; None if it does not."""
    at = _read(run / _PAUSED).get("at")
    return at if isinstance(at, str) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


# -- who obeys -------------------------------------------------------------------------------------------------------


class Control(Callback):
    """Obeys the requests for a run. The command line always has one; from Python, pass one to `gps.run`.

    `gps.run` raises `Stopped`, a KeyboardInterrupt, when it is asked to stop. Use it as a context manager, so that no
    request outlives the run.

    Args:
        announce: is told in a sentence when the run begins to wait and when it goes on.
    """

    def __init__(self, announce: Callable[[str], None] = lambda text: None) -> None:
        self._announce = announce
        self._run: Path | None = None

    def __enter__(self) -> Control:
        return self

    def __exit__(self, *_: object) -> None:
        if self._run is not None:
            self._forget(self._run)

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        self._run = run.path
        self._forget(run.path)

    def on_stage(self, iteration: int, stage: str) -> None:
        assert self._run is not None
        if read_request(self._run) == "pause":
            self._wait(self._run, f"iteration {iteration}, {stage}")
        if stage == "sample" and read_request(self._run) == "stop":  # later stages have samples to lose
            raise Stopped

    def on_iteration(self, record: IterationRecord) -> None:
        assert self._run is not None
        if read_request(self._run) == "stop":
            raise Stopped

    def on_evaluation(self, rollouts: Rollouts, costs: np.ndarray, what: str = "final") -> None:
        """Nothing can be paused any more."""

    def on_end(self, run: Run) -> None:
        """The context manager forgets what was requested."""

    def _wait(self, run: Path, where: str) -> None:
        self._announce(f"paused before {where}")
        with contextlib.suppress(OSError):  # only for viewers
            replace(run / _PAUSED, json.dumps({"at": where}) + "\n")
        while read_request(run) == "pause":
            time.sleep(_POLL)
        (run / _PAUSED).unlink(missing_ok=True)
        if read_request(run) is None:
            self._announce("resumed")

    @staticmethod
    def _forget(run: Path) -> None:
        for name in (_REQUEST, _PAUSED):
            with contextlib.suppress(OSError):
                (run / name).unlink(missing_ok=True)
