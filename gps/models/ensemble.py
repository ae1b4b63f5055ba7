"""An ensemble of networks as a global model of the dynamics (Chua et al. 2018, PETS).

Each of E members predicts the normalised change of the state as a Gaussian. The members differ by their starts and by
the bootstrap that they saw: where the data fix the change, they agree. Their spread is the model's doubt, their mean
variance the system's noise (law of total variance).

The networks compute in float32; the state around them is float64, so that a small change of a large state is not lost.
"""

from typing import Self

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import pytree
from gps.models.features import Differences, Encoding
from gps.models.members import GaussianNetwork


@pytree
class DrawnMember:
    """One member of an ensemble as a system; a `gps.models.model.Function`. `NetworkEnsemble.draw` returns a batch."""

    member: GaussianNetwork
    encoding: Encoding
    differences: Differences

    def __call__(
        self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "dx"]:
        """Return the member's next state, with a draw of its noise if there is a `key`."""
        target, s = self.member(self.encoding(x, u))
        if key is not None:
            target = target + jnp.exp(0.5 * s) * jax.random.normal(key, target.shape, target.dtype)
        return self.differences.decode(x, target)


@pytree
class NetworkEnsemble:
    """x' = x + a normalised Gaussian change, by E networks; a `gps.models.model.GlobalModel`.

    Args:
        members: each array has a leading axis E.
        deviations: standard deviation of each entry of z in the data.
    """

    members: GaussianNetwork
    encoding: Encoding
    differences: Differences
    deviations: Float[Array, "dz"]

    @property
    def size(self) -> int:
        """The number of members, E."""
        return self.members.low.shape[-2]

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the expected next state: the mean of the members' changes."""
        targets, _ = self.members.predict_each(self.encoding(x, u))
        return self.differences.decode(x, jnp.mean(targets, axis=0))

    def deviation(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the standard deviation of each entry of the next state: the members' noise and their spread."""
        targets, s = self.members.predict_each(self.encoding(x, u))
        return self.differences.deviation * jnp.sqrt(jnp.mean(jnp.exp(s), axis=0) + jnp.var(targets, axis=0))

    def spread(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the doubt alone: the standard deviation of the members' means."""
        targets, _ = self.members.predict_each(self.encoding(x, u))
        return self.differences.deviation * jnp.std(targets, axis=0)

    def sample(self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray) -> Float[Array, "dx"]:
        """Return a draw of the next state by a member that is drawn too."""
        targets, s = self.members.predict_each(self.encoding(x, u))
        which, noise = jax.random.split(key)
        member = jax.random.randint(which, (), 0, self.size)
        target, deviation = targets[member], jnp.exp(0.5 * s[member])
        return self.differences.decode(x, target + deviation * jax.random.normal(noise, target.shape, target.dtype))

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return the slope F of the mean and the offset c of x' = F [x; u] + c around [x; u]."""
        z = jnp.concatenate([x, u])
        F = jax.jacrev(lambda at: self.mean(at[: len(x)], at[len(x) :]))(z)
        return F, self.mean(x, u) - F @ z

    def slopes(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "E dx dz"]:
        """Return the slope of each member's mean; their spread is the doubt about the slope."""
        z = jnp.concatenate([x, u])

        def predict_each(at: Array) -> Array:
            targets, _ = self.members.predict_each(self.encoding(at[: len(x)], at[len(x) :]))
            return jax.vmap(self.differences.decode, (None, 0))(at[: len(x)], targets)

        return jax.jacrev(predict_each)(z)

    def draw(self, key: PRNGKeyArray, count: int) -> DrawnMember:
        """Return a batch of `count` functions. Each member occurs equally often, or once more than another."""
        order = jax.random.permutation(key, self.size)[jnp.arange(count) % self.size]
        members = jax.tree.map(lambda array: jnp.asarray(array)[order], self.members)
        repeat = lambda array: jnp.broadcast_to(array, (count, *jnp.shape(array)))  # noqa: E731
        return DrawnMember(members, *jax.tree.map(repeat, (self.encoding, self.differences)))

    def convert(self, encoding: Encoding, differences: Differences) -> Self:
        """Return the ensemble that predicts the same from other inputs to other targets (NumPy).

        An input that was constant so far begins without weight, a change that was constant with an untrained output.
        """
        w_old, w = self.encoding.weight, encoding.weight
        ratio = np.where(w > 0, w_old / np.where(w > 0, w, 1.0), 1.0)
        old, new = self.differences.deviation, differences.deviation
        unit = np.where(new > 0, new, 1.0)
        members = self.members.rescale(
            ratio,
            (encoding.mean - self.encoding.mean) * w_old,
            np.where((old > 0) & (new > 0), old / unit, 1.0),
            np.where(new > 0, (self.differences.mean - differences.mean) / unit, 0.0),
        )
        return type(self)(members, encoding, differences, self.deviations)
