"""The failures that the lecture tells, as pictures of the ladder's own runs.

    mismatch    version 0.5 plans where its random data never went
    drift       version 1.0 follows a plan whose small errors add up
    exploit     a planner finds the place where the model is wrong in its favour
    too_far     a linear model is followed beyond the place where it was fitted
    gradient    a gradient through many steps of a model vanishes or explodes

Each story is told if the ladder has a rung that it can be told of, by the numbers of one run, which it names. A caption
says what its picture shows, so its words depend on the numbers: a run that does well is not called a failure.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.spatial import KDTree

from gps.config.algorithms.local import TrajOptConfig
from gps.config.algorithms.through_models import MBRLConfig
from gps.errors import GpsError
from gps.evaluation import restore
from gps.inspect.comparison.member import Member
from gps.ladder.results import RungResult
from gps.ladder.rungs import Ladder
from gps.planning.played import find_planned
from gps.players import Player
from gps.runs import Run

Role = Literal["data", "plan", "actual", "bound", "early", "late"]
"""What a trace stands for, which decides its colour and its line."""

FAR = 0.95
"""A state is far from the data if it is farther from them than this share of the data are from each other."""

_MOST_DOTS = 1500
_FURTHER = 100.0  # times the KL step of another rung: no trust region any more


@dataclasses.dataclass(frozen=True)
class StoryTrace:
    """A line or a cloud of dots."""

    name: str
    role: Role
    x: Num[np.ndarray, "n"]
    y: Num[np.ndarray, "n"]
    dots: bool = False
    bars: bool = False
    shade: float = 1.0  # 0 to 1, from the first of several lines to the last


@dataclasses.dataclass(frozen=True)
class Panel:
    """A plot of a story."""

    title: str
    x: str
    y: str
    traces: tuple[StoryTrace, ...]
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Story:
    """A picture with its caption of two sentences, and the run that it came from."""

    key: str
    heading: str
    caption: str
    rung: str
    seed: int
    path: Path
    panels: tuple[Panel, ...]


@dataclasses.dataclass(frozen=True)
class Plane:
    """The two entries of the state in which data and plans are drawn."""

    first: int
    second: int
    names: tuple[str, str]  # with units

    def cloud(self, name: str, role: Role, states: Float[np.ndarray, "n dx"]) -> StoryTrace:
        """States as dots."""
        thin = states[:: -(-len(states) // _MOST_DOTS) or 1]
        return StoryTrace(name, role, thin[:, self.first], thin[:, self.second], dots=True)

    def path(self, name: str, role: Role, states: Float[np.ndarray, "n dx"]) -> StoryTrace:
        """States as a line."""
        return StoryTrace(name, role, states[:, self.first], states[:, self.second])


def find_plane(run: Run, ladder: Ladder) -> Plane:
    """The plane of a ladder in the state of a run."""
    known = [] if run.interface is None else list(run.interface.state)
    found = [i for name in ladder.plane for i, entry in enumerate(known) if entry.name == name]
    dx = len(known) or run.rollouts(0)[0].states.shape[-1]
    first, second = found if len(found) == 2 else (0, min(1, dx - 1))
    labels = ladder.labels or [_name_entry(*known[i][:2]) if known else f"x[{i}]" for i in (first, second)]
    return Plane(first, second, (labels[0], labels[1]))


def tell_stories(results: Sequence[RungResult], ladder: Ladder) -> tuple[list[Story], list[str]]:
    """Return the stories that these results can tell, and why others are missing, a sentence each."""
    told, missing = [], []
    for name, tell in _STORIES.items():
        try:
            story = tell(results, ladder)
        except GpsError as error:
            missing.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        if story is not None:
            told.append(story)
        else:
            missing.append(f"{name}: {_NEEDED[name]}")
    return told, missing


# -- the stories -----------------------------------------------------------------------------------------------------


def _tell_mismatch(results: Sequence[RungResult], ladder: Ladder) -> Story | None:
    chosen = _find_planner(results, "0.5")
    if chosen is None:
        return None
    result, member, run = chosen
    plane, data = find_plane(run, ladder), _collect_states(run, len(run.iterations))
    plan = _plan_again(run)
    final = run.evaluation()
    if plan is None or final is None:
        return None
    actual = final.rollouts.states[0, 0][final.rollouts.mask[0, 0]]
    nearness = Nearness(data)
    far, steps = nearness.is_far(plan), min(len(plan), len(actual))
    apart = np.abs(plan[:steps, plane.first] - actual[:steps, plane.first])
    t = np.arange(len(plan))
    first = (
        f"The model learned only from the random episodes (grey), but {_percent(far.mean())} of its plan (orange) lies "
        "where they never went."
        if far.mean() >= 0.1
        else f"The model learned only from the random episodes (grey), and {_percent(1 - far.mean())} of its plan "
        "(orange) stays near them."
    )
    second = (
        f"What happened (blue) left the plan by up to {_amount(apart.max(), plane.names[0])}: a model is right only "
        "about the distribution that it has seen."
    )
    return Story(
        "mismatch",
        "Does the plan go where the data are?",
        f"{first} {second}",
        result.rung.name,
        member.seed,
        run.path,
        (
            Panel(
                "States", *plane.names,
                (plane.cloud("random data", "data", data), plane.path("the plan", "plan", plan),
                 plane.path("what happened", "actual", actual)),
            ),
            Panel(
                "Distance to the nearest data", "time step", "standard deviations of the data",
                (StoryTrace("the plan", "plan", t, nearness.distance(plan)),
                 StoryTrace("what happened", "actual", np.arange(len(actual)), nearness.distance(actual)),
                 StoryTrace(f"{FAR:.0%} of the data", "bound", t[[0, -1]], np.full(2, nearness.reach))),
            ),
        ),
    )  # fmt: skip


def _tell_drift(results: Sequence[RungResult], ladder: Ladder) -> Story | None:
    chosen = _find_planner(results, "1.0")
    if chosen is None:
        return None
    result, member, run = chosen
    plans = _list_plans(run)
    if not plans:
        return None
    k, plan, actual = plans[-1]
    plane = find_plane(run, ladder)
    error = np.abs(plan[:, plane.first] - actual[:, plane.first])
    t, unit = np.arange(len(plan)), plane.names[0]
    ahead = _list_horizon_errors(run, plane.first)
    early = int(np.argmax(t >= min(5, len(t) - 1)))
    grows = "So version 1.5 makes a new plan at every step."
    if ahead:
        errors = ahead[-1][1]
        grows = (
            f"Over all starts the model's error goes from {_amount(errors[0], unit)} one step ahead to "
            f"{_amount(errors[-1], unit)} at {len(errors)}, so version 1.5 makes a new plan at every step."
        )
    return Story(
        "drift",
        "Do small errors add up?",
        f"After {early} steps the prediction (orange) and what happened (blue) are {_amount(error[early], unit)} apart "
        f"and at worst {_amount(error.max(), unit)}, for every step starts from the error of the one before. {grows}",
        result.rung.name,
        member.seed,
        run.path,
        (
            Panel(
                f"Plan and episode of iteration {k}", "time step", unit,
                (StoryTrace("predicted", "plan", t, plan[:, plane.first]),
                 StoryTrace("actual", "actual", t, actual[:, plane.first])),
            ),
            Panel(
                "Error of the model on new episodes", "steps ahead", f"root mean square, {unit}",
                tuple(
                    StoryTrace(f"iteration {i}", "early", 1 + np.arange(len(rms)), rms, shade=(n + 1) / len(ahead))
                    for n, (i, rms) in enumerate(ahead)
                ),
                log=True,
            ),
        ),
    )  # fmt: skip


def _tell_exploit(results: Sequence[RungResult], ladder: Ladder) -> Story | None:
    best: tuple[float, RungResult, Member, Run, list[tuple[int, float, float]]] | None = None
    for result, member, run in _list_runs(results):
        costs = _list_planned_costs(run)
        if len(costs) < 2:
            continue
        gap = float(
            np.mean([(actual - predicted) / (abs(actual) + abs(predicted) + 1e-12) for _, predicted, actual in costs])
        )
        if best is None or gap > best[0]:
            best = gap, result, member, run, costs
    if best is None:
        return None
    _, result, member, run, costs = best
    plane = find_plane(run, ladder)
    iterations, predicted, actual = (np.array(column) for column in zip(*costs, strict=True))
    too_good = actual > predicted
    plans = {k: (plan, happened) for k, plan, happened in _list_plans(run)}
    panels = [
        Panel(
            "Cost of the planned steps", "iteration", "cost",
            (StoryTrace("planned", "plan", iterations, predicted), StoryTrace("actual", "actual", iterations, actual)),
        )
    ]  # fmt: skip
    first = (
        f"In {too_good.sum()} of {len(costs)} iterations the episode cost more than the plan promised, because the "
        "planner picks the future in which the model errs in its favour."
        if too_good.any()
        else f"In none of {len(costs)} iterations did the episode cost more than the plan promised: this model leaves "
        "little to exploit."
    )
    second = "A better search does not help: it finds the error sooner."
    known = [int(k) for k in iterations if int(k) in plans]
    if known:
        k = max(known, key=lambda k: float((actual - predicted)[iterations == k][0]))
        plan, happened = plans[k]
        data = _collect_states(run, k)
        far = Nearness(data).is_far(plan)
        outside = plane.cloud("far from the data", "late", plan[far])
        panels.append(
            Panel(
                f"The plan of iteration {k}", *plane.names,
                (plane.cloud("data so far", "data", data), plane.path("the plan", "plan", plan), outside,
                 plane.path("what happened", "actual", happened)),
            )
        )  # fmt: skip
        second = (
            f"The plan of iteration {k} promised {_round(float(predicted[iterations == k][0]))} and cost "
            f"{_round(float(actual[iterations == k][0]))}: {_percent(far.mean())} of its states (red) are far "
            "from all data, where nothing corrects the model."
        )
    return Story(
        "exploit",
        "Does the planner exploit the model?",
        f"{first} {second}",
        result.rung.name,
        member.seed,
        run.path,
        tuple(panels),
    )


def _tell_too_far(results: Sequence[RungResult], ladder: Ladder) -> Story | None:
    pair = _find_unbounded(results)
    if pair is None:
        return None
    bounded, unbounded = pair
    panels = []
    counts = []
    for result, title in ((bounded, "Within the trust region"), (unbounded, "Without a trust region")):
        member = result.group.finished[0]
        changes = _list_changes(Run.open(member.path))
        if not changes:
            return None
        k, promised, came = (np.array(column) for column in zip(*changes, strict=True))
        counts.append((int((came < 0).sum()), len(k), promised, came))
        panels.append(
            Panel(
                f"{title} ({result.rung.name})", "update", "change of the cost",
                (StoryTrace("promised by the linear model", "plan", k, promised, bars=True),
                 StoryTrace("what came", "actual", k, came, bars=True)),
            )
        )  # fmt: skip
    (good, of, _, _), (bad, of_far, promised, came) = counts
    worst = int(np.argmax(came - promised))
    member = unbounded.group.finished[0]
    return Story(
        "too_far",
        "What if the linear model is left too far?",
        "Every update was promised a lower cost by linear models that hold only near the samples they were fitted to. "
        f"Within the trust region {good} of {of} updates lowered the cost; without it {bad} of {of_far} did, and the "
        f"worst promised a change of {_round(float(promised[worst]))} and brought one of "
        f"{_round(float(came[worst]))}.",
        unbounded.rung.name,
        member.seed,
        member.path,
        tuple(panels),
    )


def _tell_gradient(results: Sequence[RungResult], ladder: Ladder) -> Story | None:
    best: tuple[float, RungResult, Member, Run, list[Gradient]] | None = None
    for result, member, run in _list_runs(results):
        found = _list_gradients(run)
        span = max((gradient.span for gradient in found), default=0.0)
        if found and (best is None or span > best[0]):
            best = span, result, member, run, found
    if best is None:
        return None
    _, result, member, run, found = best
    worst = max(found, key=lambda gradient: gradient.span)
    low, high = int(worst.ahead[np.argmin(worst.norms)]), int(worst.ahead[np.argmax(worst.norms)])
    chosen = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(len(found), 5)).round().astype(int))]
    return Story(
        "gradient",
        "Does the gradient vanish, or explode?",
        "The gradient of the cost h steps ahead is a product of h slopes of model and policy, and products shrink or "
        f"grow: in iteration {worst.iteration} its size {'grows' if high > low else 'shrinks'} by a factor of "
        f"{_round(10**worst.span)} between {min(low, high)} and {max(low, high)} steps ahead. A step along the "
        "sum of these gradients follows the largest ones and hears nothing of the others.",
        result.rung.name,
        member.seed,
        run.path,
        (
            Panel(
                "Gradient of the cost by how far ahead it is", "steps ahead, h", "norm of the gradient",
                tuple(
                    StoryTrace(f"iteration {g.iteration}", "early", g.ahead, g.norms, shade=(n + 1) / len(chosen))
                    for n, g in enumerate(chosen)
                ),
                log=True,
            ),
        ),
    )  # fmt: skip


_STORIES: dict[str, Callable[[Sequence[RungResult], Ladder], Story | None]] = {
    "distribution mismatch": _tell_mismatch,
    "accumulated error": _tell_drift,
    "exploited model": _tell_exploit,
    "linear model too far": _tell_too_far,
    "gradient": _tell_gradient,
}
_NEEDED = {
    "distribution mismatch": "needs a finished run of a rung with mbrl, version 0.5",
    "accumulated error": "needs a finished run of a rung with mbrl, version 1.0",
    "exploited model": "needs a finished run of a rung that plans",
    "linear model too far": "needs two rungs that differ only in kl_step, one of them 100 times the other",
    "gradient": "needs a finished run of a rung that follows a gradient through a model",
}


# -- what they are made of -------------------------------------------------------------------------------------------


class Nearness:
    """How far states are from data, in standard deviations of the data.

    Attributes:
        reach: the distance to the nearest other datum that a share `FAR` of the data stay within.
    """

    def __init__(self, data: Float[np.ndarray, "n dx"]) -> None:
        self._scale = np.where(data.std(axis=0) > 0, data.std(axis=0), 1.0)
        self._tree = KDTree(data / self._scale)
        distances, _ = self._tree.query(data / self._scale, k=2)
        self.reach = float(np.quantile(distances[:, 1], FAR))

    def distance(self, states: Float[np.ndarray, "k dx"]) -> Float[np.ndarray, "k"]:
        """The distance of each state to the nearest datum."""
        found, _ = self._tree.query(states / self._scale)
        return np.asarray(found)

    def is_far(self, states: Float[np.ndarray, "k dx"]) -> Bool[np.ndarray, "k"]:
        """True for each state that is far from the data."""
        return np.asarray(self.distance(states) > self.reach)


def _list_runs(results: Sequence[RungResult]) -> list[tuple[RungResult, Member, Run]]:
    """All finished runs, those of a rung together."""
    return [(result, member, Run.open(member.path)) for result in results for member in result.group.finished]


def _find_planner(results: Sequence[RungResult], version: str) -> tuple[RungResult, Member, Run] | None:
    """The first finished run of a rung that plans by a version of the lecture."""
    for result in results:
        config = result.rung.config
        settings = None if config is None else config.algorithm
        if isinstance(settings, MBRLConfig) and settings.version == version and result.group.finished:
            member = result.group.finished[0]
            return result, member, Run.open(member.path)
    return None


def _find_unbounded(results: Sequence[RungResult]) -> tuple[RungResult, RungResult] | None:
    """Two rungs that differ only in their KL step: within a trust region, and as good as without."""
    bounded = [
        (result, result.rung.config.algorithm)
        for result in results
        if result.rung.config is not None
        and isinstance(result.rung.config.algorithm, TrajOptConfig)
        and result.group.finished
    ]
    for near, settings in bounded:
        for far, other in bounded:
            same = settings.model_copy(update={"kl_step": other.kl_step}) == other
            if same and other.kl_step >= _FURTHER * settings.kl_step:
                return near, far
    return None


def _collect_states(run: Run, iterations: int) -> Float[np.ndarray, "n dx"]:
    """All states of the first iterations."""
    found = [run.rollouts(k)[0] for k in range(iterations)]
    return np.concatenate([rollouts.states[rollouts.mask] for rollouts in found])


def _plan_again(run: Run) -> Float[np.ndarray, "h dx"] | None:
    """The plan from the first start that the last iteration's model makes; None if it makes none.

    An evaluation records where its planner went, not where it wanted to go: the same plan is made again.
    """
    with restore(run) as (built, state):
        policy = built.algorithm.learned(state)
        policy.act(built.starts.states[:, None], 0)
        planned = find_planned(policy)
        return None if planned is None else _cut(planned.states[0, 0])


def _list_plans(run: Run) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Of each iteration with a plan: its number, the planned and the actual states of the first sample."""
    found = []
    for k in range(len(run.iterations)):
        record = run.iterations[k]
        if record.planner is None or record.planner.planned_states is None:
            continue
        plan = _cut(record.planner.planned_states[0])
        actual = record.rollouts.states[0, 0][record.rollouts.mask[0, 0]]
        steps = min(len(plan), len(actual))
        if steps > 1:
            found.append((k, plan[:steps], actual[:steps]))
    return found


def _cut(states: Float[np.ndarray, "h dx"]) -> Float[np.ndarray, "k dx"]:
    """The states up to the first that is not finite."""
    bad = ~np.isfinite(states).all(axis=1)
    return states[: int(np.argmax(bad))] if bad.any() else states


def _list_planned_costs(run: Run) -> list[tuple[int, float, float]]:
    """Of each iteration with a forecast: its number, the planned and the actual cost, mean over the conditions."""
    found = []
    for k in range(len(run.iterations)):
        record = run.iterations[k]
        planner = record.planner
        if planner is not None and record.player is Player.PLANNER:
            predicted, actual = float(np.mean(planner.predicted)), float(np.mean(planner.actual))
            if np.isfinite([predicted, actual]).all():
                found.append((k, predicted, actual))
    return found


def _list_horizon_errors(run: Run, entry: int, most: int = 3) -> list[tuple[int, np.ndarray]]:
    """Of a few iterations, evenly spread: the number, and the error of an entry 1 … H steps ahead."""
    found = []
    for k in range(len(run.iterations)):
        model = run.model_record(k)
        if model is not None and model.horizon_error is not None:
            errors = model.horizon_error[:, entry]
            if np.isfinite(errors).all() and (errors > 0).all():
                found.append((k, errors))
    return [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(len(found), most)).round().astype(int))]


def _list_changes(run: Run) -> list[tuple[int, float, float]]:
    """Of each update: its number, the change of the cost that was predicted, and the one that came."""
    found = []
    for k in range(1, len(run.iterations)):
        rows = [row for row in run.rows(k) if row.predicted is not None and row.actual is not None]
        pair = [(row.predicted or 0.0, row.actual or 0.0) for row in rows]
        if pair and np.isfinite(pair).all():
            predicted, actual = np.mean(pair, axis=0)
            found.append((k, float(predicted), float(actual)))
    return found


@dataclasses.dataclass(frozen=True)
class Gradient:
    """The norms of the gradient of the cost h steps ahead, where they are positive and finite."""

    iteration: int
    ahead: Int[np.ndarray, "k"]  # h
    norms: Float[np.ndarray, "k"]

    @property
    def span(self) -> float:
        """The powers of ten between the smallest and the largest."""
        return float(np.ptp(np.log10(self.norms)))


def _list_gradients(run: Run) -> list[Gradient]:
    """The gradients of each iteration that has some."""
    found = []
    for k in range(len(run.iterations)):
        side = run.iterations[k].optimisation
        if side is None or side.gradient_norms is None:
            continue
        norms = side.gradient_norms
        there = np.flatnonzero(np.isfinite(norms) & (norms > 0))
        if len(there) > 1:
            found.append(Gradient(k, there + 1, norms[there]))
    return found


# -- words -----------------------------------------------------------------------------------------------------------


def _name_entry(name: str, unit: str) -> str:
    return f"{name}, {unit}" if unit else name


def _percent(share: float) -> str:
    return f"{round(100 * float(share))} %"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _round(value: float) -> str:
    """Three significant digits, with a real minus."""
    text = f"{value:.3g}" if 1e-3 <= abs(value) < 999.5 or value == 0 else f"{value:.1e}"
    if 999.5 <= abs(value) < 1e5:
        text = f"{round(value):,}"
    elif "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa} · 10{str(int(exponent)).translate(_RAISED)}"
    return text.replace("-", "−")


def _amount(value: float, name: str) -> str:
    """A number with the unit that stands behind the comma of an entry's name."""
    return f"{_round(float(value))} {name.rpartition(', ')[2] if ', ' in name else ''}".strip()
