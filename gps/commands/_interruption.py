"""Ctrl-C and SIGTERM end a command, and its message and exit code say which of them did.

The handler of a signal raises an exception wherever the main thread happens to be. Within a destructor, or a function
that C code calls, Python reports the exception and goes on, and the signal would be lost; a library may turn it into an
error of its own. Therefore it is remembered: a run raises it again before its next stage, and in place of an error.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from gps.callbacks import Callback
from gps.commands._common import INTERRUPTED, TERMINATED

if TYPE_CHECKING:
    from gps.records import IterationRecord


class Terminated(KeyboardInterrupt):
    """Raised in the main thread when the process is asked to end by SIGTERM."""


class Interruption(Callback):
    """A callback that remembers the exception of a signal and raises it again between the stages of a run."""

    def __init__(self) -> None:
        self._raised: KeyboardInterrupt | None = None

    def interrupt(self, error: KeyboardInterrupt) -> None:
        """Raise the error, now and before the next stage.

        Raises:
            KeyboardInterrupt: always.
        """
        self._raised = error
        raise error

    def on_stage(self, iteration: int, stage: str) -> None:
        self._raise_again()

    def on_iteration(self, record: IterationRecord) -> None:
        self._raise_again()

    @contextlib.contextmanager
    def prevail(self) -> Iterator[None]:
        """Within the block, raise the exception of a signal in place of an error that it led to."""
        try:
            yield
        except Exception:
            self._raise_again()
            raise

    def _raise_again(self) -> None:
        if self._raised is not None:
            raise self._raised


@contextlib.contextmanager
def raise_on_signals() -> Iterator[Interruption]:
    """Within the block, Ctrl-C raises `KeyboardInterrupt` and SIGTERM `Terminated`; a second SIGTERM ends the process.

    A signal that is ignored or handled already stays so. Outside the main thread the block changes nothing.
    """
    interruption = Interruption()

    def on_sigint(*_: object) -> None:
        interruption.interrupt(KeyboardInterrupt())

    def on_sigterm(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        interruption.interrupt(Terminated())

    with contextlib.ExitStack() as handlers:
        if threading.current_thread() is threading.main_thread():
            for number, usual, handler in (
                (signal.SIGINT, signal.default_int_handler, on_sigint),
                (signal.SIGTERM, signal.SIG_DFL, on_sigterm),
            ):
                if signal.getsignal(number) == usual:
                    signal.signal(number, handler)
                    handlers.callback(signal.signal, number, usual)
        with interruption.prevail():
            yield interruption


def print_interruption(error: KeyboardInterrupt, progress: str) -> int:
    """Print how a command was ended and what there is of its work, and return the exit code."""
    if isinstance(error, Terminated):
        print(f"gps: ended by SIGTERM; {progress}", file=sys.stderr)
        return TERMINATED
    print(f"\ngps: interrupted; {progress}", file=sys.stderr)  # the terminal has written ^C on the line
    return INTERRUPTED
