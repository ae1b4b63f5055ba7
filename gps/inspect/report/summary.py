"""A run in a few sentences: what ran, how it ended, and the result.

Pure functions of the facts and pieces of `gps.inspect.report.overview`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gps.inspect.formatting import format_length, format_number, format_ratio, format_seconds
from gps.inspect.report.causes import find_failed, name_causes
from gps.inspect.report.forms import Axes, Facts, Piece, PolicyFacts, Remark, StartScore
from gps.inspect.report.overview import compute_mean_cost, find_best
from gps.inspect.report.words import describe_global_model, pluralize
from gps.players import Player


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
        _describe_distance(facts),
        _describe_training(pieces[-1]),
        *describe_global_model(pieces[-1].model),
    ]
    if failed := find_failed(facts, pieces):
        M = len(pieces[-1].status)
        which = f"{len(failed)} of {M} conditions" if len(failed) > 3 else _list("Condition", failed) if M > 1 else "It"
        causes = name_causes(found, failed, pieces[-1].iteration)
        why = f"{_list('the likely cause', causes, ':')} (see below)" if causes else "none of the usual causes is there"
        text.append(f"{which} failed; {why}.")
    errors = sum(finding.severity == "error" for finding in found)
    warnings = sum(finding.severity == "warning" for finding in found)
    if errors or warnings:
        counts = [pluralize(errors, "error")] * bool(errors) + [pluralize(warnings, "warning")] * bool(warnings)
        text.append(f"Something went wrong: {' and '.join(counts)}, listed below.")
    else:
        text.append("No update failed, no limit was hit for long, and no cost got worse by more than its noise.")
    return [sentence for sentence in text if sentence]


def _describe_size(axes: Axes, pieces: Sequence[Piece]) -> str:
    sizes, last = axes.sizes, pieces[-1]
    seconds = sum(sum(value or 0.0 for value in item.seconds) for item in pieces)
    return (
        f"{pluralize(sizes.M, 'condition')}, {pluralize(last.samples, 'sample')} of each, {sizes.T} time steps: "
        f"{pluralize(last.episodes, 'episode')} and {last.steps:,} environment steps "
        f"in {pluralize(len(pieces), 'iteration')}, {seconds:.1f} s."
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
    if format_number(first) == format_number(last) == format_number(lowest[1]):
        return f"The mean cost stayed at {format_number(last)}."
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
    return f"In the last iteration {sum(last.successes)} of {pluralize(total, 'sample')} succeeded."


def _describe_distance(facts: Facts) -> str:
    """Return a sentence with the distance from the goal at the end of the final episodes; empty if it is unknown."""
    found = [score.distance for score in facts.evaluation if score.distance is not None]
    if not found or len(found) < len(facts.evaluation):
        return ""
    each = f" ({format_length(min(found))} to {format_length(max(found))})" if len(found) > 1 else ""
    mean = math.fsum(found) / len(found)
    return f"At the end {facts.goal} is {format_length(mean)}{' on average' if each else ''}{each}."


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
    return f"The {who}, {noise}, solve{player.s} {count} of {pluralize(len(scores), 'condition')}{which}."


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
    text = f"{noise}, the {player.all} solve{player.s} {wins} of {pluralize(len(trained), 'training start')}"
    if unseen:
        text += f" and {sum(score.solved for score in unseen)} of {pluralize(len(unseen), 'unseen start')}"
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
    if not policy.trained:
        return f"There is no policy yet. {policy.message or policy.sentence}"
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


def _list(noun: str, items: Sequence[object], mark: str = "") -> str:
    """`Condition 1`, `Conditions 1, 2`."""
    return f"{noun}{'s' * (len(items) > 1)}{mark} {', '.join(map(str, items))}"
