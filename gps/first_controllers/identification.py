"""From a probe to a linear model of the system around its starts."""

import numpy as np
from jaxtyping import Float

from gps.first_controllers.pooled import Deviations, PooledModel, fit_pooled_model, fit_separate_models, predict
from gps.first_controllers.probe import Probe
from gps.linear_gaussian.mechanics import Mechanics

UNSTABLE = 3.0
"""Growth of a deviation in an episode of the probe, from which on a start may not hold itself."""

DRIFT = 0.2
"""In targets: a start that drifts farther without noise does not hold itself."""

BETTER = 0.5
"""The full model is taken if its errors are below this share of the separate ones'."""


def find_identified(mechanics: Mechanics | None, dx: int) -> np.ndarray:
    """The entries of the state in the model: positions and velocities, which are a state by themselves, or all."""
    if mechanics is None:
        return np.arange(dx)
    return np.r_[mechanics.position, mechanics.velocity]


def identify_model(
    probe: Probe,
    mechanics: Mechanics | None,
    entries: np.ndarray,
    target: Float[np.ndarray, "dx"],
    half: Float[np.ndarray, "du"],
    length: int,
) -> PooledModel:
    """The linear model of the probe around the start, in units of action.

    The prior is that nothing changes, but for positions, which integrate their velocities. A transition counts less the
    farther it is from the start, measured in targets: there the system is less linear.

    Most starts hold themselves, and then each degree of freedom is fitted by itself: slow growth in a full model of a
    short probe is an error of the fit. The full model is taken where it grows within an episode, and the start drifts
    without noise or the model predicts episodes that it has not seen much better.
    """
    x, after = probe.states[:, entries], probe.after[:, entries]
    prior, groups = np.eye(len(entries)), [np.array([i]) for i in range(len(entries))]
    if mechanics is not None:
        nv = len(entries) // 2
        prior[:nv, nv:] = mechanics.dt * np.eye(nv)
        groups = [np.array([i, nv + i]) for i in range(nv)]
    known = np.isfinite(target[entries])
    far = np.abs(x[:, known] / target[entries][known]).max(axis=1, initial=0.0)
    weight = 1.0 / (1.0 + far**2) ** 2
    everything = Deviations(x, probe.actions / half, after, probe.condition, weight)

    def fit(seen: Deviations, full: bool) -> PooledModel:
        return fit_pooled_model(seen, prior) if full else fit_separate_models(seen, prior, groups)

    def find_error(full: bool) -> float:
        """The median over episodes of the largest error, in targets, of a model that has not seen the episode."""
        errors = []
        for number in range(1, probe.episodes):
            now = probe.episode == number
            predicted = predict(fit(everything.select(~now), full), everything.select(now))
            error = np.abs(predicted - after[now])[:, known] / target[entries][known]
            errors.append(np.nan_to_num(error, nan=np.inf).max(initial=0.0))
        return float(np.median(errors))

    model = fit(everything, True)
    drift = np.max(probe.drift[entries][known] / target[entries][known], initial=0.0)
    grows = find_growth(model.A) ** length > UNSTABLE
    if not (grows and (drift > DRIFT or find_error(True) < BETTER * find_error(False))):
        model = fit(everything, False)
    scale = np.concatenate([np.ones(len(entries)), half])
    return model._replace(B=model.B / half, covariance=model.covariance / np.outer(scale, scale))


def find_growth(A: Float[np.ndarray, "dx dx"]) -> float:
    """The largest |eigenvalue|, the growth of a deviation in a step."""
    return float(np.abs(np.linalg.eigvals(A)).max())
