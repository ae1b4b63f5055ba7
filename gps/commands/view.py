"""Serve a live page of a run on this machine until Ctrl-C."""

from __future__ import annotations

import argparse
import threading

from gps.commands._common import OK, add_port, add_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_port(parser)
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def main(args: argparse.Namespace) -> int:
    from gps.errors import RunError
    from gps.inspect.live import Server
    from gps.runs import load_run

    run = load_run(args.run)
    if not len(run.iterations) and not run.active:
        raise RunError(f"{run.path}: nothing to view: the run has no iteration, and no process is writing it")
    with Server(args.port) as server:
        server.show(run)
        print(f"live page: {server.url}", flush=True)
        print("Ctrl-C ends the page, not the run", flush=True)
        if args.open:
            import webbrowser

            webbrowser.open(server.url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()
    return OK
