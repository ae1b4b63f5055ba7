"""Figures of a run for notebooks and scripts, as Plotly figures: `gps.plot.costs(run).show()`.

    costs(run)            the cost of the samples by environment steps, a line for each condition
    controller(made)      the gains K of a controller over time
    search(record)        the search for η of an update: the KL of each candidate
    tubes(record)         the samples within two standard deviations of the state, as the fitted dynamics predict them

`gps.report` has these and more on one page.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gps.errors import RunError
from gps.inspect.comparison.plots import asks_for_log
from gps.linear_gaussian.types import Controller
from gps.records import IterationRecord, LocalRecord
from gps.runs import Run

COLOURS = ("#2a6fbb", "#d1671f", "#2e9268", "#b0569c", "#8a7a12", "#5b6bd6", "#a03a3a", "#2f8aa3")

_MOST_ENTRIES = 12


def costs(run: Run) -> go.Figure:
    """Draw the mean cost of each condition's samples by environment steps, with its single samples as dots.

    Raises:
        RunError: if the run has no iteration.
    """
    count = len(run.iterations)
    if not count:
        raise RunError(f"{run.path}: no iteration to draw")
    steps = [run.rows(k)[0].environment_steps for k in range(count)]
    figure = _make_figure("environment steps", "cost of an episode")
    means = np.array([[row.cost for row in run.rows(k)] for k in range(count)])  # (K, M)
    totals = [run.rollouts(k)[1].sum(axis=2) for k in range(count)]  # (M, N) each
    for m in range(means.shape[1]):
        colour = COLOURS[m % len(COLOURS)]
        x = np.concatenate([np.full(total.shape[1], step) for step, total in zip(steps, totals, strict=True)])
        y = np.concatenate([total[m] for total in totals])
        figure.add_scatter(x=x, y=y, mode="markers", marker={"color": colour, "size": 4, "opacity": 0.35},
                           showlegend=False, hoverinfo="skip")  # fmt: skip
        figure.add_scatter(x=steps, y=means[:, m], mode="lines", line={"color": colour}, name=f"condition {m}")
    if asks_for_log(means):
        figure.update_yaxes(type="log")
    return figure


def controller(made: Controller, names: Sequence[str] = ()) -> go.Figure:
    """Draw the gains K over time: a plot for each action, a line for each entry of the state.

    Args:
        made: one controller, (T, du, dx): `record.improved[m]` of a batch.
        names: of the entries of the state.

    Raises:
        ValueError: for a batch of controllers.
    """
    feedback = np.asarray(made.feedback)
    if feedback.ndim != 3:
        raise ValueError(f"expected one controller, got a batch of shape {feedback.shape[:-3]}; choose one by [m]")
    T, du, dx = feedback.shape
    figure = make_subplots(rows=du, cols=1, shared_xaxes=True, subplot_titles=[f"action {i}" for i in range(du)])
    for i in range(du):
        for j in range(dx):
            line = {"color": COLOURS[j % len(COLOURS)]}
            name = names[j] if j < len(names) else f"x[{j}]"
            figure.add_scatter(x=np.arange(T), y=feedback[:, i, j], mode="lines", line=line, name=name,
                               legendgroup=name, showlegend=i == 0, row=i + 1, col=1)  # fmt: skip
    figure.update_layout(template="plotly_white", height=140 + 200 * du, yaxis_title="K")
    figure.update_xaxes(title_text="time step", row=du, col=1)
    return figure


def search(record: IterationRecord, condition: int = 0) -> go.Figure:
    """Draw the search for η of one condition's update: η and KL of each candidate in order, and the bound.

    Raises:
        RunError: if the iteration has no local controllers, or no such condition.
    """
    local = _require_local(record, condition)
    found = local.search
    eta, kl = np.exp(found.trace_log_eta[condition]), found.trace_kl[condition]
    known = np.isfinite(eta) & np.isfinite(kl)
    figure = _make_figure("η, cost per nat", "KL of the update, nats")
    order = [str(i) for i in np.flatnonzero(known) + 1]
    figure.add_scatter(x=eta[known], y=kl[known], mode="markers+text", text=order, textposition="top center",
                       marker={"color": COLOURS[0], "size": 8}, name="candidates")  # fmt: skip
    figure.add_hline(y=float(local.kl_bound[condition]), line_dash="dot", annotation_text="bound")
    figure.update_xaxes(type="log")
    if asks_for_log(kl[known]):
        figure.update_yaxes(type="log")
    return figure


def tubes(record: IterationRecord, condition: int = 0, entries: Sequence[int] | None = None) -> go.Figure:
    """Draw the samples of a condition within mean ± 2 standard deviations of the state: a plot for each entry.

    Args:
        entries: of the state; None for the first ones.

    Raises:
        RunError: if the iteration has no local controllers, or no such condition or entry.
    """
    local = _require_local(record, condition)
    mean = np.asarray(local.marginals.mean[condition])
    T, dx = mean.shape
    chosen = list(range(min(dx, _MOST_ENTRIES)) if entries is None else entries)
    if wrong := [i for i in chosen if not 0 <= i < dx]:
        raise RunError(f"there is no entry {wrong[0]} of the state; it has 0 to {dx - 1}")
    deviation = np.sqrt(np.diagonal(np.asarray(local.marginals.covariance[condition]), axis1=-2, axis2=-1))
    states = np.where(record.rollouts.mask[condition][..., None], record.rollouts.states[condition], np.nan)
    columns = min(len(chosen), 3)
    rows = -(-len(chosen) // columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=[f"x[{i}]" for i in chosen])
    t = np.arange(T)
    for place, i in enumerate(chosen):
        where = {"row": place // columns + 1, "col": place % columns + 1}
        edge = np.concatenate([mean[:, i] + 2 * deviation[:, i], (mean[:, i] - 2 * deviation[:, i])[::-1]])
        figure.add_scatter(x=np.concatenate([t, t[::-1]]), y=edge, fill="toself", fillcolor="rgba(42,111,187,0.18)",
                           line_width=0, mode="lines", name="mean ± 2σ", hoverinfo="skip", showlegend=place == 0,
                           **where)  # fmt: skip
        for n, sample in enumerate(states):
            figure.add_scatter(x=t, y=sample[:, i], mode="lines", line={"color": "#8b9098", "width": 1}, name="samples",
                               showlegend=place == 0 and n == 0, **where)  # fmt: skip
        figure.add_scatter(x=t, y=mean[:, i], mode="lines", line={"color": COLOURS[0], "width": 2}, name="mean",
                           showlegend=place == 0, **where)  # fmt: skip
    figure.update_layout(template="plotly_white", height=120 + 220 * rows)
    return figure


def _require_local(record: IterationRecord, condition: int) -> LocalRecord:
    if record.local is None:
        raise RunError(f"iteration {record.iteration} has no local controllers to draw")
    M = len(record.costs)
    if not 0 <= condition < M:
        raise RunError(f"there is no condition {condition}; the run has 0 to {M - 1}")
    return record.local


def _make_figure(x: str, y: str) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(template="plotly_white", height=420, xaxis_title=x, yaxis_title=y)
    return figure
