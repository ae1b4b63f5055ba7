"""Write a report of a run as one HTML page."""

from __future__ import annotations

import argparse

from gps.commands._common import OK, add_run, page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "-o", "--out", type=page, metavar="FILE", help="file; default: report.html in the run directory"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def main(args: argparse.Namespace) -> int:
    from gps.inspect.report.page import report
    from gps.runs import load_run

    path = report(load_run(args.run), args.out)
    print(path)
    if args.open:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())
    return OK
