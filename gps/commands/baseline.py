"""Train SAC, PPO or TD3 (Stable-Baselines3) on an experiment's environment, to the same budget, for gps compare."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from gps.commands._common import OK, add_experiment, add_out, integer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_experiment(parser)
    about = "the agent: sac, ppo or td3; default: sac"
    parser.add_argument("--with", dest="agent", default="sac", metavar="NAME", help=about)
    parser.add_argument("--seeds", metavar="SEEDS", help="such as 0-4 or 0,3,5; default: the experiment's")
    about = "environment steps; default: as many as the experiment's algorithm takes"
    parser.add_argument("--steps", type=integer(minimum=1), metavar="N", help=about)
    about = "maximise minus the experiment's cost, or the environment's reward; default: cost"
    parser.add_argument("--objective", choices=("cost", "reward"), default="cost", help=about)
    about = "an argument of the agent's class, such as learning_rate=1e-3; repeatable"
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help=about)
    add_out(parser)
    parser.add_argument("--quiet", action="store_true", help="print only the files")


def main(args: argparse.Namespace) -> int:
    from gps.baselines import baseline

    paths = baseline(
        args.experiment,
        args.agent,
        seeds=args.seeds,
        steps=args.steps,
        objective=args.objective,
        options=dict(map(_parse_option, args.option)),
        overrides=args.set,
        out=args.out,
        say=(lambda line: None) if args.quiet else lambda line: print(line, flush=True),
    )
    if args.quiet:
        print(*paths, sep="\n")
    else:
        print(f"\ngps compare {shlex.quote(str(paths[0].parents[2]))}")
    return OK


def _parse_option(text: str) -> tuple[str, Any]:
    from gps.config import parse_value
    from gps.errors import ConfigError

    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"--option {text}: expected NAME=VALUE")
    return name.strip(), parse_value(value)
