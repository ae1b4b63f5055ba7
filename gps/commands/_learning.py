"""What `gps run` and `gps resume` share: progress, Ctrl-C, and the run directory as the last line."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from gps.commands._common import INTERRUPTED, OK, report

if TYPE_CHECKING:
    from gps.console import Progress
    from gps.runs import Run


def learn(action: Callable[[Progress], None], args: argparse.Namespace) -> int:
    """Run or resume; whatever happens, the run directory is the last line printed."""
    from gps.console import Progress

    code, progress = OK, Progress(args.quiet)
    try:
        with progress:
            action(progress)
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


def _whats_left(run: Run | None) -> str:
    if run is None:
        return "nothing had been written yet"
    count = len(run.iterations)
    return f"{count} whole iteration{'s' * (count != 1)} on disk; `gps resume {shlex.quote(str(run.path))}` goes on"
