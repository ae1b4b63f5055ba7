"""Learn a global model from recorded episodes, and judge it on episodes that it has not seen."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float
from threadpoolctl import threadpool_limits

from gps.backend import Array, jnp
from gps.builders.modelled import Modelled
from gps.builders.models import find_transforms, make_model
from gps.config.model import LearnedModelConfig, LinearModelConfig, ModelConfig, PhysicsModelConfig
from gps.environments.contract import BatchEnvironment
from gps.errors import RecordingError
from gps.linear_gaussian.types import pytree
from gps.models.calibration import Calibration, calibrate
from gps.models.model import GlobalModel, ModelLearner
from gps.models.stored import save_model
from gps.recordings import Recording
from gps.records import ModelRecord
from gps.status import Severity


class ModelReport(NamedTuple):
    """What `gps fit` has learned, and how well it predicts.

    Attributes:
        learner: with the model.
        recording: all episodes.
        record: of the fit.
        learned, held_out: the numbers of the episodes that it was fitted to, and of those it is judged by.
        model, stays, goes_on: the calibration of the model and of two predictions that know nothing: "stays as it is",
            x' = x, and "goes on as it did", x' = x + (x − the state before).
        angles: entries whose errors are taken by the shortest way around.
        seconds: that the fit took.
    """

    learner: ModelLearner
    recording: Recording
    record: ModelRecord
    learned: np.ndarray
    held_out: np.ndarray
    model: Calibration
    stays: Calibration
    goes_on: Calibration
    angles: tuple[int, ...]
    seconds: float

    @property
    def is_judged_by_its_own_data(self) -> bool:
        """True if no episode could be held out."""
        return not len(self.held_out)


def fit_model(
    config: ModelConfig,
    recording: Recording,
    directory: Path = Path(),
    seed: int = 0,
    horizon: int = 20,
    held_out: float = 0.2,
    environment: BatchEnvironment | None = None,
    conditions: Sequence[Mapping[str, Any]] = (),
) -> ModelReport:
    """Fit a model to most of the episodes, and calibrate it on the others.

    Args:
        directory: to which paths in `config` are relative.
        seed: of the choice of the episodes and of the fit.
        horizon: the largest number of steps ahead that is judged.
        held_out: share of the episodes that the model does not see; at least one of two or more, unless it is 0.
        environment: of the system that was recorded, with the names and units of its entries; physics needs it.
        conditions: of the recorded episodes, to each of which physics resets the environment.

    Raises:
        ConfigError: if the settings do not fit the state.
        RecordingError: if no model could be learned from the data, or physics cannot tell which condition is whose.
    """
    if isinstance(config, PhysicsModelConfig) and len(conditions) > 1 and recording.conditions is None:
        raise RecordingError(
            f"the experiment has {len(conditions)} conditions, and the recording does not say which episode is of "
            "which; give an .npz with states of the shape (M, N, T, dx), or a run directory"
        )
    modelled = _describe_system(recording, environment, conditions)
    learner = make_model(config, modelled, directory, "model")
    learned, kept = _split(recording.episodes, held_out, seed)
    began = time.perf_counter()
    with threadpool_limits(1):  # as a run does
        learner = learner.refit(recording.take(learned).transitions, seed)
    record = learner.make_record()
    seconds = time.perf_counter() - began
    if learner.model is None or record is None or record.status.severity is Severity.ERROR:
        said = "" if record is None else f" {record.message or record.status.sentence} {record.status.remedy}".rstrip()
        raise RecordingError(f"no model was learned from {recording.size} transitions.{said}")
    declared = config if isinstance(config, LearnedModelConfig) else LinearModelConfig()
    angles = find_transforms(declared, modelled, "model").angles
    judges = recording.take(kept if len(kept) else learned)
    return ModelReport(
        learner, recording, record, learned, kept,
        *_judge(learner, judges, horizon, angles), angles, seconds,
    )  # fmt: skip


def write_model(report: ModelReport, path: str | Path) -> None:
    """Write the model of a report; see `gps.models.stored.save_model`."""
    recording = report.recording
    modelled = Modelled(recording.state_entries, recording.action_entries, dt=recording.dt)
    e, t = np.argwhere(recording.mask[:, :-1] & recording.mask[:, 1:])[0]
    point = np.concatenate([recording.states[e, t], recording.actions[e, t]])
    save_model(path, report.learner, modelled.system, point)


def _describe_system(
    recording: Recording, environment: BatchEnvironment | None, conditions: Sequence[Mapping[str, Any]]
) -> Modelled:
    """What was recorded, with the names of the environment if there is one.

    Raises:
        RecordingError: if the episodes are of another system.
    """
    if environment is None:
        return Modelled(recording.state_entries, recording.action_entries, dt=recording.dt)
    states, actions = environment.state_entries, environment.action_entries
    if (recording.dx, recording.du) != (len(states), len(actions)):
        raise RecordingError(
            f"the episodes have {recording.dx} states and {recording.du} actions, and the experiment has {len(states)} "
            f"and {len(actions)}"
        )
    layout, dt = environment.state_layout, environment.dt
    return Modelled(states, actions, layout, dt, environment=environment, conditions=conditions)


def _split(episodes: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The episodes to learn from, and those to hold out."""
    count = 0 if share == 0 or episodes < 2 else min(max(1, round(share * episodes)), episodes - 1)
    order = np.random.default_rng(seed).permutation(episodes)
    return np.sort(order[count:]), np.sort(order[:count])


def _judge(
    learner: ModelLearner, recording: Recording, horizon: int, angles: tuple[int, ...]
) -> tuple[Calibration, Calibration, Calibration]:
    """The calibration of the model, of "stays" and of "goes on", from the same states."""
    x, u, mask = recording.by_condition
    later = mask[..., 1:] & mask[..., :-1]  # "goes on" needs the state before
    enough = bool((later[..., 1:] & later[..., :-1]).any())
    both = np.concatenate([x[:, :, 1:], x[:, :, :-1]], axis=-1)
    if enough:
        x, u, mask = x[:, :, 1:], u[:, :, 1:], later
    assert learner.model is not None
    model = calibrate(learner.model, x, u, mask, horizon, angles)
    stays = calibrate(cast(GlobalModel, _Stays()), x, u, mask, horizon, angles)
    if not enough:
        unknown = Calibration(*(np.full_like(part, np.nan) for part in stays))
        return model, stays, unknown
    goes_on = calibrate(cast(GlobalModel, _GoesOn()), both, u, mask, horizon, angles)
    dx = recording.dx
    return (
        model,
        stays,
        goes_on._replace(one_step_error=goes_on.one_step_error[:dx], horizon_error=goes_on.horizon_error[:, :dx]),
    )


@pytree
class _Stays:
    """The prediction x' = x."""

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        return x

    def deviation(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        return jnp.zeros_like(x)


@pytree
class _GoesOn:
    """The prediction x' = x + (x − p) of the state and the one before, [x; p]."""

    def mean(self, x: Float[Array, "dxdx"], u: Float[Array, "du"]) -> Float[Array, "dxdx"]:
        now, before = jnp.split(x, 2)
        return jnp.concatenate([2 * now - before, now])

    def deviation(self, x: Float[Array, "dxdx"], u: Float[Array, "du"]) -> Float[Array, "dxdx"]:
        return jnp.zeros_like(x)
