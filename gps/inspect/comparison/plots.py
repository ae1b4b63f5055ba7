"""The numbers of a comparison's plots: learning curves, final results, performance profiles. The page and the static
figure draw the same plots.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from gps.inspect.comparison.groups import FINAL_COST, FINAL_RETURN, Comparison, Measure
from gps.inspect.statistics import Curve, Estimate, estimate_profile

STEPS = "environment steps"

_SPAN = 30.0  # of positive values, from which a linear axis hides the small ones
_THRESHOLDS = 200

CURVES_SHOWN = {  # name -> heading, description
    "cost": ("Cost", "of a training episode, with exploration noise; mean over conditions and samples"),
    "returns": ("Return", "sum of a training episode's rewards; mean over conditions and samples"),
    "success": ("Success", "share of successful training episodes"),
    "policy_kl": (
        "KL of the policy",
        "to its teachers after each training, nats per time step; mean over conditions",
    ),
    "policy_loss": (
        "Loss of the policy",
        "after each training, on the held-out samples if there are any, on all otherwise; nats",
    ),
}


@dataclasses.dataclass(frozen=True)
class Line:
    """The aggregate of a group as a line with its interval, and its seeds as thin lines.

    Attributes:
        index: of the group, which has a colour.
        runs: number of seeds.
    """

    label: str
    index: int
    x: np.ndarray
    aggregate: Estimate
    seeds: tuple[Curve, ...]
    runs: int


@dataclasses.dataclass(frozen=True)
class LinePlot:
    """Lines of groups; `log` if the y axis asks for a logarithmic scale, `positive` if it allows one."""

    heading: str
    about: str
    x: str
    y: str
    lines: tuple[Line, ...]
    percent: bool = False
    positive: bool = False
    log: bool = False
    log_x: bool = False

    @property
    def over_steps(self) -> bool:
        """True if the x axis is environment steps."""
        return self.x == STEPS


@dataclasses.dataclass(frozen=True)
class PointRow:
    """The final numbers of a group: one for each seed, and their estimate."""

    label: str
    index: int
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    aggregate: Estimate | None


@dataclasses.dataclass(frozen=True)
class PointPlot:
    """A measure of all groups, one row each."""

    name: str
    rows: tuple[PointRow, ...]
    percent: bool
    log: bool


def make_curve_plots(comparison: Comparison) -> list[LinePlot]:
    """Return a plot for each kind of learning curve that some group has."""
    plots = []
    for name, (heading, about) in CURVES_SHOWN.items():
        lines = tuple(
            Line(
                group.label,
                i,
                group.curves[name][0].steps,
                group.curves[name][1],
                tuple(getattr(member, name).drop_missing() for member in group.members),
                len(group.members),
            )
            for i, group in enumerate(comparison.groups)
            if name in group.curves
        )
        if not lines:
            continue
        percent = name == "success"
        values = np.concatenate([line.aggregate.value for line in lines])
        ends = [line.aggregate.low.min() for line in lines]
        positive = not percent and bool(min(ends) > 0)
        title = heading if heading[:2].isupper() else heading.lower()
        log = positive and asks_for_log(values)
        plots.append(LinePlot(heading, about, STEPS, title, lines, percent, positive, log))
    return plots


def make_final_plots(comparison: Comparison) -> list[list[PointPlot]]:
    """Return the plots of the final results; those of a kind (policies, unseen starts, teachers) stand together."""
    if comparison.apart:
        kinds = list(comparison.apart.values())
    else:
        kinds = [[FINAL_COST, *([FINAL_RETURN] if comparison.rewarded else [])]]
    return [[plot for measure in kind if (plot := _make_points(comparison, measure)).rows] for kind in kinds]


def _make_points(comparison: Comparison, measure: Measure) -> PointPlot:
    rows = []
    for i, group in enumerate(comparison.groups):
        found = [(member.seed, measure.of(member)) for member in group.finished]
        known = [(seed, value) for seed, value in found if value is not None and np.isfinite(value)]
        aggregate = group.estimate(measure)
        if aggregate is not None and np.isnan(aggregate.value):
            aggregate = None
        seeds, values = tuple(seed for seed, _ in known), tuple(value for _, value in known)
        if values:
            rows.append(PointRow(group.label, i, seeds, values, aggregate))
    percent = measure.kind == "success"
    everything = np.array([value for row in rows for value in row.values])
    return PointPlot(measure.name, tuple(rows), percent, not percent and asks_for_log(everything))


def make_profile(comparison: Comparison) -> LinePlot | None:
    """Return the performance profiles: the share of runs that end better than a score; None with fewer than two runs.

    Agarwal et al. 2021, section 4.2. The higher line is the better group; where lines cross, neither is better for
    every score.
    """
    scale = comparison.scale
    scores = [group.get_scores(scale) for group in comparison.groups]
    known = np.concatenate([np.zeros(0), *scores])
    if len(known) < 2 or known.min() == known.max():
        return None
    margin = 0.03 * (known.max() - known.min())
    grid = np.linspace(known.min() - margin, known.max() + margin, _THRESHOLDS)
    # Just below and at each score, where the share falls.
    grid = np.unique(np.concatenate([grid, known, np.nextafter(known, -np.inf)]))
    costs = scale.sign < 0
    order = slice(None) if scale.sign > 0 else slice(None, None, -1)  # from left to right
    lines = tuple(
        Line(group.label, i, scale.sign * grid[order], estimate_profile(values, grid[order]), (), len(values))
        for i, (group, values) in enumerate(zip(comparison.groups, scores, strict=True))
        if len(values)
    )
    what = f"final {scale.measure.kind}"
    about = f"share of the runs whose {what} is {'below' if costs else 'above'} the number on the axis"
    log = costs and asks_for_log(-known)
    if log:
        lines = tuple(map(_keep_positive, lines))
    return LinePlot("Performance profiles", about, what, "share of runs", lines, percent=True, log_x=log)


def _keep_positive(line: Line) -> Line:
    there, found = line.x > 0, line.aggregate
    kept = Estimate(found.value[there], found.low[there], found.high[there])
    return dataclasses.replace(line, x=line.x[there], aggregate=kept)


def list_wins(comparison: Comparison) -> tuple[list[str], list[list[Estimate | None]]]:
    """Return the groups with final numbers, and the probability that a run of one ends better than one of another.

    A row for each group and a column for each other one; None on the diagonal.
    """
    scale = comparison.scale
    groups = [group for group in comparison.groups if len(group.get_scores(scale))]
    wins = [[None if row is column else row.beats(column, scale) for column in groups] for row in groups]
    return [group.label for group in groups], wins


def asks_for_log(values: np.ndarray) -> bool:
    """True if all values are positive and they span so much that a linear axis would hide the small ones."""
    known = values[np.isfinite(values)]
    return bool(len(known)) and bool(known.min() > 0) and bool(known.max() > _SPAN * known.min())


def find_range(plot: LinePlot, log: bool) -> tuple[float, float]:
    """Return the ends of the y axis, with room around all lines; logarithms to the base 10 if `log`."""
    if plot.percent:
        return -0.03, 1.03
    ends = [(line.aggregate.low.min(), line.aggregate.high.max()) for line in plot.lines]
    ends += [(seed.values.min(), seed.values.max()) for line in plot.lines for seed in line.seeds if len(seed.values)]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if log:
        positive = [v for line in plot.lines for seed in line.seeds for v in seed.values if v > 0]
        low = low if low > 0 else min([*positive, high])
        low, high = float(np.log10(low)), float(np.log10(high))
    room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def place_labels(plot: LinePlot, log: bool, gap: float) -> list[float]:
    """Return the height of the label of each line, beside its end: in the units of the axis, `gap` apart.

    Args:
        gap: the least distance between two labels, as a share of the axis.
    """
    low, high = find_range(plot, log)
    ends = np.array([float(line.aggregate.value[-1]) for line in plot.lines])
    shares = ((np.log10(np.maximum(ends, 10.0**low)) if log else ends) - low) / (high - low)
    placed = low + (high - low) * spread(shares, gap)
    return [float(10.0**y) if log else float(y) for y in placed]


def spread(positions: np.ndarray, gap: float) -> np.ndarray:
    """Return positions from 0 to 1 that are at least `gap` apart, in the same order, as near as can be (least squares).

    Where they need more room than there is, they extend beyond 1.
    """
    order = np.argsort(positions, kind="stable")
    targets = positions[order] - gap * np.arange(len(positions))  # positions at least 0 apart: an isotonic regression
    blocks: list[list[float]] = []  # mean, count
    for target in targets:
        blocks.append([float(target), 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:  # pool adjacent violators
            (a, n), (b, m) = blocks[-2:]
            blocks[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    level = np.concatenate([np.full(int(count), mean) for mean, count in blocks] or [np.zeros(0)])
    level = np.clip(level, 0.0, max(0.0, 1.0 - gap * (len(positions) - 1)))
    result = np.empty(len(positions))
    result[order] = level + gap * np.arange(len(positions))
    return result
