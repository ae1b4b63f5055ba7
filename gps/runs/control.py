"""Pause, resume and stop a run from another thread, process or page.

A request is a small file in the run directory, `control.json`, written atomically. The run looks for it between its
stages and iterations:

- *pause* makes the run wait before its next stage until the request is withdrawn (`resume`) or replaced. While the run
  waits, the file `paused.json` says where.
- *stop* ends the run as soon as the current iteration is on disk, so that no samples are lost. `gps resume` continues
  from there, bit for bit as if the run had never stopped.

A run discards earlier requests when it begins or is resumed, and deletes both files when it ends.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gps.callbacks import Callback
from gps.errors import RunError, nearest
from gps.runs.stages import name_stage
from gps.storage.folders import open_regular, replace
from gps.storage.write_errors import report_write_errors

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.records import IterationRecord
    from gps.runs.run import Run

REQUESTS = ("pause", "resume", "stop")

_REQUEST, _PAUSED = "control.json", "paused.json"
_MAX_BYTES = 1 << 10
_POLL = 0.1  # seconds between two checks while the run waits


class Stopped(KeyboardInterrupt):
    """Raised to end a run on request, as Ctrl-C does."""


# -- requests --------------------------------------------------------------------------------------------------------


def request(run: Path, what: str) -> None:
    """Request that the process writing a run pause, resume or stop. It checks for requests between its stages.

    Raises:
        RunError: if the request is unknown or cannot be written.
    """
    if what not in REQUESTS:
        raise RunError(f"{what!r}: expected one of {', '.join(REQUESTS)}{nearest(what, REQUESTS)}")
    with report_write_errors(run / _REQUEST, RunError):
        if what == "resume":
            (run / _REQUEST).unlink(missing_ok=True)
        else:
            replace(run / _REQUEST, json.dumps({"request": what}) + "\n")


def read_request(run: Path) -> str | None:
    """Return the pending request, `"pause"` or `"stop"`, or None, also for a file that `request` did not write."""
    what = _read(run / _REQUEST).get("request")
    return what if what in ("pause", "stop") else None


def read_pause(run: Path) -> str | None:
    """Return where a run waits, such as `"iteration 3, fit"`; None if it does not wait."""
    at = _read(run / _PAUSED).get("at")
    return at if isinstance(at, str) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            value = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


# -- the callback ----------------------------------------------------------------------------------------------------


class Control(Callback):
    """A callback that obeys the requests for a run. The commands always use one; from Python, pass one to `gps.run`.

    On a stop request `gps.run` raises `Stopped`, a KeyboardInterrupt. Use the callback as a context manager, so that no
    request outlives the run.

    Args:
        announce: called with a sentence when the run begins to wait and when it continues.
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
            self._wait(self._run, name_stage(iteration, stage))
        if stage not in ("fit", "improve") and read_request(self._run) == "stop":  # these have samples to lose
            raise Stopped

    def on_iteration(self, record: IterationRecord) -> None:
        assert self._run is not None
        if read_request(self._run) == "stop":
            raise Stopped

    def _wait(self, run: Path, where: str) -> None:
        self._announce(f"paused before {where}")
        with contextlib.suppress(OSError):  # the file is for viewers only
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
