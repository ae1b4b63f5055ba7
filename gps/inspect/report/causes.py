"""The likely causes of a failure and their remedies: no excitation, an unstable loop, a better iteration lost.

They are looked for where a run has failed. Elsewhere the same numbers mean little: a controller that has learned its
task explores narrowly. Saturation is a finding wherever it occurs, see `gps.inspect.report.findings`.
"""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Iterator, Sequence

from gps.inspect.formatting import format_number
from gps.inspect.report.forms import Axes, Facts, Numbers, Piece, Remark
from gps.inspect.report.overview import compute_mean_cost, find_best

EXCITED = 1e-3
"""Actions that differ less between the samples, relative to half their range, excite nothing."""

GROWTH = 1e3
"""A loop is called unstable if a deviation grows by more than this over an episode."""

LOST = 0.05
"""A rise of the mean cost above its lowest value, relative to it, that is worth going back for."""

CAUSES = {
    "excitation": "no excitation",
    "unstable": "an unstable loop",
    "saturated": "saturated actions",
    "return": "a better iteration that was lost",
    "unfinished": "too few iterations",
}
"""Kinds of findings that explain a failure -> their names in a sentence."""


def find_failed(facts: Facts, pieces: Sequence[Piece]) -> list[int]:
    """Find the conditions in which a run has failed; none while it is running.

    By the final evaluation of the local controllers where there is one, or else of what was learned; without it by the
    last samples. Where the environment has no success flag, a condition has failed whose cost did not fall.
    """
    if facts.state == "running" or not pieces:
        return []
    first, last = pieces[0], pieces[-1]
    taught = [] if facts.policy is None else facts.policy.taught
    scores = taught or facts.evaluation
    if scores and all(score.successes is not None for score in scores):
        return [m for m, score in enumerate(scores) if not score.solved]
    if last.successes is not None:
        return [m for m, count in enumerate(last.successes) if not count]
    return [m for m in range(len(last.cost)) if not _fell(first.cost[m], last.cost[m])]


def _fell(before: float | None, after: float | None) -> bool:
    return after is not None and (before is None or after < before)


def find_causes(facts: Facts, pieces: Sequence[Piece]) -> list[Remark]:
    """Find what may have made a run fail. A cause counts if it was there to the last iteration."""
    failed = find_failed(facts, pieces)
    if not failed or facts.axes is None:
        return []
    found: list[Remark] = []
    for m in failed:  # a model of samples that hardly differ knows nothing of the loop
        found += list(_check_excitation(pieces, facts.axes, m)) or _check_loop(pieces, m)
    found += _check_return(pieces, facts.path)
    return found or list(_check_unfinished(pieces, facts.path))


def _check_excitation(pieces: Sequence[Piece], axes: Axes, m: int) -> Iterator[Remark]:
    """Yield the last iterations in which the actions of a condition's samples hardly differed."""

    def share(item: Piece) -> float | None:
        return None if item.excitation is None else _compare_with_range(item.excitation[m], axes)

    weak = list(itertools.takewhile(lambda item: (known := share(item)) is not None and known < EXCITED, pieces[::-1]))
    if weak and pieces[-1].status[m] != "ALIKE":  # whose sentence says the same
        most = max(share(item) or 0.0 for item in weak)
        shown = f"{100 * most:.2g}" if most > 1e-9 else "0"
        text = (
            f"the samples hardly differ: their actions vary by {shown} % of half their range at most, so that nobody "
            "can tell what the actions do."
        )
        remedy = (
            "Give the first controllers more noise (algorithm.controller.initial.noise), and let the later ones "
            'explore: algorithm.controller.execute = "max_entropy" or "fixed_noise".'
        )
        yield _make_cause("excitation", weak, m, text, remedy)


def _compare_with_range(excitation: Numbers, axes: Axes) -> float | None:
    """The largest excitation of an action relative to half its range; None where no range is known, unless it is 0."""
    known = [value for value in excitation if value is not None]
    if not known or not any(known):
        return 0.0 if known else None
    ranges = zip(excitation, axes.low, axes.high, strict=True)
    shares = [
        2 * value / (high - low)
        for value, low, high in ranges
        if value is not None and low is not None and high is not None and high > low
    ]
    return max(shares) if len(shares) == len(excitation) else None


def _check_loop(pieces: Sequence[Piece], m: int) -> Iterator[Remark]:
    """Yield the last iterations in which the closed loop of a condition was unstable."""

    def radius(item: Piece) -> float:
        return 0.0 if item.local is None else item.local.radius[m] or 0.0

    def grows(item: Piece) -> bool:
        return radius(item) > 1.0 and (item.horizon - 1) * math.log(radius(item)) > math.log(GROWTH)

    unstable = list(itertools.takewhile(grows, pieces[::-1]))
    if unstable:
        worst = max(unstable, key=radius)
        over = (worst.horizon - 1) * math.log10(radius(worst))
        text = (
            f"the loop is unstable: in the fitted model a deviation grows by a factor of {radius(worst):.3f} in a "
            f"step, which is the spectral radius of A + B K over the episode, and by 10^{over:.0f} to its end."
        )
        remedy = (
            "Shorten environment.horizon, give the speeds a cost, or lower algorithm.kl_step; let the first "
            'controllers hold the start (algorithm.controller.initial = "hold").'
        )
        yield _make_cause("unstable", unstable, m, text, remedy, worst)


def _check_return(pieces: Sequence[Piece], path: str) -> Iterator[Remark]:
    """Yield the iteration that was better than the last one by more than the noise."""
    best, last = find_best(pieces), compute_mean_cost(pieces[-1])
    if best is None or last is None or best[0] == len(pieces) - 1 or pieces[-1].local is None:
        return
    k, lowest = best
    errors = [error or 0.0 for item in (pieces[k], pieces[-1]) for error in item.cost_error]
    noise = 2 * math.sqrt(math.fsum(error**2 for error in errors)) / len(pieces[k].cost)
    if last - lowest > max(LOST * abs(lowest), noise):
        text = f"its mean cost of {format_number(lowest)} rose again, to {format_number(last)} in the last iteration."
        yield Remark("return", "warning", k, k, k, (), text, _advise_return(k, shlex.quote(path)))


def _check_unfinished(pieces: Sequence[Piece], path: str) -> Iterator[Remark]:
    """Yield the last iteration if the cost was still falling in it."""
    costs = [compute_mean_cost(item) for item in pieces[-2:]]
    if len(costs) == 2 and costs[0] is not None and costs[1] is not None and costs[0] - costs[1] > LOST * abs(costs[0]):
        k = pieces[-1].iteration
        text = f"the cost was still falling: from {format_number(costs[0])} to {format_number(costs[1])} on average."
        remedy = f"`gps resume {shlex.quote(path)} --iterations {len(pieces)}` goes on."
        yield Remark("unfinished", "note", k, k, k, (), text, remedy)


def _advise_return(k: int, run: str) -> str:
    """Return the advice to start again with the controllers that iteration k sampled, the result of iteration k − 1."""
    if k == 0:
        return "No update improved on the first controllers: take more samples or a prior, or lower algorithm.kl_step."
    file = f'{{ name = "file", path = "{run}", iteration = {k - 1} }}'
    return (
        f"Return to iteration {k}: `gps evaluate {run} --iteration {k - 1}` scores the controllers that it sampled; "
        f"`gps resume {run} --from {k}` goes on from them; a new run with algorithm.controller.initial = {file} does "
        "so with other settings, such as a smaller algorithm.kl_step."
    )


def _make_cause(
    kind: str, found: Sequence[Piece], m: int, text: str, remedy: str, worst: Piece | None = None
) -> Remark:
    """Make the finding about a condition in the iterations from the earliest of `found` to the latest."""
    last, first = found[0].iteration, found[-1].iteration
    return Remark(kind, "warning", first, last, last if worst is None else worst.iteration, (m,), text, remedy)


def name_causes(found: Sequence[Remark], failed: Sequence[int], last: int) -> list[str]:
    """The names of the causes among the findings that reach the last iteration and a failed condition."""
    kinds = {
        finding.kind
        for finding in found
        if finding.kind in CAUSES
        and (not finding.conditions or (finding.last == last and set(finding.conditions) & set(failed)))
    }
    return [name for kind, name in CAUSES.items() if kind in kinds]
