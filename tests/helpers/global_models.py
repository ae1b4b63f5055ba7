"""Global models for tests: an affine one that states its doubt, and learners."""

import dataclasses
from typing import Self

import numpy as np
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.dynamics.prior import Transitions
from gps.linear_gaussian.types import pytree
from gps.models.data import Dataset
from gps.records import ModelRecord


@pytree
class AffineFunction:
    """x' = F (z − origin) + value, and noise with a key."""

    slopes: Float[Array, "*E dx dz"]
    value: Float[Array, "*E dx"]
    origin: Float[Array, "*E dz"]
    noise: Float[Array, "*E dx"]

    def __call__(self, x, u, key=None):
        after = self.slopes @ (jnp.concatenate([x, u]) - self.origin) + self.value
        return after if key is None else after + self.noise * jax.random.normal(key, after.shape)


@pytree
class AffineModel:
    """An affine model; a Gaussian belief about each row of its slopes, and about its value at the origin."""

    slopes: Float[Array, "dx dz"]
    value: Float[Array, "dx"]
    origin: Float[Array, "dz"]
    noise: Float[Array, "dx"]  # standard deviation
    doubt: Float[Array, "dx"]  # standard deviation of the value at the origin
    covariances: Float[Array, "dx dz dz"]  # of the slopes

    @property
    def deviations(self):
        return jnp.ones(self.origin.shape)

    def mean(self, x, u):
        return self.slopes @ (jnp.concatenate([x, u]) - self.origin) + self.value

    def deviation(self, x, u):
        d = jnp.concatenate([x, u]) - self.origin
        return jnp.sqrt(self.noise**2 + self.doubt**2 + jnp.einsum("j,ijk,k->i", d, self.covariances, d))

    def sample(self, x, u, key):
        return self.mean(x, u) + self.deviation(x, u) * jax.random.normal(key, self.value.shape)

    def draw(self, key, count):
        dx, dz = self.slopes.shape
        one, two = jax.random.split(key)
        L = jnp.linalg.cholesky(self.covariances + 1e-12 * jnp.eye(dz))
        slopes = self.slopes + jnp.einsum("ijk,eik->eij", L, jax.random.normal(one, (count, dx, dz)))
        value = self.value + self.doubt * jax.random.normal(two, (count, dx))
        return AffineFunction(slopes, value, *(jnp.tile(a, (count, 1)) for a in (self.origin, self.noise)))

    def linearise(self, x, u):
        return self.slopes, self.value - self.slopes @ self.origin


@pytree
class SureOfSlopes(AffineModel):
    """The same model, which also states the covariance of its slopes."""

    def slope_covariance(self, x, u):
        return self.covariances


@dataclasses.dataclass(frozen=True)
class AffineLearner:
    """Bayesian linear regression of x' on z with a broad prior, in the units of the data."""

    noise: float = 1e-2
    data: Dataset | None = None
    model: SureOfSlopes | None = None

    def refit(self, transitions: Transitions, seed: int) -> Self:
        d = transitions.points.shape[-1]
        dx = (d - 2) // 2 if d == 8 else d // 2  # of the linear system of the tests, or a single action
        new = Dataset.of(transitions, dx)
        data = new if self.data is None else self.data.add(new)
        if data.size < 10:
            return dataclasses.replace(self, data=data)
        z = data.inputs
        origin = z.mean(axis=0)
        X = np.column_stack([np.ones(len(z)), z - origin])
        precision = X.T @ X + 1e-3 * np.eye(X.shape[1])
        beta = np.linalg.solve(precision, X.T @ data.successors)
        noise = np.full(dx, self.noise)
        inverse = np.linalg.inv(precision)
        model = SureOfSlopes(
            beta[1:].T,
            beta[0],
            origin,
            noise,
            noise * np.sqrt(inverse[0, 0]),
            noise[:, None, None] ** 2 * np.broadcast_to(inverse[1:, 1:], (dx, *inverse[1:, 1:].shape)),
        )
        return dataclasses.replace(self, data=data, model=model)

    def make_record(self) -> ModelRecord | None:
        return None if self.model is None else ModelRecord(name="affine", points=self.data.size)


@dataclasses.dataclass(frozen=True)
class FixedLearner:
    """A learner whose model never changes; it counts what it has seen."""

    model: SureOfSlopes
    seen: int = 0

    def refit(self, transitions: Transitions, seed: int) -> Self:
        return dataclasses.replace(self, seen=self.seen + int(transitions.mask.sum()))

    def make_record(self) -> ModelRecord | None:
        return ModelRecord(name="fixed")
