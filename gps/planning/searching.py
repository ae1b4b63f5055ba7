"""The loop of a search, once for models, as one compiled function, and once for what Python evaluates."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.planning.sequences import Found, SequenceOptimiser, count_rounds

S = TypeVar("S")


def make_key(seed: Array, t: Array, row: Array) -> PRNGKeyArray:
    """Return the key of the search for episode `row` at step t (JAX)."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), t), row)


def search_compiled(
    optimiser: SequenceOptimiser[S],
    objective: Callable[[Float[Array, "count H du"], PRNGKeyArray], Float[Array, "count"]],
    guesses: Float[Array, "G H du"],
    bounds: tuple[Float[Array, "du"], Float[Array, "du"]],
    key: PRNGKeyArray,
) -> Found:
    """Run a whole search (JAX); all in units.

    Args:
        objective: a JAX function of sequences and a key; the costs.
    """
    counts = optimiser.counts

    def run_round(number: Array, search: S, count: int) -> S:
        to_propose, to_evaluate = jax.random.split(jax.random.fold_in(key, number))
        sequences = optimiser.propose(search, to_propose, count, number == len(counts) - 1)
        return optimiser.update(search, sequences, objective(sequences, to_evaluate))

    search = optimiser.begin(guesses, *bounds)
    for first, rounds, count in count_rounds(counts):
        search = jax.lax.fori_loop(first, first + rounds, partial(run_round, count=count), search)
    return optimiser.finish(search)


def search_outside(
    optimiser: SequenceOptimiser[S],
    objective: Callable[[Float[Array, "count H du"], PRNGKeyArray], Float[Array, "count"]],
    guesses: Float[Array, "G H du"],
    bounds: tuple[Float[Array, "du"], Float[Array, "du"]],
    key: PRNGKeyArray,
) -> Found:
    """Run a whole search whose `objective` is a Python function; the optimiser's steps are compiled one by one."""
    counts = optimiser.counts
    search = _begin(optimiser, guesses, bounds)
    for number, count in enumerate(counts):
        last = np.bool_(number == len(counts) - 1)
        sequences, to_evaluate = _propose(optimiser, search, key, np.int32(number), count, last)
        search = _update(optimiser, search, sequences, objective(sequences, to_evaluate))
    return _finish(optimiser, search)


@partial(jax.jit, static_argnums=0)
def _begin(optimiser: SequenceOptimiser[S], guesses: Array, bounds: tuple[Array, Array]) -> S:
    return optimiser.begin(guesses, *bounds)


@partial(jax.jit, static_argnums=(0, 4))
def _propose(
    optimiser: SequenceOptimiser[S], search: S, key: Array, number: Array, count: int, last: Array
) -> tuple[Array, Array]:
    to_propose, to_evaluate = jax.random.split(jax.random.fold_in(key, number))
    return optimiser.propose(search, to_propose, count, last), to_evaluate


@partial(jax.jit, static_argnums=0)
def _update(optimiser: SequenceOptimiser[S], search: S, sequences: Array, costs: Array) -> S:
    return optimiser.update(search, sequences, jnp.asarray(costs))


@partial(jax.jit, static_argnums=0)
def _finish(optimiser: SequenceOptimiser[S], search: S) -> Found:
    return optimiser.finish(search)
