"""One linear model of all steps, by Bayesian regression: what a short probe says about a system.

    x' = A x + B u + c_m + w,   w ~ N(0, diag σ² / weight),

in deviations from the start of condition m and from the action that holds it. Each row of [A B c] has the prior
N([A₀ 0 0], σ² (λ D)⁻¹), where D has the mean squares of the regressors on its diagonal, so that the fit has no units;
λ, the number of samples that the prior is worth, maximises the marginal likelihood (Bishop 2006, sec. 3.5). The
posterior of each row is N(mean, σ² S).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

STRENGTHS = np.logspace(-10, 2, 25)
"""The values of λ that are compared."""


class PooledModel(NamedTuple):
    """The posterior: means of A, B and c, and the covariance of the entries of each row of [A B], σ² S."""

    A: Float[np.ndarray, "dx dx"]
    B: Float[np.ndarray, "dx du"]
    c: Float[np.ndarray, "conditions dx"]
    covariance: Float[np.ndarray, "dx dz dz"]
    strength: float  # λ, samples


class Deviations(NamedTuple):
    """n transitions from `states` to `after`, in deviations from the starts and from the actions that hold them."""

    states: Float[np.ndarray, "n dx"]
    actions: Float[np.ndarray, "n du"]
    after: Float[np.ndarray, "n dx"]
    condition: Int[np.ndarray, "n"]  # m, the start that a transition belongs to; each has its own c
    weight: Float[np.ndarray, "n"]  # in (0, 1]; lower where the system is less linear

    def select(self, chosen: Bool[np.ndarray, "n"]) -> "Deviations":
        """Some of the transitions."""
        return Deviations(*(part[chosen] for part in self))

    def restrict(self, entries: Int[np.ndarray, "k"]) -> "Deviations":
        """Some entries of the state."""
        return self._replace(states=self.states[:, entries], after=self.after[:, entries])


def fit_pooled_model(transitions: Deviations, prior: Float[np.ndarray, "dx dx"]) -> PooledModel:
    """Fit the model to transitions.

    Args:
        prior: A₀; the prior means of B and c are zero.
    """
    states, actions, after, condition, weight = transitions
    dx, du = states.shape[1], actions.shape[1]
    root = np.sqrt(weight)[:, None]
    residual = root * (after - states @ prior.T)
    z = root * np.concatenate([states, actions, np.eye(condition.max() + 1)[condition]], axis=1)
    scale = np.sqrt(np.mean(z**2, axis=0))
    scale[scale == 0.0] = 1.0
    unit = z / scale
    values, vectors = np.linalg.eigh(unit.T @ unit)
    values = np.maximum(values, 0.0)
    projected = vectors.T @ (unit.T @ residual)  # (dz + conditions, dx)
    energy, n = np.sum(residual**2, axis=0), weight.sum()
    size = np.maximum(energy / n, 1e-300)

    def explain(strength: float) -> tuple[float, np.ndarray]:
        """The log marginal likelihood, up to a constant, and σ² of each row."""
        left = energy - np.sum(projected**2 / (values + strength)[:, None], axis=0)
        noise = (np.maximum(left, 0.0) + 1e-12 * size) / (n + 1.0)
        logdet = np.sum(np.log1p(values / strength))
        return float(-0.5 * (dx * logdet + (n + 1.0) * np.sum(np.log(noise / size)))), noise

    strength = max(STRENGTHS, key=lambda value: explain(value)[0])
    half = vectors / np.sqrt(values + strength)
    mean = (half @ (half.T @ (vectors @ projected))).T / scale
    S = half @ half.T / np.outer(scale, scale)
    dz = dx + du
    covariance = explain(strength)[1][:, None, None] * S[:dz, :dz]
    return PooledModel(prior + mean[:, :dx], mean[:, dx:dz], mean[:, dz:].T, covariance, float(strength))


def fit_separate_models(
    transitions: Deviations, prior: Float[np.ndarray, "dx dx"], groups: list[np.ndarray]
) -> PooledModel:
    """The same model where the entries of the state depend only on those of their own group, and on all actions.

    It has far fewer parameters, so a short probe determines it more surely. No group grows: it is for a start that
    holds itself.

    Args:
        prior: A₀, as in `fit_pooled_model`.
        groups: the entries of each group.
    """
    dx, du = transitions.states.shape[1], transitions.actions.shape[1]
    A, B, covariance = np.zeros((dx, dx)), np.zeros((dx, du)), np.zeros((dx, dx + du, dx + du))
    c = np.zeros((transitions.condition.max() + 1, dx))
    strengths = []
    for group in groups:
        one = fit_pooled_model(transitions.restrict(group), prior[np.ix_(group, group)])
        one = one._replace(A=one.A / max(1.0, np.abs(np.linalg.eigvals(one.A)).max()))
        both = np.r_[group, dx : dx + du]
        A[np.ix_(group, group)], B[group], c[:, group] = one.A, one.B, one.c
        covariance[np.ix_(group, both, both)] = one.covariance
        strengths.append(one.strength)
    return PooledModel(A, B, c, covariance, float(np.median(strengths)))


def predict(model: PooledModel, episode: Deviations) -> Float[np.ndarray, "n dx"]:
    """The states after each step of one episode, predicted from its first state and its actions alone."""
    x, predicted = episode.states[0], []
    with np.errstate(over="ignore", invalid="ignore"):
        for u, m in zip(episode.actions, episode.condition, strict=True):
            x = model.A @ x + model.B @ u + (model.c[m] if m < len(model.c) else 0.0)
            predicted.append(x)
    return np.array(predicted)
