"""Runs side by side: those that differ in the seed alone are a group, and each group has curves and a final result.

`compare` reads the runs and puts them into groups; `lines` says the outcome as a table. What counts as the result is
the evaluation of what was learned, without noise, never the best that was seen on the way.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import statistics as plain_statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gps.errors import ConfigError, GpsError, RunError, nearest
from gps.inspect.statistics import Aligned, Curve, Estimate, align, estimate
from gps.inspect.tables import Row, aligned, evaluation, interval
from gps.inspect.teachers import TEACHERS
from gps.records import Rollouts
from gps.runs import EVALUATIONS, Run, find_runs

EXPERIMENT = "experiment"
"""The key of a run's name among its settings."""

_TASK = (
    "environment.id", "environment.mjcf", "environment.frame_skip", "environment.horizon", "environment.conditions",
    "environment.options",
)  # fmt: skip
_WHOLE = (*_TASK, "environment.test_conditions")  # these values stay in one piece
_NO_SETTING = ("seed", "description", "environment.threads")  # what may differ within a group


# -- one run ---------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Result:
    """What an evaluation without noise came to: means over its starts."""

    cost: float
    returns: float | None  # None without rewards
    solved: tuple[bool, ...]  # by start; empty where the environment does not tell of success

    @property
    def share(self) -> float | None:
        """Of the starts, those that are solved."""
        return sum(self.solved) / len(self.solved) if self.solved else None


@dataclasses.dataclass(frozen=True)
class Member:
    """What a comparison keeps of a run. Curves are means over the conditions, by environment steps."""

    path: Path
    seed: int
    settings: Mapping[str, Any]  # dotted key -> value, the experiment's name included
    cost: Curve  # of an episode
    success: Curve | None  # share of the samples; None where the environment does not tell
    returns: Curve | None  # sum of an episode's rewards; None where all of them are zero
    policy_kl: Curve | None  # KL(policy ‖ its teachers), nats a step; None without a global policy
    policy_loss: Curve | None  # after each training of the policy
    player: str | None  # whose the last samples are, as of `PolicyRecord.player`; None without a global policy
    episodes: int
    results: Mapping[str, Result]  # of what was evaluated (`gps.runs.EVALUATIONS`), as far as the run came

    @property
    def final_cost(self) -> float | None:
        """Of what was learned, from the conditions; None where the run never came so far."""
        return self.results["final"].cost if "final" in self.results else None

    @property
    def final_return(self) -> float | None:
        return self.results["final"].returns if "final" in self.results else None

    @property
    def solved(self) -> tuple[bool, ...]:
        return self.results["final"].solved if "final" in self.results else ()

    @property
    def apart(self) -> bool:
        """Whether there is a policy to tell apart from its teachers, or starts that were not trained on."""
        return bool({"unseen", *TEACHERS} & set(self.results)) or self.policy_kl is not None

    @property
    def steps(self) -> int:
        """Environment steps of the whole training."""
        return int(self.cost.steps[-1])

    @property
    def steps_until_solved(self) -> float:
        """Environment steps up to the first iteration whose samples all succeeded; infinite if there was none."""
        solved = [] if self.success is None else self.success.steps[self.success.values == 1]
        return float(solved[0]) if len(solved) else np.inf


def read(run: Run) -> Member:
    """A run as a member of a comparison.

    Raises:
        RunError: if it has no iteration, or is damaged.
    """
    count = len(run.iterations)
    if not count:
        raise RunError(f"{run.path}: no iteration was finished")
    rows = [run.rows(k) for k in range(count)]
    steps = np.array([row[0].environment_steps for row in rows])
    returns = np.array([_return(run.rollouts(k)[0]) for k in range(count)])
    evaluated = {what: run.evaluated(what) for what in EVALUATIONS}
    rewarded = bool(returns.any()) or any(of is not None and bool(of[0].rewards.any()) for of in evaluated.values())
    last = run.policy(count - 1)
    return Member(
        path=run.path,
        seed=run.seed,
        settings=_settings(run),
        cost=Curve(steps, np.array([np.mean([item.cost for item in row]) for row in rows])),
        success=_curve(steps, [_share(row) for row in rows]),
        returns=Curve(steps, returns) if rewarded else None,
        policy_kl=_curve(steps, [_mean([item.policy_kl_step for item in row]) for row in rows]),
        policy_loss=_curve(steps, [row[0].policy_loss_after for row in rows]),
        player=None if last is None else last.player,
        episodes=sum(item.samples for row in rows for item in row),
        results={what: _result(*of, rewarded) for what, of in evaluated.items() if of is not None},
    )


def _result(rollouts: Rollouts, costs: np.ndarray, rewarded: bool) -> Result:
    items = evaluation(rollouts, costs)
    solved = tuple(item.solved for item in items if item.solved is not None)
    return Result(float(np.mean([item.cost for item in items])), _return(rollouts) if rewarded else None, solved)


def _curve(steps: np.ndarray, values: Sequence[float | None]) -> Curve | None:
    """None where no value is known."""
    known = np.array([np.nan if value is None else value for value in values], dtype=float)
    return None if np.isnan(known).all() else Curve(steps, known)


def _share(rows: Sequence[Row]) -> float | None:
    told = [row for row in rows if row.successes is not None]
    return sum(row.successes for row in told) / sum(row.samples for row in told) if told else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _return(rollouts: Any) -> float:
    """The mean over all samples of the sum of an episode's rewards."""
    return float(np.sum(rollouts.rewards, axis=2).mean())


def _settings(run: Run) -> dict[str, Any]:
    settings = {EXPERIMENT: run.name, **_flat(run.config.model_dump())}
    task = run.path / "task.py"
    if task.is_file():  # its functions may be the cost or the environment
        settings["task.py"] = hashlib.sha256(task.read_bytes()).hexdigest()[:8]
    return settings


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Dotted keys of nested tables and of lists of tables; the conditions and the options stay in one piece."""
    if key not in _WHOLE and isinstance(value, dict):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif key not in _WHOLE and isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        items = enumerate(value)
    else:
        return {key: value}
    return {k: v for name, item in items for k, v in _flat(item, f"{key}.{name}" if key else str(name)).items()}


# -- measures --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Measure:
    """A number of a run, by which groups are compared."""

    name: str
    what: str  # of what was evaluated, a key of `gps.runs.EVALUATIONS`
    kind: str  # "success", "cost" or "return"

    def of(self, member: Member) -> float | None:
        """None where the run has none."""
        result = member.results.get(self.what)
        return None if result is None else getattr(result, _KINDS[self.kind])


_KINDS = {"success": "share", "cost": "cost", "return": "returns"}  # -> the attribute of `Result`
_APART = {"final": "trained", "unseen": "unseen", "local": "local", "expert": "expert"}
FINAL_COST, FINAL_RETURN = Measure("final cost", "final", "cost"), Measure("final return", "final", "return")
CURVES = ("cost", "success", "returns", "policy_kl", "policy_loss")
"""The curves of a `Member`, by name."""


# -- groups ----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs that differ in the seed alone (or in what a comparison was told to overlook), ordered by seed."""

    label: str
    members: tuple[Member, ...]

    @functools.cached_property
    def finished(self) -> list[Member]:
        """Those with a final evaluation."""
        return [member for member in self.members if member.final_cost is not None]

    @property
    def final_cost(self) -> Estimate | None:
        return self.estimate(FINAL_COST)

    @property
    def final_return(self) -> Estimate | None:
        return self.estimate(FINAL_RETURN)

    def estimate(self, measure: Measure) -> Estimate | None:
        """Of the seeds that have finished; None where one of them has no such number."""
        values = [measure.of(member) for member in self.finished]
        known = np.array([value for value in values if value is not None])
        return estimate(known) if len(known) and len(known) == len(values) else None

    @property
    def steps_until_solved(self) -> float:
        """Median over the seeds; infinite where half of them never came there."""
        return plain_statistics.median_high(member.steps_until_solved for member in self.members)

    @functools.cached_property
    def curves(self) -> dict[str, tuple[Aligned, Estimate]]:
        """The curves of `CURVES` over the seeds, those that every seed has."""
        result = {}
        for name in CURVES:
            curves = [getattr(member, name) for member in self.members]
            if all(curve is not None for curve in curves) and (together := align(curves)).steps.size:
                result[name] = together, estimate(together.values)
        return result


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Groups of runs, and what needs saying about them in words."""

    title: str
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    @property
    def members(self) -> list[Member]:
        return [member for group in self.groups for member in group.members]

    @property
    def rewarded(self) -> bool:
        """Whether any run has rewards."""
        return any(member.returns is not None for member in self.members)

    @property
    def told(self) -> bool:
        """Whether any run's environment tells of success."""
        return any(member.success is not None or member.solved for member in self.members)

    @property
    def apart(self) -> dict[str, list[Measure]]:
        """What is told of policies, their teachers and unseen starts apart: "success", "cost" and "return"."""
        if not any(member.apart for member in self.members):
            return {}
        there = {what: name for what, name in _APART.items() if what not in TEACHERS or self.taught_by(what)}
        known = {kind: [Measure(f"{name} {kind}", what, kind) for what, name in there.items()] for kind in _KINDS}
        return {
            kind: some
            for kind, some in known.items()
            if any(m.of(member) is not None for m in some for member in self.members)
        }

    def taught_by(self, what: str) -> bool:
        """Whether such teachers were evaluated in any run."""
        return any(what in member.results for member in self.members)


def compare(paths: Sequence[str | Path], by: str | None = None, anyway: bool = False) -> Comparison:
    """Read runs and put them into groups.

    Args:
        paths: run directories, or folders that hold some.
        by: group by this setting alone (a key of experiment.toml, or its end, or "experiment"); None for every
            setting that differs between the runs.
        anyway: compare runs of different tasks too.

    Raises:
        RunError: if no run is left, or the tasks differ.
        ConfigError: for an unknown setting.
    """
    members, notes = _read_all(paths)
    if not anyway:
        _require_one_task(members)
    differing = _differing(members)
    if by is not None:
        chosen = _key(by, members)
        overlooked = dict.fromkeys(key for keys in differing.values() for key in keys if key != chosen)
        notes += [f"differs within the groups: {key}" for key in overlooked]
        differing = {experiment: [chosen] for experiment in differing}
    buckets: dict[tuple[str, ...], list[Member]] = {}
    for member in members:
        values = (repr(member.settings.get(key)) for key in differing[member.settings[EXPERIMENT]])
        buckets.setdefault(tuple(values), []).append(member)
    names = _short_names(list(dict.fromkeys(key for keys in differing.values() for key in keys)))
    groups, labels = [], set()
    for bucket in buckets.values():
        experiment = bucket[0].settings[EXPERIMENT]
        label = _label(bucket[0], {key: names[key] for key in differing[experiment]}) or experiment
        label = label if label not in labels else f"{label} ({len(labels) + 1})"
        labels.add(label)
        unique, repeated = _newest_of_each_seed(bucket) if by is None else (bucket, [])
        notes += repeated
        groups.append(Group(label, tuple(sorted(unique, key=lambda member: (member.seed, str(member.path))))))
    experiments = sorted({member.settings[EXPERIMENT] for member in members})
    notes += _caveats(groups, members)
    return Comparison(" and ".join(experiments), tuple(groups), tuple(notes))


def _read_all(paths: Sequence[str | Path]) -> tuple[list[Member], list[str]]:
    """The runs at `paths` and in them, each once, in the order given; and who was left out, and why."""
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise RunError(f"{path}: there is no such run directory")
        runs = find_runs(path)
        if not runs:
            raise RunError(f"{path}: neither a run directory nor a folder of runs")
        found |= {run.resolve(): run for run in runs if run.resolve() not in found}
    members, left_out = [], []
    for path in found.values():
        try:
            members.append(read(Run.open(path)))
        except GpsError as error:
            left_out.append(f"left out: {' '.join(str(error).split())}")
    if not members:
        raise RunError("\n".join([*left_out, "no run is left to compare"]))
    return members, left_out


def _require_one_task(members: Sequence[Member]) -> None:
    first = members[0]
    for other in members[1:]:
        keys = [key for key in _TASK if first.settings.get(key) != other.settings.get(key)]
        if keys:
            differences = "; ".join(
                f"{key} is {_shown(first.settings.get(key))} and {_shown(other.settings.get(key))}" for key in keys[:2]
            )
            raise RunError(
                f"{first.path} and {other.path} are runs of different tasks: {differences}; "
                "compare runs of one task, or say --anyway"
            )


def _differing(members: Sequence[Member]) -> dict[str, list[str]]:
    """By experiment, the settings that make groups: the experiment itself where there are several, and what differs
    between its runs. What only some kinds of a table have, and its name decides, is not named again."""
    by_name: dict[str, list[Member]] = {}
    for member in members:
        by_name.setdefault(member.settings[EXPERIMENT], []).append(member)
    several = [EXPERIMENT] if len(by_name) > 1 else []
    result = {}
    for name, same in by_name.items():
        keys = dict.fromkeys(key for member in same for key in member.settings if key not in _NO_SETTING)
        differing = [key for key in keys if len({repr(member.settings.get(key)) for member in same}) > 1]
        result[name] = several + [key for key in differing if not _implied(key, differing, same)]
    return result


def _implied(key: str, differing: Sequence[str], members: Sequence[Member]) -> bool:
    """Whether some members lack the key, and the `name` of a table around it tells which value each of them has."""
    if all(key in member.settings for member in members):
        return False
    parts = key.split(".")
    around = {".".join([*parts[:n], "name"]) for n in range(1, len(parts))} & set(differing) - {key}
    for name in around:
        pairs = {(repr(member.settings.get(name)), repr(member.settings.get(key))) for member in members}
        if len(pairs) == len({value for value, _ in pairs}):
            return True
    return False


def _key(name: str, members: Sequence[Member]) -> str:
    """The setting that `name` means: a whole key, or the end of exactly one."""
    known = list(dict.fromkeys(key for member in members for key in member.settings))
    if name in known:
        return name
    ends = [key for key in known if key.endswith("." + name)]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise ConfigError(f"--by {name}: may be {', '.join(ends[:-1])} or {ends[-1]}; give more of it")
    candidates = [*known, *(key.rpartition(".")[2] for key in known)]
    raise ConfigError(f"--by {name}: no setting of these runs{nearest(name, candidates)}")


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each key with its shortest end that no other key shares."""
    names = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[i:]) for i in reversed(range(len(parts))) if not parts[i].isdigit()]
        names[key] = next(
            (end for end in ends if sum(other == end or other.endswith("." + end) for other in keys) == 1), key
        )
    return names


def _label(member: Member, names: Mapping[str, str]) -> str:
    return ", ".join(
        str(member.settings[key]) if key == EXPERIMENT else f"{name}={_shown(member.settings.get(key))}"
        for key, name in names.items()
    )


def _shown(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _newest_of_each_seed(members: Sequence[Member]) -> tuple[list[Member], list[str]]:
    """One run of each seed: two with equal settings are one run done twice, and would count twice."""
    chosen: dict[int, Member] = {}
    for member in members:  # the newest last
        old = chosen.get(member.seed)
        if old is None or old.final_cost is None or member.final_cost is not None:
            chosen[member.seed] = member
    kept = list(chosen.values())
    return kept, [
        f"left out: {member.path}: seed {member.seed} of the same settings is there again: {chosen[member.seed].path}"
        for member in members
        if member not in kept
    ]


def _caveats(groups: Sequence[Group], members: Sequence[Member]) -> list[str]:
    """What a reader must know to read the numbers right."""
    notes = []
    for group in groups:
        unfinished = len(group.members) - len(group.finished)
        if unfinished:
            notes.append(
                f"{group.label}: {unfinished} of {len(group.members)} runs without a final evaluation yet "
                "(`gps resume` goes on), which count in the curves alone"
            )
        for member in group.finished:
            if np.isnan(member.final_cost):
                notes.append(f"{member.path}: no whole episode in its final evaluation, so it has no final cost")
        curve = group.curves.get("cost")
        if curve is None:
            notes.append(f"{group.label}: no environment step at which all seeds have data; no curve of the cost")
        elif curve[0].cut:
            notes.append(
                f"{group.label}: the curves span {curve[0].steps[0]:,} to {curve[0].steps[-1]:,} steps, where all "
                f"seeds have data; {curve[0].cut} of {len(group.members)} runs reach beyond and were cut"
            )
    for group in groups:
        players = {member.player for member in group.members}
        notes += [
            f"{group.label}: the samples are {what}, not the policy's: so are the curves of cost, return and success, "
            "and the steps until solved"
            for player, what in _OTHERS.items()
            if player in players
        ]
    if len({repr(m.settings.get("environment.test_conditions")) for m in members if "unseen" in m.results}) > 1:
        notes.append("the unseen starts differ between the runs: what is said of them is not comparable")
    costs = {repr([(k, v) for k, v in m.settings.items() if k.startswith("cost.") or k == "task.py"]) for m in members}
    if len(costs) > 1:
        notes.append("the cost itself differs between the runs: compare their success or their return")
    return notes


# -- in words --------------------------------------------------------------------------------------------------------


def header(comparison: Comparison) -> list[str]:
    """The names of the columns of `row`."""
    final = ["final cost [95 %]", *(["final return [95 %]"] if comparison.rewarded else [])]
    solved = ["runs solved", "conditions solved", "steps until solved"] if comparison.told else []
    return ["group", "runs", "episodes", "steps", *final, *solved]


def row(group: Group, comparison: Comparison) -> list[str]:
    """One group as cells."""
    return [
        group.label,
        str(len(group.members)),
        _span([member.episodes for member in group.members]),
        _span([member.steps for member in group.members]),
        interval(group.final_cost),
        *([interval(group.final_return)] if comparison.rewarded else []),
        *(_solved(group) if comparison.told else []),
    ]


def _solved(group: Group) -> list[str]:
    """The cells that speak of success."""
    if all(member.success is None and not member.solved for member in group.members):
        return ["-"] * 3
    conditions = [solved for member in group.finished for solved in member.solved]
    until = group.steps_until_solved
    return [
        f"{sum(all(member.solved) for member in group.finished)}/{len(group.finished)}",
        f"{sum(conditions)}/{len(conditions)}",
        "never" if np.isinf(until) else f"{until:,.0f}",
    ]


def apart_header(comparison: Comparison) -> list[str]:
    """The names of the columns of `apart_row`; empty where there is nothing to tell apart."""
    measures = _apart_columns(comparison)
    return ["group", *(f"{measure.name} [95 %]" for measure in measures)] if measures else []


def apart_row(group: Group, comparison: Comparison) -> list[str]:
    """One group as cells: the policy from trained and from unseen starts, and its teachers."""
    return [group.label, *(_cell(group, measure) for measure in _apart_columns(comparison))]


def _apart_columns(comparison: Comparison) -> list[Measure]:
    """Without what `row` has as the final cost and return, and without returns where success says more."""
    final = {(measure.what, measure.kind) for measure in (FINAL_COST, FINAL_RETURN)}
    kinds = [kind for kind in comparison.apart if kind != "return" or "success" not in comparison.apart]
    return [m for kind in kinds for m in comparison.apart[kind] if (m.what, m.kind) not in final]


def apart_legend(comparison: Comparison) -> tuple[str, ...]:
    """What the columns of `apart_row` mean."""
    columns = [text for what, text in _APART_LEGEND.items() if what not in TEACHERS or comparison.taught_by(what)]
    return "; ".join(columns), *([_APART_SUCCESS] if "success" in comparison.apart else [])


def legend(comparison: Comparison) -> tuple[str, ...]:
    """What the columns of `row` mean."""
    return _LEGEND if comparison.told else _LEGEND[:1]


def _cell(group: Group, measure: Measure) -> str:
    found = group.estimate(measure)
    if found is None or measure.kind != "success":
        return interval(found)
    starts = [solved for member in group.finished for solved in member.results[measure.what].solved]
    value, low, high = (f"{100 * float(part):.3g}" for part in (found.value, found.low, found.high))
    spread = f" [{low}, {high}]" if low != high else ""
    return f"{sum(starts)}/{len(starts)}; {value} %{spread}"


def lines(comparison: Comparison) -> list[str]:
    """The comparison as a table for the terminal; the notes are for the caller to print."""
    return aligned([header(comparison), *(row(group, comparison) for group in comparison.groups)])


def apart_lines(comparison: Comparison) -> list[str]:
    """The same of what tells policies, their teachers and unseen starts apart; empty where there is nothing."""
    head = apart_header(comparison)
    return aligned([head, *(apart_row(group, comparison) for group in comparison.groups)]) if head else []


_LEGEND = (
    "final cost: of what was learned, without noise, mean over the conditions; interquartile mean over the seeds",
    "steps until solved: median over the seeds of the environment steps up to the first iteration whose samples all "
    "succeeded",
)

_APART_LEGEND = {
    "final": "trained, unseen: the policy without noise from the starts that it was trained on, and from the test "
    "conditions",
    "local": "local: the local controllers, each from its own start",
    "expert": "expert: the expert that taught the policy, from the starts that were trained on",
}
_APART_SUCCESS = (
    "success: starts that are solved, of all seeds; then the interquartile mean over the seeds of each one's share"
)

_OTHERS = {"local": "the local controllers'", "expert": "the expert's", "both": "those of expert and policy together"}
"""`PolicyRecord.player` where it is not the policy alone -> whose the samples are."""


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
