"""A run in sentences: a summary, a list of problems, and a description of each iteration.

Pure functions of the pieces of `gps.inspect.report.overview`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

from gps.inspect.formatting import format_number, format_ratio, format_seconds
from gps.inspect.model_report import judge_coverage
from gps.inspect.report.forms import (
    Axes,
    Facts,
    LocalPiece,
    ModelPiece,
    OptimisationPiece,
    Piece,
    PolicyFacts,
    PolicyPiece,
    Remark,
    StartScore,
)
from gps.inspect.report.overview import compute_mean_cost, find_best
from gps.players import Player
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

_ORDER = ("error", "worse", "warning", "note")
"""Severities and kinds, the gravest first."""


# -- what went wrong -------------------------------------------------------------------------------------------------


def collect_findings(pieces: Sequence[Piece], du: int) -> list[Remark]:
    """Collect problems and their likely causes: the gravest first, then in the order of the iterations."""
    single = [
        finding
        for k, item in enumerate(pieces)
        for m in range(len(item.status))
        for finding in _check_condition(item, pieces[k - 1] if k else None, m)
    ]
    single += _find_collapses(pieces, du)
    single += _check_policies(pieces)
    single += _check_optimisations(pieces)
    single += _check_models(pieces)
    rank = {name: i for i, name in enumerate(_ORDER)}
    return sorted(
        _join_conditions(_join_iterations(single)),
        key=lambda f: (min(rank.get(f.kind, len(rank)), rank[f.severity]), f.first, f.conditions),
    )


def _make_finding(
    kind: str, severity: Severity, k: int, m: int | None, text: str, weight: float = 1.0, remedy: str = ""
) -> Remark:
    """Make the finding of one iteration, and of one condition or of none."""
    conditions = () if m is None else (m,)
    return Remark(kind, severity.name.lower(), k, k, k, conditions, text, remedy, weight)


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
    forecast = f"the forecast was {_describe_change(predicted)}"
    if actual > max(WORSE * abs(last), noise):
        text = f"the cost got worse: it rose by {format_number(actual)} to {format_number(cost)}; {forecast}."
        yield _make_finding("worse", Severity.WARNING, k, m, text, actual / max(abs(last), 1e-300))
    elif -predicted > max(PROMISED * abs(last), noise) and actual > UNFULFILLED * predicted:
        came = "the cost did not fall" if actual >= 0 else f"the cost fell only by {format_number(-actual)}"
        text = f"the predicted improvement did not come: {came}; {forecast}."
        yield _make_finding("unfulfilled", Severity.NOTE, k, m, text, -predicted / max(abs(last), 1e-300))


def _describe_change(change: float) -> str:
    return f"a {'fall' if change <= 0 else 'rise'} of {format_number(abs(change))}"


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
            if (within := _get_coverage(model)) is not None and within[1] < OVERCONFIDENT:
                text = (
                    f"only {100 * within[1]:.0f} % of the new states were within two standard deviations of the global "
                    f"model's prediction: {judge_coverage(within)}."
                )
                yield _make_finding("coverage", Severity.NOTE, item.iteration, None, text, 1.0 - within[1])
        if item.planner is not None and item.planner.fallbacks is not None:
            for m, count in enumerate(item.planner.fallbacks):
                if count:
                    missing = _pluralize(count, "action")
                    text = f"{missing} had no plan in time, or none that was finite; the fallback acted."
                    yield _make_finding("fallback", Severity.WARNING, item.iteration, m, text, count)


def _get_coverage(model: ModelPiece) -> tuple[float, float] | None:
    """The coverage within 1σ and 2σ; None where it is unknown."""
    if model.coverage is None or None in model.coverage:
        return None
    one, two = model.coverage
    assert one is not None and two is not None
    return one, two


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


# -- the whole run ---------------------------------------------------------------------------------------------------


def summarize(facts: Facts, pieces: Sequence[Piece], found: Sequence[Remark]) -> list[str]:
    """Summarize a run in a few sentences: what ran, how it ended, the result, and whether there were problems."""
    if not pieces or facts.axes is None:
        return [f"{facts.name}, seed {facts.seed}: no iteration has been written yet."]
    text = [
        _describe_size(facts.axes, pieces),
        *(f"{said[0].upper()}{said[1:]}." for said in facts.first),
        _describe_end(facts, len(pieces)),
        _describe_cost(pieces),
        _describe_success(facts, pieces[-1]),
        _describe_training(pieces[-1]),
        *describe_global_model(pieces[-1].model),
    ]
    errors = sum(finding.severity == "error" for finding in found)
    warnings = sum(finding.severity == "warning" for finding in found)
    if errors or warnings:
        counts = [_pluralize(errors, "error")] * bool(errors) + [_pluralize(warnings, "warning")] * bool(warnings)
        text.append(f"Something went wrong: {' and '.join(counts)}, listed below.")
    else:
        text.append("No update failed, no limit was hit for long, and no cost got worse by more than its noise.")
    return [sentence for sentence in text if sentence]


def _describe_size(axes: Axes, pieces: Sequence[Piece]) -> str:
    sizes, last = axes.sizes, pieces[-1]
    seconds = sum(sum(value or 0.0 for value in item.seconds) for item in pieces)
    return (
        f"{_pluralize(sizes.M, 'condition')}, {_pluralize(last.samples, 'sample')} of each, {sizes.T} time steps: "
        f"{_pluralize(last.episodes, 'episode')} and {last.steps:,} environment steps "
        f"in {_pluralize(len(pieces), 'iteration')}, {seconds:.1f} s."
    )


def _describe_end(facts: Facts, done: int) -> str:
    if facts.state == "running":
        return f"It is running: {done} of {facts.planned} iterations are on disk."
    if facts.state == "stopped":
        return f"It was stopped after {done} of {facts.planned} iterations; `gps resume` continues it."
    return "It finished." if facts.evaluation else "All its iterations are there; the final evaluation is not."


def _describe_cost(pieces: Sequence[Piece]) -> str:
    first, last, lowest = compute_mean_cost(pieces[0]), compute_mean_cost(pieces[-1]), find_best(pieces)
    if first is None or last is None or lowest is None or len(pieces) == 1:
        return "" if last is None else f"The mean cost is {format_number(last)}."
    text = f"The mean cost went from {format_number(first)} to {format_number(last)}"
    k, least = lowest
    if k == len(pieces) - 1:
        return f"{text}, its lowest."
    return f"{text}; it was lowest in iteration {k}, at {format_number(least)}."


def _describe_success(facts: Facts, last: Piece) -> str:
    scores = facts.evaluation
    if facts.policy is not None and scores:
        return _describe_policy_scores(scores, facts.policy)
    if scores:
        return _describe_final(scores)
    if last.successes is None:
        return ""
    total = last.samples * len(last.successes)
    return f"In the last iteration {sum(last.successes)} of {_pluralize(total, 'sample')} succeeded."


def _describe_final(scores: Sequence[StartScore]) -> str:
    """The result of the final evaluation where there is no policy."""
    player = scores[0].player
    who = "final controllers" if player is Player.LOCAL else player.all
    noise = _describe_noise(scores)
    if any(score.successes is None for score in scores):
        return f"The {who}, {noise}, cost{player.s} {_format_mean(scores)} on average."
    missing = [str(m) for m, score in enumerate(scores) if not score.solved]
    which = f" (not {', '.join(missing)})" if 0 < len(missing) < len(scores) else ""
    count = len(scores) - len(missing)
    return f"The {who}, {noise}, solve{player.s} {count} of {_pluralize(len(scores), 'condition')}{which}."


def _describe_policy_scores(trained: Sequence[StartScore], policy: PolicyFacts) -> str:
    """The results of the policy and of its teachers in the final evaluations, from trained and from unseen starts."""
    unseen, taught, teacher = policy.unseen, policy.taught, policy.teacher
    noise = _describe_noise(trained).capitalize()
    player = trained[0].player
    times = _describe_times(trained, taught)
    if any(score.successes is None for score in (*trained, *unseen, *taught)):
        parts = [f"the {player.all} cost{player.s} {_format_mean(trained)} from the starts that it was trained on"]
        parts += [f"{_format_mean(unseen)} from unseen starts"] if unseen else []
        parts += [f"the {teacher.all} that taught it cost{teacher.s} {_format_mean(taught)}"] if taught else []
        return f"{noise}, {', '.join(parts)}, on average.{times}"
    wins = sum(score.solved for score in trained)
    text = f"{noise}, the {player.all} solve{player.s} {wins} of {_pluralize(len(trained), 'training start')}"
    if unseen:
        text += f" and {sum(score.solved for score in unseen)} of {_pluralize(len(unseen), 'unseen start')}"
    if not taught:
        return f"{text}."
    text += f"; the {teacher.all} that taught it solve{teacher.s} {sum(score.solved for score in taught)} of "
    text += f"these {len(taught)}."
    pairs = enumerate(zip(trained, taught, strict=True))
    lost = [str(m) for m, (own, of_teacher) in pairs if of_teacher.solved and not own.solved]
    if lost:
        text += f" The {teacher.one} succeeds where the policy does not in condition {', '.join(lost)}."
    return text + times


def _describe_times(trained: Sequence[StartScore], taught: Sequence[StartScore]) -> str:
    """The time of an action of the policy beside its expert's; empty without an expert."""
    if not taught or taught[0].player is not Player.EXPERT or trained[0].seconds is None or taught[0].seconds is None:
        return ""
    own, teacher = trained[0].seconds, taught[0].seconds
    text = (
        f" An action takes the {trained[0].player.all} {format_seconds(own)} and the expert {format_seconds(teacher)}"
    )
    return f"{text}, {format_ratio(teacher / own)} as long."


def _describe_noise(scores: Sequence[StartScore]) -> str:
    """The noise of an evaluation: several episodes from a start differ by the environment's own noise."""
    return "without noise" if scores[0].rollouts == 1 else "under the environment's noise"


def _format_mean(scores: Sequence[StartScore]) -> str:
    costs = [math.nan if score.cost is None else score.cost for score in scores]
    return format_number(math.fsum(costs) / len(costs))


def _describe_training(last: Piece) -> str:
    """The training of the policy in the last iteration."""
    policy = last.policy
    if policy is None:
        return ""
    before, after = policy.loss
    if before is None or after is None:
        return ""
    known = [kl for kl in policy.kl if kl is not None]
    text = f"In the last iteration the loss of the policy went from {format_number(before)} to {format_number(after)}"
    if not known:
        return f"{text}."
    return (
        f"{text}, and its KL to the {policy.teacher.all} is {format_number(math.fsum(known) / len(known))} nats a step."
    )


def _pluralize(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


# -- one iteration ---------------------------------------------------------------------------------------------------


def describe_condition(item: Piece, before: Piece | None, m: int) -> list[str]:
    """Describe one condition in one iteration, in sentences; the first is its status."""
    status = Status[item.status[m]]
    message = item.message[m]
    text = [message if message.startswith(status.sentence) else f"{status.sentence} {message}".strip()]
    text += [status.remedy] if status.remedy else []
    text.append(_describe_condition_cost(item, before, m))
    if item.short[m]:
        text.append(f"{_pluralize(item.short[m], 'episode')} ended early.")
    if item.successes is not None:
        text.append(f"{item.successes[m]} of {_pluralize(item.samples, 'sample')} succeeded.")
    if share := item.saturated[m]:
        text.append(f"The environment's limits changed {100 * share:.2g} % of the actions.")
    if item.local is not None:
        text += _describe_update(item.local, m)
    text += _describe_planner(item, m)
    if item.policy is not None:
        text += _describe_policy(item, item.policy, m)
    if item.optimisation is not None:
        text += _describe_optimisation(item.optimisation)
    return text


def _describe_optimisation(optimisation: OptimisationPiece) -> list[str]:
    """Say how the policy was optimised through the model."""
    before, after = optimisation.loss
    if before is None or after is None:
        return [optimisation.message or optimisation.sentence]
    kl = "" if optimisation.kl is None else f"; it is {format_number(optimisation.kl)} nats from the last one"
    costs = f"{format_number(before)} to {format_number(after)}"
    text = [f"In the model, the policy's cost went from {costs}{kl}."]
    return text + (
        [] if optimisation.ok and not optimisation.message else [optimisation.message or optimisation.sentence]
    )


def _describe_condition_cost(item: Piece, before: Piece | None, m: int) -> str:
    cost, last = item.cost[m], None if before is None else before.cost[m]
    if cost is None:
        return "No episode was complete, so its cost is unknown."
    if last is None:
        return f"The mean cost is {format_number(cost)}."
    predicted = None if item.local is None else item.local.predicted[m]
    forecast = "" if predicted is None else f"; the forecast was {_describe_change(predicted)}"
    if format_number(cost) == format_number(last):
        return f"The mean cost stayed at {format_number(cost)}{forecast}."
    verb = "rose" if cost > last else "fell"
    return f"The mean cost {verb} from {format_number(last)} to {format_number(cost)}{forecast}."


def _describe_update(local: LocalPiece, m: int) -> list[str]:
    text = []
    if (error := local.model_error[m]) is not None:
        text.append(f"The last iteration's model missed these steps by {100 * error:.0f} % of the samples' spread.")
    if local.fitted and (trust := local.trust[m]) is not None:
        text.append(f"Its own model reproduces the cost of the samples to {100 * trust:.2g} %.")
    kl, bound, eta = local.kl[m], local.bound[m], local.eta[m]
    if kl is not None and bound is not None:
        evaluations = _pluralize(len(local.trace[m]), "evaluation")
        found = "" if eta is None else f" at η = {format_number(eta)}, after {evaluations}"
        text.append(f"The update used {format_number(kl)} of {format_number(bound)} nats of KL{found}.")
    return text


def describe_global_model(model: ModelPiece | None) -> list[str]:
    """How the global model's last fit ended, and how well it knows its error."""
    if model is None or not model.name:
        return []
    status = ModelStatus[model.status]
    points = "" if model.points is None else f", fitted to {_pluralize(model.points, 'transition')}"
    ended = model.message or ("" if status is ModelStatus.OK else status.sentence)
    text = [f"Global model: {model.name}{points}.", *([ended] if ended else [])]
    if (within := _get_coverage(model)) is not None:
        one, two = (100 * share for share in within)
        verdict = judge_coverage(within)
        share = f"{one:.0f} % of the new states were within one deviation of its prediction, {two:.0f} % within two"
        text.append(f"{share}: {verdict}.")
    return text


def _describe_planner(item: Piece, m: int) -> list[str]:
    if (planner := item.planner) is None:
        return []
    text = []
    predicted, actual = planner.predicted[m], planner.actual[m]
    if predicted is not None and actual is not None:
        text.append(
            f"The planner expected a cost of {format_number(predicted)}; the episodes cost {format_number(actual)}."
        )
    if planner.seconds is not None:
        text.append(f"A plan took {format_number(1000 * planner.seconds)} ms.")
    return text


def _describe_policy(item: Piece, policy: PolicyPiece, m: int) -> list[str]:
    """Say who was sampled, and what the policy learned from this condition's teacher."""
    text = [item.player.acted]
    if item.player.has_policy and item.local is not None:
        text.append("The new local controller was made around it.")
    if not policy.existed:
        text.append("There was no policy yet.")
    ended = policy.message or policy.sentence
    text.append(f"The training of the policy: {ended[0].lower()}{ended[1:]}")
    text += [policy.remedy] if policy.remedy else []
    before, after = policy.loss
    if before is not None and after is not None:
        kl = policy.kl[m]
        near = "" if kl is None else f", and its KL to the {policy.teacher.one} is {format_number(kl)} nats a step"
        text.append(
            f"It took {_pluralize(policy.steps, 'step')} on all conditions: its loss went from "
            f"{format_number(before)} to {format_number(after)}{near}."
        )
    return text
