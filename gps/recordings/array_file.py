"""Recorded episodes as arrays in an `.npz` file, without pickles."""

from pathlib import Path

import numpy as np
from jaxtyping import Num

from gps.errors import RecordingError, nearest
from gps.recordings.recording import Recording, check_recording, make_entries, require_few_numbers
from gps.storage.serialization import Arrays, CorruptFile, read_npz

_TEXTS = ("state_names", "action_names", "state_units", "action_units")
_KNOWN = ("states", "actions", "mask", "dt", *_TEXTS)


def read_array_file(path: Path) -> Recording:
    """Read `states` (N, T, dx) or (M, N, T, dx), `actions`, and, where there are, `mask`, `dt`, names and units.

    Raises:
        RecordingError: if the file is not laid out so.
        OSError: if it cannot be read.
    """
    try:
        arrays = read_npz(path, text=True)
    except CorruptFile as error:
        raise RecordingError(f"{path}: {error}") from None
    place = str(path)
    if "checksum" in arrays and "kind" in arrays:
        raise RecordingError(f"{place}: a model, not recorded episodes")
    for name in ("states", "actions"):
        if name not in arrays:
            raise RecordingError(f"{place}: no array {name!r}{nearest(name, arrays)}; it has {_list(arrays)}")
    states = _numbers(place, "states", arrays["states"])
    if states.ndim not in (2, 3, 4) or 0 in states.shape:
        raise RecordingError(
            f"{place}: states have the shape {states.shape}; expected (N, T, dx), or (M, N, T, dx) with conditions"
        )
    lead = states.shape[:-2]
    actions = _numbers(place, "actions", arrays["actions"])
    T = states.shape[-2]
    if actions.ndim != states.ndim or actions.shape[:-2] != lead or actions.shape[-2] not in (T, T - 1):
        raise RecordingError(
            f"{place}: actions have the shape {actions.shape}, and the states {states.shape}; expected "
            f"{(*lead, T, 'du')}, or one step less, as the last action leads nowhere".replace("'", "")
        )
    if actions.shape[-1] == 0:
        raise RecordingError(f"{place}: actions have the shape {actions.shape}, without any entry")
    mask = _read_mask(place, arrays, states.shape[:-1])
    E = int(np.prod(lead, dtype=int))
    require_few_numbers(place, E * T * (states.shape[-1] + actions.shape[-1]))
    whole = np.zeros((*states.shape[:-1], actions.shape[-1]))
    whole[..., : actions.shape[-2], :] = actions
    texts = {name: _read_texts(place, name, arrays) for name in _TEXTS}
    dx, du = states.shape[-1], actions.shape[-1]
    recording = Recording(
        states.reshape(E, T, dx),
        whole.reshape(E, T, du),
        mask.reshape(E, T),
        make_entries(place, "x", dx, texts["state_names"], texts["state_units"]),
        make_entries(place, "u", du, texts["action_names"], texts["action_units"]),
        _read_dt(place, arrays),
        tuple(f"{name} is not read" for name in sorted(set(arrays) - set(_KNOWN))),
        np.repeat(np.arange(lead[0]), lead[1]) if len(lead) == 2 else None,
    )
    return check_recording(place, recording)


def _numbers(place: str, name: str, array: np.ndarray) -> Num[np.ndarray, "..."]:
    if array.dtype.kind not in "biuf":
        raise RecordingError(f"{place}: {name} are an array of {array.dtype}; expected real numbers")
    return array.astype(np.float64)


def _read_mask(place: str, arrays: Arrays, shape: tuple[int, ...]) -> np.ndarray:
    mask = arrays.get("mask", np.ones(shape, bool))
    if mask.shape != shape or mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise RecordingError(
            f"{place}: mask of {mask.dtype} with the shape {mask.shape}; expected {shape}, True for each step that was "
            "taken"
        )
    return mask.astype(bool)


def _read_dt(place: str, arrays: Arrays) -> float:
    if "dt" not in arrays:
        return float("nan")
    dt = arrays["dt"]
    if dt.size != 1 or dt.dtype.kind not in "iuf" or not 0 < dt.item() < np.inf:
        raise RecordingError(f"{place}: dt must be one positive number, the seconds of a step")
    return float(dt.item())


def _read_texts(place: str, name: str, arrays: Arrays) -> list[str]:
    if name not in arrays:
        return []
    array = arrays[name]
    if array.dtype.kind != "U" or array.ndim != 1:
        raise RecordingError(f"{place}: {name} is an array of {array.dtype}; expected a list of strings")
    try:
        return [str(text) for text in array]
    except ValueError:
        raise RecordingError(f"{place}: {name} has characters that do not exist") from None


def _list(arrays: Arrays) -> str:
    return ", ".join(sorted(arrays)[:20]) or "none at all"
