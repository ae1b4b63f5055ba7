"""Learn a global model of the dynamics from recorded episodes; the last line printed is the model's file."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from gps.commands._common import OK, integer, parse_float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    about = "recorded episodes: an .npz, a .csv (docs/models.md has their layout), or a run directory"
    parser.add_argument("data", metavar="DATA", help=about)
    about = "file for the model; use it by --set algorithm.model.path=MODEL"
    parser.add_argument("-o", "--output", type=_model_file, required=True, metavar="MODEL.npz", help=about)
    about = "kind of model, such as linear, gmm, neural or gp; default: linear"
    parser.add_argument("--model", metavar="KIND", help=about)
    about = "override a setting of the model; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="model.KEY=VALUE", help=about)
    about = "seed of the fit and of the choice of the episodes that are held out; default: 0"
    parser.add_argument("--seed", type=integer(minimum=0), default=0, metavar="N", help=about)
    about = "number of steps ahead that the model is judged for; default: 20"
    parser.add_argument("--horizon", type=integer(minimum=1), default=20, metavar="H", help=about)
    about = "share of the episodes that the model is judged by and does not see; default: 0.2"
    parser.add_argument("--held-out", type=_share, default=0.2, metavar="SHARE", help=about)


def main(args: argparse.Namespace) -> int:
    from gps.config.model import FitConfig
    from gps.config.reading import validate
    from gps.fitting import fit_model, write_model
    from gps.inspect.model_report import describe_fit
    from gps.recordings import read_recording

    raw = {} if args.model is None else {"model": {"name": args.model}}
    config = validate(FitConfig, raw, "gps fit", args.set).model
    recording = read_recording(args.data)
    report = fit_model(config, recording, Path(), args.seed, args.horizon, args.held_out)
    for line in describe_fit(Path(args.data).name or args.data, report):
        print(line)
    write_model(report, args.output)
    print(args.output)
    return OK


def _model_file(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() != ".npz":
        raise argparse.ArgumentTypeError(f"expected a file that ends in .npz, got {text!r}")
    return path


def _share(text: str) -> float:
    value = parse_float(text)
    if not 0 <= value <= 0.9 or math.isnan(value):
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 0.9, got {text!r}")
    return value
