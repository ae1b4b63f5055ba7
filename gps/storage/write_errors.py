"""Errors of the operating system while files are written, as errors of this library."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gps.errors import GpsError


@contextlib.contextmanager
def report_write_errors(path: Path | str, error_class: type[GpsError], advice: str = "") -> Iterator[None]:
    """Raise `error_class` with a message of one line where the block raises an OSError.

    Args:
        path: what is being written, for the message.
        error_class: the kind of error for the caller's users.
        advice: what the reader can do or should know, appended after a semicolon.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise error_class(f"{path}: cannot be written: {reason}{f'; {advice}' if advice else ''}") from None
