"""Learning curves of other programs, as members of a comparison: CSV, NumPy and TensorBoard event files.

A file has environment steps and at least one of return, cost and success, by the names in `NAMES`, in columns (CSV),
arrays (`.npz`) or tags (TensorBoard). Without steps, a CSV file that has the length `l` and the return `r` of each
episode is a monitor file. A CSV file may have several runs, told apart by its columns `seed` and `name`; an array may
be (n,) or (seeds, n), and an `.npz` may have the `final_return`, `final_cost` and `final_success` of each seed: the
score without exploration of what was learned. An empty cell or a NaN is a missing value.

A folder is one group, and its files, or its folders of event files, are the seeds.
"""

from __future__ import annotations

import csv
import json
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gps.errors import RunError, install_command, nearest
from gps.inspect.comparison.member import TASK, Member, Result
from gps.inspect.statistics import Curve
from gps.players import FINAL, Player

BASELINES = "baselines"
"""The folder beside the runs of an experiment in which `gps baseline` puts a folder for each agent."""

KINDS = "files of learning curves (.csv, .npz, TensorBoard event files)"
NAMES: Mapping[str, tuple[str, ...]] = {
    "steps": ("steps", "step", "environment_steps", "env_steps", "timesteps", "total_timesteps", "global_step",
              "time/total_timesteps"),
    "return": ("return", "returns", "eval/mean_reward", "rollout/ep_rew_mean", "charts/episodic_return",
               "episodic_return", "mean_reward", "ep_rew_mean", "reward", "rewards"),
    "cost": ("cost", "costs"),
    "success": ("success", "success_rate", "eval/success_rate", "rollout/success_rate"),
}  # fmt: skip
"""Quantity -> the names of its column; the first one that the file has is read."""

_MEASURES = ("return", "cost", "success")
_MOST_BYTES = 256 << 20


def find_foreign(path: Path) -> list[Path]:
    """Return the files of learning curves at a path or in a folder: one for each CSV or `.npz`, a folder for events."""
    if path.is_file():
        known = path.suffix.lower() in (".csv", ".npz") or _holds_events(path)
        return [path] if known else []
    events = sorted({file.parent for file in path.rglob("*tfevents*")})
    return events or sorted(file for file in path.rglob("*") if file.suffix.lower() in (".csv", ".npz"))


def find_baselines(path: Path) -> list[Path]:
    """Return the folders of the agents that `gps baseline` has trained beside the runs at a path."""
    folders = [path / BASELINES, *(path.glob(f"*/{BASELINES}") if path.is_dir() else ())]
    return sorted(agent for folder in folders if folder.is_dir() for agent in folder.iterdir() if agent.is_dir())


def describe_task(settings: Mapping[str, Any]) -> str:
    """Return the settings that must agree between runs that are compared, as JSON; by dotted key."""
    return json.dumps({key: settings.get(key) for key in TASK}, sort_keys=True, default=list)


def read_foreign(path: Path, files: Sequence[Path], returns: str | None = None) -> list[tuple[str, Member]]:
    """Read the files found at a path; return the name of a group and a member for each run.

    Args:
        returns: the name under which the return is looked for; None for `NAMES`.

    Raises:
        RunError: if a file cannot be read or holds no learning curve.
    """
    names = dict(NAMES) if returns is None else {**NAMES, "return": (returns,)}
    usual = path.name if path.is_dir() else path.stem
    read: list[tuple[str, Member]] = []
    for i, file in enumerate(files):
        for series in _read_file(file, names):
            seed = _read_seed(series, file, i)
            read.append((str(series.get("name", usual)), _make_member(path, file, seed, series)))
    return read


def _read_file(file: Path, names: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Yield the numbers of each run in a file, by `NAMES`, with `seed`, `name` and final scores if there are any."""
    try:
        if file.is_dir() or _holds_events(file):
            yield _read_events(file, names)
        elif file.suffix.lower() == ".csv":
            yield from _read_table(file, names)
        else:
            yield from _read_arrays(file, names)
    except OSError as error:
        raise RunError(f"{file}: cannot be read: {error.strerror or error}") from None


def _read_seed(series: Mapping[str, Any], file: Path, index: int) -> int:
    if "seed" in series:
        return int(series["seed"])
    found = re.search(r"seed[-_=]?(\d{1,9})", file.stem, re.I)
    return int(found[1]) if found else index


def _make_member(path: Path, file: Path, seed: int, series: Mapping[str, Any]) -> Member:
    steps = np.asarray(series["steps"])
    order = np.argsort(steps, kind="stable")
    curves = {
        kind: Curve(steps[order].astype(int), np.asarray(series[kind], dtype=float)[order])
        for kind in _MEASURES
        if kind in series and not np.isnan(series[kind]).all()
    }
    if not curves:
        raise RunError(f"{file}: no finite value of a return, cost or success")
    final = {kind: float(series[f"final_{kind}"]) for kind in _MEASURES if f"final_{kind}" in series}
    return Member(
        path=file, seed=seed, settings={}, usual=frozenset(), cost=curves.get("cost"), success=curves.get("success"),
        returns=curves.get("return"), policy_kl=None, policy_loss=None, player=Player.POLICY, has_policy=False,
        episodes=int(series.get("episodes", 0)), results={FINAL: _make_result(final, series)} if final else {},
        source=str(path), about=str(series.get("about", "")), task=str(series.get("task", "")),
    )  # fmt: skip


def _make_result(final: Mapping[str, float], series: Mapping[str, Any]) -> Result:
    solved = tuple(bool(flag) for flag in np.atleast_1d(series.get("final_solved", ())))
    return Result(final.get("cost"), final.get("return"), solved)


def _choose(file: Path, names: Mapping[str, Sequence[str]], there: Sequence[str], what: str) -> dict[str, str]:
    """Return the name of each kind that a file has.

    Args:
        what: what the names are: columns, arrays or tags.

    Raises:
        RunError: if there are no steps, or no measure.
    """
    lower = {name.strip().lower(): name for name in reversed(there)}
    found = {
        kind: next((lower[name.lower()] for name in some if name.lower() in lower), "") for kind, some in names.items()
    }
    listed = ", ".join(list(there)[:12]) or "none"
    if not found["steps"]:
        raise RunError(f"{file}: no environment steps; name them 'steps'; its {what}: {listed}")
    if len(names["return"]) == 1 and not found["return"]:
        (name,) = names["return"]
        raise RunError(f"{file}: no {name!r}{nearest(name, there)}; its {what}: {listed}")
    if not any(found[kind] for kind in _MEASURES):
        raise RunError(f"{file}: no return, cost or success; give --return NAME; its {what}: {listed}")
    return {kind: name for kind, name in found.items() if name}


# -- tables ------------------------------------------------------------------------------------------------------------


def _read_table(file: Path, names: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8-sig", newline="", errors="replace") as stream:
        reader = csv.DictReader(line for line in stream if not line.startswith("#"))  # a monitor file has a comment
        rows = list(reader)
        columns = [name for name in reader.fieldnames or () if name]
    if not rows:
        raise RunError(f"{file}: an empty table")
    table = {name: [row[name] for row in rows] for name in columns}
    if "l" in table and "r" in table and not set(names["steps"]) & set(table):
        lengths, scores = (_parse_numbers(file, name, table[name]) for name in ("l", "r"))
        yield {"steps": np.cumsum(lengths), "return": scores, "episodes": len(rows)}
        return
    chosen = _choose(file, names, columns, "columns")
    numbers = {kind: _parse_numbers(file, name, table[name]) for kind, name in chosen.items()}
    keys = [tuple(table[name][i] for name in ("name", "seed") if name in table) for i in range(len(rows))]
    for key in dict.fromkeys(keys):
        of_run = np.array([other == key for other in keys]) & ~np.isnan(numbers["steps"])
        about = dict(zip([name for name in ("name", "seed") if name in table], key, strict=True))
        if "seed" in about:
            about["seed"] = _parse_seed(file, about["seed"])
        yield {**about, **{kind: values[of_run] for kind, values in numbers.items()}}


def _parse_numbers(file: Path, column: str, cells: Sequence[str | None]) -> np.ndarray:
    try:
        return np.array([float(cell) if cell and cell.strip() else np.nan for cell in cells])
    except ValueError as error:
        raise RunError(f"{file}: column {column}: {error}") from None


def _parse_seed(file: Path, cell: str) -> int:
    try:
        return int(float(cell))
    except (ValueError, OverflowError):
        raise RunError(f"{file}: column seed: expected an integer, got {cell!r}") from None


# -- arrays ------------------------------------------------------------------------------------------------------------


def _read_arrays(file: Path, names: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, zipfile.BadZipFile, EOFError):
        raise RunError(f"{file}: not an .npz of arrays of numbers") from None
    chosen = _choose(file, names, list(arrays), "arrays")
    values = {kind: arrays[name] for kind, name in chosen.items()}
    for kind, name in chosen.items():
        if not np.issubdtype(values[kind].dtype, np.number) or values[kind].ndim not in (1, 2):
            raise RunError(f"{file}: {name}: expected numbers of shape (n,) or (seeds, n), got {values[kind].shape}")
    count = max(len(array) if array.ndim == 2 else 1 for array in values.values())
    n = values["steps"].shape[-1]
    for kind, name in chosen.items():
        if values[kind].shape not in ((n,), (count, n)):
            raise RunError(
                f"{file}: {name}: expected ({n},) or ({count}, {n}) like the steps, got {values[kind].shape}"
            )
    extras = ("seed", "episodes", "final_return", "final_cost", "final_success", "final_solved")
    for i in range(count):
        series: dict[str, Any] = {kind: array[i] if array.ndim == 2 else array for kind, array in values.items()}
        for name in extras:
            if name in arrays:
                array = arrays[name]
                several = array.ndim > (name == "final_solved")
                if several and len(array) != count:
                    raise RunError(f"{file}: {name}: expected one for each of {count} seeds, got {len(array)}")
                series[name] = array[i] if several else array
        series |= {name: str(arrays[name]) for name in ("name", "about", "task") if name in arrays}
        yield series


# -- TensorBoard -------------------------------------------------------------------------------------------------------


def _holds_events(path: Path) -> bool:
    return path.is_file() and "tfevents" in path.name


def _read_events(path: Path, names: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the curves of the event files in a folder; where two have a step, the later file counts."""
    files = [path] if path.is_file() else sorted(path.glob("*tfevents*"), key=lambda file: file.name)
    scalars: dict[str, dict[int, float]] = {}
    for file in files:
        for tag, step, value in _parse_events(file):
            scalars.setdefault(tag, {})[step] = value
    chosen = _choose(path, {**names, "steps": ("steps",)}, ["steps", *scalars], "tags")
    curves = {kind: scalars[tag] for kind, tag in chosen.items() if kind != "steps"}
    steps = np.array(sorted({step for curve in curves.values() for step in curve}), dtype=int)
    return {"steps": steps, **{k: np.array([c.get(int(s), np.nan) for s in steps]) for k, c in curves.items()}}


def _parse_events(file: Path) -> Iterator[tuple[str, int, float]]:
    """Yield tag, step and value of each scalar. A record: length (8 bytes), checksum (4), data, checksum (4)."""
    try:
        from google.protobuf.message import DecodeError
        from tensorboardX.proto.event_pb2 import Event
    except ImportError:
        raise RunError(f"{file}: event files need one more package: {install_command('tensorboard')}") from None
    if file.stat().st_size > _MOST_BYTES:
        raise RunError(f"{file}: larger than {_MOST_BYTES >> 20} MiB; export its scalars as CSV")
    data, at = file.read_bytes(), 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 16 + length > len(data):  # another program is writing this record
            return
        try:
            event = Event.FromString(data[at + 12 : at + 12 + length])
        except DecodeError:
            raise RunError(f"{file}: not a TensorBoard event file, or damaged at byte {at}") from None
        at += 16 + length
        for value in event.summary.value:
            if value.HasField("simple_value"):
                yield value.tag, event.step, value.simple_value
            elif value.HasField("tensor") and len(value.tensor.float_val) == 1:
                yield value.tag, event.step, value.tensor.float_val[0]
