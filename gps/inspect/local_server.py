"""A small server on 127.0.0.1 for pages that watch and act: a run under way, or a simulation that a person pushes.

A connection has a deadline and there are at most `MOST_CONNECTIONS`, so that slow or many ones cannot take the file
descriptors of the process. Whatever happens to the server, what it shows goes on. It never uses a part of an address as
a path on the disk.

Pages of other sites can neither read (the `Host` header must be this server's, which defeats DNS names that point here)
nor act (a POST needs the token that only the page holds).
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import socket
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from gps.errors import GpsError, RunError

ADDRESS = "127.0.0.1"
MOST_CONNECTIONS = 64
"""Connections at the same time; more are answered with 503."""
PATIENCE, LONGEST = 10.0, 60.0
"""Seconds for a client to send its request, and for the whole connection."""
_FULL = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"
_MAX_BODY = 1 << 10

Answer = tuple[str, str | bytes]
"""A media type and a content."""


class _Listener(ThreadingHTTPServer):
    """Serves each connection in a thread, a few at a time, and ends those that last too long."""

    daemon_threads = True
    request_queue_size = 2 * MOST_CONNECTIONS  # with few, a client waits seconds for its second try
    owner: LocalServer

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


class LocalServer:
    """Serves a page from a separate thread. Use it as a context manager.

    A subclass defines the page, `read` for the rest of the addresses, and `act` for what the page asks for.

    Args:
        port: 0 for any free port.

    Raises:
        RunError: if the port is not available.
    """

    def __init__(self, port: int = 0) -> None:
        self.token = secrets.token_urlsafe(24)
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

    @abstractmethod
    def make_page(self) -> str:
        """Return the page, which holds the token."""

    @abstractmethod
    def read(self, path: str) -> Answer:
        """Return what is at an address other than the page's.

        Raises:
            Refused: with the status 404, if there is nothing.
        """

    @abstractmethod
    def act(self, path: str, request: Mapping[str, Any]) -> Answer:
        """Do what the page asks for.

        Args:
            request: the JSON object that it sent; empty if that was none.

        Raises:
            Refused: if it cannot be done.
        """

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


# -- requests --------------------------------------------------------------------------------------------------------


class Refused(Exception):
    """A request that is not granted: the HTTP status and the reason."""

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

    def _answer(self, action: Callable[[LocalServer], Answer]) -> None:
        """Send what `action` returns, a media type and a text, or the reason for a refusal."""
        status, kind = 200, "application/json"
        text: str | bytes
        server = self.server.owner
        try:
            if self.headers.get("Host") not in server.hosts:
                raise Refused(403, "the Host header is not that of this server")
            kind, text = action(server)
        except Refused as refusal:
            status, text = refusal.status, json.dumps({"error": str(refusal)})
        except GpsError as error:  # the run is being rewritten, or is damaged: the page retries
            status, text = 503, json.dumps({"error": str(error)})
        except Exception as error:
            status, text = 500, json.dumps({"error": f"unexpected {type(error).__name__}: {error}"})
        content = text.encode() if isinstance(text, str) else text
        with contextlib.suppress(ConnectionError, TimeoutError):  # the client has disconnected
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8" if isinstance(text, str) else kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(content)

    def _read(self, server: LocalServer) -> Answer:
        return ("text/html", server.make_page()) if self.path == "/" else server.read(self.path)

    def _act(self, server: LocalServer) -> Answer:
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in server.hosts]:
            raise Refused(403, "requests from other sites are refused")
        if not secrets.compare_digest(self.headers.get("X-Gps-Token", "").encode(), server.token.encode()):
            raise Refused(403, "the token is missing or old; reload the page")
        return server.act(self.path, self._read_request())

    def _read_request(self) -> Mapping[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,6}", length) or int(length) > _MAX_BODY:
            raise Refused(413, f"a request has at most {_MAX_BODY} bytes")
        try:
            request = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            request = None
        return request if isinstance(request, dict) else {}

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the terminal belongs to the command."""
