"""Score the policy, its teacher or the local controllers of a run on fresh episodes, with intervals."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gps.commands._common import OK, add_iteration, add_noise, add_run, integer, note_versions, print_json
from gps.metrics import ABSENT
from gps.players import TEACHERS

if TYPE_CHECKING:
    from gps.evaluation import FreshEvaluation, Score


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_iteration(parser, "iteration whose policy or controllers are used")
    parser.add_argument(
        "--episodes",
        type=integer(minimum=1),
        default=20,
        metavar="N",
        help="episodes from each start; default: %(default)s",
    )
    about = "trained: the conditions; unseen: the test conditions; all: both; default: %(default)s"
    parser.add_argument("--starts", choices=("trained", "unseen", "all"), default="trained", help=about)
    about = "the global policy, its teacher (local controllers or expert), or all side by side; default: the policy if "
    about += "there is one"
    parser.add_argument("--controller", choices=("policy", *TEACHERS, "all"), default="learned", help=about)
    add_noise(parser)
    parser.add_argument(
        "--seed",
        type=integer(minimum=0),
        default=0,
        metavar="S",
        help="seed of the noise and of fresh starts; default: 0",
    )
    parser.add_argument(
        "--fresh", action="store_true", help="start each episode from a different seed (Gymnasium environments)"
    )
    about = "other noise than the experiment's: a key of environment.noise or environment.randomise; repeatable"
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help=about)
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    from gps.evaluation import evaluate, find_players
    from gps.runs import load_run

    run = load_run(args.run)
    note_versions(run)
    chosen: tuple[Any, ...] = ("trained", "unseen") if args.starts == "all" else (args.starts,)
    settings = (args.iteration, args.episodes, args.noise, args.seed, args.fresh)
    players = find_players(run, args.iteration) if args.controller == "all" else (args.controller,)
    results = [evaluate(run, *settings, starts, player, args.set) for player in players for starts in chosen]
    first = results[0]
    repeated = all(result.repeated for result in results)
    if args.json:
        head = {"run": str(run.path), "iteration": first.iteration, "noise": args.noise, "seed": args.seed}
        one = len(players) == 1
        head |= {"starts": args.starts, "controller": first.player.value if one else "all", "deterministic": repeated}
        head |= {"noisy": first.noisy, "set": args.set, "seconds": {r.player.value: r.seconds for r in results}}
        print_json(head | {"scores": [score for result in results for score in result.scores]})
        return OK
    print(run.path)
    noise = _describe_noise(args.noise, first.noisy)
    who = " and ".join(dict.fromkeys(result.player.short for result in results))
    print(f"{who} after iteration {first.iteration}, {noise}, seed {args.seed}")
    for line in _make_table(results):
        print(line)
    if repeated:
        print("Without noise, all episodes of a condition are the same here, so only one was run.")
        print("With --noise policy or --noise 0.1 they differ.")
    print(_describe_time(results))
    return OK


def _describe_noise(noise: Any, noisy: bool) -> str:
    """The noise of the episodes; `noisy` if the environment has its own."""
    under = " under the environment's noise" if noisy else ""
    if noise == "policy":
        return f"with their own exploration noise{under}"
    if noise == "none":
        return f"without exploration{under}" if noisy else "without noise"
    return f"with white noise of standard deviation {noise:g} on the actions{under}"


def _make_table(results: Sequence[FreshEvaluation]) -> list[str]:
    from gps.inspect.formatting import align_columns, format_interval

    scores = [(score, result.repeated) for result in results for score in result.scores]
    rewarded = any(score.returns is not None for score, _ in scores)
    reports_success = any(score.success is not None for score, _ in scores)
    measured = any(score.distance is not None for score, _ in scores)
    unseen = any(score.starts == "unseen" for score, _ in scores)
    several = len({score.player for score, _ in scores}) > 1
    head = [
        *(["controller"] if several else []),
        *(["starts"] if unseen else []),
        *("condition", "episodes", "cost [95 %]"),
        *(["return [95 %]"] if rewarded else []),
        *(["distance [95 %], m"] if measured else []),
        *(["success [95 %]"] if reports_success else []),
    ]
    rows = [
        [
            *([score.player.short] if several else []),
            *([score.starts] if unseen else []),
            "all" if score.condition is None else str(score.condition),
            str(score.episodes),
            format_interval(score.cost),
            *([format_interval(score.returns)] if rewarded else []),
            *([format_interval(score.distance)] if measured else []),
            *([_format_success(score, repeated)] if reports_success else []),
        ]
        for score, repeated in scores
    ]
    return align_columns([head, *rows])


def _describe_time(results: Sequence[FreshEvaluation]) -> str:
    """The time of an action of each player, and the ratio of the last one's to the first one's."""
    from gps.inspect.formatting import format_ratio, format_seconds

    seconds = {result.player: result.seconds for result in reversed(results)}
    first, *others = reversed(seconds)
    text = f"time of an action: {first.all} {format_seconds(seconds[first])}"
    for other in others:
        ratio = format_ratio(seconds[other] / seconds[first])
        text += f"; {other.all} {format_seconds(seconds[other])}, {ratio} as long"
    return text


def _format_success(score: Score, repeated: bool) -> str:
    if score.success is None:
        return ABSENT
    text = f"{score.successes}/{score.episodes}"
    if repeated or score.episodes == 1:
        return text
    share, low, high = (
        round(100 * float(part)) for part in (score.success.value, score.success.low, score.success.high)
    )
    return f"{text} = {share} % [{low}, {high}]"
