"""The learner of `NetworkEnsemble`: its settings, the data so far, and the ensemble that was fitted to them."""

import dataclasses
from typing import Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax
from gps.models.data import Dataset
from gps.models.ensemble import NetworkEnsemble
from gps.models.members import (
    DEFAULTS,
    EnsembleOptions,
    GaussianNetwork,
    Regression,
    train_members,
    widen_variances,
)
from gps.models.network_learner import Losses, NetworkLearner, normalise_data
from gps.status import ModelStatus


@dataclasses.dataclass(frozen=True)
class EnsembleLearner(NetworkLearner):
    """A `gps.models.model.ModelLearner` of neural networks.

    The first fit starts from random parameters; with `warm` each further fit starts from the last ones, in the new
    data's units, with a new bootstrap. On a cart-pole's first 900 transitions, in five fits, it is as accurate as a new
    start with twice the steps.

    The one-step error and the coverage of its record are those of the model before on the new transitions; after the
    first fit, those of each member on what was held out from it.

    Args:
        warm: False to start each fit from random parameters; `NetworkLearner` has the others.
    """

    options: EnsembleOptions = DEFAULTS
    model: NetworkEnsemble | None = None
    warm: bool = True

    @property
    def kind(self) -> str:
        return "probabilistic" if self.options.probabilistic else "deterministic"

    def fit(self, data: Dataset, new: Dataset, seed: int) -> Self:
        used = data.thin(self.max_points)
        scales = normalise_data(used, self.transforms)
        if isinstance(scales, ModelStatus):
            return self.keep(scales, data.size)
        encoding, differences = scales
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
        losses = Losses(fit.training_loss, fit.held_out_loss)
        if fit.status is ModelStatus.DIVERGED:
            return self.keep(fit.status, data.size, losses)
        if self.model is not None and new.size:
            error, coverage = score(self.model, new)
        else:
            error, coverage = fit.error * differences.deviation, fit.coverage
        model = NetworkEnsemble(fit.members, encoding, differences, used.inputs.std(axis=0))
        record = self.describe(fit.status, used.size, losses, one_step_error=error, coverage=coverage)
        return dataclasses.replace(self, model=model, record=record)


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
