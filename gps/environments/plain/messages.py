"""Messages between processes over a socket: a JSON table and a row of numbers. No pickle."""

from __future__ import annotations

import json
import select
import socket
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNT = struct.Struct("<q")
"""The format of a number in shared memory."""

_SIZES = struct.Struct("<II")  # bytes of the table, bytes of the numbers


class Channel:
    """One end of a connected socket."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._reader = end.makefile("rb")
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)

    def send(self, table: dict[str, Any], numbers: NDArray[np.float64] | None = None) -> None:
        """Send a message.

        Raises:
            OSError: if the other end is closed.
        """
        text = json.dumps(table).encode()
        content = b"" if numbers is None else numbers.astype("<f8", copy=False).tobytes()
        self._socket.sendall(_SIZES.pack(len(text), len(content)) + text + content)

    def ready(self, seconds: float) -> bool:
        """Wait; True if a message or the end of the stream arrives within that time."""
        return bool(self._poll.poll(seconds * 1000))

    def receive(self) -> tuple[dict[str, Any], NDArray[np.float64]]:
        """Wait for the next message and return it.

        Raises:
            EOFError: if the other end is closed.
        """
        text, content = _SIZES.unpack(self._read(_SIZES.size))
        return json.loads(self._read(text)), np.frombuffer(self._read(content), "<f8").astype(np.float64)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def _read(self, size: int) -> bytes:
        try:
            content = self._reader.read(size)
        except ConnectionError:
            raise EOFError from None
        if len(content) < size:
            raise EOFError
        return content
