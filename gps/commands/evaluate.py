"""Run a run's controllers on fresh episodes: cost, return and success, with intervals."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from gps.commands._common import OK, add_noise, add_run, print_json, whole

if TYPE_CHECKING:
    from gps.evaluation import Evaluated


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--iteration", type=int, metavar="K", help="whose improved controllers; default: the last")
    parser.add_argument(
        "--episodes", type=whole(1), default=20, metavar="N", help="of each condition; default: %(default)s"
    )
    add_noise(parser)
    parser.add_argument("--seed", type=whole(0), default=0, metavar="S", help="of noise and fresh starts; default: 0")
    parser.add_argument(
        "--fresh", action="store_true", help="start each episode from a seed of its own (Gymnasium environments)"
    )
    parser.add_argument("--json", action="store_true", help="for a machine")


def main(args: argparse.Namespace) -> int:
    from gps.evaluation import evaluate
    from gps.runs import load_run

    run = load_run(args.run)
    evaluated = evaluate(run, args.iteration, args.episodes, args.noise, args.seed, args.fresh)
    if args.json:
        head = {"run": str(run.path), "iteration": evaluated.iteration, "noise": args.noise, "seed": args.seed}
        print_json(head | {"deterministic": evaluated.repeated, "scores": evaluated.scores})
        return OK
    print(run.path)
    print(f"controllers after iteration {evaluated.iteration}, {_described(args.noise)}, seed {args.seed}")
    for line in _table(evaluated):
        print(line)
    if evaluated.repeated:
        print(
            "Without noise nothing is random here: every episode of a condition is the same, so one was run "
            "(--noise policy or --noise 0.1 makes episodes differ)."
        )
    return OK


def _described(noise: Any) -> str:
    if noise == "policy":
        return "with their own exploration noise"
    return "without noise" if noise == "none" else f"with white noise of standard deviation {noise:g} on the actions"


def _table(evaluated: Evaluated) -> list[str]:
    from gps.inspect.tables import aligned, interval

    scores = evaluated.scores
    rewarded = any(score.returns is not None for score in scores)
    head = ["condition", "episodes", "cost [95 %]", *(["return [95 %]"] if rewarded else []), "success [95 %]"]
    rows = [
        [
            "all" if score.condition is None else str(score.condition),
            str(score.episodes),
            interval(score.cost),
            *([interval(score.returns)] if rewarded else []),
            _success(score, evaluated.repeated),
        ]
        for score in scores
    ]
    return aligned([head, *rows])


def _success(score: Any, repeated: bool) -> str:
    text = f"{score.successes}/{score.episodes}"
    if repeated or score.episodes == 1:
        return text
    share, low, high = (
        round(100 * float(part)) for part in (score.success.value, score.success.low, score.success.high)
    )
    return f"{text} = {share} % [{low}, {high}]"
