"""A run as a live page: served on 127.0.0.1, refreshed as iterations land, with pause, resume and stop.

The server reads the run from its directory, so it does not matter which process writes it: `gps run --live` starts the
server as a thread of the run, `gps view` as a separate process. The page requests only what it lacks, and an iteration
is read once, at the first request for it. The server serves only the page and the run's numbers, and never uses a part
of an address as a path on the disk.

A connection has a deadline and there are at most `MOST_CONNECTIONS`, so that slow or many ones cannot take the file
descriptors of the run. Whatever happens to the server, the run goes on.

Pages of other sites can neither read (the `Host` header must be this server's, which defeats DNS names that point here)
nor act (a POST needs the token that only the page holds).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import secrets
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from gps.callbacks import Callback
from gps.errors import GpsError, RunError
from gps.inspect.report.detail import make_detail, read_earlier, read_ends
from gps.inspect.report.forms import Piece
from gps.inspect.report.overview import collect_facts, make_piece
from gps.inspect.report.page import add_words, make_overview, render_page, to_json
from gps.runs import control

if TYPE_CHECKING:
    from gps.config import ExperimentConfig
    from gps.records import IterationRecord
    from gps.runs import Run

ADDRESS = "127.0.0.1"
MOST_CONNECTIONS = 64
"""Connections at the same time; more are answered with 503."""
PATIENCE, LONGEST = 10.0, 60.0
"""Seconds for a client to send its request, and for the whole connection."""
_FULL = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"
_MAX_BODY = 1 << 10
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
        return {"stamps": stamps, "state": state, "at": at, "planned": self.run.config.algorithm.iterations}

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


class _Listener(ThreadingHTTPServer):
    """Serves each connection in a thread, a few at a time, and ends those that last too long."""

    daemon_threads = True
    request_queue_size = 2 * MOST_CONNECTIONS  # with few, a client waits seconds for its second try
    owner: Server

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self._deadlines: dict[socket.socket, float] = {}
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._deadlines) >= MOST_CONNECTIONS
            if not full:
                self._deadlines[request] = time.monotonic() + PATIENCE
        if not full:
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            request.settimeout(0)
            request.send(_FULL)
        self.shutdown_request(request)

    def extend(self, request: Any) -> None:
        """Give a connection whose request has come the time for the answer."""
        with self._lock:
            self._deadlines[request] = time.monotonic() + LONGEST

    def service_actions(self) -> None:
        """End the connections that are too slow: their threads then read or write no more. Called all the time."""
        now = time.monotonic()
        with self._lock:
            for request, deadline in self._deadlines.items():
                if deadline < now:
                    with contextlib.suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: the terminal belongs to the run."""


class Server:
    """Serves the page of a run from a separate thread. Use it as a context manager.

    Args:
        port: 0 for any free port.

    Raises:
        RunError: if the port is not available.
    """

    def __init__(self, port: int = 0) -> None:
        self.token = secrets.token_urlsafe(24)
        self.watched: Watched | None = None
        try:
            self._http = _Listener((ADDRESS, port))
        except (OSError, OverflowError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise RunError(f"--port {port}: not available: {reason}; 0 selects a free port") from None
        self._http.owner = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)

    @property
    def hosts(self) -> tuple[str, str]:
        """The `Host` headers that this server accepts."""
        port = self._http.server_address[1]
        return f"{ADDRESS}:{port}", f"localhost:{port}"

    @property
    def url(self) -> str:
        return f"http://{self.hosts[0]}/"

    def show(self, run: Run) -> None:
        """Serve this run from now on."""
        self.watched = Watched(run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class Live(Callback):
    """A callback that serves a run while it is in progress. Use it as a context manager.

    Args:
        announce: called with the page's address once there is a run to show.
    """

    def __init__(self, announce: Callable[[str], None], port: int = 0) -> None:
        self.server = Server(port)
        self._announce = announce

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def on_start(self, run: Run, config: ExperimentConfig, total: int) -> None:
        from gps.runs import Run

        self.server.show(Run.open(run.path))  # a separate object: `run` belongs to the writing thread
        self._announce(f"live page: {self.server.url}")

    def on_iteration(self, record: IterationRecord) -> None:
        assert self.server.watched is not None
        self.server.watched.offer(record)


# -- requests --------------------------------------------------------------------------------------------------------


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    """Answers the page's requests."""

    server_version, sys_version = "gps", ""
    server: _Listener

    def parse_request(self) -> bool:
        understood = super().parse_request()
        self.server.extend(self.connection)
        return understood

    def do_GET(self) -> None:
        self._answer(self._read)

    def do_POST(self) -> None:
        self._answer(self._act)

    def _answer(self, action: Callable[[Server], tuple[str, str]]) -> None:
        """Send what `action` returns, a media type and a text, or the reason for a refusal."""
        status, kind = 200, "application/json"
        server = self.server.owner
        try:
            if self.headers.get("Host") not in server.hosts:
                raise _Refused(403, "the Host header is not that of this server")
            kind, text = action(server)
        except _Refused as refusal:
            status, text = refusal.status, json.dumps({"error": str(refusal)})
        except GpsError as error:  # the run is being rewritten, or is damaged: the page retries
            status, text = 503, json.dumps({"error": str(error)})
        except Exception as error:
            status, text = 500, json.dumps({"error": f"unexpected {type(error).__name__}: {error}"})
        content = text.encode()
        with contextlib.suppress(ConnectionError, TimeoutError):  # the client has disconnected
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(content)

    def _read(self, server: Server) -> tuple[str, str]:
        if self.path == "/":
            return "text/html", render_page(token=server.token)
        watched = self._require_run(server)
        if self.path == "/version":
            return "application/json", json.dumps(watched.version())
        if match := re.fullmatch(r"/overview/(\d{1,9})", self.path):
            return "application/json", watched.overview(int(match[1]))
        if match := re.fullmatch(r"/iteration/(\d{1,9})", self.path):
            return "application/json", watched.detail(int(match[1]))
        if self.path == "/ends":
            return "application/json", watched.ends()
        raise _Refused(404, "there is no such page")

    def _act(self, server: Server) -> tuple[str, str]:
        if self.path != "/control":
            raise _Refused(404, "there is no such page")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in server.hosts]:
            raise _Refused(403, "requests from other sites are refused")
        if not secrets.compare_digest(self.headers.get("X-Gps-Token", "").encode(), server.token.encode()):
            raise _Refused(403, "the token is missing or old; reload the page")
        what = self._read_request()
        run = self._require_run(server).run
        if not run.active:
            raise _Refused(409, "no process is writing this run")
        control.request(run.path, what)
        return "application/json", json.dumps({"request": what})

    def _read_request(self) -> str:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,6}", length) or int(length) > _MAX_BODY:
            raise _Refused(413, f"a request has at most {_MAX_BODY} bytes")
        try:
            what = json.loads(self.rfile.read(int(length)))["request"]
        except (ValueError, KeyError, TypeError, RecursionError):
            what = None
        if what not in control.REQUESTS:
            raise _Refused(400, f"expected one of the requests {', '.join(control.REQUESTS)}")
        return what

    @staticmethod
    def _require_run(server: Server) -> Watched:
        if server.watched is None:
            raise _Refused(503, "the run has not started")
        return server.watched

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the terminal belongs to the run."""
