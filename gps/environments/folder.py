"""The folder of the experiment whose environment is being made: its relative paths of models are looked up there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


def current_folder() -> Path | None:
    """Return the folder; None outside `relative_to`."""
    return _FOLDER.get()


@contextlib.contextmanager
def relative_to(folder: Path) -> Iterator[None]:
    """Let relative paths of models be relative to `folder`."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)
