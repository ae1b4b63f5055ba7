"""Cut the pooled transitions of a model's data into sequences, for a model with a memory."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from gps.models.data import Dataset, thin_rows


class SequenceRows(NamedTuple):
    """W sequences of at most L consecutive transitions, by their rows in a `Dataset`."""

    rows: Int[np.ndarray, "W L"]  # 0 after the end of a sequence
    counted: Bool[np.ndarray, "W L"]  # False after the end, and where the memory is not to be trusted yet
    episodes: Int[np.ndarray, "W"]


def cut_sequences(data: Dataset, length: int, burn_in: int, most: int) -> SequenceRows:
    """Cut each episode into sequences, at most `most` of them, evenly spread.

    A sequence that does not begin with its episode begins `burn_in` steps early, and these do not count: a memory that
    is empty there is wrong. So each transition counts once. A transition that is missing, as its row was masked, ends
    a sequence.

    Args:
        length: L; more than `burn_in`.
    """
    starts: list[int] = []
    counts: list[tuple[int, int]] = []
    for first, size, whole in _find_runs(data):
        for begin in range(0, max(size - burn_in, 1), length - burn_in):
            ready = 0 if whole and begin == 0 else burn_in
            end = min(length, size - begin)
            if end > ready:
                starts.append(first + begin)
                counts.append((ready, end))
    kept = thin_rows(len(starts), most)
    begin = np.array(starts, int)[kept][:, None]
    ready, end = np.array(counts, int).reshape(-1, 2)[kept].T[..., None]
    steps = np.arange(length)
    rows = np.where(steps < end, begin + steps, 0)
    return SequenceRows(rows, (steps >= ready) & (steps < end), data.episodes[begin[:, 0]])


def _find_runs(data: Dataset) -> list[tuple[int, int, bool]]:
    """Return the first row of each run of consecutive transitions, its size, and True if it begins an episode."""
    if not data.size:
        return []
    same = data.episodes[1:] == data.episodes[:-1]
    goes_on = same & (data.successors[:-1] == data.states[1:]).all(axis=1)
    firsts = np.flatnonzero(np.concatenate([[True], ~goes_on]))
    sizes = np.diff(np.append(firsts, data.size))
    whole = np.concatenate([[True], ~same])[firsts]
    return list(zip(firsts.tolist(), sizes.tolist(), whole.tolist(), strict=True))
