"""Recorded episodes as a CSV table: a header, and a row for each step."""

import csv
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gps.environments.contract import Entry
from gps.errors import RecordingError, nearest
from gps.recordings.recording import Recording, check_recording, make_entries, require_few_numbers
from gps.storage.folders import open_regular

MAX_BYTES = 1 << 28
"""The largest table that is read."""

_KNOWN = ("episode", "t")
_UNIT = re.compile(r"(.*?)(?: \[([^\[\]]*)\])?", re.S)
_JITTER = 0.5
"""A time step that differs from the others by more than this share of theirs is a gap."""


class _Columns(NamedTuple):
    """The places of the columns in a row."""

    episode: int
    t: int
    states: list[int]
    actions: list[int]


class _Episode(NamedTuple):
    """The rows of an episode as text, and the line of each in the file."""

    name: str
    rows: list[list[str]]
    lines: list[int]


def read_table_file(path: Path) -> Recording:
    """Read the columns `episode`, `t` (seconds), `x:NAME` and `u:NAME`; a unit may follow: `x:angle [rad]`.

    The rows of an episode stand together, in the order of time. Episodes may differ in length.

    Raises:
        RecordingError: if the file is not laid out so; the message has the line and the column.
        OSError: if it cannot be read.
    """
    place = str(path)
    with open_regular(path) as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise RecordingError(f"{place}: larger than {MAX_BYTES >> 20} MiB; write an .npz, which is smaller and faster")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecordingError(f"{place}: line {line}: not UTF-8 text") from None
    try:
        rows = csv.reader(lines, strict=True)
        header = [cell.strip() for cell in next(rows, [])]
        columns = _find_columns(place, header)
        episodes = list(_split(place, header, columns, rows))
    except csv.Error as error:
        raise RecordingError(f"{place}: not a table of comma-separated values: {error}") from None
    return _assemble(place, header, columns, episodes)


def _find_columns(place: str, header: Sequence[str]) -> _Columns:
    if not any(header):
        raise RecordingError(f"{place}: empty; expected a header: episode,t,x:NAME,…,u:NAME,…")
    if len(header) == 1 and ";" in header[0]:
        raise RecordingError(f"{place}: line 1: columns are separated by semicolons; expected commas")
    twice = [name for i, name in enumerate(header) if name in header[:i]]
    if twice:
        raise RecordingError(f"{place}: line 1: two columns are named {twice[0]!r}")
    for name in _KNOWN:
        if name not in header:
            raise RecordingError(
                f"{place}: line 1: no column {name!r}{nearest(name, header)}; the header is {_show(header)}"
            )
    states, actions = ([i for i, name in enumerate(header) if name.startswith(key)] for key in ("x:", "u:"))
    for key, found, what in (("x:", states, "the state"), ("u:", actions, "the action")):
        if not found:
            raise RecordingError(
                f"{place}: line 1: no column of {what}, which begin with {key!r}; the header is {_show(header)}"
            )
    return _Columns(header.index("episode"), header.index("t"), states, actions)


def _split(place: str, header: Sequence[str], columns: _Columns, rows: Iterator[list[str]]) -> Iterator[_Episode]:
    """Yield the episodes in the order of the file."""
    seen: set[str] = set()
    numbered = ((line, row) for line, row in enumerate(rows, start=2) if row)
    for name, group in itertools.groupby(numbered, lambda pair: _read_name(place, header, columns, pair)):
        pairs = list(group)
        if name in seen:
            raise RecordingError(
                f"{place}: line {pairs[0][0]}: episode {name!r} again, after another one; its rows must stand together"
            )
        seen.add(name)
        yield _Episode(name, [row for _, row in pairs], [line for line, _ in pairs])


def _read_name(place: str, header: Sequence[str], columns: _Columns, pair: tuple[int, list[str]]) -> str:
    line, row = pair
    if len(row) != len(header):
        raise RecordingError(f"{place}: line {line}: {len(row)} cells, and the header has {len(header)}")
    if not (name := row[columns.episode].strip()):
        raise RecordingError(f"{place}: line {line}, column 'episode': empty")
    return name


def _assemble(place: str, header: Sequence[str], columns: _Columns, episodes: Sequence[_Episode]) -> Recording:
    if not episodes:
        raise RecordingError(f"{place}: a header and no rows")
    E, T = len(episodes), max(len(episode.rows) for episode in episodes)
    dx, du = len(columns.states), len(columns.actions)
    require_few_numbers(place, E * T * (dx + du))
    states, actions, mask = np.zeros((E, T, dx)), np.zeros((E, T, du)), np.zeros((E, T), bool)
    times = []
    for e, episode in enumerate(episodes):
        count = len(episode.rows)
        states[e, :count] = _read_numbers(place, header, columns.states, episode)
        actions[e, :count] = _read_numbers(place, header, columns.actions, episode, last_may_be_empty=True)
        mask[e, :count] = True
        times.append(_read_numbers(place, header, [columns.t], episode)[:, 0])
    used = {*columns.states, *columns.actions, columns.episode, columns.t}
    recording = Recording(
        states,
        actions,
        mask,
        _name_entries(place, "x", [header[i] for i in columns.states]),
        _name_entries(place, "u", [header[i] for i in columns.actions]),
        _find_period(place, episodes, times),
        tuple(f"column {name!r} is not read" for i, name in enumerate(header) if i not in used),
    )
    return check_recording(place, recording)


def _read_numbers(
    place: str, header: Sequence[str], columns: Sequence[int], episode: _Episode, last_may_be_empty: bool = False
) -> np.ndarray:
    """Return the numbers of some columns, (rows, columns); 0 for empty cells of the last row where they are allowed."""
    cells = [[row[i] for i in columns] for row in episode.rows]
    if last_may_be_empty:
        cells[-1] = [cell if cell.strip() else "0" for cell in cells[-1]]
    try:
        numbers = np.array(cells, dtype=np.float64)
    except ValueError:
        numbers = np.array([[_to_number(cell) for cell in row] for row in cells])
    if not np.isfinite(numbers).all():
        row, i = np.argwhere(~np.isfinite(numbers))[0]
        cell = cells[row][i].strip()
        found = f"{cell[:40]!r}" if cell else "nothing"
        raise RecordingError(
            f"{place}: line {episode.lines[row]}, column {header[columns[i]]!r}: expected a finite number, got {found}"
        )
    return numbers


def _to_number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _find_period(place: str, episodes: Sequence[_Episode], times: Sequence[np.ndarray]) -> float:
    """Return the median time step in seconds; NaN if no episode has two rows."""
    steps = [np.diff(time) for time in times]
    for episode, step in zip(episodes, steps, strict=True):
        if (step <= 0).any():
            line = episode.lines[int(np.argmax(step <= 0)) + 1]
            raise RecordingError(
                f"{place}: line {line}, column 't': not later than the row above; the rows of episode "
                f"{episode.name!r} must be in the order of time"
            )
    if not sum(map(len, steps)):
        return math.nan
    period = float(np.median(np.concatenate(steps)))
    for episode, step in zip(episodes, steps, strict=True):
        off = np.abs(step - period) > _JITTER * period
        if off.any():
            at = int(np.argmax(off))
            raise RecordingError(
                f"{place}: line {episode.lines[at + 1]}, column 't': {step[at]:.4g} s after the row above, and most "
                f"rows are {period:.4g} s apart; rows are missing, or an episode should end here"
            )
    return period


def _name_entries(place: str, key: str, names: Sequence[str]) -> tuple[Entry, ...]:
    found = [_UNIT.fullmatch(name[2:]).groups() for name in names]  # type: ignore[union-attr]
    for name, (own, _) in zip(names, found, strict=True):
        if not own.strip():
            raise RecordingError(f"{place}: line 1: column {name!r} has no name after {key + ':'!r}")
    return make_entries(place, key, len(names), [own.strip() for own, _ in found], [unit or "" for _, unit in found])


def _show(header: Sequence[str]) -> str:
    text = ",".join(header)
    return text if len(text) <= 100 else text[:99] + "…"
