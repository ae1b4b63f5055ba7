"""Group runs, name the groups, and note what a reader must know to interpret the numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gps.errors import ConfigError, GpsError, RunError, nearest
from gps.inspect.comparison.foreign import KINDS, describe_task, find_baselines, find_foreign, read_foreign
from gps.inspect.comparison.groups import Comparison, Group
from gps.inspect.comparison.member import EXPERIMENT, TASK, Member, read_member
from gps.inspect.comparison.naming import format_setting, name_groups
from gps.players import Player
from gps.runs import Run, find_runs, locate_runs

_NO_SETTING = ("seed", "description", "environment.threads")  # settings that may differ within a group


def compare(
    paths: Sequence[str | Path], by: str | None = None, anyway: bool = False, returns: str | None = None
) -> Comparison:
    """Read runs and group them.

    Args:
        paths: run directories, or folders of runs; files of learning curves of other programs, or folders of such
            files; see `gps.inspect.comparison.foreign`.
        by: group only by this setting (a key of experiment.toml, the end of a key, or "experiment"); None for every
            setting that differs between the runs.
        anyway: compare even runs of different tasks.
        returns: the column or tag that holds the return in files of other programs; None for the usual names.

    Raises:
        RunError: if no run can be compared, the tasks differ, or a file holds no learning curve.
        ConfigError: if the setting is unknown.
    """
    members, foreign, notes = _read_all(paths, returns)
    if not anyway:
        _require_one_task(members)
        _require_task_of(members, [member for _, some in foreign for member in some if member.task])
    groups, more = _group(members, by) if members else ([], [])
    taken = {group.label for group in groups}
    for name, some in foreign:
        label = name if name not in taken else f"{name} ({len(taken) + 1})"
        taken.add(label)
        groups.append(Group(label, tuple(some)))
    experiments = sorted({member.settings[EXPERIMENT] for member in members})
    caveats = _collect_caveats(groups, members)
    return Comparison(" and ".join(experiments) or groups[0].label, tuple(groups), (*notes, *more, *caveats))


def _group(members: Sequence[Member], by: str | None) -> tuple[list[Group], list[str]]:
    """Return groups of runs that differ in the seed, and notes on what differs within them or was left out."""
    notes: list[str] = []
    differing = _find_differing(members)
    if by is not None:
        chosen = _find_key(by, members)
        overlooked = dict.fromkeys(key for keys in differing.values() for key in keys if key != chosen)
        notes += [f"differs within the groups: {key}" for key in overlooked]
        differing = {experiment: [chosen] for experiment in differing}
    buckets: dict[tuple[str, ...], list[Member]] = {}
    for member in members:
        values = (repr(member.settings.get(key)) for key in differing[member.settings[EXPERIMENT]])
        buckets.setdefault(tuple(values), []).append(member)
    names = name_groups([bucket[0].settings for bucket in buckets.values()], differing, whole=by is not None)
    groups: list[Group] = []
    for bucket, (label, full) in zip(buckets.values(), names, strict=True):
        label = label if label not in {group.label for group in groups} else f"{label} ({len(groups) + 1})"
        unique, repeated = _keep_newest_of_each_seed(bucket) if by is None else (bucket, [])
        notes += repeated
        groups.append(Group(label, tuple(sorted(unique, key=lambda member: (member.seed, str(member.path)))), full))
    return groups, notes


def _read_all(
    paths: Sequence[str | Path], returns: str | None
) -> tuple[list[Member], list[tuple[str, list[Member]]], list[str]]:
    """Return the runs at `paths` and in them, each once, in the order given; those of other programs by name; notes."""
    found: dict[Path, Path] = {}
    foreign: dict[str, list[Member]] = {}
    for path in map(locate_runs, paths):
        runs = find_runs(path)
        found |= {run.resolve(): run for run in runs if run.resolve() not in found}
        beside = find_baselines(path)
        files = [] if runs or beside else find_foreign(path)
        if not runs and not files and not beside:
            raise RunError(f"{path}: neither a run directory nor a folder of runs, nor {KINDS}")
        for origin, some in [*((agent, find_foreign(agent)) for agent in beside), (path, files)]:
            for name, member in read_foreign(origin, some, returns):
                foreign.setdefault(name, []).append(member)
    members, left_out = [], []
    for path in found.values():
        try:
            members.append(read_member(Run.open(path)))
        except GpsError as error:
            left_out.append(f"left out: {' '.join(str(error).split())}")
    if not members and not foreign:
        raise RunError("\n".join([*left_out, "no run can be compared"]))
    return members, list(foreign.items()), left_out


def _require_one_task(members: Sequence[Member]) -> None:
    for other in members[1:]:
        first = members[0]
        keys = [key for key in TASK if first.settings.get(key) != other.settings.get(key)]
        if keys:
            differences = "; ".join(
                f"{key} is {format_setting(first.settings.get(key))} and {format_setting(other.settings.get(key))}"
                for key in keys[:2]
            )
            raise RunError(
                f"{first.path} and {other.path} are runs of different tasks: {differences}; "
                "compare runs of one task, or use --anyway"
            )


def _require_task_of(members: Sequence[Member], others: Sequence[Member]) -> None:
    """RunError if a file of another program says that it is of another task than the runs."""
    tasks = [json.loads(describe_task(member.settings)) for member in members[:1]]
    tasks += [json.loads(member.task) for member in others]
    first = members[0].path if members else others[0].path if others else None
    for task, other in zip(tasks[len(members[:1]) :], others, strict=True):
        keys = [key for key in TASK if tasks[0].get(key) != task.get(key)]
        if keys:
            values = [format_setting(one.get(keys[0])) for one in (tasks[0], task)]
            raise RunError(
                f"{first} and {other.path} are of different tasks: {keys[0]} is {values[0]} and {values[1]}; "
                "compare runs of one task, or use --anyway"
            )


def _find_differing(members: Sequence[Member]) -> dict[str, list[str]]:
    """Return, for each experiment, the settings that define its groups.

    These are the experiment itself, if there are several, and the settings that differ between its runs, except those
    that exist only in some kinds of a table, or have other defaults there, and follow from the table's `name`.
    """
    by_name: dict[str, list[Member]] = {}
    for member in members:
        by_name.setdefault(member.settings[EXPERIMENT], []).append(member)
    several = [EXPERIMENT] if len(by_name) > 1 else []
    result = {}
    for name, same in by_name.items():
        keys = dict.fromkeys(key for member in same for key in member.settings if key not in _NO_SETTING)
        differing = [key for key in keys if len({repr(member.settings.get(key)) for member in same}) > 1]
        result[name] = several + [key for key in differing if not _is_implied(key, differing, same)]
    return result


def _is_implied(key: str, differing: Sequence[str], members: Sequence[Member]) -> bool:
    """True if the `name` of an enclosing table determines the value of each member.

    Some members lack the key, or all have the default of their kind: a value that was chosen does not follow.
    """
    lacking = any(key not in member.settings for member in members)
    if not lacking and not all(key in member.usual for member in members):
        return False
    parts = key.split(".")
    around = {".".join([*parts[:n], "name"]) for n in range(1, len(parts))} & set(differing) - {key}
    for name in around:
        pairs = {(repr(member.settings.get(name)), repr(member.settings.get(key))) for member in members}
        if len(pairs) == len({value for value, _ in pairs}):
            return True
    return False


def _find_key(name: str, members: Sequence[Member]) -> str:
    """Return the setting that `name` means: a whole key, or the end of exactly one."""
    known = list(dict.fromkeys(key for member in members for key in member.settings))
    if name in known:
        return name
    ends = [key for key in known if key.endswith("." + name)]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise ConfigError(f"--by {name}: ambiguous: {', '.join(ends[:-1])} or {ends[-1]}; give more of the key")
    candidates = [*known, *(key.rpartition(".")[2] for key in known)]
    raise ConfigError(f"--by {name}: no setting of these runs{nearest(name, candidates)}")


def _keep_newest_of_each_seed(members: Sequence[Member]) -> tuple[list[Member], list[str]]:
    """Keep one run of each seed: runs with equal settings and seed are repetitions and would count twice."""
    chosen: dict[int, Member] = {}
    for member in members:  # the newest last
        old = chosen.get(member.seed)
        if old is None or old.final_cost is None or member.final_cost is not None:
            chosen[member.seed] = member
    kept = list(chosen.values())
    return kept, [
        f"left out: {member.path}: repeats seed {member.seed} with the settings of {chosen[member.seed].path}"
        for member in members
        if member not in kept
    ]


def _collect_caveats(groups: Sequence[Group], members: Sequence[Member]) -> list[str]:
    """Return notes on what a reader must know to interpret the numbers."""
    notes = []
    for group in groups:
        unfinished = len(group.members) - len(group.finished)
        if group.source:
            alone = "; learning curves alone, no final scores" if unfinished else ""
            about = group.members[0].about
            notes.append(f"{group.label}: {about or f'read from {group.source}, whose task is not known'}{alone}")
        elif unfinished:
            notes.append(
                f"{group.label}: {unfinished} of {len(group.members)} runs have no final evaluation yet "
                "(`gps resume` continues them) and count only in the curves"
            )
        for member in group.finished:
            if member.final_cost is not None and np.isnan(member.final_cost):
                notes.append(f"{member.path}: no complete episode in the final evaluation, so no final cost")
        curve = group.curves.get("cost")
        if curve is None and any(member.cost is not None for member in group.members):
            notes.append(f"{group.label}: no curve of the cost: at no environment step do all seeds have data")
        elif curve is not None and curve[0].cut:
            notes.append(
                f"{group.label}: the curves span {curve[0].steps[0]:,} to {curve[0].steps[-1]:,} steps, where all "
                f"seeds have data; {curve[0].cut} of {len(group.members)} runs extend beyond and were cut"
            )
    for group in groups:
        players = {member.player for member in group.members if member.has_policy}
        notes += [
            f"{group.label}: the samples are {player.samples}, not the policy's; this also applies to the curves of "
            "cost, return and success, and to the steps until solved"
            for player in Player
            if player in players and player is not Player.POLICY
        ]
    if len({repr(m.settings.get("environment.test_conditions")) for m in members if "unseen" in m.results}) > 1:
        notes.append("the unseen starts differ between the runs: their results are not comparable")
    costs = {repr([(k, v) for k, v in m.settings.items() if k.startswith("cost.") or k == "files"]) for m in members}
    if len(costs) > 1:
        notes.append("the cost function differs between the runs: compare their success or return")
    return notes
