"""Files that a page holds besides its figures: the last controllers to download, and the videos of a run."""

from __future__ import annotations

import base64
import dataclasses
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gps.records import IterationRecord
    from gps.runs import Run

VIDEOS = {".mp4": "video/mp4", ".webp": "image/webp", ".gif": "image/gif"}
"""Suffix -> media type of the videos that `gps render` writes."""

MOST_VIDEO_BYTES = 16 << 20
"""The size of all videos in a page together."""

MOST_CONTROLLER_BYTES = 4 << 20


@dataclasses.dataclass(frozen=True)
class PageFile:
    """A file within a page."""

    name: str
    kind: str  # media type
    data: str  # Base64


@dataclasses.dataclass(frozen=True)
class PageFiles:
    """The files of a page."""

    controllers: PageFile | None  # None without local controllers, and where they are too large
    about: str  # what `controllers` holds
    videos: list[PageFile]


def collect_files(run: Run, last: IterationRecord) -> PageFiles:
    """Collect the files of a page.

    Args:
        last: the record of the last iteration.
    """
    controllers = _pack_controllers(run, last)
    about = ""
    if controllers is not None and last.local is not None:
        M, T, du, dx = last.local.improved.feedback.shape
        about = (
            f"the controllers that iteration {last.iteration} made, u = K x + k + noise, as NumPy arrays: "
            f"K {(M, T, du, dx)}, k {(M, T, du)}, covariance {(M, T, du, du)}; ordered condition, time, action, state."
        )
    return PageFiles(controllers, about, _collect_videos(run))


def _pack_controllers(run: Run, last: IterationRecord) -> PageFile | None:
    if last.local is None:
        return None
    K, k, covariance = map(np.asarray, vars(last.local.improved).values())
    file = io.BytesIO()
    np.savez_compressed(file, K=K, k=k, covariance=covariance)
    if file.tell() > MOST_CONTROLLER_BYTES:
        return None
    name = f"{run.name}-seed{run.seed}-iter{last.iteration:03d}-controllers.npz"
    return PageFile(name, "application/octet-stream", _encode(file.getvalue()))


def _collect_videos(run: Run) -> list[PageFile]:
    """The videos in the run directory, the newest first, as many as fit."""
    paths = [path for path in run.path.iterdir() if path.suffix.lower() in VIDEOS and path.is_file()]
    found, room = [], MOST_VIDEO_BYTES
    for path in sorted(paths, key=lambda path: (-path.stat().st_mtime_ns, path.name)):
        if path.stat().st_size <= room:
            content = path.read_bytes()
            room -= len(content)
            found.append(PageFile(path.name, VIDEOS[path.suffix.lower()], _encode(content)))
    return found


def _encode(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
