"""Global models as files: an `.npz` of plain arrays with a format, a checksum, and a prediction to check it by.

The file holds the learner, so that a loaded model can go on learning. Nothing in it is trusted: its size is bounded, a
checksum covers every byte of every array, the recorded data must be finite and fit together, and the model must predict
at a stored point what it predicted when it was written.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gps.errors import StoredModelError, nearest, one_line
from gps.models.model import GlobalModel, ModelLearner, SimulatorLearner
from gps.models.residual import ResidualLearner
from gps.storage.folders import open_regular, replace_file
from gps.storage.serialization import Arrays, CorruptFile, flatten, read_npz, specialise, unflatten, write_npz
from gps.storage.write_errors import report_write_errors

FORMAT = 1
"""The version of the layout; it changes when files of an earlier one cannot be read any more."""

MAX_BYTES = 1 << 30
"""The largest file that is read."""

KINDS: Mapping[str, str] = {
    "linear": "gps.models.linear:LinearLearner",
    "gmm": "gps.models.mixture_learner:MixtureLearner",
    "neural": "gps.models.ensemble_learner:EnsembleLearner",
    "recurrent": "gps.models.recurrent_learner:RecurrentLearner",
    "gp": "gps.models.gaussian_process_learner:GaussianProcessLearner",
    "physics": "gps.models.physics.learner:PhysicsLearner",
}
"""The kinds of model that can be stored, by their `name` in the configuration: the class of each learner."""

_JOINT = " + "
"""Between the kinds of a model and of its residual, as in "physics + gp"."""

_PREFIX = "learner"
_SAME = 1e-5
"""Predictions agree if they differ by less than this share of their size."""


class System(NamedTuple):
    """The system that a model is of. Names are empty where they are unknown."""

    dx: int
    du: int
    state_names: tuple[str, ...] = ()
    state_units: tuple[str, ...] = ()
    action_names: tuple[str, ...] = ()
    action_units: tuple[str, ...] = ()
    dt: float = float("nan")  # seconds


class _Header(NamedTuple):
    """What a file says of its content."""

    format: int
    kind: str
    system: System
    point: np.ndarray  # (dz,), a state and an action
    answer: np.ndarray  # (2, dx), the mean and the deviation that the model predicts there


@dataclasses.dataclass(frozen=True)
class StoredModel:
    """A model from a file.

    Attributes:
        kind: a key of `KINDS`.
        learner: its settings, its data, and the model.
        system: what it is a model of.
    """

    kind: str
    learner: ModelLearner
    system: System

    @property
    def model(self) -> GlobalModel:
        assert self.learner.model is not None  # a learner without a model is not stored
        return self.learner.model


def save_model(path: str | Path, learner: ModelLearner, system: System, point: np.ndarray | None = None) -> None:
    """Write a learner and its model, atomically.

    Args:
        system: the dimensions of state and action; better also their names.
        point: a state and an action of the data, (dz,), by which the file can be checked; None for zeros.

    Raises:
        StoredModelError: if it has no model, is of a kind that cannot be stored, or cannot be written.
    """
    path = Path(path)
    kind = _find_kind(path, learner)
    if learner.model is None:
        raise StoredModelError(f"{path}: there is no model to store yet")
    z = np.zeros(system.dx + system.du) if point is None else np.asarray(point, float)
    header = _Header(FORMAT, kind, system, z, _predict(learner.model, z, system.dx))
    try:
        parts = flatten(learner)
    except TypeError as error:
        raise StoredModelError(f"{path}: this model cannot be stored: {error}") from None
    arrays = {f"{_PREFIX}.{key}": array for key, array in parts.items()} | flatten(header)
    with report_write_errors(path, StoredModelError, "choose another file with -o"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as temporary:
            write_npz(temporary, arrays | {"checksum": _sum(arrays)})


def read_model(path: str | Path, attach: Callable[[Any], Any] = lambda learner: learner) -> StoredModel:
    """Read what `save_model` wrote.

    Args:
        attach: gives a learner what a file cannot hold, such as its simulator.

    Raises:
        StoredModelError: if it is missing, no model, altered, or of another version.
    """
    path = Path(path)
    arrays = _read(path)
    if "format" not in arrays or "checksum" not in arrays:
        raise StoredModelError(f"{path}: not a model of gps; `gps fit DATA -o MODEL` writes one")
    found = arrays.pop("checksum")
    if not np.array_equal(found, _sum(arrays)):
        raise StoredModelError(f"{path}: does not match its checksum: altered or truncated; fit the model again")
    try:
        version = int(arrays["format"].item())
        if version != FORMAT:
            raise StoredModelError(
                f"{path}: written in format {version}, and this gps reads format {FORMAT}; fit the model again, or use "
                "the version of gps that wrote it"
            )
        own = {key: array for key, array in arrays.items() if not key.startswith(f"{_PREFIX}.")}
        parts = {key.removeprefix(f"{_PREFIX}."): array for key, array in arrays.items() if key not in own}
        header = unflatten(_Header, own)
        learner = attach(unflatten(_find_class(path, header.kind), parts))
    except (CorruptFile, ValueError, TypeError, AssertionError) as error:
        raise StoredModelError(f"{path}: not what gps wrote: {one_line(error)}") from None
    _check_data(path, parts, header.system)
    _check_prediction(path, header, learner)
    return StoredModel(header.kind, learner, header.system)


def require_system(place: str, stored: StoredModel, system: System) -> None:
    """StoredModelError if a model is of another system: other dimensions, or entries with other names."""
    own = stored.system
    for what, mine, theirs in (("states", own.dx, system.dx), ("actions", own.du, system.du)):
        if mine != theirs:
            raise StoredModelError(f"{place}: a model of {mine} {what}, and this experiment has {theirs}")
    pairs = (own.state_names, system.state_names), (own.action_names, system.action_names)
    for mine_names, their_names in pairs:
        for mine_name, their_name in zip(mine_names, their_names, strict=False):
            if mine_name != their_name and not _is_plain(mine_name):
                raise StoredModelError(
                    f"{place}: a model of {_list(mine_names)}, and this experiment has {_list(their_names)}"
                )


def _is_plain(name: str) -> bool:
    """True for the name of an entry that nobody has named: x0, u1."""
    return name[:1] in ("x", "u") and name[1:].isdecimal()


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _read(path: Path) -> Arrays:
    try:
        with open_regular(path):  # neither a folder nor a pipe
            pass
        if path.stat().st_size > MAX_BYTES:
            raise StoredModelError(f"{path}: larger than {MAX_BYTES >> 20} MiB, which gps never writes")
        return read_npz(path, MAX_BYTES)
    except CorruptFile as error:
        raise StoredModelError(f"{path}: not a model of gps: {error}") from None
    except OSError as error:
        siblings = [entry.name for entry in path.parent.glob("*.npz")] if path.parent.is_dir() else []
        guess = "" if path.exists() else nearest(path.name, siblings) or "; `gps fit DATA -o MODEL` writes a model"
        raise StoredModelError(f"{path}: cannot be read: {error.strerror or error}{guess}") from None


def _find_kind(path: Path, learner: ModelLearner) -> str:
    """The kind of a learner; that of a model with a residual names both."""
    if isinstance(learner, ResidualLearner):
        return _JOINT.join(_find_kind(path, part) for part in (learner.base, learner.fresh))
    kind = next((kind for kind, place in KINDS.items() if place.endswith(f":{type(learner).__name__}")), None)
    if kind is None:
        raise StoredModelError(f"{path}: a {type(learner).__name__} cannot be stored; known are {', '.join(KINDS)}")
    return kind


def _find_class(path: Path, kind: str) -> Any:
    if _JOINT in kind:
        base, _, rest = kind.partition(_JOINT)
        return specialise(ResidualLearner, _find_class(path, base), _find_class(path, rest))
    if kind not in KINDS:
        raise StoredModelError(
            f"{path}: a model of the kind {kind!r}, which this gps does not know{nearest(kind, KINDS)}"
        )
    module, _, name = KINDS[kind].partition(":")
    return vars(import_module(module))[name]


def _sum(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The SHA-256 of the names, types, shapes and contents of arrays, (32,) bytes."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def _predict(model: GlobalModel, z: np.ndarray, dx: int) -> np.ndarray:
    x, u = z[:dx], z[dx:]
    return np.stack([np.asarray(model.mean(x, u), float), np.asarray(model.deviation(x, u), float)])


def _check_data(path: Path, parts: Arrays, system: System) -> None:
    """StoredModelError if the recorded transitions are not finite or do not fit together."""
    widths = {"states": (system.dx,), "successors": (system.dx,), "actions": (system.du,), "episodes": ()}
    for place in ("data.", "base.data.", "residual.data."):
        data = {key.removeprefix(place): array for key, array in parts.items() if key.startswith(place)}
        fits = all(name not in data or data[name].shape[1:] == width for name, width in widths.items())
        same = len({array.shape[:1] for array in data.values()}) <= 1
        if not (fits and same and all(np.isfinite(array).all() for array in data.values())):
            raise StoredModelError(f"{path}: not what gps wrote: its data are not finite or do not fit together")


def _check_prediction(path: Path, header: _Header, learner: ModelLearner) -> None:
    """StoredModelError if the model does not predict what it predicted when it was written.

    A simulator is that of the experiment at hand, whose conditions may differ from those of the data, such as the place
    of a slot. There the prediction needs only be finite.
    """
    dx, du = header.system.dx, header.system.du
    if learner.model is None or header.point.shape != (dx + du,) or header.answer.shape != (2, dx):
        raise StoredModelError(f"{path}: not what gps wrote: its parts do not fit together")
    try:
        now = _predict(learner.model, header.point, dx)
    except Exception as error:  # whatever arrays of other shapes make of the formulas
        raise StoredModelError(
            f"{path}: not what gps wrote: its arrays do not fit together: {one_line(error)}"
        ) from None
    simulated = isinstance(learner, SimulatorLearner) and learner.simulator is not None
    scale = np.abs(header.point[:dx]) + np.abs(header.answer).max(axis=0) + 1.0
    tolerance = np.inf if simulated else _SAME * scale
    if now.shape != (2, dx) or not (np.isfinite(now) & (np.abs(now - header.answer) <= tolerance)).all():
        raise StoredModelError(
            f"{path}: predicts something else than when it was written, as another version of gps might; fit it again"
        )
