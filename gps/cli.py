"""The `gps` command. Each of its commands is a module of `gps.commands`.

Exit codes: 0 for success; 1 for an unexpected error; 2 for an error that the user can fix (`gps: error: …`); 130 after
Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from gps import commands
from gps.commands._common import CLOSED_PIPE, INTERRUPTED, OK, print_error
from gps.errors import RunError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without η prints ? instead of a traceback
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = _parser()
    if not argv:
        parser.print_help()
        return OK
    args = parser.parse_args(argv)
    args.argv = argv
    try:
        _require_working_directory()
        code = args.main(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `gps list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if args.traceback:
            raise
        return print_error(error)


def script() -> int:
    """Run `main` as a program. After the command has ended, a further Ctrl-C ends the process silently."""
    code = main()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # otherwise it interrupts a package's cleanup and prints a traceback
    return code


def _require_working_directory() -> None:
    """RunError if the working directory is gone: paths without a leading / would lead nowhere."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise RunError("the working directory was deleted; change to another one") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gps",
        description="Guided policy search: local-model trajectory optimisation for robots.",
        epilog="To begin: gps run pendulum_swingup, then gps report pendulum_swingup. gps list --experiments names "
        "others, and gps COMMAND --help explains a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in commands.NAMES:
        module = import_module(f"gps.commands.{name}")
        about = module.__doc__ or ""
        command = subparsers.add_parser(name, help=about, description=about, allow_abbrev=False)
        command.add_argument("--traceback", action="store_true", help="show where an error happened")
        command.set_defaults(main=module.main)
        module.add_arguments(command)
    return parser


class _Version(argparse.Action):
    """Prints the version of the package."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import gps

        print(f"gps {gps.__version__}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(script())
