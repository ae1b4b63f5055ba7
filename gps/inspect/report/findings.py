"""The problems of a run and their likely causes, each with its place and its remedy.

Pure functions of the pieces of `gps.inspect.report.overview`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from gps.inspect.formatting import format_number
from gps.inspect.model_report import judge_coverage
from gps.inspect.report.causes import CAUSES, find_causes
from gps.inspect.report.forms import Facts, LocalPiece, Piece, Remark
from gps.inspect.report.words import describe_cost_change, get_coverage, pluralize
from gps.status import ModelStatus, PolicyStatus, Severity, Status

SATURATED = 0.2
"""A share of the actions above which the environment's limits decide, not the controller."""

UNFULFILLED = 0.1
"""A predicted fall of the cost did not come if less than this share of it came."""

WORSE, PROMISED = 0.02, 0.05
"""Smaller rises of the cost, and smaller predicted falls, relative to the cost, are not reported; nor are changes below
two standard errors."""

UNFORESEEN = 1.25
"""A one-step error, in units of the samples' spread, above which a model did not hold."""

OVERCONFIDENT = 0.75
"""A share of the new states within two deviations of the model's prediction, below which its doubt is too small."""

COLLAPSED = 0.05
"""Exploration has collapsed when its standard deviation is below this share of the first iteration's."""

_ORDER = ("error", *CAUSES, "worse", "warning", "note")
"""Severities and kinds, the gravest first."""

_REMEDIES = {
    "saturated": "Give the actions a larger cost or less noise, or widen the limits of the actuators.",
    "worse": "If it happens again, lower algorithm.kl_step, or take more samples or a prior.",
    "unfulfilled": "If it happens again, take more samples or a prior.",
    "model": "Take more samples, a prior, or a smaller algorithm.kl_step, so that the next samples stay near.",
    "collapse": "Raise algorithm.entropy; a controller that has learned its task may be as narrow.",
    "coverage": "Take an ensemble (algorithm.model.members) or a Gaussian process: they doubt more where data are few.",
    "fallback": "Give the planner more time, a shorter horizon, or fewer candidates.",
}
"""Kinds of findings without a status -> what to do about them."""


def collect_findings(facts: Facts, pieces: Sequence[Piece]) -> list[Remark]:
    """Collect problems and their likely causes: the gravest first, then in the order of the iterations."""
    if facts.axes is None:
        return []
    single = [
        finding
        for k, item in enumerate(pieces)
        for m in range(len(item.status))
        for finding in _check_condition(item, pieces[k - 1] if k else None, m)
    ]
    single += _find_collapses(pieces, facts.axes.sizes.du)
    single += _check_policies(pieces)
    single += _check_optimisations(pieces)
    single += _check_models(pieces)
    found = [*_join_iterations(single), *find_causes(facts, pieces)]
    rank = {name: i for i, name in enumerate(_ORDER)}
    return sorted(
        _join_conditions(found),
        key=lambda f: (min(rank.get(f.kind, len(rank)), rank[f.severity]), f.first, f.conditions),
    )


def _make_finding(
    kind: str, severity: Severity, k: int, m: int | None, text: str, weight: float = 1.0, remedy: str = ""
) -> Remark:
    """Make the finding of one iteration, and of one condition or of none."""
    conditions = () if m is None else (m,)
    return Remark(kind, severity.name.lower(), k, k, k, conditions, text, remedy or _REMEDIES.get(kind, ""), weight)


def _check_condition(item: Piece, before: Piece | None, m: int) -> Iterator[Remark]:
    """Yield the findings about one condition in one iteration."""
    k = item.iteration
    status = Status[item.status[m]]
    if not status.ok:
        text = item.message[m] or status.sentence
        yield _make_finding(status.name, status.severity, k, m, text, remedy=status.remedy)
    if (share := item.saturated[m] or 0.0) > SATURATED:
        text = (
            f"the environment's limits changed {100 * share:.0f} % of the actions: not all were executed as requested."
        )
        yield _make_finding("saturated", Severity.WARNING, k, m, text, share)
    if before is not None and item.local is not None:
        yield from _check_forecast(item, item.local, before, m)
        if (error := item.local.model_error[m] or 0.0) > UNFORESEEN:
            text = (
                f"the model of iteration {k - 1} missed these steps by {error:.1f} times the samples' own spread: it "
                "did not hold here."
            )
            yield _make_finding("model", Severity.NOTE, k, m, text, error)


def _check_forecast(item: Piece, local: LocalPiece, before: Piece, m: int) -> Iterator[Remark]:
    k, predicted, cost, last = item.iteration, local.predicted[m], item.cost[m], before.cost[m]
    if predicted is None or cost is None or last is None:
        return
    actual = cost - last  # of the samples; the record's `actual` may be of a model, as the step rules of MDGPS have it
    noise = 2 * math.hypot(item.cost_error[m] or 0.0, before.cost_error[m] or 0.0)
    forecast = f"the forecast was {describe_cost_change(predicted)}"
    if actual > max(WORSE * abs(last), noise):
        text = f"the cost got worse: it rose by {format_number(actual)} to {format_number(cost)}; {forecast}."
        yield _make_finding("worse", Severity.WARNING, k, m, text, actual / max(abs(last), 1e-300))
    elif -predicted > max(PROMISED * abs(last), noise) and actual > UNFULFILLED * predicted:
        came = "the cost did not fall" if actual >= 0 else f"the cost fell only by {format_number(-actual)}"
        text = f"the predicted improvement did not come: {came}; {forecast}."
        yield _make_finding("unfulfilled", Severity.NOTE, k, m, text, -predicted / max(abs(last), 1e-300))


def _find_collapses(pieces: Sequence[Piece], du: int) -> Iterator[Remark]:
    """Yield the first iteration in which the exploration of a condition has become narrow."""
    for m in range(len(pieces[0].status) if pieces else 0):
        first = None if pieces[0].local is None else pieces[0].local.entropy[m]
        for item in pieces[1:]:
            if first is None or item.local is None:
                break
            entropy = item.local.entropy[m]
            if entropy is not None and entropy - first >= du * math.log(COLLAPSED):
                continue
            share = 0.0 if entropy is None else math.exp((entropy - first) / du)
            text = (
                f"the entropy of the controller collapsed: its noise is {100 * share:.1f} % of the first iteration's, "
                "so it explores little."
            )
            yield _make_finding("collapse", Severity.NOTE, item.iteration, m, text)
            break


def _check_optimisations(pieces: Sequence[Piece]) -> Iterator[Remark]:
    """Yield the findings about the optimisation of the policy through the model."""
    for item in pieces:
        if (optimisation := item.optimisation) is not None and not optimisation.ok:
            status = PolicyStatus[optimisation.status]
            about = f"the optimisation of the policy: {optimisation.message or status.sentence}"
            yield _make_finding("optimisation", status.severity, item.iteration, None, about, remedy=status.remedy)


def _check_policies(pieces: Sequence[Piece]) -> Iterator[Remark]:
    """Yield the findings about the training of the global policy, unless a condition's message reports the same."""
    for item in pieces:
        if (policy := item.policy) is None:
            continue
        text = policy.message or ("" if policy.ok else policy.sentence)
        if text and not any(text in message for message in item.message):
            severity = max(PolicyStatus[policy.status].severity, Severity.WARNING)
            about = f"the training of the policy: {text}"
            yield _make_finding("policy", severity, item.iteration, None, about, remedy=policy.remedy)


def _check_models(pieces: Sequence[Piece]) -> Iterator[Remark]:
    """Yield the findings about the fit of the global model, its own claims, and plans that were not there."""
    for item in pieces:
        if (model := item.model) is not None and model.name:
            status = ModelStatus[model.status]
            if not status.ok:
                text = f"the global model: {model.message or status.sentence}"
                yield _make_finding("global model", status.severity, item.iteration, None, text, remedy=status.remedy)
            if (within := get_coverage(model)) is not None and within[1] < OVERCONFIDENT:
                text = (
                    f"only {100 * within[1]:.0f} % of the new states were within two standard deviations of the global "
                    f"model's prediction: {judge_coverage(within)}."
                )
                yield _make_finding("coverage", Severity.NOTE, item.iteration, None, text, 1.0 - within[1])
        if item.planner is not None and item.planner.fallbacks is not None:
            for m, count in enumerate(item.planner.fallbacks):
                if count:
                    missing = pluralize(count, "action")
                    text = f"{missing} had no plan in time, or none that was finite; the fallback acted."
                    yield _make_finding("fallback", Severity.WARNING, item.iteration, m, text, count)


def _join_iterations(single: list[Remark]) -> Iterator[Remark]:
    """Join findings of one kind and condition in consecutive iterations to one, with the text of the worst."""
    single = sorted(single, key=lambda f: (f.kind, f.conditions, f.first))
    for _, group in itertools.groupby(single, lambda f: (f.kind, f.conditions)):
        for _, chain in itertools.groupby(enumerate(group), lambda pair: pair[1].first - pair[0]):
            found = [finding for _, finding in chain]
            worst = max(found, key=lambda f: f.weight)
            yield dataclasses.replace(worst, first=found[0].first, last=found[-1].first)


def _join_conditions(found: Iterable[Remark]) -> Iterator[Remark]:
    """Join findings of one kind in the same iterations of several conditions to one, the worst condition first."""
    kind_and_time = lambda f: (f.kind, f.first, f.last)  # noqa: E731
    for _, group in itertools.groupby(sorted(found, key=kind_and_time), kind_and_time):
        alike = sorted(group, key=lambda f: -f.weight)
        yield dataclasses.replace(alike[0], conditions=tuple(m for f in alike for m in f.conditions))
