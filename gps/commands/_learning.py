"""The common part of `gps run` and `gps resume`: progress, requests, the live page, the run directory as last line."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gps.commands._common import INTERRUPTED, OK, add_port, print_error
from gps.commands._interruption import Interruption, print_interruption, raise_on_signals
from gps.runs.control import Control, Stopped

if TYPE_CHECKING:
    from gps.callbacks import Callback
    from gps.inspect.console import Progress
    from gps.runs import Run


def add_watching(parser: argparse.ArgumentParser) -> None:
    """Add the options that follow the progress of a run."""
    parser.add_argument("--quiet", action="store_true", help="print only the run directory")
    parser.add_argument("--live", action="store_true", help="serve a live page during the run")
    add_port(parser)
    about = "write event files into the run directory; view them with: tensorboard --logdir RUN/tensorboard"
    parser.add_argument("--tensorboard", action="store_true", help=about)
    about = "log to Weights & Biases, into the project `gps`; WANDB_MODE=offline writes into RUN/wandb for `wandb sync`"
    parser.add_argument("--wandb", action="store_true", help=about)


def learn(action: Callable[..., None], args: argparse.Namespace) -> int:
    """Run or resume by `action(callbacks, confirm)` and return the exit code.

    The last line printed is the run directory, also after an error. The exit code is 130 after Ctrl-C and after a stop
    on request, and 143 after SIGTERM, since the run is then incomplete.
    """
    from gps.inspect.console import Progress

    progress = Progress(args.quiet)
    with raise_on_signals() as interruption, contextlib.ExitStack() as live:
        control = live.enter_context(Control(progress.say))
        callbacks: list[Callback] = [progress, control, interruption, *_make_extra_callbacks(args)]
        page = None
        if args.live:
            from gps.inspect.live import Live

            page = live.enter_context(Live(progress.tell, args.port))
            callbacks.append(page)
        code, goes_on = _learn(action, args, progress, interruption, callbacks)
        if page is not None and goes_on and sys.stdout.isatty():
            _keep_serving(page.server.url)
    if progress.run is not None:
        sys.stderr.flush()
        print(progress.run.path)
    return code


def _learn(
    action: Callable[..., None],
    args: argparse.Namespace,
    progress: Progress,
    interruption: Interruption,
    callbacks: Sequence[Callback],
) -> tuple[int, bool]:
    """Return the exit code, and True if the live page is still of use."""
    try:
        with progress, interruption.prevail():
            action(callbacks=callbacks, confirm=progress.confirm)
    except Stopped:
        print(f"gps: stopped on request; {_describe_progress(progress.run)}", file=sys.stderr)
        return INTERRUPTED, True
    except KeyboardInterrupt as error:
        return print_interruption(error, _describe_progress(progress.run)), False
    except BrokenPipeError:
        raise
    except Exception as error:
        if args.traceback:
            raise
        code = print_error(error)
        if progress.run is not None:
            print(f"gps: {_describe_progress(progress.run)}", file=sys.stderr)
        return code, progress.run is not None
    return OK, True


def _keep_serving(url: str) -> None:
    """Serve the live page until Ctrl-C."""
    print(f"the live page remains at {url} until Ctrl-C", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    print()


def _make_extra_callbacks(args: argparse.Namespace) -> list[Callback]:
    """Return the callbacks that the arguments select."""
    chosen: list[Callback] = []
    if args.tensorboard:
        from gps.inspect.tensorboard import TensorBoard

        chosen.append(TensorBoard())
    if args.wandb:
        from gps.inspect.wandb import WeightsAndBiases

        chosen.append(WeightsAndBiases(quiet=args.quiet))
    return chosen


def _describe_progress(run: Run | None) -> str:
    if run is None:
        return "nothing was written yet"
    count = len(run.iterations)
    return (
        f"{count} complete iteration{'s' * (count != 1)} on disk; to continue: gps resume {shlex.quote(str(run.path))}"
    )
