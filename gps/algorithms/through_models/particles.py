"""The cost of a policy by particles that follow whole functions drawn from a model (Amadio et al. 2022, sec. IV).

    J(θ) = 1/P Σ_p Σ_t c(x_t, u_t, t),   x_{t+1} = f_p(x_t, u_t),   u_t = π_θ(o_t)

Particle p is an episode that is imagined under one function f_p: doubt about the system persists along an episode, as
it does. The policy acts on what it will see: on the state that is measured with the sensor's noise, and whose
velocities are estimated by the filter that runs with the real system (Amadio et al. 2022b, "Controlling partially
measurable systems with MC-PILCO"); the cost is that of the state itself.

All that is random (functions, starts, noise, features that are dropped) is drawn before, so that J is one smooth
function of the policy's parameters, which L-BFGS can minimise. Another draw gives another J of the same mean.
"""

import dataclasses
from typing import Any, NamedTuple, Self

import equinox as eqx
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float, PRNGKeyArray

from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost
from gps.dynamics.velocity_filter import VelocityFilter
from gps.models.model import GlobalModel
from gps.models.remembering import advance_function, begin_memory
from gps.policies.neural import NeuralPolicy, mean_of_one
from gps.policies.observed import Observed
from gps.problem import Problem

FAR = 1e3
"""A particle that is so many of the data's deviations away from its start is lost."""


class Draws(NamedTuple):
    """All that is random in the episodes of P particles."""

    functions: Any  # a batch of P
    starts: Float[Array, "P dx"]
    sensor: Float[Array, "T P dx"]  # standard normal
    keys: Any  # (T, P), of the system's noise; None without it
    kept: Bool[Array, "T P features"] | None  # the features of the policy that are not dropped; None: all


@dataclasses.dataclass(frozen=True)
class Particles:
    """The settings of the imagined episodes.

    Args:
        count: P at least; as many for each condition.
        spread: standard deviation of the starts around those of the conditions, relative to that of the data.
        noise: True if the model's noise is the system's, and moves the particles; False if it is that of the sensors.
        dropout: probability that a feature of the policy is dropped at a step, in training alone.
    """

    count: int = 64
    spread: float = 0.01
    noise: bool = True
    dropout: float = 0.0


class ParticleSetting(NamedTuple):
    """The inputs of the objective that all draws share. A pytree whose other leaves are static.

    Args:
        policy: whose network's arrays are θ.
        observed: what the policy observes of a state.
        noise: standard deviation of the sensor's noise.
        filter: of the velocities; None where they are measured.
        reach: distance from its start at which a particle is lost.
        dropout: probability that a feature of the policy is dropped at a step.
        kinds: the classes in policy and cost, which JAX does not tell apart if they have equally many fields.
    """

    policy: NeuralPolicy
    cost: Cost
    observed: Observed
    low: Float[Any, "du"]
    high: Float[Any, "du"]
    noise: Float[Any, "dx"]
    filter: VelocityFilter | None
    reach: Float[Any, "dx"]
    dropout: Float[Any, ""]
    kinds: str

    @classmethod
    def of(
        cls,
        problem: Problem,
        model: GlobalModel,
        cost: Cost,
        policy: NeuralPolicy,
        observed: Observed,
        dropout: float = 0.0,
    ) -> Self:
        """The setting for a problem, with the complete `cost`."""
        low, high = (np.broadcast_to(np.asarray(limit, float), problem.du) for limit in problem.limits)
        sensor = problem.sensor_noise if problem.filter is None else problem.filter.noise
        return cls(
            policy=policy,
            cost=cost,
            observed=observed,
            low=low,
            high=high,
            noise=np.broadcast_to(np.asarray(sensor, float), problem.dx),
            filter=problem.filter,
            reach=FAR * find_units(model)[: problem.dx],
            dropout=np.asarray(float(dropout)),
            kinds=str(jax.tree.structure((policy, cost))),
        )


def find_units(model: GlobalModel) -> Float[np.ndarray, "dz"]:
    """The deviation of each entry of z in the data; 1 where it never varies."""
    deviations = np.asarray(model.deviations, float)
    return np.where(np.isfinite(deviations) & (deviations > 0), deviations, 1.0)


def draw(
    model: GlobalModel,
    particles: Particles,
    starts: Float[np.ndarray, "M dx"],
    horizon: int,
    features: int,
    seed: tuple[int, ...],
) -> Draws:
    """Draw the episodes; deterministic in `seed`. Particle p starts as condition p mod M does.

    Args:
        features: of the policy, which may be dropped; 0: none is.
    """
    key = jax.random.key(np.uint32(seed[0] % 2**32))
    for number in seed[1:]:
        key = jax.random.fold_in(key, number)
    M = len(starts)
    count = M * -(-particles.count // M)
    spread = particles.spread * find_units(model)[: starts.shape[1]]
    centres = np.tile(starts, (count // M, 1))
    sizes = count, horizon, features if particles.dropout else 0, particles.noise
    return _draw(model, jnp.asarray(centres), jnp.asarray(spread), particles.dropout, sizes, key)


@eqx.filter_jit
def _draw(
    model: Any, centres: Array, spread: Array, dropout: float, sizes: tuple[int, int, int, bool], key: PRNGKeyArray
) -> Draws:
    count, horizon, features, noisy = sizes
    of_functions, of_starts, of_sensor, of_noise, of_features = jax.random.split(key, 5)
    return Draws(
        functions=model.draw(of_functions, count),
        starts=centres + spread * jax.random.normal(of_starts, centres.shape),
        sensor=jax.random.normal(of_sensor, (horizon, *centres.shape)),
        keys=jax.random.split(of_noise, (horizon, count)) if noisy else None,
        kept=jax.random.bernoulli(of_features, 1.0 - dropout, (horizon, count, features)) if features else None,
    )


class Episodes(NamedTuple):
    """Imagined episodes, and what each of them costs."""

    states: Float[Array, "T P dx"]
    costs: Float[Array, "T P"]
    lost: Bool[Array, "P"]


def roll_out_policy(setting: ParticleSetting, network: Any, draws: Draws) -> Episodes:
    """The episodes of all particles under a policy (JAX)."""
    policy = dataclasses.replace(setting.policy, network=network)
    sense, steps = setting.filter, len(draws.sensor)

    @jax.checkpoint  # the way back computes the features again, which is faster than to keep them for all steps
    def act(estimate: Array, t: Array, kept: Array | None) -> Array:
        acting = policy
        if kept is not None:
            acting = dataclasses.replace(policy, network=network.drop(kept, setting.dropout))
        return jnp.clip(mean_of_one(acting, setting.observed(estimate, t)), setting.low, setting.high)

    def step(carry: tuple[Array, ...], now: tuple[Any, ...]) -> tuple[tuple[Array, ...], tuple[Array, Array]]:
        x, memory, last, lost = carry
        t, e, keys, kept = now
        measured = x + setting.noise * e
        estimate = measured
        if sense is not None:
            estimate = jnp.where(t == 0, sense.begin(measured), sense.update(last, measured))
        u = jax.vmap(act, (0, None, None if kept is None else 0))(estimate, t, kept)
        cost = jax.vmap(setting.cost, (0, 0, None))(x, u, t)
        advance = jax.vmap(advance_function, (0, 0, 0, 0, None if keys is None else 0))
        memory, after = advance(draws.functions, memory, x, u, keys)
        near = (jnp.abs(after - draws.starts) < setting.reach).all(axis=-1)  # False for NaN
        return (jnp.where(near[:, None], after, x), memory, estimate, lost | ~near), (x, cost)

    memories = jax.vmap(begin_memory)(draws.functions)
    first = draws.starts, memories, draws.starts, jnp.zeros(len(draws.starts), bool)
    along = jnp.arange(steps), draws.sensor, draws.keys, draws.kept
    (_, _, _, lost), (states, costs) = jax.lax.scan(step, first, along)
    return Episodes(states, costs, lost)


@dataclasses.dataclass(frozen=True)
class ParticleObjective:
    """J as a function of the vector of the policy's parameters, for one draw: deterministic, and safe in threads."""

    setting: ParticleSetting
    draws: Draws

    def __call__(self, parameters: Float[np.ndarray, "p"]) -> tuple[float, Float[np.ndarray, "p"]]:
        """Return J and its gradient."""
        value, gradient = _differentiate(self.setting, self.draws, jnp.asarray(parameters))
        return float(value), np.asarray(gradient)

    def imagine(self, parameters: Float[np.ndarray, "p"]) -> Episodes:
        """Return the episodes themselves, as NumPy arrays."""
        return jax.tree.map(np.asarray, _imagine(self.setting, self.draws, jnp.asarray(parameters)))


@eqx.filter_jit
def _differentiate(setting: ParticleSetting, draws: Draws, parameters: Array) -> tuple[Array, Array]:
    _, unravel = ravel_pytree(setting.policy.network)

    def price(parameters: Array) -> Array:
        return jnp.sum(roll_out_policy(setting, unravel(parameters), draws).costs) / len(draws.starts)

    return jax.value_and_grad(price)(parameters)


@eqx.filter_jit
def _imagine(setting: ParticleSetting, draws: Draws, parameters: Array) -> Episodes:
    _, unravel = ravel_pytree(setting.policy.network)
    return roll_out_policy(setting, unravel(parameters), draws)
