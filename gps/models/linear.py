"""A global linear-Gaussian model by Bayesian ridge regression: the baseline of every other model.

The differences of the state are linear in the encoded state and action: y = Wᵀ φ + e, with e ~ N(0, Σ), where y are the
targets and φ the inputs of `gps.models.features`, with a constant 1 as the last input. The prior of the weights is
W ~ MN(0, I/λ, Σ), so that their posterior is matrix normal (Bishop 2006, eq. 3.49-3.54, for several outputs):

    W ~ MN(V Φᵀ Y, V, Σ),  V = (ΦᵀΦ + λ I)⁻¹

The strength λ maximises the marginal likelihood (eq. 3.86), and Σ is the mean square of the residuals over n − γ, with
γ the effective number of weights (eq. 3.91-3.95). All of it comes from one singular value decomposition of Φ.
"""

import dataclasses
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.dynamics.prior import Transitions
from gps.dynamics.units import positive_deviation
from gps.linear_gaussian.types import pytree
from gps.models.data import Dataset, pool_transitions
from gps.models.features import NO_TRANSFORMS, Differences, Encoding, StateTransforms, encode_input
from gps.records import ModelRecord
from gps.status import ModelStatus

_STRENGTHS = np.logspace(-12, 2, 57)
"""The values of λ that are tried, per point."""

_FLOOR = 1e-12
"""Added to the variances of the noise, as a share of the largest: noise of rounding, so that its Cholesky exists."""

_FEWEST = 3
"""Fewest transitions for a model."""


class _Fit(NamedTuple):
    """The posterior of the weights, and the noise."""

    weights: Float[np.ndarray, "df1 dx"]  # mean of W
    spread: Float[np.ndarray, "df1 df1"]  # L with V = L Lᵀ
    noise: Float[np.ndarray, "dx dx"]  # Cholesky factor of Σ, lower
    ridge: float  # λ


@pytree
class LinearModel:
    """x' = x + the decoded Wᵀ φ(x, u) + noise. A `gps.models.model.GlobalModel` with `MomentMatching`.

    Args:
        encoding, differences: of the inputs and the targets.
        weights: posterior mean of W; the last row belongs to the constant input.
        spread: L with V = L Lᵀ, the covariance of the weights relative to the noise.
        noise: Cholesky factor of Σ, in units of the targets.
        deviations: of z in the data.
    """

    encoding: Encoding
    differences: Differences
    weights: Float[Array, "df1 dx"]
    spread: Float[Array, "df1 df1"]
    noise: Float[Array, "dx dx"]
    deviations: Float[Array, "dz"]

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the expected next state."""
        return self.differences.decode(x, self._encode(x, u) @ self.weights)

    def deviation(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the standard deviation of each entry of the next state: noise and doubt about the weights."""
        variance = jnp.sum(jnp.asarray(self.noise) ** 2, axis=-1) * self._inflate(x, u)
        return self.differences.deviation * jnp.sqrt(variance)

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return the slope F and the offset c of x' = F [x; u] + c around [x; u]."""
        A, B = jax.jacfwd(self.mean, argnums=(0, 1))(x, u)
        return jnp.concatenate([A, B], axis=1), self.mean(x, u) - A @ x - B @ u

    def sample(self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray) -> Float[Array, "dx"]:
        """Return a draw of the next state, with noise and doubt."""
        error = jnp.asarray(self.noise) @ jax.random.normal(key, x.shape) * jnp.sqrt(self._inflate(x, u))
        return self.differences.decode(x, self._encode(x, u) @ self.weights + error)

    def draw(self, key: PRNGKeyArray, count: int) -> "LinearFunction":
        """Return `count` systems drawn from the posterior of the weights, W = M + L E chol(Σ)ᵀ."""
        normal = jax.random.normal(key, (count, *self.weights.shape))
        weights = self.weights + jnp.asarray(self.spread) @ normal @ jnp.asarray(self.noise).T
        slopes = self.encoding.weight[:, None] * weights[:, :-1] * self.differences.deviation
        offsets = self.differences.mean + self.differences.deviation * weights[:, -1] - self.encoding.mean @ slopes
        noise = jnp.asarray(self.differences.deviation)[:, None] * jnp.asarray(self.noise)
        noise = jnp.broadcast_to(noise, (count, *noise.shape))
        return LinearFunction(slopes, offsets, noise, self.encoding.transforms)

    def moments(
        self, mean: Float[Array, "dz"], covariance: Float[Array, "dz dz"]
    ) -> tuple[Float[Array, "dx"], Float[Array, "dx dx"], Float[Array, "dz dx"]]:
        """Return the mean of x', its covariance, and the covariance of z with x', for z ~ N(mean, covariance).

        They are exact, also where angles enter by sine and cosine, whose Gaussian moments are known.

        Raises:
            ValueError: if the state has quaternions, which are normalised.
        """
        transforms = self.encoding.transforms
        if transforms.quaternions:
            raise ValueError("a linear model of a state with quaternions has no moments in closed form")
        dx = self.weights.shape[1]
        raw, raw_covariance, cross = _encode_moments(mean, covariance, dx, transforms)
        phi = (raw - self.encoding.mean) * self.encoding.weight
        phi_covariance = raw_covariance * self.encoding.weight[:, None] * self.encoding.weight
        G = self.encoding.weight[:, None] * self.weights[:-1] * self.differences.deviation  # x' = x + Gᵀ f + const
        with_one = jnp.append(phi, 1.0)
        V = jnp.asarray(self.spread) @ jnp.asarray(self.spread).T
        doubt = with_one @ V @ with_one + jnp.sum(V[:-1, :-1] * phi_covariance)  # E[φᵀ V φ]
        L = self.differences.deviation[:, None] * jnp.asarray(self.noise)
        x_f = cross[:dx] @ G
        after = mean[:dx] + self.differences.mean + self.differences.deviation * (with_one @ self.weights)
        spread = covariance[:dx, :dx] + G.T @ raw_covariance @ G + x_f + x_f.T + (1.0 + doubt) * (L @ L.T)
        return after, spread, covariance[:, :dx] + cross @ G

    def _encode(self, x: Array, u: Array) -> Float[Array, "df1"]:
        return jnp.append(self.encoding(x, u), 1.0)

    def _inflate(self, x: Array, u: Array) -> Float[Array, ""]:
        """1 + φᵀ V φ, the variance of noise and doubt relative to that of the noise."""
        return 1.0 + jnp.sum((self._encode(x, u) @ self.spread) ** 2)


@pytree
class LinearFunction:
    """One linear system drawn from a model's posterior, x' = x + offset + f(x, u) slope + noise, with the inputs f
    before their normalisation. A `gps.models.model.Function`.
    """

    slope: Float[Array, "*count df dx"]
    offset: Float[Array, "*count dx"]
    noise: Float[Array, "*count dx dx"]  # L of its covariance L Lᵀ
    transforms: StateTransforms = dataclasses.field(metadata={"static": True})

    def __call__(
        self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "dx"]:
        """Return the next state, with a draw of the noise if there is a `key`."""
        change = encode_input(x, u, self.transforms) @ self.slope
        if key is not None:
            change = change + self.noise @ jax.random.normal(key, x.shape)
        return Differences(self.offset, jnp.ones_like(x), self.transforms).decode(x, change)


def _encode_moments(
    mean: Float[Array, "dz"], S: Float[Array, "dz dz"], dx: int, transforms: StateTransforms
) -> tuple[Float[Array, "df"], Float[Array, "df df"], Float[Array, "dz df"]]:
    """Return the mean and the covariance of the inputs f(z) before normalisation, and the covariance of z with them.

    With a ~ N(m, v): E sin a = e^(−v/2) sin m, cov(z, sin a) = cov(z, a) e^(−v/2) cos m, and products of two sines or
    cosines are sines and cosines of sums and differences (Deisenroth 2010, appendix A.1).
    """
    a = np.array(transforms.angles, int)
    m, v = mean[a], S[a][:, a]
    shrink = jnp.exp(-0.5 * jnp.diagonal(v))
    sine, cosine = shrink * jnp.sin(m), shrink * jnp.cos(m)
    total = jnp.diagonal(v)[:, None] + jnp.diagonal(v)
    minus, plus = jnp.exp(-0.5 * (total - 2.0 * v)), jnp.exp(-0.5 * (total + 2.0 * v))
    less, more = m[:, None] - m, m[:, None] + m
    ss = 0.5 * (minus * jnp.cos(less) - plus * jnp.cos(more)) - jnp.outer(sine, sine)
    cc = 0.5 * (minus * jnp.cos(less) + plus * jnp.cos(more)) - jnp.outer(cosine, cosine)
    sc = 0.5 * (plus * jnp.sin(more) + minus * jnp.sin(less)) - jnp.outer(sine, cosine)
    z_s, z_c = S[:, a] * cosine, -S[:, a] * sine
    whole = jnp.block([[S, z_s, z_c], [z_s.T, ss, sc], [z_c.T, sc.T, cc]])
    dz, A = mean.shape[0], len(a)
    plain = np.setdiff1d(np.arange(dx), a)
    order = np.concatenate([plain, dz + np.arange(2 * A), np.arange(dx, dz)])
    return jnp.concatenate([mean, sine, cosine])[order], whole[order][:, order], whole[:dz, order]


@dataclasses.dataclass(frozen=True)
class LinearLearner:
    """Learns a `LinearModel` from all transitions so far. A `gps.models.model.ModelLearner`.

    Args:
        dx, du: dimensions of state and action.
        transforms: what is known of the state's entries.
        ridge: λ, the strength of the prior that holds the weights near zero, in points; None finds it by marginal
            likelihood.
        max_points: largest number of transitions of a fit, evenly spread.
        data: learned: the transitions so far; None for none.
        model: learned: the model; None while there are too few transitions.
    """

    dx: int
    du: int
    transforms: StateTransforms = NO_TRANSFORMS
    ridge: float | None = None
    max_points: int = 100_000
    data: Dataset | None = None
    model: LinearModel | None = None
    status: ModelStatus = ModelStatus.OK
    message: str = ""

    def refit(self, transitions: Transitions, seed: int = 0) -> Self:
        """Return the learner that has also seen `transitions`. Nothing in it is random."""
        new = Dataset.of(transitions, self.dx)
        if not new.bounded:
            message = "The new transitions exploded, and were left out."
            return dataclasses.replace(self, status=ModelStatus.NOT_FINITE, message=message)
        data, _, said = pool_transitions(self.data, new)
        seen = dataclasses.replace(self, data=data, status=ModelStatus.OK, message=said)
        if data.size < _FEWEST:
            message = f"A linear model needs {_FEWEST} transitions, and there are {data.size}."
            return dataclasses.replace(seen, status=ModelStatus.TOO_FEW_POINTS, message=message)
        used = data.thin(self.max_points)
        encoding, differences = Encoding.of(used, self.transforms), Differences.of(used, self.transforms)
        if not (differences.varies.any() or encoding.weight.any()):
            return dataclasses.replace(seen, status=ModelStatus.NO_VARIATION)
        inputs, targets = encoding.encode_all(used), differences.encode_all(used)
        fit = _fit(inputs, targets, differences.varies, self.ridge)
        model = LinearModel(encoding, differences, fit.weights, fit.spread, fit.noise, positive_deviation(used.inputs))
        how = "marginal likelihood" if self.ridge is None else "the settings"
        return dataclasses.replace(seen, model=model, message=f"Ridge {fit.ridge:.2g} by {how}.{said and ' '}{said}")

    def make_record(self) -> ModelRecord | None:
        """The summary of the last fit; None before the first."""
        if self.data is None:
            return None
        points = min(self.data.size, self.max_points)
        return ModelRecord(name="linear", points=points, status=self.status, message=self.message)


def _fit(
    inputs: Float[np.ndarray, "n df"], Y: Float[np.ndarray, "n dx"], varies: Bool[np.ndarray, "dx"], ridge: float | None
) -> _Fit:
    """Return the posterior of the weights."""
    n, dx = Y.shape
    phi = np.concatenate([inputs, np.ones((n, 1))], axis=1)
    _, s, Vt = np.linalg.svd(phi, full_matrices=n < phi.shape[1])  # Vᵀ is square either way
    s = np.concatenate([s, np.zeros(phi.shape[1] - len(s))])
    coordinates = Vt @ (phi.T @ Y)  # s Uᵀ Y
    if ridge is None:
        scores = [_score(strength * n, s, coordinates[:, varies], Y[:, varies]) for strength in _STRENGTHS]
        ridge = float(_STRENGTHS[int(np.argmax(scores))] * n)
    weights = Vt.T @ (coordinates / (s**2 + ridge)[:, None])
    residual = Y - phi @ weights
    freedom = max(n - float(np.sum(s**2 / (s**2 + ridge))), 1.0)
    noise = residual.T @ residual / freedom
    floor = max(_FLOOR * float(noise.diagonal().max()), 1e-30)
    return _Fit(weights, Vt.T / np.sqrt(s**2 + ridge), np.linalg.cholesky(noise + floor * np.eye(dx)), ridge)


def _score(ridge: float, s: np.ndarray, coordinates: np.ndarray, Y: np.ndarray) -> float:
    """The logarithm of the marginal likelihood of λ, up to a constant, with Σ ~ IW(floor, dx + 2) integrated out."""
    n, dx = Y.shape
    left = Y.T @ Y - (coordinates.T / (s**2 + ridge)) @ coordinates  # the sum of squares that W leaves
    _, logdet = np.linalg.slogdet(0.5 * (left + left.T) + 1e-12 * n * np.eye(dx))
    occam = len(s) * np.log(ridge) - np.log(s**2 + ridge).sum()
    return 0.5 * (dx * occam - (n + dx + 2) * logdet)
