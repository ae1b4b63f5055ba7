"""Recurrent networks as a global model of the dynamics (as the world models of Ha & Schmidhuber 2018, with a GRU).

What the state does not show, the network can remember. With the encoded state and action f = φ(x, u), the memory m of
a gated recurrent unit (Cho et al. 2014; `gps.networks.recurrent` has its formulas) and D the deviation of the changes,

    m' = GRU(m, f),    x' = x + mean + D ∘ (f A + s ∘ g([f; m'])) + noise,

with a linear map A that was fitted by least squares, and g a perceptron that learns what A leaves, in its unit s. E
members differ by their starts and by what they saw; their spread is the model's doubt. The noise is Gaussian and
constant.

The gated update is chosen for the gradient of a policy that is trained through the model: where a gate is near 1,
m' = m + small terms, and a slope that flows along the memory keeps its size (`policy_backprop`). A residual update
m' = m + r(m, f) would keep it too, but its memory can grow without bound in a long imagined episode; a GRU's stays
within ±1.

The networks compute in float32; the state around them is float64. The memory holds those of all members, (E, n), which
follow from the episode alone: the model and its drawn functions share it.
"""

from typing import Self

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.linear_gaussian.types import pytree
from gps.models.features import Differences, Encoding
from gps.networks import MLP
from gps.networks.recurrent import Gates, advance_memory, draw_gates


@pytree
class RecurrentMember:
    """A gated recurrent unit, and a perceptron that reads its inputs and memory. With leading axes it is a batch."""

    gates: Gates
    head: MLP

    @classmethod
    def create(cls, df: int, units: int, hidden: tuple[int, ...], dy: int, key: jax.Array) -> Self:
        """Return an untrained member in float32."""
        of_input, of_memory, of_head = jax.random.split(key, 3)
        gates = Gates(*(np.asarray(array, np.float32) for array in draw_gates(df, units, of_input, of_memory)))
        return cls(gates, MLP.create((df + units, *hidden, dy), of_head, "tanh", np.float32))

    @property
    def memory_size(self) -> int:
        return self.gates.from_memory.shape[-2]

    def remember(self, memory: Float[Array, "n"], inputs: Float[Array, "df"]) -> Float[Array, "n"]:
        """Return the next memory (JAX)."""
        return advance_memory(self.gates, memory, inputs.astype(memory.dtype))

    def read(self, memory: Float[Array, "n"], inputs: Float[Array, "df"]) -> Float[Array, "dy"]:
        """Return the output at the next memory and the inputs (JAX)."""
        return self.head(jnp.concatenate([inputs.astype(memory.dtype), memory]))

    def follow(self, inputs: Float[Array, "L df"]) -> Float[Array, "L dy"]:
        """Return the outputs along a sequence that begins with an empty memory (JAX)."""
        driven = inputs.astype(jnp.asarray(self.gates.offset).dtype)

        def step(memory: Array, f: Array) -> tuple[Array, Array]:
            memory = self.remember(memory, f)
            return memory, memory

        _, memories = jax.lax.scan(step, jnp.zeros(self.memory_size, driven.dtype), driven)
        return jax.vmap(self.read)(memories, driven)


@pytree
class RecurrentModel:
    """x' = x + a normalised change, by E recurrent networks: `gps.models.model.GlobalModel` with a memory.

    `mean`, `deviation`, `sample` and `linearise` answer as at the start of an episode, where the memory is empty.

    Args:
        members: each array has a leading axis E.
        linear: A.
        unit: s.
        noise: standard deviation of the noise of each normalised change.
        deviations: standard deviation of each entry of z in the data.
    """

    members: RecurrentMember
    linear: Float[Array, "*count df dx"]
    unit: Float[Array, "*count dx"]
    noise: Float[Array, "*count dx"]
    encoding: Encoding
    differences: Differences
    deviations: Float[Array, "*count dz"]

    @property
    def size(self) -> int:
        """The number of members, E."""
        return self.members.gates.offset.shape[-2]

    def begin(self) -> Float[Array, "E n"]:
        """Return the memory at the start of an episode: zeros."""
        return jnp.zeros((self.size, self.members.memory_size), jnp.asarray(self.members.gates.offset).dtype)

    def advance(
        self, memory: Float[Array, "E n"], x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> tuple[Float[Array, "E n"], Float[Array, "dx"]]:
        """Return the next memory and the expected next state; with a key, a draw by a member that is drawn too."""
        memory, targets = self.predict_each(memory, x, u)
        if key is None:
            return memory, self.differences.decode(x, jnp.mean(targets, axis=0))
        which, noise = jax.random.split(key)
        target = targets[jax.random.randint(which, (), 0, self.size)]
        return memory, self.differences.decode(x, target + self.noise * jax.random.normal(noise, target.shape))

    def deviation_after(
        self, memory: Float[Array, "E n"], x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> Float[Array, "dx"]:
        """Return the standard deviation of each entry of the next state: the noise and the members' spread."""
        _, targets = self.predict_each(memory, x, u)
        return self.differences.deviation * jnp.sqrt(self.noise**2 + jnp.var(targets, axis=0))

    def mean(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the expected next state at the start of an episode."""
        return self.advance(self.begin(), x, u)[1]

    def deviation(self, x: Float[Array, "dx"], u: Float[Array, "du"]) -> Float[Array, "dx"]:
        """Return the standard deviation of each entry of the next state at the start of an episode."""
        return self.deviation_after(self.begin(), x, u)

    def sample(self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray) -> Float[Array, "dx"]:
        """Return a draw of the next state at the start of an episode, with noise and doubt."""
        return self.advance(self.begin(), x, u, key)[1]

    def linearise(
        self, x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "dx dz"], Float[Array, "dx"]]:
        """Return the slope F of the mean at the start of an episode and the offset c of x' = F [x; u] + c."""
        z = jnp.concatenate([x, u])
        F = jax.jacrev(lambda at: self.mean(at[: len(x)], at[len(x) :]))(z)
        return F, self.mean(x, u) - F @ z

    def draw(self, key: PRNGKeyArray, count: int) -> "DrawnRecurrent":
        """Return a batch of `count` functions. Each member occurs equally often, or once more than another."""
        order = jax.random.permutation(key, self.size)[jnp.arange(count) % self.size]
        repeat = lambda array: jnp.broadcast_to(array, (count, *jnp.shape(array)))  # noqa: E731
        return DrawnRecurrent(jax.tree.map(repeat, self), order)

    def predict_each(
        self, memory: Float[Array, "E n"], x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> tuple[Float[Array, "E n"], Float[Array, "E dx"]]:
        """Return the next memory and the normalised change that each member expects (JAX)."""
        f = self.encoding(x, u)
        memory = jax.vmap(RecurrentMember.remember, (0, 0, None))(self.members, memory, f)
        return memory, self.complete(f, jax.vmap(RecurrentMember.read, (0, 0, None))(self.members, memory, f))

    def complete(self, f: Float[Array, "df"], output: Float[Array, "*E dx"]) -> Float[Array, "*E dx"]:
        """Return the normalised change: the linear map's, and an output of a member in its unit (JAX)."""
        return f @ self.linear + self.unit * output


@pytree
class DrawnRecurrent:
    """One member as a system: `gps.models.remembering.RememberingFunction`. `RecurrentModel.draw` returns a batch.

    It carries the memory of all members, as the model does. A plain call answers as at the start of an episode.
    """

    model: RecurrentModel
    number: Int[Array, "*count"]

    def begin(self) -> Float[Array, "E n"]:
        """Return the memory at the start of an episode: zeros."""
        return self.model.begin()

    def advance(
        self, memory: Float[Array, "E n"], x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> tuple[Float[Array, "E n"], Float[Array, "dx"]]:
        """Return the next memory and the member's next state, with a draw of the noise if there is a `key`."""
        memory, targets = self.model.predict_each(memory, x, u)
        target = targets[self.number]
        if key is not None:
            target = target + self.model.noise * jax.random.normal(key, target.shape)
        return memory, self.model.differences.decode(x, target)

    def __call__(
        self, x: Float[Array, "dx"], u: Float[Array, "du"], key: PRNGKeyArray | None = None
    ) -> Float[Array, "dx"]:
        """Return the next state at the start of an episode."""
        return self.advance(self.begin(), x, u, key)[1]
