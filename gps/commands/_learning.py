"""What `gps run` and `gps resume` share: progress, Ctrl-C, and the run directory as the last line."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from gps.commands._common import INTERRUPTED, OK, report

if TYPE_CHECKING:
    from gps.experiment import Callback
    from gps.runs import Run


def add_watching(parser: argparse.ArgumentParser) -> None:
    """How to follow the run."""
    parser.add_argument("--quiet", action="store_true", help="print the run directory alone")
    about = "write event files into the run directory; look at them with: tensorboard --logdir RUN/tensorboard"
    parser.add_argument("--tensorboard", action="store_true", help=about)


def learn(action: Callable[..., None], args: argparse.Namespace) -> int:
    """Run or resume by `action(callbacks, confirm)`; the run directory is the last line, whatever happens."""
    from gps.console import Progress

    code, progress = OK, Progress(args.quiet)
    try:
        with progress:
            action(callbacks=[progress, *_further(args)], confirm=progress.confirm)
    except KeyboardInterrupt:
        code = INTERRUPTED
        print(f"\ngps: interrupted; {_whats_left(progress.run)}", file=sys.stderr)
    except BrokenPipeError:
        raise
    except Exception as error:
        if args.traceback:
            raise
        code = report(error)
        if progress.run is not None:
            print(f"gps: {_whats_left(progress.run)}", file=sys.stderr)
    if progress.run is not None:
        sys.stderr.flush()
        print(progress.run.path)
    return code


def _further(args: argparse.Namespace) -> list[Callback]:
    """The callbacks that the arguments ask for."""
    if not args.tensorboard:
        return []
    from gps.inspect.tensorboard import TensorBoard

    return [TensorBoard()]


def _whats_left(run: Run | None) -> str:
    if run is None:
        return "nothing had been written yet"
    count = len(run.iterations)
    return f"{count} whole iteration{'s' * (count != 1)} on disk; `gps resume {shlex.quote(str(run.path))}` goes on"
