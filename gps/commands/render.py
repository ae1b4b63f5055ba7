"""Render a video of a run's policy or controllers; the last line printed is the file."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gps.commands._common import OK, add_iteration, add_noise, add_run, integer, note_versions, parse_float

if TYPE_CHECKING:
    import numpy as np


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_iteration(parser, "iteration whose policy or controllers are shown")
    about = "condition to show; repeatable; default: all, up to 8"
    parser.add_argument("--condition", type=int, action="append", metavar="M", help=about)
    about = "file: .mp4, .webp or .gif; default: NAME-seedS-iterKKK.webp in the working directory"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=about)
    about = "size in pixels of each condition's picture; default: 320x240, or 640x480 for one condition"
    parser.add_argument("--size", type=_size, metavar="WxH", help=about)
    about = "frames per second; default: one frame per step. The video always plays in real time"
    parser.add_argument("--fps", type=_fps, metavar="N", help=about)
    parser.add_argument(
        "--camera", metavar="NAME", help='a camera of the model; default: "view", or one that shows the whole model'
    )
    add_noise(parser)
    parser.add_argument("--seed", type=integer(minimum=0), default=0, metavar="S", help="seed of the noise; default: 0")


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if not match or not all(16 <= int(side) <= 4096 for side in match.groups()):
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 320x240, each 16 to 4096, got {text!r}")
    return int(match[1]), int(match[2])


def _fps(text: str) -> float:
    value = parse_float(text)
    if not 0 < value <= 120:
        raise argparse.ArgumentTypeError(f"expected frames per second up to 120, got {text!r}")
    return value


def main(args: argparse.Namespace) -> int:
    from gps.rendering import MOST, render
    from gps.runs import load_run

    run = load_run(args.run)
    note_versions(run)
    count = len(run.config.environment.conditions)
    if args.condition is None and count > MOST:
        print(f"gps: showing the first {MOST} of {count} conditions; --condition selects others", file=sys.stderr)
    path = render(
        run,
        args.output,
        iteration=args.iteration,
        conditions=args.condition,
        size=args.size,
        fps=args.fps,
        camera=args.camera,
        noise=args.noise,
        seed=args.seed,
        watch=_progress if sys.stderr.isatty() else None,
    )
    print(path)
    return OK


def _progress(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """Yield the frames, with a progress bar on the terminal."""
    from rich.console import Console
    from rich.progress import track

    yield from track(frames, "drawing", count, transient=True, console=Console(stderr=True))
