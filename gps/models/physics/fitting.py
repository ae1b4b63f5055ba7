"""Fit the unknown parameters of a simulator to recorded transitions, by least squares over short windows.

Rounds of `mujoco.minimize.least_squares`: by predictions of one step, which lead from a bad start to the neighbourhood;
by windows, each entry of the state weighted by its typical change; and by windows weighted by the noise that their
errors show (`gps.models.physics.noise`). All perturbed parameters and all
windows are one batch of simulations. A window is predicted from its first recorded state, so its errors hold that
state's noise too, which the last weights know of: the intervals then hold what they promise, with noise
of the measurements as with noise of the system.

The noise is taken to first order. With contacts, noise of the recorded states opens and closes them; the errors are
softened for that, yet the estimates are then off by more than the intervals say: by up to 5 % at 1e-3 rad and rad/s
for a running robot, where recordings without noise are fitted exactly.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from mujoco import minimize

from gps.models.data import Dataset
from gps.models.physics.identifiability import Belief, explain_loose, form_belief
from gps.models.physics.noise import NoiseSizes, Propagation, Whitener, estimate_noise
from gps.models.physics.parameters import Coordinates
from gps.models.physics.simulator import Simulator
from gps.models.physics.windows import Windows
from gps.status import ModelStatus

_STEP = 1e-7  # of a coordinate, in the slopes that the search uses
_FINE_STEP = 1e-4  # in the central differences of the belief
_STATE_STEP = 1e-6  # of an entry of the state, as a share of its size or of 1
_TOLERANCE = 1e-7  # of the coordinates: a search ends with a smaller step
_ROUGH = 1e-3  # the same of a search that another one follows
_SETTLED = 1e-5  # a search came to rest if its last iteration gained no more than this share
_DAMPING = {"mu_min": 1e-4, "mu_max": 1e4, "mu_factor": 10.0}  # of the scaled problem, whose Hessian has the diagonal 1
_PULL = 1e-2  # towards the start, in the first round: it decides only what the data leave open
_FAR = 3.0  # deviation of the same pull in the second round, in widths of the bounds
_SOFT = 0.03  # errors above this share of an entry's typical change count linearly in the first rounds
_OUTLYING = 3.0  # the same of the whitened errors, in deviations
_LARGE = 1e3  # the error of a window that diverges; larger errors count as this
_ROUNDS = 2  # of weighting by the noise
_AT_BOUND = 1e-6  # a coordinate at this distance from a bound, in widths of the bounds, is at it


class FitSettings(NamedTuple):
    """Settings of a fit.

    Args:
        length: steps of a window.
        most_windows: more than these are thinned, evenly.
        evaluations: the most iterations of each search.
    """

    length: int = 5
    most_windows: int = 400
    evaluations: int = 60


DEFAULTS = FitSettings()


class PhysicsFit(NamedTuple):
    """Fitted parameters and how sure they are. Plain arrays: it can be stored.

    Args:
        coordinates: the estimate, in the coordinates of `gps.models.physics.parameters`.
        factor: L of the covariance L Lᵀ of the coordinates.
        noise: root mean square error of predictions of one step, in units of the state.
        deviations: standard deviation of each entry of z = [x; u] in the data.
        loose: combinations of the coordinates that the data do not fix, one a row.
        measurement, process: deviations of the two kinds of noise of the determining entries.
        points: transitions that it was fitted to.
        diverged: windows that were left out because their simulation diverged.
        windows: windows in total.
        iterations: of both rounds together.
        loss: half the mean squared whitened error, 0.5 if the noise is what it seems.
    """

    coordinates: Float[np.ndarray, "dp"]
    factor: Float[np.ndarray, "dp dp"]
    noise: Float[np.ndarray, "dx"]
    deviations: Float[np.ndarray, "dz"]
    loose: Float[np.ndarray, "loose dp"]
    measurement: Float[np.ndarray, "ds"]
    process: Float[np.ndarray, "ds"]
    points: int
    diverged: int
    windows: int
    iterations: int
    loss: float


class FitResult(NamedTuple):
    """A fit, or None with the reason."""

    fit: PhysicsFit | None
    status: ModelStatus
    message: str


def fit_physics(
    simulator: Simulator,
    data: Dataset,
    settings: FitSettings = DEFAULTS,
    start: Float[np.ndarray, "dp"] | None = None,
    conditions: Int[np.ndarray, "n"] | None = None,
) -> FitResult:
    """Fit the parameters of a simulator to data. It is deterministic.

    Args:
        start: coordinates of an earlier fit, tried beside the parameters' own starts; None without one.
        conditions: the number of the condition of each transition; None for the first.
    """
    coordinates = Coordinates.of(simulator.parameters)
    windows = _thin(Windows.cut(data, settings.length, conditions), settings.most_windows)
    dp, used = len(coordinates.low), np.array(simulator.determining)
    if windows.mask.sum() * len(used) <= dp:
        return FitResult(None, ModelStatus.TOO_FEW_POINTS, "")
    problem = _Problem(simulator, windows, coordinates)
    if not problem.scales.any():
        return FitResult(None, ModelStatus.NO_VARIATION, "")
    begin = coordinates.move_off_bounds(coordinates.encode(np.array([p.start for p in simulator.parameters])))
    begin = problem.choose([begin] if start is None else [begin, coordinates.move_off_bounds(start)])
    begin, iterations = _approach(problem, Windows.cut(data, 1, conditions), begin, settings)
    search = problem.search(begin, problem.scale, _PULL / coordinates.widths, settings.evaluations)
    kept = np.isfinite(problem.predict(search.point[None])[0]).all(axis=(1, 2))
    if not kept.any():
        return FitResult(None, ModelStatus.NOT_FINITE, "every window diverges in simulation, wherever the search went")
    problem = problem.take(kept)
    if problem.windows.mask.sum() * len(used) <= dp:
        return FitResult(None, ModelStatus.TOO_FEW_POINTS, f"{int((~kept).sum())} windows diverge in simulation")
    iterations += search.iterations
    weights: _Weights | None = None
    for _ in range(_ROUNDS):
        weights = problem.weigh(search.point, weights)
        pull = 1.0 / (_FAR * coordinates.widths)
        search = problem.search(search.point, weights.soften, pull, settings.evaluations)
        iterations += search.iterations
    assert weights is not None
    fit = _conclude(problem, weights, search.point, len(kept), int((~kept).sum()), iterations)
    if fit is None:
        return FitResult(None, ModelStatus.NOT_FINITE, "")
    return FitResult(fit, *_judge(fit, simulator, coordinates, search.settled))


def _approach(
    problem: "_Problem", steps: Windows, start: Float[np.ndarray, "dp"], settings: FitSettings
) -> tuple[Float[np.ndarray, "dp"], int]:
    """Search by predictions of one step, and return the better start with the number of iterations.

    One step is nearly linear in masses and forces. From a bad start the errors of several steps, above all with
    contacts, have local minima where one step has none.
    """
    windows = _thin(steps, settings.length * settings.most_windows)
    single = _Problem(problem.simulator, windows, problem.coordinates)
    pull = _PULL / problem.coordinates.widths
    found, iterations, _ = single.search(start, single.scale, pull, settings.evaluations, _ROUGH)
    return problem.choose([start, found]), iterations


class _Search(NamedTuple):
    """The point that a search found, its iterations, and whether it came to rest."""

    point: Float[np.ndarray, "dp"]
    iterations: int
    settled: bool


class _Weights(NamedTuple):
    """The whitening of the errors, which is linear, and the noise that it is made from."""

    whiten: Callable[[Float[np.ndarray, "m W H ds"]], Float[np.ndarray, "m n"]]
    noise: NoiseSizes

    def soften(self, errors: Float[np.ndarray, "m W H ds"]) -> Float[np.ndarray, "m n"]:
        """Return the whitened errors, of which those of outliers count linearly."""
        return _soften(self.whiten(errors), _OUTLYING)


class _Problem:
    """The errors of the windows as functions of the coordinates."""

    def __init__(self, simulator: Simulator, windows: Windows, coordinates: Coordinates) -> None:
        self.simulator, self.windows, self.coordinates = simulator, windows, coordinates
        self.used: Int[np.ndarray, ds] = np.array(simulator.determining)
        changes = (windows.successors - windows.states)[..., self.used][windows.mask]
        self.scales = np.sqrt((changes**2).mean(axis=0))
        self.scales = np.where(self.scales > 0, self.scales, self.scales.max(initial=0.0))

    def take(self, chosen: Bool[np.ndarray, "W"]) -> "_Problem":
        return self if chosen.all() else _Problem(self.simulator, self.windows.take(chosen), self.coordinates)

    def predict(self, points: Float[np.ndarray, "m dp"]) -> Float[np.ndarray, "m W H ds"]:
        """Return the errors y − ŷ of each window at each of m points, NaN where it diverges and zero where masked."""
        m, (W, H) = len(points), self.windows.mask.shape
        values = np.repeat(self.coordinates.decode(points), W, axis=0)
        states = np.tile(self.windows.states[:, 0], (m, 1))
        actions = np.tile(self.windows.actions, (m, 1, 1))
        where = np.tile(self.windows.conditions, m)
        reached = self.simulator.simulate(states, actions, values, where).reshape(m, W, H, -1)
        errors = (self.windows.successors - reached)[..., self.used]
        return np.where(self.windows.mask[..., None], errors, 0.0)

    def scale(self, errors: Float[np.ndarray, "m W H ds"]) -> Float[np.ndarray, "m n"]:
        """Return the errors in units of the entries' typical changes, softened.

        Half their square is the pseudo-Huber loss: a contact that opens by the noise of a recorded state makes a few
        errors very large.
        """
        return _soften(errors / self.scales, _SOFT).reshape(len(errors), -1)

    def choose(self, starts: list[Float[np.ndarray, "dp"]]) -> Float[np.ndarray, "dp"]:
        """Return the start whose errors are smallest."""
        losses = [(_limit(self.scale(self.predict(point[None]))) ** 2).sum() for point in starts]
        return starts[int(np.argmin(losses))]

    def search(
        self,
        start: Float[np.ndarray, "dp"],
        weigh: Callable[[Float[np.ndarray, "m W H ds"]], Float[np.ndarray, "m n"]],
        pull: Float[np.ndarray, "dp"],
        most: int,
        tolerance: float = _TOLERANCE,
    ) -> "_Search":
        """Minimise the weighted errors within the bounds."""

        def residual(x: Float[np.ndarray, "dp m"]) -> Float[np.ndarray, "n m"]:
            points = x.reshape(len(start), -1).T
            errors = _limit(weigh(self.predict(points)))
            return np.ascontiguousarray(np.concatenate([errors, (points - start) * pull], axis=1).T)

        found, trace = minimize.least_squares(
            start,
            residual,
            bounds=list(self.coordinates.bounds),
            eps=_STEP,
            xtol=tolerance,
            **_DAMPING,
            max_iter=most,
            verbose=minimize.Verbosity.SILENT,
            x_scale="jac",
        )
        last = trace[max(len(trace) - 2, 0)]
        settled = len(trace) - 1 < most or bool(last.reduction <= _SETTLED * last.objective)
        return _Search(found, len(trace) - 1, settled)

    def weigh(self, point: Float[np.ndarray, "dp"], before: _Weights | None) -> _Weights:
        """Find the noise that the errors at a point show, and whiten by it.

        Args:
            before: the weights at a point nearby; None without any.
        """
        mask, ds = self.windows.mask, len(self.used)
        errors = self.predict(point[None])[0]
        propagation = Propagation.of(self.find_state_slopes(point), mask)
        n, start = mask.sum() * ds, None if before is None else before.noise
        surplus = n / max(n - len(point), 1)
        noise = estimate_noise(errors, mask, propagation, self.scales, surplus, start)
        whitener = Whitener.of(noise, propagation, mask, self.windows.follows)

        def whiten(errors: Float[np.ndarray, "m W H ds"]) -> Float[np.ndarray, "m n"]:
            m, W = errors.shape[:2]
            stacked = errors.reshape(m, W, -1).transpose(1, 2, 0)
            return whitener.whiten(stacked).transpose(2, 0, 1).reshape(m, -1)

        return _Weights(whiten, noise)

    def find_state_slopes(self, point: Float[np.ndarray, "dp"]) -> Float[np.ndarray, "W H ds ds"]:
        """Return the slope of one step in the determining entries, at every recorded state; zero where not finite."""
        (W, H), used = self.windows.mask.shape, self.used
        flat = self.windows.states.reshape(W * H, -1)
        steps = _STATE_STEP * np.maximum(np.abs(flat), 1.0)
        batch = np.tile(flat, (len(used) + 1, 1, 1))
        for i, entry in enumerate(used):
            batch[i + 1, :, entry] += steps[:, entry]
        actions = np.tile(self.windows.actions.reshape(W * H, 1, -1), (len(used) + 1, 1, 1))
        values = np.repeat(self.coordinates.decode(point)[None], len(actions), axis=0)
        where = np.tile(np.repeat(self.windows.conditions, H), len(used) + 1)
        after = self.simulator.simulate(batch.reshape(-1, flat.shape[1]), actions, values, where)[:, 0, used]
        after = after.reshape(len(used) + 1, W * H, len(used))
        slopes = (after[1:] - after[0]) / steps[:, used].T[..., None]  # (from, W H, to)
        return np.nan_to_num(slopes.transpose(1, 2, 0), nan=0.0, posinf=0.0, neginf=0.0).reshape(W, H, *2 * used.shape)

    def find_slopes(self, point: Float[np.ndarray, "dp"], weights: _Weights) -> Float[np.ndarray, "n dp"]:
        """Return the slopes of the softened errors in the coordinates, by central differences within the bounds.

        The differences are those of the errors before they are softened. Without noise, a step is many deviations wide;
        softened, the slopes of two parameters that do the same would differ, and the data would seem to fix both.
        """
        low, high = self.coordinates.bounds
        ahead, behind = np.minimum(point + _FINE_STEP, high), np.maximum(point - _FINE_STEP, low)
        points = np.concatenate([_replace_each(point, ahead), _replace_each(point, behind)])
        errors = weights.whiten(self.predict(points))
        dp = len(point)
        slopes = (errors[:dp] - errors[dp:]) / (ahead - behind)[:, None]
        return np.nan_to_num((slopes * _find_softening(weights.whiten(self.predict(point[None])), _OUTLYING)).T)


def _soften(errors: np.ndarray, limit: float) -> np.ndarray:
    """Return errors half of whose square is the pseudo-Huber loss, which is linear far beyond the limit."""
    square = (errors / limit) ** 2
    return np.sign(errors) * limit * np.sqrt(2.0 * square / (np.sqrt(1.0 + square) + 1.0))


def _find_softening(errors: np.ndarray, limit: float) -> np.ndarray:
    """Return the derivative of `_soften`: 1 at 0."""
    root = np.sqrt(1.0 + (errors / limit) ** 2)
    return np.sqrt((root + 1.0) / 2.0) / root


def _limit(errors: np.ndarray) -> np.ndarray:
    """Return errors that are finite: a window that diverges costs much, so that the search turns back."""
    return np.clip(np.nan_to_num(errors, nan=_LARGE, posinf=_LARGE, neginf=-_LARGE), -_LARGE * 1e6, _LARGE * 1e6)


def _replace_each(point: Float[np.ndarray, "dp"], other: Float[np.ndarray, "dp"]) -> Float[np.ndarray, "dp dp"]:
    """Return copies of a point, the i-th with the i-th number of another one."""
    return np.where(np.eye(len(point), dtype=bool), other, point)


def _thin(windows: Windows, most: int) -> Windows:
    """At most `most` windows, evenly spread."""
    if windows.size <= most:
        return windows
    chosen = np.zeros(windows.size, dtype=bool)
    chosen[np.linspace(0, windows.size - 1, most).round().astype(int)] = True
    return windows.take(chosen)


def _conclude(
    problem: _Problem,
    weights: _Weights,
    found: Float[np.ndarray, "dp"],
    windows: int,
    diverged: int,
    iterations: int,
) -> PhysicsFit | None:
    """Form the belief about the parameters, and gather the results; None if they are not finite."""
    whitened = weights.soften(problem.predict(found[None]))[0]
    if not np.isfinite(whitened).all():
        return None
    count = int(problem.windows.mask.sum()) * len(problem.used)
    surplus = max(float(whitened @ whitened) / max(count - len(found), 1), 1e-12)
    slopes = problem.find_slopes(found, weights)
    scores = (slopes * whitened[:, None]).reshape(len(problem.windows.mask), -1, len(found)).sum(axis=1)
    belief: Belief = form_belief(slopes / np.sqrt(max(surplus, 1.0)), problem.coordinates, scores)
    inputs = problem.windows.mask
    z = np.concatenate([problem.windows.states[inputs], problem.windows.actions[inputs]], axis=1)
    return PhysicsFit(
        coordinates=found,
        factor=belief.factor,
        noise=_measure_noise(problem, found),
        deviations=z.std(axis=0),
        loose=belief.loose,
        measurement=np.sqrt(weights.noise.measurement),
        process=np.sqrt(weights.noise.process),
        points=int(inputs.sum()),
        diverged=diverged,
        windows=windows,
        iterations=iterations,
        loss=0.5 * float(whitened @ whitened) / count,
    )


def _measure_noise(problem: _Problem, point: Float[np.ndarray, "dp"]) -> Float[np.ndarray, "dx"]:
    """Return the root mean square error of predictions of one step from each recorded state."""
    mask = problem.windows.mask
    states, actions, after = (array[mask] for array in problem.windows[:3])
    values = np.repeat(problem.coordinates.decode(point)[None], len(states), axis=0)
    where = np.broadcast_to(problem.windows.conditions[:, None], mask.shape)[mask]
    errors = after - problem.simulator.simulate(states, actions[:, None], values, where)[:, 0]
    return np.sqrt(np.nanmean(errors**2, axis=0))


def _judge(fit: PhysicsFit, simulator: Simulator, coordinates: Coordinates, done: bool) -> tuple[ModelStatus, str]:
    """Return the status, and what else there is to say."""
    said = []
    if len(fit.loose):
        said.append(explain_loose(fit.loose, simulator.parameters))
    low, high = coordinates.bounds
    near = _AT_BOUND * coordinates.widths
    at_bound = (fit.coordinates <= low + near) | (fit.coordinates >= high - near)
    said += [f"{simulator.parameters[i].name} is at its bound" for i in np.flatnonzero(at_bound)]
    if fit.diverged:
        said.append(f"{fit.diverged} of {fit.windows} windows diverge in simulation and were left out")
    if not done:
        said.append("the search spent its iterations")
    if len(fit.loose):
        return ModelStatus.NOT_IDENTIFIABLE, "; ".join(said)
    return (ModelStatus.OK if done else ModelStatus.NOT_CONVERGED), "; ".join(said)
