"""Serve a live page of a run on this machine until Ctrl-C, or play its controllers in a simulation to push."""

from __future__ import annotations

import argparse
import threading
from typing import TYPE_CHECKING

from gps.commands._common import OK, add_iteration, add_port, add_run, integer

if TYPE_CHECKING:
    from gps.inspect.local_server import LocalServer
    from gps.playground import LiveSimulation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_port(parser)
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    about = (
        "play what was learned in MuJoCo's window, where bodies can be pulled with the mouse; without a display, on a "
    )
    about += "page"
    parser.add_argument("--sim", action="store_true", help=about)
    parser.add_argument("--web", action="store_true", help="with --sim: on a page even where there is a display")
    parser.add_argument(
        "--condition", type=integer(minimum=0), default=0, metavar="M", help="with --sim: where to start; default: 0"
    )
    add_iteration(parser, "with --sim: the iteration whose controllers act")


def main(args: argparse.Namespace) -> int:
    from gps.runs import load_run

    if args.sim:
        return _play(args)
    from gps.errors import RunError
    from gps.inspect.live import Server

    run = load_run(args.run)
    if not len(run.iterations) and not run.active:
        raise RunError(f"{run.path}: nothing to view: the run has no iteration, and no process is writing it")
    with Server(args.port) as server:
        server.show(run)
        _announce(server, "live page", "Ctrl-C ends the page, not the run", args.open)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()
    return OK


def _play(args: argparse.Namespace) -> int:
    from gps.commands._common import note_versions
    from gps.playground.simulation import open_simulation
    from gps.playground.window import has_display, show_window
    from gps.runs import load_run

    run = load_run(args.run)
    note_versions(run)
    with open_simulation(run, args.iteration, args.condition) as simulation:
        if has_display() and not args.web:
            print("double-click a body, then Ctrl and drag with the right button to pull it; Space pauses, "
                  "Backspace restarts", flush=True)  # fmt: skip
            show_window(simulation)
        else:
            if not args.web:
                print("there is no display, so the simulation is on a page")
            _serve(simulation, args)
    return OK


def _serve(simulation: LiveSimulation, args: argparse.Namespace) -> None:
    from gps.playground.page import PlaygroundServer, require_pictures

    require_pictures()
    with PlaygroundServer(simulation, args.port) as server:
        _announce(server, "simulation", "drag a body to pull it; Ctrl-C ends the simulation", args.open)
        try:
            server.run()
        except KeyboardInterrupt:
            print()


def _announce(server: LocalServer, what: str, hint: str, browse: bool) -> None:
    print(f"{what}: {server.url}", flush=True)
    print(hint, flush=True)
    if browse:
        import webbrowser

        webbrowser.open(server.url)
