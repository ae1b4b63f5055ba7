"""One iteration in detail: as text for `gps show --iteration`, and as plain data for a machine."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gps.inspect.formatting import format_number, format_span, sparkline
from gps.inspect.model_report import judge_coverage
from gps.metrics import Row, make_rows
from gps.players import Player
from gps.records import (
    IterationRecord,
    LocalRecord,
    ModelRecord,
    OptimisationRecord,
    PlannerRecord,
    PolicyRecord,
)
from gps.status import Status

if TYPE_CHECKING:
    from gps.environments.contract import Entry

_MOST_NAMED = 12
"""With more entries of the state their errors are not listed one by one."""


def describe_iteration(record: IterationRecord, conditions: Sequence[int], entries: Sequence[Entry] = ()) -> str:
    """An iteration in words and numbers: the conditions, then each side that the algorithm has.

    Args:
        entries: the name and unit of each entry of the state; empty where they are unknown.
    """
    rows = make_rows(record)
    parts = [_describe_condition(record, rows[m], m) for m in conditions]
    if record.model is not None and (text := _describe_model(record.model, entries)):
        parts.append(text)
    if record.planner is not None:
        parts.append(_describe_planner(record.planner, record.seconds.plan, conditions))
    if record.policy is not None:
        parts.append(_describe_policy(record.policy, record.player))
    if record.optimisation is not None:
        parts.append(_describe_optimisation(record.optimisation))
    return "\n\n".join(parts)


def _describe_condition(record: IterationRecord, row: Row, m: int) -> str:
    status = Status[row.status]
    said = f" {row.message}" if row.message and row.message != status.sentence else ""
    text = [
        f"iteration {row.iteration}, condition {row.condition}: {status.label}",
        f"  status      {status.sentence}{said}",
        *([f"  remedy      {status.remedy}"] if status.remedy else []),
        f"  samples     {record.player.samples}",
        f"  cost        {format_number(row.cost)}{_describe_change(row)}",
        f"  success     {'no success flag in this environment' if row.successes is None else row.success_count}",
        f"  limits      changed {format_number(100 * row.saturated)} % of the actions",
    ]
    if record.local is not None:
        text += _describe_local(record.local, row, m)
    if record.policy is not None:
        kl = np.asarray(record.policy.kl[m])
        text.append(f"  policy KL   {sparkline(kl)}  {format_number(row.policy_kl_step)} nats a step after training")
    if record.local is not None:
        text += _format_trace(record.local, m)
    return "\n".join(text)


def _describe_change(row: Row) -> str:
    if row.predicted is None:
        return ""
    predicted, actual = format_number(row.predicted), format_number(row.actual)
    return f"; change by the last update: {predicted} predicted, {actual} actual"


def _describe_local(local: LocalRecord, row: Row, m: int) -> list[str]:
    controller, search = local.controllers[m], local.search
    gain = _apply_finite(lambda a: np.linalg.norm(a, 2, axis=(-2, -1)), np.asarray(controller.feedback))
    kl = np.asarray(search.kl[m])
    text = [
        f"  controller  gain |K| {format_span(gain)}; noise std {format_span(_deviation(controller.covariance))}",
        f"  entropy     {format_number(row.entropy)} nats  {sparkline(np.asarray(controller.entropy()))}",
    ]
    if local.dynamics is not None:
        noise = _deviation(local.dynamics[m].covariance)
        text.append(
            f"  model       noise std {format_span(noise)}; spectral radius {format_span(spectral_radius(local, m))}"
        )
    return [
        *text,
        f"  KL          {format_number(row.kl)} of {format_number(row.kl_bound)} nats, "
        f"multiplier {format_number(row.multiplier)}",
        f"  KL per step {sparkline(kl)}  to {format_number(float(np.max(kl, initial=0.0)))}",
        f"  η           {format_number(row.eta)} after {int(search.evaluations[m])} evaluations, "
        f"temperature {format_number(float(search.alpha[m]))}",
    ]


def _format_trace(local: LocalRecord, m: int) -> list[str]:
    """The evaluations of the search for η."""
    trace = search_trace(local, m)
    if not len(trace):
        return []
    lines = [f"  {'':12}{format_number(eta):>10} {format_number(kl):>10}" for eta, kl in trace]
    return [f"  {'':12}{'η':>10} {'KL':>10}", *lines]


def _describe_policy(policy: PolicyRecord, player: Player) -> str:
    before, after = policy.loss
    text = [
        f"the global policy: {policy.status.label}",
        f"  status      {policy.status.sentence}",
        *([f"  remedy      {policy.status.remedy}"] if policy.status.remedy else []),
        f"  samples     {player.samples}",
        f"  training    loss {format_number(before)} → {format_number(after)} nats in {policy.steps} steps",
        f"  loss        {sparkline(policy.held_out_loss)}  at each check",
        f"  noise       std {' '.join(format_number(value) for value in policy.deviation)}",
    ]
    return "\n".join([*text, *([f"  trouble     {policy.message}"] if policy.message else [])])


def _describe_optimisation(optimisation: OptimisationRecord) -> str:
    status, norms = optimisation.status, optimisation.gradient_norms
    before, after = optimisation.loss
    text = [
        f"the policy, optimised through the model: {status.label}",
        f"  status      {status.sentence}",
        *([f"  remedy      {status.remedy}"] if status.remedy else []),
    ]
    if np.isfinite(before):
        text += [
            f"  cost        {format_number(before)} → {format_number(after)} in the model",
            f"  losses      {sparkline(optimisation.losses)}  after each step",
        ]
    if np.isfinite(optimisation.kl):
        text.append(f"  KL          {format_number(optimisation.kl)} nats from the last policy")
    if norms is not None:
        text.append(
            f"  gradient    {sparkline(np.log10(np.maximum(norms, 1e-300)))}  {format_span(norms)}, by steps ahead"
        )
    return "\n".join([*text, *([f"  trouble     {optimisation.message}"] if optimisation.message else [])])


def _describe_model(model: ModelRecord, entries: Sequence[Entry]) -> str:
    text = []
    if model.name:
        status = model.status
        text += [f"  status      {' '.join(dict.fromkeys([status.sentence, *filter(None, [model.message])]))}"]
        text += [f"  remedy      {status.remedy}"] if status.remedy else []
        text += [] if model.points is None else [f"  fitted to   {model.points:,} transitions"]
    if model.mixture is not None:
        text.append(
            f"  mixture     {len(model.mixture.weights)} clusters, weights {format_span(model.mixture.weights)}"
        )
    if model.held_out_loss is not None:
        text.append(f"  loss        {sparkline(model.held_out_loss)}  at each check")
    if model.one_step_error is not None:
        text.append(f"  one step    error {_format_errors(model.one_step_error, entries)}")
    if model.horizon_error is not None:
        known = np.flatnonzero(np.isfinite(model.horizon_error).all(axis=1))  # an episode may end before
        if known.size:
            steps = int(known[-1]) + 1
            text.append(f"  {steps:<3} steps   error {_format_errors(model.horizon_error[steps - 1], entries)}")
    if model.coverage is not None and np.isfinite(model.coverage).all():
        one, two = (f"{100 * share:.0f} %" for share in model.coverage)
        text.append(f"  coverage    {one} within 1σ, {two} within 2σ: {judge_coverage(model.coverage)}")
    title = f"the global model, {model.name}:" if model.name else "the global model:"
    return "\n".join([title, *text]) if text else ""


def _format_errors(errors: np.ndarray, entries: Sequence[Entry]) -> str:
    """`angle 0.012 rad, speed 0.2 rad/s`; the span where the entries are many or have no names."""
    if len(entries) != len(errors) or len(errors) > _MOST_NAMED:
        return f"{format_span(errors)}, in units of the state"
    return ", ".join(
        f"{entry.name} {format_number(float(error))} {entry.unit}".rstrip()
        for entry, error in zip(entries, errors, strict=True)
    )


def _describe_planner(planner: PlannerRecord, seconds: float, conditions: Sequence[int]) -> str:
    lines = [
        f"  condition {m:<2} cost {format_number(planner.predicted[m])} planned, "
        f"{format_number(planner.actual[m])} actual"
        for m in conditions
    ]
    if np.isfinite(seconds):
        lines.append(f"  plan        {format_number(1000 * seconds)} ms")
    if planner.effective_samples is not None:
        lines.append(f"  effective   {sparkline(_mean(planner.effective_samples))}  candidates that weigh")
    if planner.fallbacks is not None and (count := int(np.sum(planner.fallbacks))):
        lines.append(f"  trouble     {count} actions had no plan in time, or none that was finite")
    title = "the planner" if planner.steps is None else f"the planner, cost of the first {planner.steps} steps"
    return "\n".join([f"{title}:", *lines])


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over the first axis of what is finite; NaN where nothing is."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)


# -- numbers of one condition ----------------------------------------------------------------------------------------


def search_trace(local: LocalRecord, m: int) -> np.ndarray:
    """η and KL of each evaluation of condition m's search, (evaluations, 2)."""
    search = local.search
    count = int(search.evaluations[m])
    return np.stack([np.exp(search.trace_log_eta[m][:count]), search.trace_kl[m][:count]], axis=-1)


def spectral_radius(local: LocalRecord, m: int) -> np.ndarray:
    """The spectral radius of the fitted state matrix at each step, (T-1,)."""
    assert local.dynamics is not None
    matrix = np.asarray(local.dynamics[m].matrix)
    return _apply_finite(lambda a: np.abs(np.linalg.eigvals(a)).max(axis=-1), matrix[..., : matrix.shape[-2]])


def _deviation(covariance: Any) -> np.ndarray:
    return np.sqrt(np.maximum(np.diagonal(np.asarray(covariance), axis1=-2, axis2=-1), 0.0))


def _apply_finite(function: Callable[[np.ndarray], np.ndarray], matrices: np.ndarray) -> np.ndarray:
    """`function` of the matrices of each step; NaN where they are not finite."""
    finite = np.isfinite(matrices).all(axis=(-2, -1))
    result = np.full(matrices.shape[:-2], np.nan)
    result[finite] = function(matrices[finite])
    return result


# -- for a machine ---------------------------------------------------------------------------------------------------


def export_iteration(record: IterationRecord, conditions: Sequence[int]) -> list[dict[str, Any]]:
    """An iteration as plain data, with whole controllers and models; what is not finite is None."""
    rows = make_rows(record)
    return to_plain(
        [
            dataclasses.asdict(rows[m])
            | {"sentence": record.statuses[m].sentence}
            | ({} if record.local is None else _export_local(record.local, m))
            | ({} if record.policy is None else {"policy": _export_policy(record.policy, record.player, m)})
            | ({} if record.model is None or not record.model.name else {"model": _export_model(record.model)})
            | ({} if record.planner is None else {"planner": _export_planner(record.planner, m)})
            | ({} if record.optimisation is None else {"optimisation": _export_optimisation(record.optimisation)})
            for m in conditions
        ]
    )


def _export_local(local: LocalRecord, m: int) -> dict[str, Any]:
    fitted = local.dynamics is not None
    return {
        "alpha": float(local.search.alpha[m]),
        "kl_per_step": local.search.kl[m],
        "entropy_per_step": local.controllers[m].entropy(),
        "eta_per_step": local.search.eta[m] if np.ndim(local.search.eta) > 1 else None,
        "search": [{"eta": eta, "kl": kl} for eta, kl in search_trace(local, m)],
        "spectral_radius_per_step": spectral_radius(local, m) if fitted else None,
        "controller": local.controllers[m],
        "improved": local.improved[m],
        "dynamics": local.dynamics[m] if local.dynamics is not None else None,
    }


def _export_policy(policy: PolicyRecord, player: Player, m: int) -> dict[str, Any]:
    """The global policy's side, as one condition sees it."""
    shared = {
        field.name: getattr(policy, field.name)
        for field in dataclasses.fields(policy)
        if field.name not in ("kl", "marginals", "linearised", "mean_status", "covariance_status")
    }
    return shared | {
        "status": policy.status.name,
        "sentence": policy.status.sentence,
        "player": player.value,
        "kl_per_step": policy.kl[m],
        "linearised": None if policy.linearised is None else policy.linearised[m],
    }


def _export_model(model: ModelRecord) -> dict[str, Any]:
    """The global model's side, without the clusters of a mixture."""
    shared = {field.name: getattr(model, field.name) for field in dataclasses.fields(model) if field.name != "mixture"}
    return shared | {"status": model.status.name, "sentence": model.status.sentence}


def _export_optimisation(optimisation: OptimisationRecord) -> dict[str, Any]:
    shared = {field.name: getattr(optimisation, field.name) for field in dataclasses.fields(optimisation)}
    return shared | {"status": optimisation.status.name, "sentence": optimisation.status.sentence}


def _export_planner(planner: PlannerRecord, m: int) -> dict[str, Any]:
    """The planner's side of one condition."""
    sides = {field.name: getattr(planner, field.name) for field in dataclasses.fields(planner)}
    return {name: side[m] if isinstance(side, np.ndarray) else side for name, side in sides.items()}


def to_plain(value: Any) -> Any:
    """A value as JSON can hold it: records as tables, arrays as lists, what is not finite as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if hasattr(value, "__array__"):
        return to_plain(np.asarray(value).tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
