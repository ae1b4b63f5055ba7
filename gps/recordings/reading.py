"""Read recorded episodes: from an `.npz`, a `.csv`, or a run directory."""

from pathlib import Path

import numpy as np

from gps.environments.contract import name_entries
from gps.errors import RecordingError
from gps.recordings.array_file import read_array_file
from gps.recordings.recording import Recording, check_recording, require_few_numbers
from gps.recordings.table_file import read_table_file
from gps.runs.finding import HOME, load_run
from gps.runs.run import Run

_READERS = {".npz": read_array_file, ".csv": read_table_file}


def names_run(path: str | Path) -> bool:
    """Return True for a directory, and for the name of one in ./runs."""
    return Path(path).is_dir() or (not Path(path).exists() and (HOME / path).is_dir())


def read_recording(path: str | Path) -> Recording:
    """Read the episodes of a file, or all rollouts of a run, whose name may leave out `runs/`.

    Raises:
        RecordingError: if it is not there, not laid out as documented, or has no transition.
        RunError: if it is a run directory that was altered.
    """
    path = Path(path)
    if names_run(path):
        return read_rollouts(load_run(path))
    if path.suffix.lower() not in _READERS:
        raise RecordingError(f"{path}: expected a file that ends in .npz or .csv, or a run directory")
    try:
        return _READERS[path.suffix.lower()](path)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror or error}") from None


def read_rollouts(run: Run) -> Recording:
    """Return the samples of all iterations of a run: the states as measured, the actions as applied.

    Raises:
        RecordingError: if there are none.
        RunError: if the run is damaged.
    """
    place = str(run.path)
    if not len(run.iterations):
        raise RecordingError(f"{place}: no iteration has been written yet")
    states: list[np.ndarray] = []
    actions: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    conditions: list[np.ndarray] = []
    total = 0
    for k in range(len(run.iterations)):
        rollouts, _ = run.rollouts(k)
        total += rollouts.states.size + rollouts.actions.size
        require_few_numbers(place, total)
        for parts, array in ((states, rollouts.states), (actions, rollouts.actions), (masks, rollouts.mask)):
            parts.append(array.reshape(-1, *array.shape[2:]))
        M, N = rollouts.mask.shape[:2]
        conditions.append(np.repeat(np.arange(M), N))
    x, u, mask = (np.concatenate(parts) for parts in (states, actions, masks))
    interface, layout = run.interface, run.state_layout or {}
    recording = Recording(
        states=x,
        actions=u,
        mask=mask,
        state_entries=name_entries(layout, x.shape[-1]) if interface is None else interface.state,
        action_entries=name_entries({}, u.shape[-1]) if interface is None else interface.action,
        dt=float("nan") if interface is None else interface.dt,
        conditions=np.concatenate(conditions),
    )
    return check_recording(place, recording)
