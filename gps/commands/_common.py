"""Exit codes, arguments and error messages that the commands share."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gps.errors import GpsError, RunError

if TYPE_CHECKING:
    from gps.runs import Run

OK, UNEXPECTED, USER_ERROR, INTERRUPTED, CLOSED_PIPE, TERMINATED = 0, 1, 2, 130, 141, 143


def find_width() -> int | None:
    """The width of the terminal that is printed to; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_error(error: Exception) -> int:
    """Print an error without a traceback and return the exit code."""
    if isinstance(error, GpsError):
        for line in str(error).splitlines():
            print(f"gps: error: {line}", file=sys.stderr)
        return USER_ERROR
    print(f"gps: unexpected {type(error).__name__}: {error}", file=sys.stderr)
    print(
        "gps: everything on disk is kept; run the same command with --traceback to see where this happened",
        file=sys.stderr,
    )
    return UNEXPECTED


def integer(minimum: int) -> Callable[[str], int]:
    """Return an argument type: an integer that is at least `minimum`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum:
            raise argparse.ArgumentTypeError(f"expected an integer >= {minimum}, got {text!r}")
        return value

    return parse


EXPERIMENT = "directory with experiment.toml, or a name that `gps list --experiments` prints"
"""The help of an argument that names an experiment."""


def add_experiment(parser: argparse.ArgumentParser) -> None:
    """Add the experiment's directory and the overrides of its keys."""
    parser.add_argument("experiment", metavar="DIR", help=EXPERIMENT)
    about = "override a key of experiment.toml; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help=about)


def add_run(parser: argparse.ArgumentParser) -> None:
    about = "run directory, or a folder of runs (uses the newest); runs/ may be left out"
    parser.add_argument("run", metavar="RUN", help=about)


def page(text: str) -> Path:
    """The argument type of a file that holds a page."""
    path = Path(text)
    if path.suffix.lower() not in (".html", ".htm"):
        raise argparse.ArgumentTypeError(
            f"expected a file that ends in .html (a browser prints it as PDF), got {text!r}"
        )
    return path


def add_iteration(parser: argparse.ArgumentParser, about: str) -> None:
    """Add the choice of an iteration, the last one by default."""
    parser.add_argument("--iteration", type=int, metavar="K", help=f"{about}; default: the last")


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add the folder for new run directories."""
    parser.add_argument("--out", metavar="DIR", help="folder for the run directories; default: ./runs")


def add_noise(parser: argparse.ArgumentParser) -> None:
    about = "none, policy (the controllers' own noise) or a standard deviation in units of the action; default: none"
    parser.add_argument("--noise", type=_noise, default="none", metavar="none|policy|STD", help=about)


def parse_float(text: str) -> float:
    """Return the number in `text`; NaN, which is in no range, if there is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _noise(text: str) -> str | float:
    if text in ("none", "policy"):
        return text
    value = parse_float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected none, policy or a standard deviation >= 0, got {text!r}")
    return value


def add_port(parser: argparse.ArgumentParser) -> None:
    about = "port of the live page on 127.0.0.1; default: any free port"
    parser.add_argument("--port", type=integer(minimum=0), default=0, metavar="N", help=about)


def note_versions(run: Run) -> None:
    """Say on stderr which versions have changed since a run began."""
    from gps.runs.provenance import describe_change

    if change := describe_change(run.versions):
        print(f"gps: note: {change}", file=sys.stderr)


def require_condition(condition: int, count: int) -> None:
    if not 0 <= condition < count:
        raise RunError(f"there is no condition {condition}; the run has 0 to {count - 1}")


def print_json(value: Any) -> None:
    from gps.inspect.iteration import to_plain

    print(json.dumps(to_plain(value), allow_nan=False, ensure_ascii=False))
