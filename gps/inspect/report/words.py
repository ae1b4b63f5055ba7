"""One iteration in sentences.

Pure functions of the pieces of `gps.inspect.report.overview`.
"""

from __future__ import annotations

from gps.inspect.formatting import format_number
from gps.inspect.model_report import judge_coverage
from gps.inspect.report.forms import LocalPiece, ModelPiece, OptimisationPiece, Piece, PolicyPiece
from gps.status import ModelStatus, Status


def describe_condition(item: Piece, before: Piece | None, m: int) -> list[str]:
    """Describe one condition in one iteration, in sentences; the first is its status."""
    status = Status[item.status[m]]
    message = item.message[m]
    text = [message if message.startswith(status.sentence) else f"{status.sentence} {message}".strip()]
    text += [status.remedy] if status.remedy else []
    text.append(_describe_condition_cost(item, before, m))
    if item.short[m]:
        text.append(f"{pluralize(item.short[m], 'episode')} ended early.")
    if item.successes is not None:
        text.append(f"{item.successes[m]} of {pluralize(item.samples, 'sample')} succeeded.")
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
    forecast = "" if predicted is None else f"; the forecast was {describe_cost_change(predicted)}"
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
        evaluations = pluralize(len(local.trace[m]), "evaluation")
        found = "" if eta is None else f" at η = {format_number(eta)}, after {evaluations}"
        text.append(f"The update used {format_number(kl)} of {format_number(bound)} nats of KL{found}.")
    return text


def describe_global_model(model: ModelPiece | None) -> list[str]:
    """How the global model's last fit ended, and how well it knows its error."""
    if model is None or not model.name:
        return []
    status = ModelStatus[model.status]
    points = "" if model.points is None else f", fitted to {pluralize(model.points, 'transition')}"
    ended = model.message or ("" if status is ModelStatus.OK else status.sentence)
    text = [f"Global model: {model.name}{points}.", *([ended.rstrip(".") + "."] if ended else [])]
    if (within := get_coverage(model)) is not None:
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
        ahead, what = "", "the episodes"
        if planner.steps is not None:
            ahead, what = f" for the first {planner.steps} steps", "with the plans that followed they"
        text.append(
            f"The planner expected a cost of {format_number(predicted)}{ahead}; {what} cost {format_number(actual)}."
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
            f"It took {pluralize(policy.steps, 'step')} on all conditions: its loss went from "
            f"{format_number(before)} to {format_number(after)}{near}."
        )
    return text


def describe_cost_change(change: float) -> str:
    """`a fall of 1.00`."""
    return f"a {'fall' if change <= 0 else 'rise'} of {format_number(abs(change))}"


def pluralize(count: int, noun: str) -> str:
    """`1 sample`, `1,200 samples`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def get_coverage(model: ModelPiece) -> tuple[float, float] | None:
    """The coverage within 1σ and 2σ; None where it is unknown."""
    if model.coverage is None or None in model.coverage:
        return None
    one, two = model.coverage
    assert one is not None and two is not None
    return one, two
