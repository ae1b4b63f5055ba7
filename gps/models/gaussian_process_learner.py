"""The learner of a Gaussian process: hyperparameters by marginal likelihood, then the process given all points.

The hyperparameters of the last fit, in units of the state, are the first start of the next one.
"""

import dataclasses
import functools
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import Float

from gps.backend import jax
from gps.dynamics.prior import Transitions
from gps.errors import ConfigError
from gps.models.calibration import calibrate
from gps.models.conditioning import condition_process
from gps.models.data import Dataset, pool_transitions
from gps.models.features import NO_TRANSFORMS, Differences, Encoding, StateTransforms
from gps.models.gaussian_process import GaussianProcess
from gps.models.marginal_likelihood import Hyperparameters, LikelihoodFit, fit_hyperparameters
from gps.records import ModelRecord
from gps.status import ModelStatus

_NAME = "Gaussian process"
_FEWEST = 2  # points for a model


class Learned(NamedTuple):
    """What a fit found; the process follows from it and the data."""

    hyperparameters: Hyperparameters
    points: int  # the first so many of the data


@dataclasses.dataclass(frozen=True)
class GaussianProcessLearner:
    """Fits a Gaussian process to all transitions so far. A `gps.models.model.ModelLearner`.

    Args:
        dx: the size of the state.
        transforms: the entries of the state that are angles or quaternions.
        linear: the prior mean of the change is linear in the inputs (by least squares), rather than constant.
        max_points: of the process; with more data it is projected on so many (see `gps.models.conditioning`).
        likelihood_points: the hyperparameters are fitted to at most this many points, evenly spread.
        restarts: searches for the hyperparameters of each output: from those of the last fit or from a guess, then
            from draws around the guess.
        iterations: of each search.
        noise_floor: the smallest noise, in deviations of the change: it bounds the signal-to-noise ratio, and so the
            weights. A tenth of the default predicts noise-free data that are nearly linear ten times better, and other
            data no better; its weights are ten times as large, which costs moments their last digits.
        data: the transitions so far.
        learned: the last good fit.
        record: of the last fit.

    Raises:
        ConfigError: if a number is out of range.
    """

    dx: int
    transforms: StateTransforms = NO_TRANSFORMS
    linear: bool = False
    max_points: int = 1000
    likelihood_points: int = 300
    restarts: int = 2
    iterations: int = 100
    noise_floor: float = 1e-3
    data: Dataset | None = None
    learned: Learned | None = None
    record: ModelRecord | None = None

    def __post_init__(self) -> None:
        counts = self.dx, self.max_points, self.restarts, self.iterations
        if min(counts) < 1 or self.likelihood_points < _FEWEST or not self.noise_floor > 0:
            raise ConfigError(
                f"a Gaussian process needs dx, max_points, restarts and iterations of at least 1, at least {_FEWEST} "
                f"likelihood_points and a positive noise_floor; got {self.dx}, {self.max_points}, {self.restarts}, "
                f"{self.iterations}, {self.likelihood_points} and {self.noise_floor}"
            )

    @functools.cached_property
    def model(self) -> GaussianProcess | None:
        """The process (NumPy arrays); None while the data are too few. It is computed when it is first asked for."""
        return None if self.learned is None else self._condition(self.learned)[0]

    def refit(self, transitions: Transitions, seed: int) -> Self:
        """Return the learner that has also seen `transitions`; deterministic in `seed`.

        Where the new fit fails, the last good model stays.
        """
        data, new, said = pool_transitions(self.data, Dataset.of(transitions, self.dx))
        learner = self._change(data=data)._fit(data, seed)
        if said and learner.record is not None:
            message = " ".join(filter(None, (learner.record.message, said)))
            learner = learner._change(record=dataclasses.replace(learner.record, message=message))
        if self.model is None or not new.size or learner.record is None:
            return learner
        error, coverage = _judge(self.model, new)
        if not np.isfinite(error).all():  # the new data are absurd, and the status of the fit says so
            return learner
        return learner._change(record=dataclasses.replace(learner.record, one_step_error=error, coverage=coverage))

    def make_record(self) -> ModelRecord | None:
        """The summary of the last fit, or None before the first; errors are the last model's on the new data."""
        return self.record

    def _change(self, **changes: Any) -> Self:
        """Return the learner with other data or another record, and the same model: it is not computed again."""
        learner = dataclasses.replace(self, **changes)
        if "model" in self.__dict__:
            learner.__dict__["model"] = self.__dict__["model"]
        return learner

    def _fit(self, data: Dataset, seed: int) -> Self:
        """Return the learner with the model fitted to `data`, or with the last one and the reason."""
        if data.size < _FEWEST:
            return self._keep(ModelStatus.TOO_FEW_POINTS, f"there are {data.size} transitions, fewer than {_FEWEST}")
        with np.errstate(over="ignore", invalid="ignore"):  # the variance of entries near the largest float
            encoding, differences = Encoding.of(data, self.transforms), Differences.of(data, self.transforms)
        if not all(np.isfinite(array).all() for array in jax.tree.leaves((encoding, differences))):
            return self._keep(ModelStatus.NOT_FINITE, "the variance of the data is not finite")
        if not differences.varies.any():
            return self._keep(ModelStatus.NO_VARIATION)
        slopes = _fit_slopes(encoding.encode_all(data), differences.encode_all(data), self.linear)
        fits = self._search(data, encoding, differences, slopes, seed)
        failed = [a for a, fit in fits.items() if fit is None]
        if failed:
            return self._keep(ModelStatus.NOT_FINITE, f"entry {failed[0]} of the state: its likelihood is not finite")
        found = {a: fit for a, fit in fits.items() if fit is not None}
        learned = Learned(_stack(found, self.dx, encoding.size), data.size)
        model, jitter = self._condition(learned)
        if not np.isfinite(model.weights).all():
            return self._keep(ModelStatus.NOT_FINITE)
        learner = dataclasses.replace(self, learned=learned, record=_summarise(found, data.size, jitter))
        learner.__dict__["model"] = model  # fills the cached property
        return learner

    def _search(
        self,
        data: Dataset,
        encoding: Encoding,
        differences: Differences,
        slopes: Float[np.ndarray, "dx df"],
        seed: int,
    ) -> dict[int, LikelihoodFit | None]:
        """Return the fit of each entry of the state whose change varies."""
        few = data.thin(self.likelihood_points)
        inputs = encoding.encode_all(few)
        targets = differences.encode_all(few) - inputs @ slopes.T
        last = self._translate(encoding, differences)
        fits = {}
        for a in map(int, np.flatnonzero(differences.varies)):
            guess = _guess(int((encoding.weight > 0).sum()), encoding.size)
            first = guess if last is None or last.signal[a] == 0 else jax.tree.map(lambda array: array[a], last)  # noqa: B023
            rng = np.random.default_rng([seed, a])
            starts = [first, *[_scatter(guess, rng) for _ in range(self.restarts - 1)]]
            fits[a] = fit_hyperparameters(
                inputs, targets[:, a], starts, self.noise_floor, self.iterations, self.likelihood_points
            )
        return fits

    def _translate(self, encoding: Encoding, differences: Differences) -> Hyperparameters | None:
        """Return the last hyperparameters in the units of new data; the signal is 0 where an output never varied."""
        if self.learned is None:
            return None
        model = self.model
        assert model is not None
        both = (encoding.weight > 0) & (model.encoding.weight > 0)
        shrink = np.where(both, encoding.weight, 1.0) / np.where(both, model.encoding.weight, 1.0)
        varied = differences.varies & model.differences.varies
        ratio = np.where(varied, model.differences.deviation, 0.0) / np.where(varied, differences.deviation, 1.0)
        h = self.learned.hyperparameters
        return Hyperparameters(h.lengthscales * shrink, h.signal * ratio, h.noise * ratio)

    def _condition(self, learned: Learned) -> tuple[GaussianProcess, float]:
        """Return the process given the points that were learned from, and its jitter."""
        assert self.data is not None
        data = self.data.take(np.arange(learned.points))
        encoding, differences = Encoding.of(data, self.transforms), Differences.of(data, self.transforms)
        slopes = _fit_slopes(encoding.encode_all(data), differences.encode_all(data), self.linear)
        return condition_process(data, encoding, differences, learned.hyperparameters, slopes, self.max_points)

    def _keep(self, status: ModelStatus, message: str = "") -> Self:
        """Return the learner with the last model, and the reason why there is no new one."""
        points = None if self.learned is None else self.learned.points
        return self._change(record=ModelRecord(name=_NAME, points=points, status=status, message=message))


def _judge(model: GaussianProcess, data: Dataset) -> tuple[Float[np.ndarray, "dx"], Float[np.ndarray, "2"]]:
    """Return the one-step error of a model on new data, and its coverage."""
    some = data.thin(1 << (data.size.bit_length() - 1))  # a power of two, so that few sizes are compiled
    states = np.stack([some.states, some.successors], axis=1)[:, None]
    actions = np.stack([some.actions, some.actions], axis=1)[:, None]
    angles = model.encoding.transforms.angles
    with np.errstate(over="ignore", invalid="ignore"):
        found = calibrate(model, states, actions, np.ones(states.shape[:3], bool), horizon=1, angles=angles)
    return found.one_step_error, found.coverage


def _fit_slopes(
    inputs: Float[np.ndarray, "n df"], targets: Float[np.ndarray, "n dx"], linear: bool
) -> Float[np.ndarray, "dx df"]:
    """Return B of the prior mean B ξ: least squares with one more point's worth of ridge, or zero."""
    df, dx = inputs.shape[1], targets.shape[1]
    if not linear:
        return np.zeros((dx, df))
    return np.linalg.solve(inputs.T @ inputs + np.eye(df), inputs.T @ targets).T


def _guess(active: int, df: int) -> Hyperparameters:
    """Return a start: points one deviation apart in every input that varies are correlated by exp(−½)."""
    return Hyperparameters(np.full(df, np.sqrt(max(active, 1))), np.array(1.0), np.array(0.1))


def _scatter(guess: Hyperparameters, rng: np.random.Generator) -> Hyperparameters:
    """Return a start that is drawn around a guess."""
    lengthscales = guess.lengthscales * np.exp(rng.normal(0.0, 0.7, guess.lengthscales.shape))
    return Hyperparameters(lengthscales, guess.signal, np.exp(rng.uniform(np.log(0.01), np.log(0.5))))


def _stack(fits: dict[int, LikelihoodFit], dx: int, df: int) -> Hyperparameters:
    """Return the hyperparameters of all outputs; those that never vary have signal and noise 1, which are not used."""
    lengthscales, signal, noise = np.ones((dx, df)), np.ones(dx), np.ones(dx)
    for a, fit in fits.items():
        h = fit.hyperparameters
        lengthscales[a], signal[a], noise[a] = h.lengthscales, h.signal, h.noise
    return Hyperparameters(lengthscales, signal, noise)


def _summarise(fits: dict[int, LikelihoodFit], points: int, jitter: float) -> ModelRecord:
    """Return the record of a fit that went well, or not quite."""
    loss = np.array([sum(fit.loss for fit in fits.values())])
    unfinished = [a for a, fit in fits.items() if not fit.converged]
    status, message = ModelStatus.OK, ""
    if jitter:
        status = ModelStatus.JITTERED
        message = f"a kernel matrix was not positive definite; its diagonal was raised by {jitter:.0e} of the signal"
    elif unfinished:
        entries = ", ".join(map(str, unfinished))
        status = ModelStatus.NOT_CONVERGED
        message = f"the search for the hyperparameters of entries {entries} of the state spent its iterations"
    return ModelRecord(training_loss=loss, name=_NAME, points=points, status=status, message=message)
