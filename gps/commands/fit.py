"""Learn a global model of the dynamics from recorded episodes; the last line printed is the model's file."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gps.commands._common import OK, integer, parse_float

if TYPE_CHECKING:
    from gps.environments.contract import BatchEnvironment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    about = "recorded episodes: an .npz, a .csv (docs/models.md has their layout), or a run directory"
    parser.add_argument("data", metavar="DATA", help=about)
    about = "file for the model; use it by --set algorithm.model.path=MODEL"
    parser.add_argument("-o", "--output", type=_model_file, required=True, metavar="MODEL.npz", help=about)
    about = "kind of model, such as linear, gmm, neural or gp; default: neural"
    parser.add_argument("--model", metavar="KIND", help=about)
    about = "override a setting of the model; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="model.KEY=VALUE", help=about)
    about = "experiment whose simulator a physics model fits; default: that of a run given as DATA"
    parser.add_argument("--experiment", metavar="EXPERIMENT", help=about)
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
    with _open_environment(args, config.name) as (environment, conditions):
        options = args.seed, args.horizon, args.held_out
        report = fit_model(config, recording, Path(), *options, environment, conditions)
    for line in describe_fit(Path(args.data).name or args.data, report):
        print(line)
    write_model(report, args.output)
    print(args.output)
    return OK


@contextlib.contextmanager
def _open_environment(
    args: argparse.Namespace, kind: str
) -> Iterator[tuple[BatchEnvironment | None, Sequence[Mapping[str, Any]]]]:
    """The environment and the conditions of `--experiment`, or of the run that is the data where a model needs them."""
    from gps.builders import make_environment
    from gps.config import find_experiment, load
    from gps.recordings import names_run
    from gps.runs import load_run

    if args.experiment is not None:
        directory = find_experiment(args.experiment)
        section = load(directory).environment
        directory = directory if directory.is_dir() else directory.parent
    elif kind in ("physics", "stored") and names_run(args.data):
        run = load_run(args.data)
        section, directory = run.config.environment, run.source
    else:
        yield None, ()
        return
    environment = make_environment(section, directory, 1)
    try:
        environment.reset(options={"conditions": [dict(section.conditions[0])]})
        yield environment, section.conditions
    finally:
        environment.close()


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
