"""Models with a memory: how they are followed along an episode.

What a state does not show, such as the force of a motor that lags behind its command, can often be told from the states
and actions before. A model with a memory m begins an episode with m_0 and follows it by (m, x, u) → (m', x'). The
memory depends on the states and actions alone, so that the model and all functions drawn from it share it, and a
recorded episode tells it for each of its steps.

Every rollout goes through the functions of this module. A model without a memory has one of size 0 there. Asked by
`mean`, `linearise` or a plain call, a model with a memory answers as at the start of an episode.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp


@runtime_checkable
class RememberingFunction(Protocol):
    """A `gps.models.model.Function`, or a model, whose next state depends on what it has seen in the episode."""

    def begin(self) -> Float[Array, "*memory"]:
        """Return the memory at the start of an episode (JAX)."""

    def advance(
        self,
        memory: Float[Array, "*memory"],
        x: Float[Array, "dx"],
        u: Float[Array, "du"],
        key: PRNGKeyArray | None = None,
    ) -> tuple[Float[Array, "*memory"], Float[Array, "dx"]]:
        """Return the next memory and the next state; of a model the expected one (JAX).

        Args:
            key: of a draw of the noise, and of a model's doubt as well; None for neither.
        """


@runtime_checkable
class RememberingModel(RememberingFunction, Protocol):
    """A `gps.models.model.GlobalModel` with a memory."""

    def deviation_after(
        self, memory: Float[Array, "*memory"], x: Float[Array, "dx"], u: Float[Array, "du"]
    ) -> Float[Array, "dx"]:
        """Return the standard deviation of each entry of the next state (JAX)."""


def begin_memory(function: Any) -> Float[Array, "*memory"]:
    """Return the memory of a model or a drawn function at the start of an episode; of size 0 if it has none (JAX)."""
    return function.begin() if isinstance(function, RememberingFunction) else jnp.zeros(0)


def advance_function(
    function: Any,
    memory: Float[Array, "*memory"],
    x: Float[Array, "dx"],
    u: Float[Array, "du"],
    key: PRNGKeyArray | None = None,
) -> tuple[Float[Array, "*memory"], Float[Array, "dx"]]:
    """Return the next memory and the next state by a drawn function, with its noise if there is a `key` (JAX)."""
    if isinstance(function, RememberingFunction):
        return function.advance(memory, x, u, key)
    return memory, function(x, u, key)


def advance_mean(
    model: Any, memory: Float[Array, "*memory"], x: Float[Array, "dx"], u: Float[Array, "du"]
) -> tuple[Float[Array, "*memory"], Float[Array, "dx"]]:
    """Return the next memory and the expected next state by a model (JAX)."""
    return model.advance(memory, x, u) if isinstance(model, RememberingFunction) else (memory, model.mean(x, u))


def find_deviation(
    model: Any, memory: Float[Array, "*memory"], x: Float[Array, "dx"], u: Float[Array, "du"]
) -> Float[Array, "dx"]:
    """Return the standard deviation of each entry of the next state (JAX)."""
    return model.deviation_after(memory, x, u) if isinstance(model, RememberingModel) else model.deviation(x, u)


def recall_episodes(
    model: Any, states: Float[np.ndarray, "E T dx"], actions: Float[np.ndarray, "E T du"]
) -> Float[np.ndarray, "E T *memory"]:
    """Return the model's memory before each step of E recorded episodes."""
    if not isinstance(model, RememberingFunction):
        return np.zeros((*states.shape[:2], 0))
    return np.asarray(_recall(model, states, actions))


@jax.jit
def _recall(model: RememberingFunction, states: Array, actions: Array) -> Array:
    def step(memory: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        return model.advance(memory, *at)[0], memory

    begin = model.begin()
    return jax.vmap(lambda x, u: jax.lax.scan(step, begin, (x, u))[1])(states, actions)
