"""What a worker of a sweep does: begin a run, or go on with it, as `gps run` and `gps resume` would alone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gps.config import ExperimentConfig, load, replace_settings
from gps.errors import GpsError, SweepError
from gps.extensions import task_file
from gps.runs.control import Control, Stopped
from gps.runs.run import Run
from gps.sweeps.folder import Entry, Sweep, is_turn

if TYPE_CHECKING:
    from gps.experiment import Callback

_ONE_RUN = threading.Lock()
"""Held while a run is at work: two XLA programs in one process may wait for each other for ever."""

_POLL = 0.2  # seconds


@dataclass(frozen=True)
class Task:
    """One run of a sweep, as it is sent to a worker. Paths are absolute."""

    experiment: str
    folder: str  # the sweep's
    entry: Entry
    overrides: tuple[str, ...]  # of the experiment's keys, those that are not varied included
    turn: str
    iterations: int | None  # in place of the experiment's own
    retries: int  # how many deaths are forgiven
    threads: int  # of the physics; no result depends on it


class _CalledBackError(Exception):
    """The turn is over."""


def watch(task: Task) -> Callback:
    """What ends the run when the turn is over."""
    from gps.experiment import Callback

    class Watch(Callback):
        def on_stage(self, iteration: int, stage: str) -> None:
            require_turn(task)

    return Watch()


def work(task: Task) -> None:
    """Bring a run to its end; how it went is in its journal.

    Raises:
        SweepError: if this worker does not see the folders of the sweep and of the experiment.
    """
    sweep = _sweep_of(task)
    with contextlib.suppress(ValueError):  # not in the main thread: then Ctrl-C does not come here anyway
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the sweep's to handle; it calls the workers back
    try:
        with _alone(task), _physics_threads(task.threads):
            if (deaths := sweep.deaths(task.entry, task.turn)) > task.retries:
                _note(sweep, task, "failed", _obituary(deaths, sweep.progress(task.entry)), mendable=False)
                return
            _note(sweep, task, "begin")
            _bring_to_its_end(task, sweep)
        _note(sweep, task, "finished")
    except _CalledBackError:
        _note(sweep, task, "stopped")
    except Stopped:
        _note(sweep, task, "stopped", "stopped on request; the same sweep goes on with it")
    except GpsError as error:
        _note(sweep, task, "failed", str(error))
    except (Exception, SystemExit) as error:
        _note(sweep, task, "failed", f"unexpected {type(error).__name__}: {error}", mendable=False)


def _note(sweep: Sweep, task: Task, event: str, message: str = "", mendable: bool = True) -> None:
    sweep.note(task.entry, task.turn, event, message, mendable)


def _sweep_of(task: Task) -> Sweep:
    for path in (task.folder, task.experiment):
        if not Path(path).is_dir():
            raise SweepError(
                f"a worker on {socket.gethostname()} does not see {path}: "
                "put the experiment and --out where all machines find them under the same path"
            )
    return Sweep(task.folder, only=[task.entry.name])


def require_turn(task: Task) -> None:
    if not is_turn(Path(task.folder), task.turn):
        raise _CalledBackError


def _bring_to_its_end(task: Task, sweep: Sweep) -> None:
    with Control() as control:
        _run_or_resume(task, sweep, [watch(task), control])


def _run_or_resume(task: Task, sweep: Sweep, callbacks: list[Callback]) -> None:
    import gps

    entry = task.entry
    if (path := sweep.find(entry)) is not None:
        while Run.open(path).active:  # a worker of an earlier turn, which stops soon, or somebody's `gps resume`
            require_turn(task)
            time.sleep(_POLL)
        if not sweep.is_finished(entry):
            gps.resume(path, callbacks=callbacks)
        return
    source = Path(task.experiment)
    config = replace_settings(load(source, task.overrides), iterations=task.iterations)
    if fingerprint(config, source) != entry.fingerprint:
        raise SweepError(f"{source}: changed since the sweep began; start the sweep again")
    command = ["gps", "run", task.experiment, "--seed", str(entry.seed)]
    command += [] if task.iterations is None else ["--iterations", str(task.iterations)]
    command += [word for override in task.overrides for word in ("--set", override)]
    folder = Path(task.folder)
    gps.run(
        source,
        seed=entry.seed,
        iterations=task.iterations,
        overrides=task.overrides,
        out=folder.parent.parent,
        group=f"{folder.name}/{entry.folder}",
        callbacks=callbacks,
        command=shlex.join(command),
    )


def _obituary(deaths: int, iterations: int) -> str:
    times, whole = "once" if deaths == 1 else f"{deaths} times", f"whole iteration{'s' * (iterations != 1)}"
    return (
        f"its worker died {times}, the last time after {iterations} {whole}: "
        "it was killed, crashed, or ran out of memory (fewer --jobs leave more for each)"
    )


@contextlib.contextmanager
def _alone(task: Task) -> Iterator[None]:
    """Wait until no other run is at work in this process."""
    while not _ONE_RUN.acquire(timeout=_POLL):
        require_turn(task)
    try:
        require_turn(task)
        yield
    finally:
        _ONE_RUN.release()


@contextlib.contextmanager
def _physics_threads(count: int) -> Iterator[None]:
    """A default for `environment.threads`; what the worker's own `GPS_THREADS` or the experiment says wins."""
    if "GPS_THREADS" in os.environ:
        yield
        return
    os.environ["GPS_THREADS"] = str(count)
    try:
        yield
    finally:
        del os.environ["GPS_THREADS"]


def fingerprint(config: ExperimentConfig, source: Path) -> str:
    """A digest of all that a run is made from but its seed: the experiment, its `task.py`, its MuJoCo model."""
    files = [source / task_file.NAME] + ([] if config.environment.mjcf is None else [source / config.environment.mjcf])
    digest = hashlib.sha256(config.model_copy(update={"seed": 0}).to_toml().encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest() if file.is_file() else b"-")
    return digest.hexdigest()[:16]
