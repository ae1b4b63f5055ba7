"""Find runs on disk."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from gps.errors import RunError, nearest
from gps.runs.layout import INFO
from gps.runs.run import Run
from gps.storage.folders import SUMS

HOME = Path("runs")
"""The folder in which `gps run` puts runs by default."""


_DEPTH = 4  # levels of folders, as in a sweep


def locate_runs(path: str | Path) -> Path:
    """Return the run directory or the folder of runs that is meant: a path on disk, or else one in ./runs.

    A path on disk without runs, such as the experiment's own directory, gives way to one in ./runs.

    Raises:
        RunError: if there is none.
    """
    path = Path(path)
    inside = HOME / path
    if path.exists() and (not inside.exists() or any(_walk(path, _DEPTH))):
        return path
    if inside.exists():
        return inside
    folder = path.parent if path.parent != Path() else HOME
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    raise RunError(f"{path}: there is no such run directory{nearest(path.name, names)}")


def shorten_run(path: Path) -> str:
    """Return the name by which `locate_runs` finds a run: its path, without ./runs."""
    return str(path.relative_to(HOME) if path.is_relative_to(HOME) else path)


def find_runs(folder: str | Path) -> list[Path]:
    """Find the run directories at `folder`, in it, or up to four levels deeper, as in a sweep; the newest is last."""
    found = _walk(Path(folder), _DEPTH)
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
    """Open a run: its directory, or the newest run in a folder of runs; see `locate_runs`.

    Raises:
        RunError: if there is none, or it was altered.
    """
    path = locate_runs(path)
    if path.is_dir() and not (path / INFO).exists() and not (path / SUMS).exists():
        runs = find_runs(path)
        if not runs:
            raise RunError(f"{path}: neither a run directory nor a folder of runs")
        path = runs[-1]
    return Run.open(path)
