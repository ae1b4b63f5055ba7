"""Physics with fitted parameters as a global model of the dynamics."""

import dataclasses
from typing import Self

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import pytree
from gps.models.physics.differentiable import STEP, find_parameter_slopes, find_slopes, linearise_step, simulate_step
from gps.models.physics.fitting import PhysicsFit
from gps.models.physics.parameters import Coordinates
from gps.models.physics.simulator import Simulator

_LEAST_STEP = 1e-3
"""The least step, in coordinates, of the slope of a slope: a smaller one would drown in rounding."""

_NEGLIGIBLE = 1e-5
"""A doubt, in coordinates, that says nothing about the slopes: such parameters are known to five digits."""


@pytree
class PhysicsModel:
    """x' = f(x, u; θ) + w with a simulator f, θ ~ N(θ̂, L Lᵀ) in the coordinates of their fit, and independent noise w.

    A `gps.models.model.GlobalModel`, and one that differs between conditions. Where a simulation diverges, its state is
    NaN.

    Args:
        coordinates: θ̂.
        factor: L.
        noise: deviation of w; as measured, it also holds what the simulator lacks.
        deviations: of each entry of z in the data.
        simulator: f; two models of one simulator share their compiled functions.
        condition: the number of the condition whose system it is.
        loose: the columns of a factor of the same covariance whose doubt is worth a simulation; None for those of L.
    """

    coordinates: Float[Array, "dp"]
    factor: Float[Array, "dp dp"]
    noise: Float[Array, "dx"]
    deviations: Float[Array, "dz"]
    simulator: Simulator = dataclasses.field(metadata={"static": True})
    condition: Float[Array, ""] = dataclasses.field(default_factory=lambda: np.zeros(()))
    loose: Float[Array, "dp r"] | None = None

    @classmethod
    def of(cls, fit: PhysicsFit, simulator: Simulator) -> Self:
        """The model of a fit."""
        rotated, sizes, _ = np.linalg.svd(fit.factor)
        there = sizes > _NEGLIGIBLE
        loose = None if there.all() else (rotated * sizes)[:, there]
        return cls(fit.coordinates, fit.factor, fit.noise, fit.deviations, simulator, loose=loose)

    @property
    def varies(self) -> bool:
        """True if the system differs between the conditions."""
        return self.simulator.varies

    def for_condition(self, number: Float[Array, ""]) -> Self:
        """The model of the system in another condition."""
        return dataclasses.replace(self, condition=number)

    @property
    def scale(self) -> Coordinates:
        """The map between the parameters and their coordinates."""
        return Coordinates.of(self.simulator.parameters)

    @property
    def values(self) -> Float[Array, "dp"]:
        """The estimated parameters, in their own units (JAX)."""
        return self.scale.decode(self.coordinates, jnp)

    def predict(
        self,
        states: Float[np.ndarray, "B dx"],
        actions: Float[np.ndarray, "B du"],
        conditions: Int[np.ndarray, "B"] | None = None,
    ) -> Float[np.ndarray, "B dx"]:
        """Return the expected next states of a batch, each in its own condition; None for that of the model (NumPy)."""
        values = np.tile(self.scale.decode(np.asarray(self.coordinates)), (len(states), 1))
        where = np.full(len(states), int(self.condition)) if conditions is None else conditions
        return self.simulator.simulate(np.asarray(states), np.asarray(actions)[:, None], values, where)[:, 0]

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the next state under the estimated parameters (JAX)."""
        return simulate_step(self.simulator, x, u, self.values, self.condition)

    def deviation(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the deviation of the next state: measured noise, and the doubt about the parameters (JAX)."""
        doubt = self.parameter_slopes(x, u) @ self.factor
        return jnp.sqrt(self.noise**2 + jnp.sum(doubt**2, axis=-1))

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return F and c of x' = F z + c at one z = [x; u] (JAX). Computed entries of x have columns of zeros."""
        F, after = linearise_step(self.simulator, x, u, self.values, self.condition)
        return F, after - F @ jnp.concatenate([x, u])

    def sample(self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray) -> Float[Array, "dx"]:
        """Return a draw of the next state, with drawn parameters and noise (JAX)."""
        of_parameters, of_noise = jax.random.split(key)
        values = self._draw_values(jax.random.normal(of_parameters, self.coordinates.shape))
        after = simulate_step(self.simulator, x, u, values, self.condition)
        return after + self.noise * jax.random.normal(of_noise, self.noise.shape)

    def draw(self, key: PRNGKeyArray, count: int) -> "SimulatedFunction":
        """Return `count` systems with drawn parameters, within their bounds (JAX)."""
        values = self._draw_values(jax.random.normal(key, (count, *self.coordinates.shape)))
        noise, condition = (jnp.broadcast_to(a, (count, *jnp.shape(a))) for a in (self.noise, self.condition))
        return SimulatedFunction(values, noise, self.simulator, condition)

    def parameter_slopes(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx dp"]:
        """Return the slope of the next state in the coordinates of the parameters (JAX)."""
        scale, values = self.scale, self.values
        chain = jnp.where(scale.logarithmic, values, scale.high - scale.low)
        return find_parameter_slopes(self.simulator, x, u, values, self.condition) * chain

    def slope_covariance(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx dz dz"]:
        """Return the covariance of each row of the slope F under the doubt about the parameters (JAX).

        Row i has Σ_k D_k D_kᵀ, D_k the slope of the row along the k-th column of L, by central differences.
        """
        factor = jnp.asarray(self.factor if self.loose is None else self.loose)
        if not factor.shape[1]:
            dx, dz = len(x), len(x) + len(u)
            return jnp.zeros((dx, dz, dz))
        size = jnp.linalg.norm(factor, axis=0)
        step = jnp.maximum(size, _LEAST_STEP)  # along unit directions
        along = (factor / jnp.where(size > 0, size, 1.0)).T * step[:, None]
        low, high = self.scale.bounds
        ahead = jnp.clip(self.coordinates + along, low, high)
        behind = jnp.clip(self.coordinates - along, low, high)
        values = self.scale.decode(jnp.concatenate([ahead, behind]), jnp)
        both = jax.vmap(lambda drawn: find_slopes(self.simulator, x, u, drawn, self.condition))(values)
        dp = len(size)
        moved = jnp.sum((ahead - behind) * along, axis=1) / jnp.maximum(step**2, STEP**2)  # 2 away from the bounds
        D = (both[:dp] - both[dp:]) * (size / step / jnp.where(moved > 0, moved, 1.0))[:, None, None]
        return jnp.einsum("kij,kil->ijl", D, D)

    def _draw_values(self, normal: Float[Array, "*B dp"]) -> Float[Array, "*B dp"]:
        """Turn standard normal numbers into values of the parameters within their bounds."""
        low, high = self.scale.bounds
        drawn = jnp.clip(self.coordinates + normal @ jnp.asarray(self.factor).T, low, high)
        return self.scale.decode(drawn, jnp)


@pytree
class SimulatedFunction:
    """One system of a belief about a simulator's parameters. A `gps.models.model.Function`.

    Args:
        values: of the parameters, in their own units.
        noise: deviation of each entry of the next state.
        simulator: the simulator.
        condition: the number of the condition whose system it is.
    """

    values: Float[Array, "*B dp"]
    noise: Float[Array, "*B dx"]
    simulator: Simulator = dataclasses.field(metadata={"static": True})
    condition: Float[Array, "*B"] = dataclasses.field(default_factory=lambda: np.zeros(()))

    @property
    def varies(self) -> bool:
        """True if the system differs between the conditions."""
        return self.simulator.varies

    def for_condition(self, number: Float[Array, ""]) -> Self:
        """The same belief about the system in another condition."""
        return dataclasses.replace(self, condition=jnp.broadcast_to(number, jnp.shape(self.condition)))

    def __call__(
        self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "dx"]:
        """Return the next state, with noise if there is a `key` (JAX)."""
        after = simulate_step(self.simulator, x, u, self.values, self.condition)
        return after if key is None else after + self.noise * jax.random.normal(key, self.noise.shape)
