"""A global model as the prior of local dynamics.

The local dynamics of an iteration are the model's own, corrected by a regression of its residuals on the samples
(`gps.dynamics.residual`). The model was trained on the iterations before: it would otherwise have seen the residuals
that are to tell how far to trust it. Its belief comes from its drawn functions: how far they differ is its doubt, and
what a call with a key adds is the system's noise. The covariance of its slopes is stated by the model where it can
(`SlopeBelief`), and is that of the drawn functions otherwise.
"""

import dataclasses
from functools import partial
from typing import Any, Generic, Literal, Self

import equinox as eqx
import numpy as np
from jaxtyping import Float
from typing_extensions import TypeVar

from gps.backend import Array, jax, jnp
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior, LocalFit, Transitions
from gps.dynamics.regression import fit_dynamics, fit_first_state, mean_square_deviation
from gps.dynamics.residual import ModelBelief, Residuals, Weights
from gps.dynamics.units import positive_deviation
from gps.linear_gaussian.types import LinearDynamics
from gps.models.model import GlobalModel, ModelLearner
from gps.models.slopes import SlopeBelief, slope_spread
from gps.records import ModelRecord
from gps.storage.serialization import specialise

DRAWS = 32
"""Functions drawn from the model: its doubt and its noise are known to an eighth."""

_LEAST_NOISE = 1e-6
"""Least variance of the noise, relative to the mean square residual."""

_ROUNDING = 1e-6
"""Least deviation of the noise, relative to the deviation of the state."""

_SURE = 1e-9
"""A doubt whose variance is below this share of the noise is rounding: the model has none."""

L = TypeVar("L", bound=ModelLearner, default=ModelLearner, covariant=True)


@dataclasses.dataclass(frozen=True)
class PriorReport:
    """How the last fit under the model went."""

    message: str  # a sentence
    one_step_error: Float[np.ndarray, "dx"] | None = None  # root mean square of the model's residuals
    coverage: Float[np.ndarray, "2"] | None = None  # share of the residuals within 1σ and 2σ


@dataclasses.dataclass(frozen=True)
class ModelPrior(DynamicsPrior, Generic[L]):
    """A prior of local dynamics from a global model.

    Args:
        learner: learns the model.
        before: the prior while there is no model, and where its prediction is not finite; None is least squares.
        strength, degrees: see `gps.dynamics.residual`; None chooses them in each iteration by marginal likelihood.
        report: of the last fit.
    """

    learner: L
    before: MixturePrior | None = None
    strength: float | None = None
    degrees: float | None = None
    report: PriorReport | None = None

    @property
    def stored_type(self) -> Any:
        return specialise(ModelPrior, type(self.learner))

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the prior whose model has also seen `transitions`."""
        return dataclasses.replace(self, learner=self.learner.refit(transitions, seed))

    def fit(
        self,
        states: np.ndarray,
        actions: np.ndarray,
        mask: np.ndarray,
        seed: int,
        ridge: float = 1e-6,
        center: Literal["posterior", "sample"] = "posterior",
    ) -> LocalFit:
        """Fit the local dynamics under the model of the iterations before, then let the model see the samples.

        The regression needs no ridge; `ridge` is that of the first state, and of the fit without a model.
        """
        transitions = Transitions.of(states, actions, mask)
        model = self.learner.model
        belief = None if model is None else believe(model, transitions, states.shape[-1], seed)
        if belief is None or not all(np.isfinite(array).all() for array in belief):
            why = "There is no model yet" if belief is None else "The model's prediction was not finite"
            report = PriorReport(f"{why}; the local dynamics were fitted {self._otherwise}.")
            before = self.before
            if before is None:
                dynamics = fit_dynamics(states, actions, mask, None, ridge, center)
            else:
                dynamics, before = before.fit(states, actions, mask, seed, ridge, center)
            seen = dataclasses.replace(self, before=before, report=report)
            return LocalFit(dynamics, seen.refit(transitions, seed))
        residuals = Residuals.of(transitions, belief)
        weights = residuals.choose_weights(self.strength, self.degrees)
        F, c, W = residuals.fit(weights, center)
        floor = ridge * mean_square_deviation(transitions)[: states.shape[-1]]
        start = fit_first_state(states[:, :, 0], mask[:, :, 0], floor)
        dynamics = LinearDynamics(F, c, W, *start)
        seen = dataclasses.replace(self, report=_make_report(transitions, belief, residuals, weights))
        return LocalFit(dynamics, seen.refit(transitions, seed))

    def make_record(self) -> ModelRecord | None:
        """The record of the model, with the strength in words, and its error on the samples that it had not seen."""
        record, report = self.learner.make_record(), self.report
        if report is None:
            return record
        record = record or ModelRecord()
        error, coverage = record.one_step_error, record.coverage
        return dataclasses.replace(
            record,
            message=" ".join(filter(None, (record.message, report.message))),
            one_step_error=report.one_step_error if error is None else error,
            coverage=report.coverage if coverage is None else coverage,
        )

    @property
    def _otherwise(self) -> str:
        return "by least squares" if self.before is None else "under the mixture"


def believe(model: GlobalModel, transitions: Transitions, dx: int, seed: int) -> ModelBelief:
    """Return what a model says of the samples of each condition and step. It is deterministic in `seed`.

    An output about which the drawn functions do not differ, as those of a single network, is given the belief that
    one sample would leave: a doubt as large as the noise, and slopes that explain as much over the spread of the data.
    An output without noise is given that of the residuals.
    """
    mask, points = transitions.mask, transitions.points
    M, N, S, d = points.shape
    dz = d - dx
    centers = find_centers(transitions, dz)
    inputs = np.where(mask[..., None], points[..., :dz], centers[:, None])
    arrays = _evaluate(model, inputs.reshape(-1, dz), centers.reshape(-1, dz), jax.random.key(seed), dx)
    values, at_points, J, noise, doubt, slopes = (np.asarray(array) for array in arrays)

    values, noise, doubt = values.reshape(M, N, S, dx), noise.reshape(M, S, dx), doubt.reshape(M, S, dx)
    slopes = slopes.reshape(M, S, dx, dz, dz)
    residuals = (points[..., dz:] - values)[mask]
    square = (residuals**2).mean(axis=0) if len(residuals) else noise.mean(axis=(0, 1))
    spread = positive_deviation(points[mask]) if mask.any() else np.ones(d)
    noise = np.where(noise.any(axis=(0, 1)), noise, square)
    noise = np.maximum(noise, np.maximum(_LEAST_NOISE * square, (_ROUNDING * spread[dz:]) ** 2))
    explained = doubt + np.einsum("msijj,j->msi", slopes, spread[:dz] ** 2)
    sure = (explained <= _SURE * noise).all(axis=(0, 1))
    doubt = np.where(sure, noise, doubt)
    slopes = np.where(sure[:, None, None], noise[..., None, None] * np.diag(spread[:dz] ** -2.0), slopes)
    return ModelBelief(values, centers, J.reshape(M, S, dx, dz), noise, doubt, slopes, at_points.reshape(M, S, dx))


def find_centers(transitions: Transitions, dz: int) -> Float[np.ndarray, "M S dz"]:
    """Return the mean z̄ of the samples of each step; that of the nearest step of the condition where there are none.

    A condition without any samples has the mean of all others; 0 without any at all.
    """
    mask, z = transitions.mask, transitions.points[..., :dz]
    known = mask.any(axis=1)
    total = np.where(mask[..., None], z, 0.0).sum(axis=1)
    mean = total / np.maximum(mask.sum(axis=1), 1)[..., None]
    everywhere = z[mask].mean(axis=0) if mask.any() else np.zeros(dz)
    for m in range(len(mean)):
        there = np.flatnonzero(known[m])
        if not there.size:
            mean[m] = everywhere
        elif there.size < mean.shape[1]:
            nearest = np.abs(np.arange(mean.shape[1])[:, None] - there).argmin(axis=1)
            mean[m] = mean[m, there[nearest]]
    return mean


@eqx.filter_jit
def _evaluate(model: Any, inputs: Array, centers: Array, key: Array, dx: int) -> tuple[Array, ...]:
    """Return f at the inputs; f, its slope, noise, doubt and covariance of slopes at the centres."""
    draw, call = jax.random.split(key)
    functions = model.draw(draw, DRAWS)

    def at(z: Array, key: Array) -> tuple[Array, ...]:
        x, u = z[:dx], z[dx:]
        drawn = jax.vmap(lambda function: function(x, u))(functions)
        noisy = jax.vmap(lambda function, key: function(x, u, key))(functions, jax.random.split(key, DRAWS))
        if isinstance(model, SlopeBelief):
            slopes = model.slope_covariance(x, u)
        else:
            slopes = slope_spread(jax.vmap(lambda function: jax.jacfwd(partial(_call, function, dx))(z))(functions))
        J, _ = model.linearise(x, u)
        return model.mean(x, u), J, jnp.mean((noisy - drawn) ** 2, axis=0), jnp.var(drawn, axis=0, ddof=1), slopes

    values = jax.vmap(lambda z: model.mean(z[:dx], z[dx:]))(inputs)
    return values, *jax.vmap(at)(centers, jax.random.split(call, len(centers)))


def _call(function: Any, dx: int, z: Array) -> Array:
    return function(z[:dx], z[dx:])


def _make_report(transitions: Transitions, belief: ModelBelief, residuals: Residuals, weights: Weights) -> PriorReport:
    """Say in words how far the model was trusted, and how far off it was on samples that it had not seen."""
    mask, dx = transitions.mask, belief.noise.shape[-1]
    if not mask.any():
        return PriorReport("There are no samples; the local dynamics are the model's own.")
    square = (transitions.points[..., -dx:] - belief.values) ** 2
    variance = (belief.noise + belief.doubt)[:, None]
    coverage = np.array([(square <= k**2 * variance)[mask].mean() for k in (1, 2)])
    count = residuals.count_samples(weights.strength)
    message = f"The model was trusted like {_say(count)}, and its noise like {_say(weights.degrees)}."
    return PriorReport(message, np.sqrt(square[mask].mean(axis=0)), coverage)


def _say(count: float) -> str:
    if count >= 1000:
        return "more than 1,000 samples"
    return f"{count:.2g} samples" if count < 10 else f"{count:.0f} samples"
