"""The learner of `NetworkEnsemble`: its settings, the data so far, and the ensemble that was fitted to them."""

import dataclasses
from typing import Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax
from gps.dynamics.prior import Transitions
from gps.errors import PolicyError
from gps.models.data import Dataset, PooledTransitions, pool_transitions
from gps.models.ensemble import NetworkEnsemble
from gps.models.features import NO_TRANSFORMS, Differences, Encoding, StateTransforms
from gps.models.members import (
    DEFAULTS,
    EnsembleOptions,
    GaussianNetwork,
    MembersFit,
    Regression,
    train_members,
    widen_variances,
)
from gps.records import ModelRecord
from gps.status import ModelStatus

_LEAST_POINTS = 10
"""With fewer transitions than this, or than inputs, there is no model."""


@dataclasses.dataclass(frozen=True)
class EnsembleLearner:
    """A `gps.models.model.ModelLearner` of neural networks.

    The first fit starts from random parameters; with `warm` each further fit starts from the last ones, in the new
    data's units, with a new bootstrap. On a cart-pole's first 900 transitions, in five fits, it is as accurate as a new
    start with twice the steps.

    Args:
        dx: size of the state.
        options: of the networks and their training.
        max_points: largest number of transitions that are trained on; more are thinned evenly.
        transforms: what is known of the entries of the state.
        warm: False to start each fit from random parameters.
        data: the transitions so far.
        model: the last good ensemble.
        record: of the last fit.

    Raises:
        PolicyError: if a value is out of range.
    """

    dx: int
    options: EnsembleOptions = DEFAULTS
    max_points: int = 100_000
    transforms: StateTransforms = NO_TRANSFORMS
    warm: bool = True
    data: Dataset | None = None
    model: NetworkEnsemble | None = None
    record: ModelRecord | None = None

    def __post_init__(self) -> None:
        if self.dx < 1 or self.max_points < 1:
            raise PolicyError("dx and max_points must be at least 1")

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the learner that has also seen `transitions`, deterministic in `seed`."""
        pooled = pool_transitions(self.data, Dataset.of(transitions, self.dx))
        learner = self._learn(pooled, seed)
        if not pooled.message or learner.record is None:
            return learner
        message = " ".join(filter(None, (learner.record.message, pooled.message)))
        return dataclasses.replace(learner, record=dataclasses.replace(learner.record, message=message))

    def _learn(self, pooled: PooledTransitions, seed: int) -> Self:
        """Return the learner with a new model of the pooled transitions, or with the last one and the reason."""
        data, new, _ = pooled
        used = data.thin(self.max_points)
        # Entries near the largest float overflow in a variance.
        with np.errstate(over="ignore", invalid="ignore"):
            encoding = Encoding.of(used, self.transforms)
            differences = Differences.of(used, self.transforms)
        if used.size < max(_LEAST_POINTS, encoding.size):
            return self._keep(data, ModelStatus.TOO_FEW_POINTS)
        if not all(np.isfinite(array).all() for array in jax.tree.leaves((encoding, differences))):
            return self._keep(data, ModelStatus.NOT_FINITE)
        if not differences.varies.any():
            return self._keep(data, ModelStatus.NO_VARIATION)
        regression = Regression(
            encoding.encode_all(used), differences.encode_all(used), differences.varies, used.episodes
        )
        if self.warm and self.model is not None:
            start = widen_variances(self.model.convert(encoding, differences).members, regression)
            steps = self.options.warm_steps
        else:
            start = GaussianNetwork.create(regression, self.options, jax.random.key(seed))
            steps = self.options.steps
        fit = train_members(start, regression, self.options, seed, steps)
        if fit.status is ModelStatus.DIVERGED:
            return self._keep(data, fit.status, fit)
        deviations = used.inputs.std(axis=0)
        model = NetworkEnsemble(fit.members, encoding, differences, deviations)
        record = self._make_record(fit.status, used.size, fit, differences)
        if self.model is not None and new.size:
            error, coverage = score(self.model, new)
            record = dataclasses.replace(record, one_step_error=error, coverage=coverage)
        return dataclasses.replace(self, data=data, model=model, record=record)

    def make_record(self) -> ModelRecord | None:
        """The summary of the last fit, or None before the first.

        Its one-step error and coverage are those of the model before on the new transitions; after the first fit,
        those of each member on what was held out from it.
        """
        return self.record

    def _keep(self, data: Dataset, status: ModelStatus, fit: MembersFit | None = None) -> Self:
        record = self._make_record(status, data.size, fit)
        return dataclasses.replace(self, data=data, record=record)

    def _make_record(
        self, status: ModelStatus, points: int, fit: MembersFit | None, differences: Differences | None = None
    ) -> ModelRecord:
        E, kind = self.options.members, "probabilistic" if self.options.probabilistic else "deterministic"
        return ModelRecord(
            name=f"{kind} network" if E == 1 else f"ensemble of {E} {kind} networks",
            points=points,
            status=status,
            message="" if status.ok else status.sentence,
            training_loss=None if fit is None else fit.training_loss,
            held_out_loss=None if fit is None else fit.held_out_loss,
            one_step_error=None if fit is None or differences is None else fit.error * differences.deviation,
            coverage=None if fit is None or differences is None else fit.coverage,
        )


def score(model: NetworkEnsemble, data: Dataset) -> tuple[Float[np.ndarray, "dx"], Float[np.ndarray, "2"]]:
    """Return the root mean square one-step error of each entry, and the share within 1σ and 2σ of the prediction."""
    size = 1 << (data.size - 1).bit_length()
    x, u = (np.resize(array, (size, array.shape[1])) for array in (data.states, data.actions))
    mean, deviation = (np.asarray(array)[: data.size] for array in _predict_all(model, x, u))
    differences, varies = model.differences, np.asarray(model.differences.varies)
    short = differences.encode_all(data._replace(states=mean)) * differences.deviation + differences.mean
    e = np.where(varies, short, data.successors - mean)  # angles differ by the shortest way
    within = [float((np.abs(e) <= s * deviation)[:, varies].mean()) for s in (1.0, 2.0)]
    return np.sqrt((e**2).mean(axis=0)), np.array(within)


@jax.jit
def _predict_all(model: NetworkEnsemble, states: Array, actions: Array) -> tuple[Array, Array]:
    def predict(x: Array, u: Array) -> tuple[Array, Array]:
        return model.mean(x, u), model.deviation(x, u)

    return jax.vmap(predict)(states, actions)
