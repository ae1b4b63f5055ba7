"""Descriptions of a run, an iteration and a controller: in three lines, and as a table in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gps.inspect.formatting import format_number, format_span
from gps.metrics import ABSENT, sum_successes

if TYPE_CHECKING:
    from gps.linear_gaussian.types import Controller
    from gps.metrics import Row
    from gps.records import IterationRecord
    from gps.runs import Run

MOST_ROWS = 60
"""The most rows of a table."""

RUN_HEADER = ["iteration", "environment steps", "cost", "success", "status"]
"""The columns of `make_run_row`."""


# -- a run -------------------------------------------------------------------------------------------------------------


def outline_run(run: Run) -> str:
    """Return three lines: the run, how far it is, and its final score or last cost."""
    done, config = len(run.iterations), run.config
    planned = config.algorithm.iterations
    state = "running" if run.active else "finished" if done >= planned else "stopped"
    lines = [
        f"Run of {run.name}, seed {run.seed}: {run.path}",
        f"  {config.algorithm.name}, {done} of {planned} iterations, {state}",
        f"  {_describe_result(run, done)}",
    ]
    return "\n".join(lines)


def _describe_result(run: Run, done: int) -> str:
    if final := run.evaluation_rows():
        cost = format_number(float(np.mean([row.cost for row in final])))
        known = [row.solved for row in final if row.solved is not None]
        solved = f", solved {sum(known)}/{len(known)} conditions" if known else ""
        return f"final cost {cost} without noise{solved}"
    if not done:
        return "no iteration yet"
    rows = run.rows(done - 1)
    return f"cost {format_number(float(np.mean([row.cost for row in rows])))} in the last iteration, no final score"


def tabulate_run(run: Run) -> str:
    """Return the lines, and a row for each iteration: steps, mean cost, success, status."""
    body = [make_run_row(run.rows(k)) for k in range(len(run.iterations))[-MOST_ROWS:]]
    return render_table(outline_run(run), RUN_HEADER, body)


def make_run_row(rows: Sequence[Row]) -> list[str]:
    """Return the cells of an iteration over its conditions: steps, mean cost, successes, statuses."""
    known = sum_successes(rows)
    return [
        str(rows[0].iteration),
        f"{rows[0].environment_steps:,}",
        format_number(float(np.mean([row.cost for row in rows]))),
        ABSENT if known is None else f"{known[0]}/{known[1]}",
        ", ".join(dict.fromkeys(row.status.lower() for row in rows)),
    ]


# -- an iteration ------------------------------------------------------------------------------------------------------


def outline_iteration(record: IterationRecord) -> str:
    """Return three lines: the iteration and who acted, the costs, and what went wrong."""
    M, N, T = record.costs.shape
    samples = f"{M} condition{'s' * (M != 1)}, {N} sample{'s' * (N != 1)} of {T} steps"
    success = "" if record.rollouts.success is None else f", {int(record.successes.sum())}/{M * N} succeeded"
    trouble = "; ".join(record.troubles) or ", ".join(dict.fromkeys(status.label for status in record.statuses))
    return "\n".join([
        f"Iteration {record.iteration}: {samples}, by the {record.player.all}; "
        f"{record.environment_steps:,} environment steps in all",
        f"  cost {format_span(record.mean_cost)}{success}",
        f"  {trouble}",
    ])  # fmt: skip


def tabulate_iteration(record: IterationRecord) -> str:
    """Return the lines, and a row for each condition: cost, success, KL and η of its update, status."""
    local = record.local
    head = ["condition", "cost", "success", *(["KL (bound), nats", "η"] if local is not None else []), "status"]
    body = []
    for m, status in enumerate(record.statuses[:MOST_ROWS]):
        told = record.rollouts.success is not None
        cells = [str(m), format_number(float(record.mean_cost[m]))]
        cells.append(f"{int(record.successes[m])}/{record.costs.shape[1]}" if told else ABSENT)
        if local is not None:
            kl, bound = float(local.kl[m]), float(local.kl_bound[m])
            cells += [f"{format_number(kl)} ({format_number(bound)})"]
            cells += [format_number(float(np.max(local.search.eta[m])))]
        body.append([*cells, status.label])
    return render_table(outline_iteration(record), head, body)


# -- a controller ------------------------------------------------------------------------------------------------------


def outline_controller(controller: Controller) -> str:
    """Return three lines: the sizes, the gains, and the noise; only the sizes while JAX traces it."""
    shape = np.shape(controller.feedback)
    if len(shape) < 3:
        return "Controller u = K x + k + N(0, Σ)"
    *batch, T, du, dx = shape
    many = "".join(f"{size} of them, " for size in batch)
    head = f"Controller u = K x + k + N(0, Σ): {many}T = {T}, dx = {dx}, du = {du}"
    if not all(isinstance(array, np.ndarray) for array in (controller.feedback, controller.covariance)):
        from gps.backend import jax

        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(controller)):
            return head
    feedback, feedforward = np.asarray(controller.feedback), np.asarray(controller.feedforward)
    deviation = np.sqrt(np.diagonal(np.asarray(controller.covariance), axis1=-2, axis2=-1))
    return "\n".join([
        head,
        f"  feedback K {format_span(feedback)}, feedforward k {format_span(feedforward)}",
        f"  standard deviation of the noise {format_span(deviation)}",
    ])  # fmt: skip


def tabulate_controller(controller: Controller) -> str:
    """Return the lines, and the mean gains over time of a single controller: a row for each action."""
    feedback = np.asarray(controller.feedback)
    if feedback.ndim != 3:
        return render_table(outline_controller(controller), [], [])
    mean = feedback.mean(axis=0)
    head = ["mean K", *(f"x[{i}]" for i in range(mean.shape[1]))]
    return render_table(outline_controller(controller), head, [
        [f"u[{i}]", *map(format_number, row.tolist())] for i, row in enumerate(mean)
    ])  # fmt: skip


def render_table(text: str, head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return lines of text with a table below them as HTML; without rows there is no table."""
    table = ""
    if body:
        names = "".join(f"<th>{html.escape(name)}</th>" for name in head)
        rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>" for cells in body)
        table = f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<div><pre>{html.escape(text)}</pre>{table}</div>"
