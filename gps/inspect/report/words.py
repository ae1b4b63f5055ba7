"""What a run's numbers say, in words: how it went, and plainly where something went wrong.

Pure functions of the pieces of `gps.inspect.report.overview`.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from gps.inspect.report.overview import Piece, best, mean_cost
from gps.inspect.tables import number
from gps.players import TEACHERS, Teacher
from gps.records import Status

SATURATED = 0.2
"""A share of the actions above which the environment's limits, and not the controller, decide."""

UNFULFILLED = 0.1
"""A promised fall of the cost of which less than this share came did not come."""

WORSE, PROMISED = 0.02, 0.05
"""A rise of the cost below the one, or a promised fall below the other share of it, is not spoken of; nor is a change
below two standard errors."""

UNFORESEEN = 1.25
"""A one-step error, in units of the samples' spread, above which a model is said not to have held."""

COLLAPSED = 0.05
"""Exploration has collapsed when its standard deviation is below this share of the first iteration's."""

_ORDER = ("error", "worse", "warning", "note")
"""Of severities and kinds, the gravest first."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that a person should know, of consecutive iterations and of one or more conditions.

    The text is that of iteration `worst` and the first of the conditions; what is not of a condition has none.
    """

    kind: str
    severity: str  # "error", "warning" or "note"
    first: int
    last: int
    worst: int
    conditions: tuple[int, ...]
    text: str
    weight: float  # compares findings of one kind

    @classmethod
    def one(cls, kind: str, severity: str, iteration: int, condition: int, text: str, weight: float = 1.0) -> Finding:
        return cls(kind, severity, iteration, iteration, iteration, (condition,), text, weight)


# -- what went wrong -------------------------------------------------------------------------------------------------


def findings(pieces: Sequence[Piece], du: int) -> list[Finding]:
    """What went wrong, or may explain what did: the gravest first, then in the order of the iterations."""
    single = [
        finding
        for k, item in enumerate(pieces)
        for m in range(len(item["status"]))
        for finding in _of_one(item, pieces[k - 1] if k else None, m)
    ]
    single += _collapses(pieces, du)
    single += _of_policies(pieces)
    rank = {name: i for i, name in enumerate(_ORDER)}
    return sorted(
        _together(_in_a_row(single)),
        key=lambda f: (min(rank.get(f.kind, len(rank)), rank[f.severity]), f.first, f.conditions),
    )


def _of_one(item: Piece, before: Piece | None, m: int) -> Iterator[Finding]:
    """What there is to say of one condition in one iteration."""
    k = item["iteration"]
    status = Status[item["status"][m]]
    if not status.ok:
        mild = not status.failed or status is Status.NO_PREFERENCE
        severity = "note" if status is Status.NO_EXPERT else "warning" if mild else "error"
        yield Finding.one(status.name, severity, k, m, item["message"][m] or status.sentence)
    if (share := item["saturated"][m] or 0.0) > SATURATED:
        text = (
            f"the environment's limits changed {100 * share:.0f} % of the actions: what the controller asked for was "
            "not done."
        )
        yield Finding.one("saturated", "warning", k, m, text, share)
    if before is not None:
        yield from _broken_promise(item, before, m)
        if (error := item["model_error"][m] or 0.0) > UNFORESEEN:
            text = (
                f"the model of iteration {k - 1} missed these steps by {error:.1f} times the samples' own spread: it "
                "did not hold here."
            )
            yield Finding.one("model", "note", k, m, text, error)


def _broken_promise(item: Piece, before: Piece, m: int) -> Iterator[Finding]:
    k, predicted, cost, last = item["iteration"], item["predicted"][m], item["cost"][m], before["cost"][m]
    if predicted is None or cost is None or last is None:
        return
    actual = cost - last  # of the samples; the record's `actual` may be of a model, as the step rules of MDGPS have it
    noise = 2 * math.hypot(item["cost_error"][m] or 0.0, before["cost_error"][m] or 0.0)
    promised = f"where the model had predicted {_change(predicted)}"
    if actual > max(WORSE * abs(last), noise):
        text = f"the cost got worse: it rose by {number(actual)} to {number(cost)}, {promised}."
        yield Finding.one("worse", "warning", k, m, text, actual / max(abs(last), 1e-300))
    elif -predicted > max(PROMISED * abs(last), noise) and actual > UNFULFILLED * predicted:
        came = "the cost did not fall" if actual >= 0 else f"the cost fell by {number(-actual)} only"
        text = f"the predicted improvement did not come: {came}, {promised}."
        yield Finding.one("unfulfilled", "note", k, m, text, -predicted / max(abs(last), 1e-300))


def _change(change: float) -> str:
    return f"a {'fall' if change <= 0 else 'rise'} of {number(abs(change))}"


def _collapses(pieces: Sequence[Piece], du: int) -> Iterator[Finding]:
    """The first iteration in which the exploration of a condition has become narrow."""
    for m in range(len(pieces[0]["status"]) if pieces else 0):
        first = pieces[0]["entropy"][m]
        for item in pieces[1:]:
            entropy = item["entropy"][m]
            if first is None or (entropy is not None and entropy - first >= du * math.log(COLLAPSED)):
                continue
            share = 0.0 if entropy is None else math.exp((entropy - first) / du)
            text = (
                f"the entropy of the controller collapsed: its noise is {100 * share:.1f} % of the first iteration's, "
                "and little that is new is tried any more."
            )
            yield Finding.one("collapse", "note", item["iteration"], m, text)
            break


def _of_policies(pieces: Sequence[Piece]) -> Iterator[Finding]:
    """What there is to say of the global policy's training, unless a condition's status has said it."""
    for item in pieces:
        if (policy := item.get("policy")) is None:
            continue
        text = policy["message"] or ("" if policy["ok"] else policy["sentence"])
        if text and not any(text in message for message in item["message"]):
            k = item["iteration"]
            yield Finding("policy", "warning", k, k, k, (), f"the training of the policy: {text}", 1.0)


def _in_a_row(single: list[Finding]) -> Iterator[Finding]:
    """Findings of one kind and condition in consecutive iterations as one, in the words of the worst."""
    single = sorted(single, key=lambda f: (f.kind, f.conditions, f.first))
    for _, group in itertools.groupby(single, lambda f: (f.kind, f.conditions)):
        for _, chain in itertools.groupby(enumerate(group), lambda pair: pair[1].first - pair[0]):
            found = [finding for _, finding in chain]
            worst = max(found, key=lambda f: f.weight)
            yield dataclasses.replace(worst, first=found[0].first, last=found[-1].first)


def _together(found: Iterator[Finding]) -> Iterator[Finding]:
    """Findings of one kind in the same iterations of several conditions as one, the worst condition first."""
    kind_and_time = lambda f: (f.kind, f.first, f.last)  # noqa: E731
    for _, group in itertools.groupby(sorted(found, key=kind_and_time), kind_and_time):
        alike = sorted(group, key=lambda f: -f.weight)
        yield dataclasses.replace(alike[0], conditions=tuple(m for f in alike for m in f.conditions))


# -- how it went -----------------------------------------------------------------------------------------------------


def summary(facts: dict[str, Any], pieces: Sequence[Piece], found: Sequence[Finding]) -> list[str]:
    """The run in a few sentences: what ran, how it ended, what came of it, whether anything went wrong."""
    if not pieces:
        return [f"{facts['name']}, seed {facts['seed']}: no iteration has been written yet."]
    sizes, last = facts["sizes"], pieces[-1]
    seconds = sum(sum(value or 0.0 for value in item["seconds"]) for item in pieces)
    M, N = sizes["M"], sizes["N"]
    text = [
        f"{_plural(M, 'condition')}, {_plural(N, 'sample')} of each, {sizes['T']} time steps: "
        f"{_plural(last['episodes'], 'episode')} and {last['steps']:,} environment steps "
        f"in {_plural(len(pieces), 'iteration')}, {seconds:.1f} s.",
        _ending(facts, len(pieces)),
        _cost(pieces),
        _success(facts, last),
        _imitation(last),
    ]
    grave = sum(finding.severity == "error" for finding in found)
    warned = sum(finding.severity == "warning" for finding in found)
    if grave or warned:
        counts = [_plural(grave, "failed update")] * bool(grave) + [_plural(warned, "warning")] * bool(warned)
        text.append(f"Something went wrong: {' and '.join(counts)}, listed below.")
    else:
        text.append("No update failed, no limit was hit for long, and no cost got worse by more than its noise.")
    return [sentence for sentence in text if sentence]


def _ending(facts: dict[str, Any], done: int) -> str:
    planned = facts["planned"]
    if facts["state"] == "running":
        return f"It is running: {done} of {planned} iterations are on disk."
    if facts["state"] == "stopped":
        return f"It was stopped after {done} of {planned} iterations; `gps resume` goes on."
    return (
        "It finished." if facts["evaluation"] else "All its iterations are there; the final controllers were not run."
    )


def _cost(pieces: Sequence[Piece]) -> str:
    first, last, lowest = mean_cost(pieces[0]), mean_cost(pieces[-1]), best(list(pieces))
    if first is None or last is None or lowest is None or len(pieces) == 1:
        return "" if last is None else f"The mean cost is {number(last)}."
    text = f"The mean cost went from {number(first)} to {number(last)}"
    k, least = lowest
    if k == len(pieces) - 1:
        return f"{text}, its lowest."
    return f"{text}; it was lowest in iteration {k}, at {number(least)}."


def _success(facts: dict[str, Any], last: Piece) -> str:
    if facts.get("apart") and facts["evaluation"]:
        return _apart(facts)
    if any(item["successes"] is None for item in facts["evaluation"]):
        return f"The final controllers, without noise, cost {_mean(facts['evaluation'])} on average."
    if last["successes"] is None:
        return ""
    if evaluation := facts["evaluation"]:
        solved = _solved(evaluation)
        missing = [str(m) for m, yes in enumerate(solved) if not yes]
        which = f" (not {', '.join(missing)})" if 0 < len(missing) < len(solved) else ""
        return (
            f"The final controllers, without noise, solve {sum(solved)} of {_plural(len(solved), 'condition')}{which}."
        )
    total = last["samples"] * len(last["successes"])
    return f"In the last iteration {sum(last['successes'])} of {_plural(total, 'sample')} succeeded."


def _apart(facts: dict[str, Any]) -> str:
    """What the policy and its teachers are worth without noise, from trained and from unseen starts."""
    trained, unseen, beside = facts["evaluation"], facts["apart"]["unseen"], facts["apart"]["taught"]
    teacher = Teacher(**facts["apart"]["teacher"])
    if any(item["successes"] is None for item in (*trained, *unseen, *beside)):
        parts = [f"the policy costs {_mean(trained)} from the starts that it was trained on"]
        parts += [f"{_mean(unseen)} from those that it had never seen"] if unseen else []
        parts += [f"the {teacher.all} that taught it cost{teacher.s} {_mean(beside)}"] if beside else []
        return f"Without noise, {', '.join(parts)}, on average."
    wins, taught = _solved(trained), _solved(beside)
    text = f"Without noise, the policy solves {sum(wins)} of {_plural(len(wins), 'start')} that it was trained on"
    if unseen:
        text += f" and {sum(_solved(unseen))} of {len(unseen)} that it had never seen"
    if not beside:
        return f"{text}."
    text += f"; the {teacher.all} that taught it solve{teacher.s} {sum(taught)} of these {len(taught)}."
    lost = [str(m) for m, (won, could) in enumerate(zip(wins, taught, strict=True)) if could and not won]
    if lost:
        text += f" The {teacher.one} succeeds where the policy does not in condition {', '.join(lost)}."
    return text


def _solved(evaluation: Sequence[dict[str, Any]]) -> list[bool]:
    return [item["successes"] == item["rollouts"] for item in evaluation]


def _mean(evaluation: Sequence[dict[str, Any]]) -> str:
    costs = [math.nan if item["cost"] is None else item["cost"] for item in evaluation]
    return number(math.fsum(costs) / len(costs))


def _imitation(last: Piece) -> str:
    """How near the policy came to its teachers in the last iteration."""
    policy = last.get("policy")
    if not policy or None in policy["loss"]:
        return ""
    before, after = policy["loss"]
    known = [kl for kl in policy["kl"] if kl is not None]
    near = f", {number(math.fsum(known) / len(known))} nats a step from what it was taught" if known else ""
    return (
        f"In the last iteration the policy learned from the {TEACHERS[policy['teacher']].all}: its loss went from "
        f"{number(before)} to {number(after)}{near}."
    )


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


# -- one iteration ---------------------------------------------------------------------------------------------------


def described(item: Piece, before: Piece | None, m: int) -> list[str]:
    """One condition in one iteration, in sentences; the first is what its Status says."""
    status = Status[item["status"][m]]
    message = item["message"][m]
    text = [message if message.startswith(status.sentence) else f"{status.sentence} {message}".strip()]
    cost, last = item["cost"][m], None if before is None else before["cost"][m]
    short = item["short"][m]
    if cost is None:
        text.append("No episode was whole, so its cost is not known.")
    elif last is None:
        text.append(f"The mean cost is {number(cost)}.")
    else:
        moved = f"{'rose' if cost > last else 'fell'} from {number(last)} to {number(cost)}"
        moved = moved if number(cost) != number(last) else f"stayed at {number(cost)}"
        text.append(f"The mean cost {moved}{_promise(item['predicted'][m])}.")
    if short:
        text.append(f"{_plural(short, 'episode')} ended early.")
    if item["successes"] is not None:
        text.append(f"{item['successes'][m]} of {_plural(item['samples'], 'sample')} succeeded.")
    if item["saturated"][m]:
        text.append(f"The environment's limits changed {100 * item['saturated'][m]:.2g} % of the actions.")
    if (error := item["model_error"][m]) is not None:
        text.append(f"The last iteration's model missed these steps by {100 * error:.0f} % of the samples' spread.")
    kl, bound, eta = (item[name][m] for name in ("kl", "bound", "eta"))
    if kl is not None and bound is not None:
        found = "" if eta is None else f" at η = {number(eta)}, after {_plural(len(item['trace'][m]), 'evaluation')}"
        text.append(f"The update used {number(kl)} of {number(bound)} nats of KL{found}.")
    return text + _of_policy(item, m)


def _of_policy(item: Piece, m: int) -> list[str]:
    """Whose the samples are, and what the policy learned from this condition's teacher."""
    policy = item.get("policy")
    if not policy:
        return []
    text = [_SAMPLED[policy["player"]]]
    if not policy["sampled"] and not policy["trained"]:
        text[0] = f"{text[0].removesuffix('.').removesuffix(', not the policy')}: there was no policy yet."
    ended = policy["message"] or policy["sentence"]
    text.append(f"The training of the policy: {ended[0].lower()}{ended[1:]}")
    before, after = policy["loss"]
    if before is not None and after is not None:
        apart, one = policy["kl"][m], TEACHERS[policy["teacher"]].one
        near = "" if apart is None else f", and {number(apart)} nats a step are left between it and the {one}"
        text.append(
            f"It took {_plural(policy['steps'], 'step')} on all conditions: its loss went from "
            f"{number(before)} to {number(after)}{near}."
        )
    return text


_SAMPLED = {
    "policy": "The policy was sampled, and the new local controller made around it.",
    "local": "The local controller was sampled, not the policy.",
    "expert": "The expert was sampled, not the policy.",
    "both": "Expert and policy were sampled together.",
    "first": "The first controller was sampled, in place of an expert that knew too little.",
}
"""Whose the samples are (`PolicyRecord.player`), in a sentence."""


def _promise(predicted: float | None) -> str:
    return "" if predicted is None else f"; the model had predicted {_change(predicted)}"
