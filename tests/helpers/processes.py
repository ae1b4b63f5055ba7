"""Child processes of tests. Each takes SIGINT as it does in a terminal, and none outlives its test."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SERVER = Path(__file__).with_name("robot_server.py")


@contextlib.contextmanager
def start(*command: object, seconds: float = 300.0, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start a command for the length of the block, and end it with the block, or kill it after `seconds`.

    A shell script starts its background jobs with SIGINT ignored, and children inherit that. So the signal's default
    action is restored while the child is started (in the parent, because `preexec_fn` is not safe with JAX's threads).
    Call it from the main thread. `options` are those of `subprocess.Popen`.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        process = subprocess.Popen(list(map(str, command)), text=True, **options)
    finally:
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit = threading.Timer(seconds, process.kill)
    limit.daemon = True
    limit.start()
    try:
        yield process
    finally:
        limit.cancel()
        process.terminate()  # so that it may end its own children
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        with process:  # waits for it, and closes its pipes
            pass


def python(*arguments: object, **options: Any) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """Start `python ARGUMENTS`, as `start` does."""
    return start(sys.executable, *arguments, **options)


def run_python(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run `python ARGUMENTS` to its end; return its exit code and what it printed."""
    with python(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def gps_command(*arguments: object, **options: Any) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    """Start `gps ARGUMENTS`, as `start` does."""
    return python("-m", "gps.cli", *arguments, **options)


@contextlib.contextmanager
def robot(port_file: Path, lifetime: float = float("inf")) -> Iterator[None]:
    """Serve the robot of `robot_server.py`. It dies in the middle of a step after `lifetime` of them."""
    port_file.unlink(missing_ok=True)
    with python(SERVER, port_file, lifetime) as process:
        wait_until(lambda: port_file.exists() or process.poll() is not None)
        assert process.poll() is None
        yield


def wait_until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Return as soon as the condition is true; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain"
        time.sleep(0.01)
