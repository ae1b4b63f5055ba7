"""Recorded episodes from files: NumPy arrays, CSV tables, and run directories. `docs/models.md` has their layout."""

from gps.recordings.reading import names_run, read_recording
from gps.recordings.recording import Recording

__all__ = ["Recording", "names_run", "read_recording"]
