"""The folder of a sweep, which holds everything known about the sweep.

    runs/NAME/sweep-1a2b3c4d/
        sweep.json                          the runs: seeds, settings and the folder of each setting
        kl_step=2/20300131T120000Z-seed0/   an ordinary run directory (see gps.runs)
        journal/kl_step=2-seed0.jsonl       a line when a worker begins the run, and one when it ends
        sweep.lock                          locked while `gps sweep` runs; contains the name of the turn

Each call of `gps sweep` on the folder is a *turn* with a unique name. A worker serves one turn: it stops at the next
stage of an iteration once `sweep.lock` no longer names that turn. A "begin" without an ending in the journal means that
the worker died.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gps.errors import GpsError, SweepError
from gps.runs import Run, find_runs
from gps.storage.folders import read_text, replace, try_lock
from gps.storage.write_errors import report_write_errors
from gps.sweeps.settings import describe_setting, make_folder_name

FORMAT = 1
"""The version of the layout above."""

MANIFEST, LOCK, _JOURNAL = "sweep.json", "sweep.lock", "journal"


@dataclass(frozen=True)
class PlannedRun:
    """A run in the manifest."""

    seed: int
    setting: Mapping[str, Any]  # varied key -> value
    iterations: int  # planned
    fingerprint: str  # digest of the resolved experiment and of its files

    @functools.cached_property
    def folder(self) -> str:
        """The folder of the setting within the sweep's folder; empty if only the seed varies."""
        return make_folder_name(self.setting)

    @property
    def name(self) -> str:
        return f"{self.folder}-seed{self.seed}".lstrip("-")


@dataclass(frozen=True)
class SweepRun:
    """The state of one run of a sweep."""

    seed: int
    settings: Mapping[str, Any]  # varied key -> value
    path: Path | None  # None before the run has begun
    iterations: int  # complete ones on disk
    planned: int
    cost: float | None  # of the final controllers without noise: mean over the conditions
    solved: int | None  # number of conditions that these controllers solve
    conditions: int | None  # number of conditions
    state: str  # finished, failed, stopped or not begun
    message: str  # why it failed or stopped
    mendable: bool  # True if the user can fix the cause

    @property
    def label(self) -> str:
        """The setting and the seed, such as `kl_step=2,samples=5 seed 3`."""
        return f"{describe_setting(self.settings)} seed {self.seed}".lstrip()


@dataclass(frozen=True)
class Event:
    """A line of a journal."""

    turn: str
    event: str  # begin, or the ending: finished, failed, stopped
    message: str
    mendable: bool  # True if the user can fix the cause of a failure
    at: str
    host: str
    pid: int


class Sweep:
    """A sweep on disk; `runs` reads the current state of each run.

    Args:
        path: the folder of the sweep.
        only: names of the runs to include; None for all.

    Raises:
        SweepError: if the folder holds no sweep.
    """

    def __init__(self, path: str | Path, only: Iterable[str] | None = None) -> None:
        self.path = Path(path)
        entries = read_manifest(self.path)[1]
        settings = list(dict.fromkeys(entry.folder for entry in entries))
        chosen = {entry.name for entry in entries} if only is None else set(only)
        self.entries = sorted(
            (entry for entry in entries if entry.name in chosen), key=lambda e: (settings.index(e.folder), e.seed)
        )

    @property
    def runs(self) -> list[SweepRun]:
        """The state of each run, ordered by setting, then by seed."""
        return [self.read_run(entry) for entry in self.entries]

    @property
    def finished(self) -> bool:
        """True if all runs are finished."""
        return all(run.state == "finished" for run in self.runs)

    def __repr__(self) -> str:
        states = [run.state for run in self.runs]
        return f"Sweep({str(self.path)!r}, {states.count('finished')} of {len(states)} finished)"

    # -- one run -------------------------------------------------------------------------------------------------

    def find(self, entry: PlannedRun) -> Path | None:
        """Return the directory of a run, the newest if there are several; None before the run has begun."""
        ends = f"-seed{entry.seed}"
        found = [
            path
            for path in find_runs(self.path / entry.folder)
            if path.parent == self.path / entry.folder and (path.name.endswith(ends) or f"{ends}-" in path.name)
        ]
        return found[-1] if found else None

    def count_iterations(self, entry: PlannedRun) -> int:
        """Return the number of complete iterations of a run on disk."""
        path = self.find(entry)
        return 0 if path is None else len(Run(path, "", "").iterations)

    def is_finished(self, entry: PlannedRun) -> bool:
        """True if a run has its final evaluation and all planned iterations."""
        path = self.find(entry)
        return path is not None and (path / "evaluation").is_dir() and self.count_iterations(entry) >= entry.iterations

    def read_run(self, entry: PlannedRun) -> SweepRun:
        """Return the state of a run."""
        path, events = self.find(entry), self.read_journal(entry)
        cost = solved = conditions = None
        state, message, mendable = "stopped" if path is not None else "not begun", "", True
        if self.is_finished(entry):
            assert path is not None
            state = "finished"
            try:
                evaluation = Run.open(path).evaluation_rows()
                cost = sum(item.cost for item in evaluation) / len(evaluation)
                known = [item.solved for item in evaluation if item.solved is not None]
                solved, conditions = sum(known) if known else None, len(evaluation)
            except GpsError as error:
                state, message = "failed", str(error)
        elif events and events[-1].event in ("failed", "stopped"):
            state, message, mendable = events[-1].event, events[-1].message, events[-1].mendable
        done = self.count_iterations(entry)
        return SweepRun(
            entry.seed, entry.setting, path, done, entry.iterations, cost, solved, conditions, state, message, mendable
        )

    # -- its journal ---------------------------------------------------------------------------------------------

    def read_journal(self, entry: PlannedRun, turn: str | None = None) -> list[Event]:
        """Return the events of a run, in one turn or in all."""
        try:
            lines = read_text(self.path / _JOURNAL / f"{entry.name}.jsonl").splitlines()
        except OSError:
            return []
        events = []
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):  # a killed worker leaves an incomplete last line
                events.append(Event(**json.loads(line)))
        return [event for event in events if turn in (None, event.turn)]

    def add_event(self, entry: PlannedRun, turn: str, event: str, message: str = "", mendable: bool = True) -> None:
        """Append a line to the journal of a run."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = Event(turn, event, message, mendable, now, socket.gethostname(), os.getpid())
        (self.path / _JOURNAL).mkdir(exist_ok=True)
        with (self.path / _JOURNAL / f"{entry.name}.jsonl").open("ab", buffering=0) as file:
            file.write((json.dumps(vars(line), ensure_ascii=False) + "\n").encode())

    def count_begins(self, entry: PlannedRun, turn: str) -> int:
        """Return how many times a worker has begun a run."""
        return sum(event.event == "begin" for event in self.read_journal(entry, turn))

    def count_deaths(self, entry: PlannedRun, turn: str) -> int:
        """Return how many workers of a run have died; a worker that is still running counts as dead."""
        events = self.read_journal(entry, turn)
        return 2 * sum(event.event == "begin" for event in events) - len(events)

    def find_ending(self, entry: PlannedRun, turn: str) -> Event | None:
        """Return the event that ended a run; None while it has not ended."""
        events = self.read_journal(entry, turn)
        return events[-1] if events and events[-1].event != "begin" else None

    # -- turns ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def take_turn(self) -> Iterator[str]:
        """Lock the folder and yield the name of a new turn. At the end all workers of the turn are called back.

        Raises:
            SweepError: if another process holds the lock.
        """
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not try_lock(descriptor):
                raise SweepError(f"{self.path}: another process is working on this sweep; wait for it, or stop it")
            name = secrets.token_hex(8)
            _overwrite(descriptor, name)
            try:
                yield name
            finally:
                _overwrite(descriptor, "")
        finally:
            os.close(descriptor)


def is_turn(folder: Path, name: str) -> bool:
    """True if a turn is still in progress; False also if the folder is not visible."""
    try:
        return read_text(folder / LOCK) == name
    except OSError:
        return False


def _overwrite(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
    os.fsync(descriptor)


# -- the manifest ----------------------------------------------------------------------------------------------------


def read_manifest(path: Path) -> tuple[str, list[PlannedRun]]:
    """Return the digest of what the runs of a sweep have in common, and the runs.

    Raises:
        SweepError: if the manifest is missing or was not written by gps.
    """
    file = path / MANIFEST
    try:
        content = json.loads(read_text(file))
        if content["format"] != FORMAT:
            raise SweepError(f"{file}: written in format {content['format']}, and this gps reads format {FORMAT}")
        entries = [
            PlannedRun(run["seed"], run["setting"], run["iterations"], run["fingerprint"]) for run in content["runs"]
        ]
        return content["digest"], entries
    except FileNotFoundError:
        raise SweepError(f"{path}: not the folder of a sweep (no {MANIFEST})") from None
    except OSError as error:
        raise SweepError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise SweepError(f"{file}: not written by gps; move the folder away and run the sweep again") from None


def write_manifest(path: Path, digest: str, entries: Sequence[PlannedRun], about: Mapping[str, Any]) -> None:
    """Create the folder of a sweep, or add runs to it.

    Args:
        about: further keys for readers of the file.

    Raises:
        SweepError: if the folder belongs to another sweep or cannot be written.
    """
    known: dict[str, PlannedRun] = {}
    if (path / MANIFEST).exists():
        found, old = read_manifest(path)
        known = {entry.name: entry for entry in old}
        other = next((entry for entry in entries if known.get(entry.name, entry) != entry), None)
        if found != digest or other is not None:
            what = f"; {other.name} differs" if other is not None else ""
            raise SweepError(
                f"{path}: the sweep there has another experiment.toml, task.py, --iterations or fixed --set{what}; "
                "choose another --name"
            )
    merged = known | {entry.name: entry for entry in entries}
    runs = [
        {"seed": e.seed, "setting": dict(e.setting), "folder": e.folder, "iterations": e.iterations,
         "fingerprint": e.fingerprint}
        for e in merged.values()
    ]  # fmt: skip
    content = {"format": FORMAT, "digest": digest, **about, "runs": runs}
    with report_write_errors(path, SweepError):
        path.mkdir(parents=True, exist_ok=True)
        replace(path / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
