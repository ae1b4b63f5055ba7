"""Videos of episodes: several conditions side by side, each with a caption, in real time.

`film` replays recorded actions and yields frames; `write_video` stores them as .mp4, .webp or .gif.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gps.errors import ConfigError, DrawingError, install_command, nearest
from gps.inspect.formatting import format_number
from gps.storage.write_errors import report_write_errors

if TYPE_CHECKING:
    from gps.environments.mujoco.offscreen import Pictures
    from gps.records import Rollouts

SUFFIXES = (".mp4", ".webp", ".gif")
LARGEST_FPS = 50
"""The largest default frame rate: browsers slow down faster GIFs, and a higher rate looks no smoother."""

_LAST_FRAME_SECONDS = 1.0  # for which a loop rests on the last frame before it repeats
_GAP = 4  # pixels between two pictures
_INK, _PAPER, _GREEN, _GREY = (32, 32, 32), (255, 255, 255), (0, 128, 64), (120, 120, 120)


@dataclasses.dataclass(frozen=True)
class Timing:
    """The steps that become frames, so that a video of `fps` frames per second plays in real time."""

    fps: float
    steps: tuple[int, ...]  # of each frame; 0 is the start, T the last state

    @classmethod
    def of(cls, dt: float, horizon: int, fps: float | None = None) -> Timing:
        """Return the timing of an episode.

        Args:
            dt: duration of a step, s.
            horizon: number of steps of the episode, T.
            fps: frames per second; None for one frame per step, but at most `LARGEST_FPS`.
        """
        if fps is None:
            every = max(1, math.ceil(1 / (dt * LARGEST_FPS) - 1e-9))  # steps per frame: evenly spaced frames
            return cls(1 / (dt * every), (*range(0, horizon, every), horizon))
        count = max(1, round(horizon * dt * fps))
        return cls(fps, tuple(min(horizon, round(j / (fps * dt))) for j in range(count)) + (horizon,))


def film(
    environment: Any,
    pictures: Pictures,
    rollouts: Rollouts,
    costs: np.ndarray,
    chosen: Sequence[int],
    steps: Sequence[int],
    dt: float,
    titles: Sequence[str],
) -> Iterator[np.ndarray]:
    """Replay the first episode of each condition in `chosen`, and yield a frame for each of `steps`.

    Args:
        environment: M simulations, just reset to the conditions of the recorded episodes.
        rollouts: the recorded episodes; one that ended early keeps its last picture.
        costs: cost of each step, (M, N, T).
        chosen: the conditions to show.
        steps: the steps to show, ascending, 0 for the start; see `Timing`.
        dt: duration of a step, s.
        titles: a line for each of the M conditions, above the time and the cost; cut where it is too long.

    Yields:
        Frames (height, width, 3), uint8, of even height and width.
    """
    lengths = rollouts.mask[:, 0].sum(axis=1)
    spent = np.concatenate([np.zeros((len(costs), 1)), np.cumsum(costs[:, 0], axis=1)], axis=1)
    tiles: dict[int, np.ndarray] = {}
    t = 0
    for step in steps:
        while t < step:
            environment.step(rollouts.actions[:, 0, t])
            t += 1
        for m in chosen:
            if m not in tiles or t <= lengths[m]:
                tiles[m] = pictures.picture(m)
        yield _make_mosaic([
            _add_caption(
                tiles[m],
                titles[m],
                f"{min(t, lengths[m]) * dt:.2f} s   cost {format_number(spent[m, t])}",
                _describe_state(rollouts, m, t, int(lengths[m])),
            )
            for m in chosen
        ])  # fmt: skip


def _describe_state(rollouts: Rollouts, m: int, t: int, length: int) -> str:
    last = min(t, length) - 1
    if last >= 0 and rollouts.success is not None and rollouts.success[m, 0, last]:
        return "success"
    return "ended" if length < rollouts.mask.shape[2] and t >= length else ""


def count_columns(count: int) -> int:
    """Return the number of columns for `count` tiles: nearly square, with as few empty places as possible."""
    if count <= 3:
        return count
    return min(range(math.ceil(math.sqrt(count)), max(4, math.ceil(math.sqrt(count))) + 1), key=lambda c: -count % c)


def _make_mosaic(tiles: Sequence[np.ndarray]) -> np.ndarray:
    height, width = tiles[0].shape[:2]
    across = count_columns(len(tiles))
    down = -(-len(tiles) // across)
    shape = (down * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP)
    frame = np.full((*(side + side % 2 for side in shape), 3), _PAPER, dtype=np.uint8)  # H.264 needs even sides
    for k, tile in enumerate(tiles):
        y, x = k // across * (height + _GAP), k % across * (width + _GAP)
        frame[y : y + height, x : x + width] = tile
    return frame


def _add_caption(picture: np.ndarray, title: str, right: str, state: str) -> np.ndarray:
    """Return the picture with two lines of text below it: the title, and `state` and `right` at both ends."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = picture.shape[:2]
    size = max(9, min(18, width // 24))
    line, edge = round(1.5 * size), size // 2
    image = Image.new("RGB", (width, height + 2 * line), _PAPER)
    image.paste(Image.fromarray(picture))
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    draw.text((edge, height + line / 2), _cut(title, width - 2 * edge, draw, font), _INK, font, anchor="lm")
    draw.text((width - edge, height + 1.5 * line), right, _INK, font, anchor="rm")
    draw.text((edge, height + 1.5 * line), state, _GREEN if state == "success" else _GREY, font, anchor="lm")
    return np.asarray(image)


def _cut(text: str, room: float, draw: Any, font: Any) -> str:
    """The text, or its beginning with an ellipsis, as far as it fits into so many pixels."""
    if draw.textlength(text, font) <= room:
        return text
    fits = (length for length in range(len(text) - 1, 0, -1) if draw.textlength(text[:length] + "…", font) <= room)
    return text[: next(fits, 0)].rstrip(" ·,") + "…"


# -- files -----------------------------------------------------------------------------------------------------------


def require_suffix(path: Path) -> None:
    """Raise ConfigError if the name does not end in one of `SUFFIXES`."""
    if path.suffix.lower() not in SUFFIXES:
        kinds = ", ".join(SUFFIXES)
        raise ConfigError(f"{path}: unknown kind of video{nearest(path.suffix, SUFFIXES)}; known: {kinds}")


def require_packages(path: Path) -> None:
    """Raise DrawingError if a package for captions or for this kind of file is missing."""
    from importlib.util import find_spec

    needed = ["PIL", *(["imageio_ffmpeg"] if path.suffix.lower() == ".mp4" else [])]
    if any(find_spec(name) is None for name in needed):
        raise DrawingError(f"{path}: writing video needs more packages: {install_command('video')}")


def write_video(path: Path, frames: Iterable[np.ndarray], timing: Timing) -> None:
    """Write frames as a video in the format of the file's suffix. Loops rest on the last frame for a second.

    Raises:
        ConfigError: if the suffix is unknown.
        DrawingError: if a package is missing or the file cannot be written.
    """
    require_suffix(path)
    require_packages(path)
    with report_write_errors(path, DrawingError):
        if path.suffix.lower() == ".mp4":
            _write_mp4(path, frames, timing.fps)
        else:
            _write_loop(path, frames, timing.fps)


def _write_mp4(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write by ffmpeg in a subprocess: imageio's own writer forks, which is not safe with JAX's threads."""
    from imageio_ffmpeg import get_ffmpeg_exe

    frames = iter(frames)
    first = next(frames)
    height, width = first.shape[:2]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:.6f}", "-i", "-"]
    target = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-movflags", "+faststart", str(path)]
    command = [get_ffmpeg_exe(), "-y", "-loglevel", "error", *source, *target]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as ffmpeg:
        assert ffmpeg.stdin is not None and ffmpeg.stderr is not None
        with contextlib.suppress(BrokenPipeError):  # ffmpeg reports the cause on stderr
            for frame in itertools.chain([first], frames):
                ffmpeg.stdin.write(np.ascontiguousarray(frame).tobytes())
            ffmpeg.stdin.close()
        output = ffmpeg.stderr.read().decode(errors="replace").strip()
    if ffmpeg.returncode:
        raise DrawingError(f"{path}: cannot be written: {output.splitlines()[-1] if output else 'ffmpeg failed'}")


def _write_loop(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    from PIL import Image

    images = [Image.fromarray(frame) for frame in frames]
    unit = 10 if path.suffix.lower() == ".gif" else 1  # time resolution of the format, ms
    ends = [unit * round(1000 * (j + 1) / fps / unit) for j in range(len(images))]  # rounding errors do not add up
    durations = [int(d) for d in np.diff([0, *ends])]
    durations[-1] = round(1000 * _LAST_FRAME_SECONDS)
    options: Mapping[str, Any] = {"quality": 80, "method": 4} if unit == 1 else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=durations, loop=0, **options)
