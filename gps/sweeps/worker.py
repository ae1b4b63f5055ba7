"""The work of a sweep's worker: begin or resume one run, exactly as `gps run` and `gps resume` do."""

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
from gps.runs import Run
from gps.runs.control import Control, Stopped
from gps.runs.loaded import find_loaded
from gps.runs.source import digest_files
from gps.sweeps.folder import PlannedRun, Sweep, is_turn

if TYPE_CHECKING:
    from gps.callbacks import Callback

_ONE_RUN = threading.Lock()
"""Held while a run is in progress: two XLA programs in one process can deadlock."""

_POLL = 0.2  # seconds


@dataclass(frozen=True)
class WorkItem:
    """One run of a sweep, as sent to a worker. Paths are absolute."""

    experiment: str
    folder: str  # of the sweep
    entry: PlannedRun
    overrides: tuple[str, ...]  # of the experiment's keys, varied or not
    turn: str
    iterations: int | None  # None for the experiment's own
    retries: int  # number of worker deaths after which the run is still retried
    threads: int  # of the physics; they affect no result


class _CalledBackError(Exception):
    """The turn that sent this worker is over."""


def make_watch(item: WorkItem) -> Callback:
    """Return a callback that ends the run when its turn is over."""
    from gps.callbacks import Callback

    class StopWithTurn(Callback):
        def on_stage(self, iteration: int, stage: str) -> None:
            require_turn(item)

    return StopWithTurn()


def work(item: WorkItem) -> None:
    """Run to the end and record the outcome in the journal.

    Raises:
        SweepError: if this worker cannot see the folders of the sweep and of the experiment.
    """
    sweep = _open_sweep(item)
    with contextlib.suppress(ValueError):  # not the main thread, which alone receives Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the sweep handles it and calls the workers back
    try:
        with _claim_process(item), _set_physics_threads(item.threads):
            if (deaths := sweep.count_deaths(item.entry, item.turn)) > item.retries:
                _add_event(
                    sweep, item, "failed", _describe_deaths(deaths, sweep.count_iterations(item.entry)), mendable=False
                )
                return
            _add_event(sweep, item, "begin")
            _run_to_end(item, sweep)
        _add_event(sweep, item, "finished")
    except _CalledBackError:
        _add_event(sweep, item, "stopped")
    except Stopped:
        _add_event(sweep, item, "stopped", "stopped on request; run the same sweep again to continue it")
    except GpsError as error:
        _add_event(sweep, item, "failed", str(error))
    except (Exception, SystemExit) as error:
        _add_event(sweep, item, "failed", f"unexpected {type(error).__name__}: {error}", mendable=False)


def _add_event(sweep: Sweep, item: WorkItem, event: str, message: str = "", mendable: bool = True) -> None:
    sweep.add_event(item.entry, item.turn, event, message, mendable)


def _open_sweep(item: WorkItem) -> Sweep:
    for path in (item.folder, item.experiment):
        if not Path(path).is_dir():
            raise SweepError(
                f"a worker on {socket.gethostname()} does not see {path}: "
                "put the experiment and --out where all machines find them under the same path"
            )
    return Sweep(item.folder, only=[item.entry.name])


def require_turn(item: WorkItem) -> None:
    """Raise _CalledBackError if the turn of the item is over."""
    if not is_turn(Path(item.folder), item.turn):
        raise _CalledBackError


def _run_to_end(item: WorkItem, sweep: Sweep) -> None:
    with Control() as control:
        _run_or_resume(item, sweep, [make_watch(item), control])


def _run_or_resume(item: WorkItem, sweep: Sweep, callbacks: list[Callback]) -> None:
    from gps.experiment import resume, run

    entry = item.entry
    if (path := sweep.find(entry)) is not None:
        while Run.open(path).active:  # a worker of an earlier turn, which stops soon, or a separate `gps resume`
            require_turn(item)
            time.sleep(_POLL)
        if not sweep.is_finished(entry):
            resume(path, callbacks=callbacks)
        return
    source = Path(item.experiment)
    if (
        compute_fingerprint(replace_settings(load(source, item.overrides), iterations=item.iterations), source)
        != entry.fingerprint
    ):
        raise SweepError(f"{source}: changed since the sweep began; start the sweep again")
    command = ["gps", "run", item.experiment, "--seed", str(entry.seed)]
    command += [] if item.iterations is None else ["--iterations", str(item.iterations)]
    command += [word for override in item.overrides for word in ("--set", override)]
    folder = Path(item.folder)
    run(
        source,
        seed=entry.seed,
        iterations=item.iterations,
        overrides=item.overrides,
        out=folder.parent.parent,
        group=f"{folder.name}/{entry.folder}",
        callbacks=callbacks,
        command=shlex.join(command),
    )


def _describe_deaths(deaths: int, iterations: int) -> str:
    times, whole = "once" if deaths == 1 else f"{deaths} times", f"whole iteration{'s' * (iterations != 1)}"
    return (
        f"its worker died {times}, the last time after {iterations} {whole}: "
        "it was killed, crashed, or ran out of memory (fewer --jobs leave more for each run)"
    )


@contextlib.contextmanager
def _claim_process(item: WorkItem) -> Iterator[None]:
    """Hold this process for one run: wait until no other run is in progress in it."""
    while not _ONE_RUN.acquire(timeout=_POLL):
        require_turn(item)
    try:
        require_turn(item)
        yield
    finally:
        _ONE_RUN.release()


@contextlib.contextmanager
def _set_physics_threads(count: int) -> Iterator[None]:
    """Set the default of `environment.threads`; the worker's own `GPS_THREADS` and the experiment take precedence."""
    if "GPS_THREADS" in os.environ:
        yield
        return
    os.environ["GPS_THREADS"] = str(count)
    try:
        yield
    finally:
        del os.environ["GPS_THREADS"]


def compute_fingerprint(config: ExperimentConfig, source: Path) -> str:
    """Return a digest of everything that defines a run except its seed: the experiment, and all files that it reads."""
    files = digest_files(source, config.environment.mjcf, find_loaded(config, source).copies)
    text = config.model_copy(update={"seed": 0}).to_toml() + files
    return hashlib.sha256(text.encode()).hexdigest()[:16]
