"""Compare runs: learning curves and final results over seeds, in a table, on a page or as a figure."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gps.commands._common import OK, find_width


def add_arguments(parser: argparse.ArgumentParser) -> None:
    about = (
        "run directories, or folders of runs (uses all); learning curves of other programs: .csv, .npz, TensorBoard "
    )
    about += "event files, or a folder of one of them"
    parser.add_argument("runs", metavar="RUN", nargs="+", help=about)
    about = "a page (.html), a figure (.pdf, .svg, .png) or all numbers (.csv); default: %(default)s"
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", default="compare.html", help=about)
    about = 'group only by this setting, such as "kl_step" or "experiment"; default: by every setting that differs'
    parser.add_argument("--by", metavar="NAME", help=about)
    parser.add_argument("--anyway", action="store_true", help="compare even runs of different tasks")
    about = "column or tag with the return in the files of other programs; default: a usual name, such as return"
    parser.add_argument("--return", dest="returns", metavar="NAME", help=about)


def main(args: argparse.Namespace) -> int:
    from gps.inspect.comparison import compare, words
    from gps.inspect.comparison.writing import require_kind, write_comparison
    from gps.inspect.formatting import hang_text

    require_kind(args.output)
    result = compare(args.runs, args.by, args.anyway, args.returns)
    width = find_width()
    print(result.title)
    for line in words.format_comparison(result, width):
        print(line)
    for line in words.make_legend(result):
        print(hang_text("  ", line, width))
    if apart := words.format_apart(result):
        print()
        for line in [*apart, *(hang_text("  ", line, width) for line in words.make_apart_legend(result))]:
            print(line)
    for block in (words.format_wins(result), words.format_settings(result)):
        if block:
            print("\n" + "\n".join(block))
    sys.stdout.flush()
    for note in result.notes:
        print(f"gps: {note}", file=sys.stderr)
    write_comparison(result, args.output)
    print(args.output)
    return OK
