"""A global model as the prior of local dynamics.

The local dynamics of an iteration are the model's own, corrected by a regression of its residuals on the samples
(`gps.dynamics.residual`), with the model's belief at each step as prior (`gps.models.belief`). The model was trained on
the iterations before: it would otherwise have seen the residuals that are to tell how far to trust it.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Self

import equinox as eqx
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from typing_extensions import TypeVar

from gps.backend import Array, jax
from gps.dynamics.mixture import MixturePrior
from gps.dynamics.prior import DynamicsPrior, LocalFit, Transitions
from gps.dynamics.regression import fit_dynamics, fit_first_state, mean_square_deviation
from gps.dynamics.residual import ModelBelief, Residuals, Trust
from gps.dynamics.units import positive_deviation
from gps.linear_gaussian.types import LinearDynamics
from gps.models.belief import DRAWS, PointBelief, believe_at
from gps.models.model import GlobalModel, ModelLearner, find_stored_type, for_condition, restore_learner
from gps.records import ModelRecord
from gps.storage.serialization import specialise

_LEAST_NOISE = 1e-6
"""Least variance of the noise, relative to the mean square residual."""

_ROUNDING = 1e-6
"""Least deviation of the noise, relative to the deviation of the state."""

Center = Literal["posterior", "sample"]

L = TypeVar("L", bound=ModelLearner, default=ModelLearner, covariant=True)


@dataclass(frozen=True)
class PriorReport:
    """How the last fit under the model went."""

    message: str  # a sentence
    one_step_error: Float[np.ndarray, "dx"] | None = None  # root mean square of the model's residuals
    coverage: Float[np.ndarray, "2"] | None = None  # share of the residuals within 1σ and 2σ


@dataclass(frozen=True)
class ModelPrior(DynamicsPrior, Generic[L]):
    """A prior of local dynamics from a global model.

    Args:
        learner: learns the model.
        before: the prior while there is no model, and where its prediction is not finite; None is least squares. Among
            the samples of the first iteration alone, a mixture needs two per step where least squares need ten (the
            cart-pole: an error of .045 against 1.13 deviations with two).
        strength, degrees: see `gps.dynamics.residual`; None chooses them in each iteration by marginal likelihood.
        report: of the last fit.
    """

    learner: L
    before: MixturePrior | None = field(default_factory=MixturePrior)
    strength: float | None = None
    degrees: float | None = None
    report: PriorReport | None = None

    @property
    def stored_type(self) -> Any:
        return specialise(ModelPrior, find_stored_type(self.learner))

    def restore(self, stored: Self) -> Self:
        """Return a prior that was read from a file, with the simulator of this one's learner if it has one."""
        learner = restore_learner(stored.learner, self.learner)
        return stored if learner is stored.learner else replace(stored, learner=learner)

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the prior whose model has also seen `transitions`."""
        return replace(self, learner=self.learner.refit(transitions, seed))

    def believe(self, transitions: Transitions, seed: int) -> None:
        """None: its belief is one of residuals."""
        return None

    def fit(
        self,
        states: np.ndarray,
        actions: np.ndarray,
        mask: np.ndarray,
        seed: int,
        ridge: float = 1e-6,
        center: Center = "posterior",
        uncertainty: Float[np.ndarray, "M S d d"] | None = None,
    ) -> LocalFit:
        """Fit the local dynamics under the model of the iterations before, then let the model see the samples.

        It takes the states as they are: `uncertainty` has no effect.
        """
        fit = self.regress(states, actions, mask, seed, ridge, center)
        return fit._replace(prior=fit.prior.refit(Transitions.of(states, actions, mask), seed))

    def regress(
        self,
        states: np.ndarray,
        actions: np.ndarray,
        mask: np.ndarray,
        seed: int,
        ridge: float = 1e-6,
        center: Center = "posterior",
    ) -> LocalFit:
        """Fit the local dynamics under the model, which learns nothing from these samples.

        The regression needs no ridge; `ridge` is that of the first state, and of the fit without a model. It takes the
        states as they are.
        """
        if self.learner.model is None:
            return self._fit_otherwise("There is no model yet", states, actions, mask, seed, ridge, center)
        transitions = Transitions.of(states, actions, mask)
        belief = believe(self.learner.model, transitions, states.shape[-1], seed)
        if all(np.isfinite(array).all() for array in belief):
            return self._fit_under(belief, states, mask, transitions, ridge, center)
        return self._fit_otherwise("The prediction was not finite", states, actions, mask, seed, ridge, center)

    def _fit_under(
        self,
        belief: ModelBelief,
        states: np.ndarray,
        mask: np.ndarray,
        transitions: Transitions,
        ridge: float,
        center: Center,
    ) -> LocalFit:
        residuals = Residuals.of(transitions, belief)
        weights = residuals.choose_weights(self.strength, self.degrees)
        floor = ridge * mean_square_deviation(transitions)[: states.shape[-1]]
        start = fit_first_state(states[:, :, 0], mask[:, :, 0], floor)
        dynamics = LinearDynamics(*residuals.fit(weights, center), *start)
        return LocalFit(dynamics, replace(self, report=_make_report(transitions, belief, residuals, weights)))

    def _fit_otherwise(
        self,
        why: str,
        states: np.ndarray,
        actions: np.ndarray,
        mask: np.ndarray,
        seed: int,
        ridge: float,
        center: Center,
    ) -> LocalFit:
        how = "by least squares" if self.before is None else "under the mixture"
        report = PriorReport(f"{why}; the local dynamics were fitted {how}.")
        if self.before is None:
            dynamics = fit_dynamics(states, actions, mask, None, ridge, center)
            return LocalFit(dynamics, replace(self, report=report))
        dynamics, before = self.before.fit(states, actions, mask, seed, ridge, center)
        return LocalFit(dynamics, replace(self, before=before, report=report))

    def make_record(self) -> ModelRecord | None:
        """The record of the model, with the strength in words, and its error on the samples that it had not seen."""
        record, report = self.learner.make_record(), self.report
        if report is None:
            return record
        record = record or ModelRecord()
        error, coverage = record.one_step_error, record.coverage
        return replace(
            record,
            message=" ".join(filter(None, (record.message, report.message))),
            one_step_error=report.one_step_error if error is None else error,
            coverage=report.coverage if coverage is None else coverage,
        )


def believe(model: GlobalModel, transitions: Transitions, dx: int, seed: int) -> ModelBelief:
    """Return what a model says of the samples of each condition and step. It is deterministic in `seed`.

    An output without doubt is given some: see `PointBelief.complete`. One without noise is given that of the residuals.
    """
    mask, points = transitions.mask, transitions.points
    M, N, S, d = points.shape
    dz = d - dx
    centers = find_centers(transitions, dz)
    inputs = np.where(mask[..., None], points[..., :dz], centers[:, None])
    where = np.repeat(np.arange(float(M)), S)  # the condition of each step, in order
    values = np.stack([_predict(model, where, z.reshape(-1, dz), dx) for z in inputs.swapaxes(0, 1)], axis=1)
    values = values.reshape(M, S, N, dx).swapaxes(1, 2)
    draw, call = jax.random.split(jax.random.key(seed))
    at = _believe(model, _draw(model, draw), where, centers.reshape(-1, dz), call, dx)

    residuals = (points[..., dz:] - values)[mask]
    square = (residuals**2).mean(axis=0) if len(residuals) else np.zeros(dx)
    spread = positive_deviation(points[mask]) if mask.any() else np.ones(d)
    share = np.where(np.any(at.noise, axis=0), _LEAST_NOISE, 1.0)
    least = np.maximum(share * square, (_ROUNDING * spread[dz:]) ** 2)
    belief = _complete(at, least, spread[:dz])
    value, slope, noise, doubt, covariances = (np.asarray(a).reshape(M, S, *a.shape[1:]) for a in belief)
    return ModelBelief(values, centers, slope, noise, doubt, covariances, value)


def find_centers(transitions: Transitions, dz: int) -> Float[np.ndarray, "M S dz"]:
    """Return the mean z̄ of the samples of each step; that of the nearest step of the condition where there are none.

    A condition without any samples has the mean of all others; 0 without any at all.
    """
    mask, z = transitions.mask, transitions.points[..., :dz]
    known = np.asarray(mask.any(axis=1))
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


# Compiled apart, and for the samples of all steps at a time: none of it is compiled anew for another N.


@eqx.filter_jit
def _predict(model: Any, where: Float[Array, "n"], inputs: Float[Array, "n dz"], dx: int) -> Float[Array, "n dx"]:
    return jax.vmap(lambda m, z: for_condition(model, m).mean(z[:dx], z[dx:]))(where, inputs)


@eqx.filter_jit
def _draw(model: Any, key: PRNGKeyArray) -> Any:
    return model.draw(key, DRAWS)


@eqx.filter_jit
def _believe(
    model: Any,
    functions: Any,
    where: Float[Array, "n"],
    centers: Float[Array, "n dz"],
    key: PRNGKeyArray,
    dx: int,
) -> PointBelief:
    def at(point: tuple[Array, ...]) -> PointBelief:
        m, z, key = point
        return believe_at(for_condition(model, m), for_condition(functions, m), z[:dx], z[dx:], key)

    return jax.lax.map(at, (where, centers, jax.random.split(key, len(centers))))


_complete = jax.jit(jax.vmap(PointBelief.complete, (0, None, None)))


def _make_report(transitions: Transitions, belief: ModelBelief, residuals: Residuals, weights: Trust) -> PriorReport:
    """Say in words how far the model was trusted, and how far off it was on samples that it had not seen."""
    mask, dx = transitions.mask, belief.noise.shape[-1]
    if not mask.any():
        return PriorReport("There are no samples; the local dynamics are the model's own.")
    square = (transitions.points[..., -dx:] - belief.values) ** 2
    sigmas = np.sqrt(square / (belief.noise + belief.doubt)[:, None])[mask]
    coverage = np.array([np.mean(sigmas <= k) for k in (1, 2)])
    count = residuals.count_samples(weights.strength)
    message = f"The model was trusted like {_say(count)}, and its noise like {_say(weights.degrees)}."
    return PriorReport(message, np.sqrt(square[mask].mean(axis=0)), coverage)


def _say(count: float) -> str:
    if count >= 1000:
        return "more than 1,000 samples"
    return f"{count:.2g} samples" if count < 10 else f"{count:.0f} samples"
