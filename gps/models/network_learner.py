"""The base of the learners of neural models: the data so far, the checks before a fit, and the record of it."""

import abc
import dataclasses
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float

from gps.backend import jax
from gps.dynamics.prior import Transitions
from gps.errors import PolicyError
from gps.models.data import Dataset, pool_transitions
from gps.models.features import NO_TRANSFORMS, Differences, Encoding, StateTransforms
from gps.models.members import MembersOptions
from gps.records import ModelRecord
from gps.status import ModelStatus

_LEAST_POINTS = 10
"""With fewer transitions than this, or than inputs, there is no model."""


class Losses(NamedTuple):
    """Training and held-out losses at each check: means over the members that still trained."""

    training: Float[np.ndarray, "checks"]
    held_out: Float[np.ndarray, "looks"]


@dataclasses.dataclass(frozen=True)
class NetworkLearner(abc.ABC):
    """The fields of a learner of networks, and all of it but the fit.

    Args:
        dx: size of the state.
        options: of the networks and their training.
        max_points: largest number of transitions that are trained on; more are thinned evenly.
        transforms: what is known of the entries of the state.
        data: the transitions so far.
        model: the last good model.
        record: of the last fit.

    Raises:
        PolicyError: if a value is out of range.
    """

    dx: int
    options: MembersOptions = dataclasses.field(default_factory=MembersOptions)
    max_points: int = 100_000
    transforms: StateTransforms = NO_TRANSFORMS
    data: Dataset | None = None
    model: Any = None
    record: ModelRecord | None = None

    def __post_init__(self) -> None:
        if self.dx < 1 or self.max_points < 1:
            raise PolicyError("dx and max_points must be at least 1")

    @property
    @abc.abstractmethod
    def kind(self) -> str:
        """The kind of one network, in words."""

    @abc.abstractmethod
    def fit(self, data: Dataset, new: Dataset, seed: int) -> Self:
        """Return the learner with a new model and record of `data`, or with the last model and the reason.

        Args:
            new: the part of `data` that came after the last fit; the last model is judged by it.
        """

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the learner that has also seen `transitions`, deterministic in `seed`."""
        data, new, said = pool_transitions(self.data, Dataset.of(transitions, self.dx))
        learner = self.fit(data, new, seed)
        record = learner.record
        if record is not None and said:
            record = dataclasses.replace(record, message=" ".join(filter(None, (record.message, said))))
        return dataclasses.replace(learner, data=data, record=record)

    def make_record(self) -> ModelRecord | None:
        """The summary of the last fit, or None before the first."""
        return self.record

    def keep(self, status: ModelStatus, points: int, losses: Losses | None = None) -> Self:
        """Return the learner with the last model, and a record of why there is no new one."""
        return dataclasses.replace(self, record=self.describe(status, points, losses))

    def describe(self, status: ModelStatus, points: int, losses: Losses | None = None, **errors: Any) -> ModelRecord:
        """Return the record of a fit, with the measured errors as further fields."""
        E = self.options.members
        return ModelRecord(
            name=f"{self.kind} network" if E == 1 else f"ensemble of {E} {self.kind} networks",
            points=points,
            status=status,
            message="" if status.ok else status.sentence,
            training_loss=None if losses is None else losses.training,
            held_out_loss=None if losses is None else losses.held_out,
            **errors,
        )


def normalise_data(data: Dataset, transforms: StateTransforms) -> tuple[Encoding, Differences] | ModelStatus:
    """Return how inputs and targets are normalised, or why nothing can be learned from these data."""
    if data.size < _LEAST_POINTS:
        return ModelStatus.TOO_FEW_POINTS
    # Entries near the largest float overflow in a variance.
    with np.errstate(over="ignore", invalid="ignore"):
        encoding, differences = Encoding.of(data, transforms), Differences.of(data, transforms)
    if data.size < encoding.size:
        return ModelStatus.TOO_FEW_POINTS
    if not all(np.isfinite(array).all() for array in jax.tree.leaves((encoding, differences))):
        return ModelStatus.NOT_FINITE
    return (encoding, differences) if differences.varies.any() else ModelStatus.NO_VARIATION
