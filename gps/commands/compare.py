"""Compare runs: learning curves and final results over seeds, in a table and on a page."""

from __future__ import annotations

import argparse
import sys

from gps.commands._common import OK, page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run directories, or folders of runs (uses all)")
    about = "the page; default: %(default)s"
    parser.add_argument("-o", "--output", type=page, metavar="FILE", default="compare.html", help=about)
    about = 'group only by this setting, such as "kl_step" or "experiment"; default: by every setting that differs'
    parser.add_argument("--by", metavar="NAME", help=about)
    parser.add_argument("--anyway", action="store_true", help="compare even runs of different tasks")


def main(args: argparse.Namespace) -> int:
    from gps.inspect.comparison import compare, words
    from gps.inspect.comparison.page import write_comparison

    result = compare(args.runs, args.by, args.anyway)
    print(result.title)
    for line in words.format_comparison(result):
        print(line)
    for line in words.make_legend(result):
        print(f"  {line}")
    if apart := words.format_apart(result):
        print()
        for line in [*apart, *(f"  {line}" for line in words.make_apart_legend(result))]:
            print(line)
    sys.stdout.flush()
    for note in result.notes:
        print(f"gps: {note}", file=sys.stderr)
    write_comparison(result, args.output)
    print(args.output)
    return OK
