"""A run as a live page: served on 127.0.0.1, refreshed as iterations land, with pause, resume and stop.

The server reads the run from its directory, so it does not matter which process writes it: `gps run --live` starts the
server as a thread of the run, `gps view` as a separate process. The page requests only what it lacks, and an iteration
is read once, at the first request for it. `gps.inspect.local_server` says who is let in.
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from gps.callbacks import Callback
from gps.inspect.local_server import Answer, LocalServer, Refused
from gps.inspect.report.detail import make_detail, read_earlier, read_ends
from gps.inspect.report.files import collect_files
from gps.inspect.report.forms import Piece
from gps.inspect.report.overview import collect_facts, make_piece
from gps.inspect.report.page import add_words, make_overview, render_page, to_json
from gps.runs import control
from gps.runs.stages import LOADING

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.records import IterationRecord
    from gps.runs import Run

_KEPT_DETAILS = _KEPT_RECORDS = 8


# -- the run ---------------------------------------------------------------------------------------------------------


class Watched:
    """A run, possibly still growing, as JSON for the page. Reads every iteration once; one thread at a time."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._recent: deque[tuple[int, IterationRecord]] = deque(maxlen=_KEPT_RECORDS)  # with their stamps
        self._stamps: list[int] = []
        self._pieces: list[Piece] = []
        self._first: IterationRecord | None = None
        self._details: dict[tuple[int, ...], str] = {}

    def version(self) -> dict[str, Any]:
        """Return a stamp for each iteration, and the state of the run: a page compares them to find out what is new."""
        stamps = self._stamps_on_disk()
        state, at = self._find_state(len(stamps))
        planned = self.run.config.algorithm.iterations
        return {"stamps": stamps, "state": state, "at": at, "planned": planned, "stage": self.run.stage}

    def _find_state(self, done: int) -> tuple[str, str | None]:
        if not self.run.active:
            return ("finished" if done >= self.run.config.algorithm.iterations else "stopped"), None
        match control.read_request(self.run.path):
            case "stop":
                return "stopping", None
            case "pause":
                at = control.read_pause(self.run.path)
                return ("paused", at) if at else ("pausing", None)
        return "running", None

    def overview(self, start: int) -> str:
        """Return the run's facts and words, and the pieces from iteration `start` on, as JSON."""
        with self._lock:
            self._catch_up()
            shown = make_overview(collect_facts(self.run, self._first), self._pieces)
            return to_json(dataclasses.replace(shown, pieces=self._pieces[start:], stamps=self._stamps[start:]))

    def detail(self, k: int) -> str:
        """Return the arrays of an iteration as JSON."""
        with self._lock:
            key = (k, *self._stamps_on_disk()[k : k + 2])  # data of the next iteration test the model
            if key not in self._details:
                while len(self._details) >= _KEPT_DETAILS:
                    del self._details[next(iter(self._details))]
                following = self._read_record(k + 1) if len(key) > 2 else None
                record = self._read_record(k)
                self._details[key] = to_json(make_detail(record, following, read_earlier(self.run, record)))
            return self._details[key]

    def ends(self) -> str:
        """Return the final episodes of a policy and its teachers as JSON; null if there are none."""
        with self._lock:
            return to_json(read_ends(self.run))

    def files(self) -> str:
        """Return the last controllers and the videos as JSON."""
        with self._lock:
            last = self._read_record(len(self._stamps_on_disk()) - 1)
            return to_json(collect_files(self.run, last))

    def _stamps_on_disk(self) -> list[int]:
        iterations = self.run.iterations
        return [iterations.stamp(k) for k in range(len(iterations))]

    def _catch_up(self) -> None:
        """Read the iterations that are new or were repeated."""
        now = self._stamps_on_disk()
        same = next((k for k, (a, b) in enumerate(zip(now, self._stamps, strict=False)) if a != b), None)
        same = min(len(now), len(self._stamps)) if same is None else same
        if same < len(self._stamps):
            del self._stamps[same:], self._pieces[same:]
        for k in range(same, len(now)):
            record = self._read_record(k)
            item = make_piece(record, self._read_record(k - 1) if k else None, self.run.path)
            self._pieces.append(add_words(item, self._pieces[-1] if k else None))
            self._stamps.append(now[k])
            self._first = record if k == 0 else self._first

    def offer(self, record: IterationRecord) -> None:
        """Keep an iteration that has just been written, so that it need not be read. Never waits for the server."""
        self._recent.append((self.run.iterations.stamp(record.iteration), record))

    def _read_record(self, k: int) -> IterationRecord:
        stamp = self.run.iterations.stamp(k)
        for known, record in list(self._recent):
            if (known, record.iteration) == (stamp, k):
                return record
        record = self.run.iterations[k]
        self._recent.append((stamp, record))
        return record


# -- the server ------------------------------------------------------------------------------------------------------


_NOT_STARTED: dict[str, Any] = {"stamps": [], "state": "starting", "at": None, "planned": None, "stage": LOADING}
"""The version before there is a run."""


class Server(LocalServer):
    """Serves the page of a run. Use it as a context manager."""

    watched: Watched | None = None  # None before there is a run

    def show(self, run: Run) -> None:
        """Serve this run from now on."""
        self.watched = Watched(run)

    def make_page(self) -> str:
        return render_page(token=self.token)

    def read(self, path: str) -> Answer:
        if path == "/version" and self.watched is None:
            return "application/json", json.dumps(_NOT_STARTED)
        watched = self._require_run()
        if path == "/version":
            return "application/json", json.dumps(watched.version())
        if match := re.fullmatch(r"/overview/(\d{1,9})", path):
            return "application/json", watched.overview(int(match[1]))
        if match := re.fullmatch(r"/iteration/(\d{1,9})", path):
            return "application/json", watched.detail(int(match[1]))
        if path == "/ends":
            return "application/json", watched.ends()
        if path == "/files":
            return "application/json", watched.files()
        raise Refused(404, "there is no such page")

    def act(self, path: str, request: Mapping[str, Any]) -> Answer:
        if path != "/control":
            raise Refused(404, "there is no such page")
        what = request.get("request")
        if what not in control.REQUESTS:
            raise Refused(400, f"expected one of the requests {', '.join(control.REQUESTS)}")
        run = self._require_run().run
        if not run.active:
            raise Refused(409, "no process is writing this run")
        control.request(run.path, what)
        return "application/json", json.dumps({"request": what})

    def _require_run(self) -> Watched:
        if self.watched is None:
            raise Refused(503, "the run has not started")
        return self.watched


class Live(Callback):
    """A callback that serves a run while it is in progress, and from before it starts. Use it as a context manager.

    Args:
        announce: called with the page's address when it is served.
    """

    def __init__(self, announce: Callable[[str], None], port: int = 0) -> None:
        self.server = Server(port)
        self._announce = announce

    def __enter__(self) -> Self:
        self.server.__enter__()
        self._announce(f"live page: {self.server.url}")
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        from gps.runs import Run

        self.server.show(Run.open(run.path))  # a separate object: `run` belongs to the writing thread

    def on_iteration(self, record: IterationRecord) -> None:
        assert self.server.watched is not None
        self.server.watched.offer(record)
