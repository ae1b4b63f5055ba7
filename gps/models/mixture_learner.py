"""Learn a Gaussian mixture as a global model, from all transitions so far."""

import dataclasses
from typing import Self

import numpy as np

from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import Transitions
from gps.models.data import Dataset, pool_transitions
from gps.models.encoded_mixture import EncodedMixture, join_points
from gps.models.features import NO_TRANSFORMS, StateTransforms
from gps.models.mixture import MixtureRegression
from gps.records import MixtureRecord, ModelRecord
from gps.status import ModelStatus

_USUAL = MixturePrior(memory=1, em_steps=50, max_points=20_000)


@dataclasses.dataclass(frozen=True)
class MixtureLearner:
    """Learns a `MixtureRegression`, or with angles an `EncodedMixture`. A `gps.models.model.ModelLearner`.

    Args:
        dx, du: dimensions of state and action.
        mixture: settings of the mixture, and the last one, from which the next fit starts.
        transforms: what is known of the state's entries.
        data: learned: the transitions so far; None for none.
        plain, encoded: learned: the model of a state without and with transforms; None while there are too few
            transitions.
    """

    dx: int
    du: int
    mixture: MixturePrior = _USUAL
    transforms: StateTransforms = NO_TRANSFORMS
    data: Dataset | None = None
    plain: MixtureRegression | None = None
    encoded: EncodedMixture | None = None
    status: ModelStatus = ModelStatus.OK
    message: str = ""

    @property
    def model(self) -> MixtureRegression | EncodedMixture | None:
        """The model; None while there are too few transitions."""
        return self.plain if self.transforms == NO_TRANSFORMS else self.encoded

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the learner that has also seen `transitions`. It is deterministic in `seed`."""
        new = Dataset.of(transitions, self.dx)
        if not new.bounded:
            message = "The new transitions exploded, and were left out."
            return dataclasses.replace(self, status=ModelStatus.NOT_FINITE, message=message)
        data, _, said = pool_transitions(self.data, new)
        seen = dataclasses.replace(self, data=data, status=ModelStatus.OK, message=said)
        if data.size < self.mixture.points_per_cluster:
            message = f"A cluster needs {self.mixture.points_per_cluster} transitions, and there are {data.size}."
            return dataclasses.replace(seen, status=ModelStatus.TOO_FEW_POINTS, message=message)
        plain = self.transforms == NO_TRANSFORMS
        points = np.concatenate([data.inputs, data.successors], axis=1) if plain else join_points(data, self.transforms)
        if (points == points[0]).all():
            return dataclasses.replace(seen, status=ModelStatus.NO_VARIATION)
        # The clusters of one fit are where the next begins, unless the encoded inputs have other units since.
        fresh = dataclasses.replace(self.mixture, memory=1, pool=(), mixture=self.mixture.mixture if plain else None)
        try:
            fitted = fresh.refit(Transitions(points[None, None], np.ones((1, 1, len(points)), bool)), seed)
            assert fitted.mixture is not None
            size = self.mixture.clusters, min(data.size, self.mixture.max_points)
            seen = dataclasses.replace(seen, mixture=fitted)
            if plain:
                return dataclasses.replace(seen, plain=MixtureRegression.of(fitted.mixture, self.dx, *size))
            return dataclasses.replace(seen, encoded=EncodedMixture.of(fitted.mixture, data, self.transforms, *size))
        except (ValueError, np.linalg.LinAlgError):  # scikit-learn found no positive definite covariance
            return dataclasses.replace(seen, mixture=self.mixture, status=ModelStatus.NOT_FINITE)

    def make_record(self) -> ModelRecord | None:
        """The summary of the last fit; None before the first."""
        if self.data is None:
            return None
        mixture = self.mixture.mixture if self.transforms == NO_TRANSFORMS else None  # the views show plain points
        return ModelRecord(
            mixture=None if mixture is None else MixtureRecord(mixture.weights, mixture.means, mixture.covariances),
            name="mixture of Gaussians",
            points=min(self.data.size, self.mixture.max_points),
            status=self.status,
            message=self.message,
        )
