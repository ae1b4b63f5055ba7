"""Find runs on disk."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gps.errors import RunError
from gps.runs.layout import INFO
from gps.runs.run import Run
from gps.storage.folders import SUMS


def find_runs(folder: str | Path) -> list[Path]:
    """Find the run directories at `folder`, in it, or up to four levels deeper, as in a sweep; the newest is last."""
    found = _walk(Path(folder), 4)
    return sorted(found, key=lambda path: (path.name[:16], (path / INFO).stat().st_mtime_ns, path.name))


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / INFO).exists():
        yield folder
    elif depth and folder.is_dir():
        with contextlib.suppress(PermissionError):
            for entry in folder.iterdir():
                if not entry.name.startswith("."):
                    yield from _walk(entry, depth - 1)


def load_run(path: str | Path) -> Run:
    """Open a run: its directory, or the newest run in a folder of runs.

    Raises:
        RunError: if there is none, or it was altered.
    """
    path = Path(path)
    if path.is_dir() and not (path / INFO).exists() and not (path / SUMS).exists():
        runs = find_runs(path)
        if not runs:
            raise RunError(f"{path}: neither a run directory nor a folder of runs")
        path = runs[-1]
    return Run.open(path)
