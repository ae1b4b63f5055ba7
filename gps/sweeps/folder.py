"""The folder of a sweep, which says everything there is to know about it.

    runs/NAME/sweep-1a2b3c4d/
        sweep.json                          what is in it: a list of seeds and settings, and the folder of each setting
        kl_step=2/20300131T120000Z-seed0/   an ordinary run directory (see gps.runs)
        journal/kl_step=2-seed0.jsonl       a line when a worker begins the run, and one when it ends: who, when, how
        sweep.lock                          locked while `gps sweep` is at work; its content is the turn

Every `gps sweep` on the folder is a *turn* with a name of its own. Workers serve one turn: they stop at the next stage
of an iteration when the turn that sent them is no longer the one in `sweep.lock`. A journal line without an end
is that of a worker that died.
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
from gps.runs.run import Run, find_runs
from gps.storage.folders import replace, try_lock
from gps.sweeps.settings import describe, make_folder_name

FORMAT = 1
"""The version of the layout above."""

MANIFEST, LOCK, _JOURNAL = "sweep.json", "sweep.lock", "journal"


@dataclass(frozen=True)
class Entry:
    """A run as the manifest lists it."""

    seed: int
    setting: Mapping[str, Any]  # what is varied: key -> value
    iterations: int  # planned
    fingerprint: str  # of the experiment as resolved, and of the files it is made from

    @functools.cached_property
    def folder(self) -> str:
        """Of the setting, within the sweep's; empty where nothing but the seed is varied."""
        return make_folder_name(self.setting)

    @property
    def name(self) -> str:
        return f"{self.folder}-seed{self.seed}".lstrip("-")


@dataclass(frozen=True)
class SweepRun:
    """How one run of a sweep stands."""

    seed: int
    settings: Mapping[str, Any]  # what is varied: key -> value
    path: Path | None  # None before it has begun
    iterations: int  # whole ones on disk
    planned: int
    cost: float | None  # of the final controllers without noise, mean over the conditions
    solved: int | None  # conditions that these controllers solve, of
    conditions: int | None
    state: str  # finished, failed, stopped or not begun
    message: str  # why it failed or stopped
    mendable: bool  # whether the user can mend that

    @property
    def label(self) -> str:
        """`kl_step=2,samples=5 seed 3`."""
        return f"{describe(self.settings)} seed {self.seed}".lstrip()


@dataclass(frozen=True)
class Event:
    """A line of a journal."""

    turn: str
    event: str  # begin, or how it ended: finished, failed, stopped
    message: str
    mendable: bool  # whether the user can mend what it failed of
    at: str
    host: str
    pid: int


class Sweep:
    """A sweep on disk; `runs` tells how each of its runs stands now.

    Args:
        path: its folder.
        only: the names of the runs that this object speaks of; None for all.

    Raises:
        SweepError: if there is no sweep.
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
        """In the order of the settings, then of the seeds."""
        return [self.read_run(entry) for entry in self.entries]

    @property
    def finished(self) -> bool:
        """Whether all runs are."""
        return all(run.state == "finished" for run in self.runs)

    def __repr__(self) -> str:
        states = [run.state for run in self.runs]
        return f"Sweep({str(self.path)!r}, {states.count('finished')} of {len(states)} finished)"

    # -- one run -------------------------------------------------------------------------------------------------

    def find(self, entry: Entry) -> Path | None:
        """Its run directory; the newest, should there be several."""
        ends = f"-seed{entry.seed}"
        found = [
            path
            for path in find_runs(self.path / entry.folder)
            if path.parent == self.path / entry.folder and (path.name.endswith(ends) or f"{ends}-" in path.name)
        ]
        return found[-1] if found else None

    def count_iterations(self, entry: Entry) -> int:
        """How many whole iterations it has on disk."""
        path = self.find(entry)
        return 0 if path is None else len(Run(path, "", "").iterations)

    def is_finished(self, entry: Entry) -> bool:
        path = self.find(entry)
        return path is not None and (path / "evaluation").is_dir() and self.count_iterations(entry) >= entry.iterations

    def read_run(self, entry: Entry) -> SweepRun:
        """What there is to tell of it."""
        path, events = self.find(entry), self.read_journal(entry)
        cost = solved = conditions = None
        state, message, mendable = "stopped" if path is not None else "not begun", "", True
        if self.is_finished(entry):
            assert path is not None
            state = "finished"
            try:
                evaluation = Run.open(path).evaluation_summary
                cost = sum(item.cost for item in evaluation) / len(evaluation)
                told = [item.solved for item in evaluation if item.solved is not None]
                solved, conditions = sum(told) if told else None, len(evaluation)
            except GpsError as error:
                state, message = "failed", str(error)
        elif events and events[-1].event in ("failed", "stopped"):
            state, message, mendable = events[-1].event, events[-1].message, events[-1].mendable
        done = self.count_iterations(entry)
        return SweepRun(
            entry.seed, entry.setting, path, done, entry.iterations, cost, solved, conditions, state, message, mendable
        )

    # -- its journal ---------------------------------------------------------------------------------------------

    def read_journal(self, entry: Entry, turn: str | None = None) -> list[Event]:
        """What happened to it, in one turn or in all."""
        try:
            lines = (self.path / _JOURNAL / f"{entry.name}.jsonl").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        events = []
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):  # the last line of a killed worker
                events.append(Event(**json.loads(line)))
        return [event for event in events if turn in (None, event.turn)]

    def add_event(self, entry: Entry, turn: str, event: str, message: str = "", mendable: bool = True) -> None:
        """Add a line to its journal."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = Event(turn, event, message, mendable, now, socket.gethostname(), os.getpid())
        (self.path / _JOURNAL).mkdir(exist_ok=True)
        with (self.path / _JOURNAL / f"{entry.name}.jsonl").open("ab", buffering=0) as file:
            file.write((json.dumps(vars(line), ensure_ascii=False) + "\n").encode())

    def count_begins(self, entry: Entry, turn: str) -> int:
        """How often a worker has begun it."""
        return sum(event.event == "begin" for event in self.read_journal(entry, turn))

    def count_deaths(self, entry: Entry, turn: str) -> int:
        """How often its worker has died; one that is at work counts as dead."""
        events = self.read_journal(entry, turn)
        return 2 * sum(event.event == "begin" for event in events) - len(events)

    def find_ending(self, entry: Entry, turn: str) -> Event | None:
        """How it ended; None while it has not."""
        events = self.read_journal(entry, turn)
        return events[-1] if events and events[-1].event != "begin" else None

    # -- turns ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def take_turn(self) -> Iterator[str]:
        """Have the folder alone. When this ends, all workers that serve the turn are called back.

        Raises:
            SweepError: if another process is at it.
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
    """Whether a turn still goes on; also False where the folder cannot be seen."""
    try:
        return (folder / LOCK).read_text() == name
    except OSError:
        return False


def _overwrite(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
    os.fsync(descriptor)


# -- the manifest ----------------------------------------------------------------------------------------------------


def read_manifest(path: Path) -> tuple[str, list[Entry]]:
    """The digest of what the sweep varies and keeps, and its runs.

    Raises:
        SweepError: if it is missing or not what gps wrote.
    """
    file = path / MANIFEST
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise SweepError(f"{file}: written in format {content['format']}, and this gps reads format {FORMAT}")
        entries = [Entry(run["seed"], run["setting"], run["iterations"], run["fingerprint"]) for run in content["runs"]]
        return content["digest"], entries
    except FileNotFoundError:
        raise SweepError(f"{path}: not the folder of a sweep (no {MANIFEST})") from None
    except OSError as error:
        raise SweepError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise SweepError(f"{file}: not what gps wrote; move the folder away and sweep anew") from None


def write_manifest(path: Path, digest: str, entries: Sequence[Entry], about: Mapping[str, Any]) -> None:
    """Make the folder, or add runs to it.

    Args:
        about: further keys for whoever reads the file.

    Raises:
        SweepError: if the folder is that of another sweep, or cannot be written.
    """
    known: dict[str, Entry] = {}
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
    try:
        path.mkdir(parents=True, exist_ok=True)
        replace(path / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise SweepError(f"{path}: cannot be written: {error.strerror or error}") from None
