"""Imagined episodes: a policy's rollouts in a model, and their cost as a differentiable function of the policy.

An imagined episode begins in a state x_0 at step t of an episode, and for H steps

    u_h = μ(o_h) + L ε_h,   ε_h ~ N(0, I),  L Lᵀ = Σ the covariance of the policy's noise, within the limits
    x_{h+1} = f(x_h, u_h; ξ_h),   f one function drawn from the model's belief, which the episode keeps, ξ_h its noise

A model or a policy with a memory carries it along; in a visited state it begins with what the episode there tells it.
With `mean` there is one function, the model's mean. f, ε and ξ depend on a seed alone, so that the cost is a
deterministic function of the policy's parameters θ (the reparameterisation trick: Kingma & Welling 2014; for models
Heess et al. 2015, Parmas et al. 2018), and its derivative comes by backpropagation through all steps:

    J(θ) = mean over episodes of Σ_{h<H} ℓ(x_h, u_h, t + h) + V(x_H, t + H),   V = 0 at the end of the real episode, T

Two derivatives are not what backpropagation would give:

- **Clipping.** The adjoint λ_h = ∂J/∂x_h that flows back through a state is scaled down to a largest length, state by
  state, in standard deviations of the visited states: where the product of slopes explodes, one episode does not drown
  the others. What is not finite counts as 0.
- **Limits.** Beyond a limit the action does not change with u, and its derivative is zero: a policy that saturates
  would never come back. So what would bring it back flows through, and what would push it further out does not
  (the idea of the inverting gradients of Hausknecht & Stone 2016).

An episode that leaves the box of ten times what was visited has exploded: it stays where it is, and goes on to cost
what it costs there.
"""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from gps.algorithms.through_models.value import TerminalValue, find_returns
from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost
from gps.models.model import GlobalModel
from gps.models.remembering import advance_function, advance_mean, begin_memory
from gps.planning.sequences import ActionRange
from gps.policies.natural_gradient import mean_kl
from gps.policies.neural import NeuralPolicy
from gps.policies.observed import Observed
from gps.policies.remembering import follow_sequence, follow_step, memory_size


class Box(NamedTuple):
    """The states that a model can be asked about, and their unit."""

    low: Float[Array, "dx"]
    high: Float[Array, "dx"]
    deviation: Float[Array, "dx"]  # of the visited states; positive

    @classmethod
    def around(cls, states: Float[np.ndarray, "n dx"], factor: float = 10.0) -> "Box":
        """The box around visited states that reaches `factor` times their span beyond them (NumPy)."""
        low, high, deviation = states.min(axis=0), states.max(axis=0), states.std(axis=0)
        reach = factor * np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
        return cls(low - reach, high + reach, np.where(deviation > 0, deviation, 1.0))


class ImaginedSetting(NamedTuple):
    """Model, cost and options of the imagination: a pytree whose other leaves are static."""

    model: GlobalModel
    cost: Cost
    value: TerminalValue | None  # at the end of an imagined episode; None for zero
    range: ActionRange
    box: Box
    observed: Observed
    end: Int[Any, ""]  # T
    clip: Float[Any, ""]  # largest length of an adjoint, cost per standard deviation; inf for none
    steps: int  # H
    drawn: bool  # False for the model's mean
    kinds: str  # the classes of the parts, which JAX does not tell apart if they have equally many fields


class ImaginedStarts(NamedTuple):
    """The starts of P × S imagined episodes. The episodes of a row follow the same drawn function."""

    states: Float[Any, "P S dx"]
    steps: Int[Any, "P S"]  # t, of the episode
    memories: Float[Any, "P S n"]  # of the policy; n = 0 for a policy without
    model_memories: Float[Any, "P S *memory"]  # of size 0 for a model without
    seed: Any  # uint32, of the functions and the noise


class ImaginedCourse(NamedTuple):
    """Costs and states of P × S imagined episodes."""

    costs: Float[Array, "H P S"]
    states: Float[Array, "H P S dx"]
    last: Float[Array, "P S dx"]  # after the last action
    inside: Bool[Array, "P S"]  # False: exploded


def imagine_episodes(policy: NeuralPolicy, setting: ImaginedSetting, starts: ImaginedStarts) -> ImaginedCourse:
    """Return the imagined episodes (JAX); their derivatives are clipped as the module says."""
    P, S, _ = starts.states.shape
    reached = setting.clip / (P * S)  # J is a mean over the episodes

    def limit_slopes(u: Array, x: Array) -> tuple[Array, Array]:
        return _limit(u, setting.range.low, setting.range.high), _shorten(x, setting.box.deviation, reached)

    return _roll_out(policy, setting, starts, limit_slopes)


class ExpectedCost(eqx.Module):
    """−J(θ), an objective of `gps.policies.natural_gradient`."""

    setting: ImaginedSetting
    starts: ImaginedStarts

    def __call__(self, policy: NeuralPolicy) -> Float[Array, ""]:
        return -jnp.mean(sum_costs(self.setting, self.starts, imagine_episodes(policy, self.setting, self.starts)))


def sum_costs(setting: ImaginedSetting, starts: ImaginedStarts, course: ImaginedCourse) -> Float[Array, "P S"]:
    """Return the cost of each imagined episode, with the value of its last state (JAX)."""
    totals = jnp.sum(course.costs, axis=0)
    if setting.value is None:
        return totals
    at_end = starts.steps + setting.steps
    return totals + jnp.where(at_end < setting.end, jax.vmap(jax.vmap(setting.value))(course.last, at_end), 0.0)


@eqx.filter_jit
def evaluate_policy(
    policy: NeuralPolicy, setting: ImaginedSetting, starts: ImaginedStarts
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Return J(θ), and the share of the episodes that exploded."""
    course = imagine_episodes(policy, setting, starts)
    return jnp.mean(sum_costs(setting, starts, course)), jnp.mean(~course.inside)


@eqx.filter_jit
def measure_gradients(policy: NeuralPolicy, setting: ImaginedSetting, starts: ImaginedStarts) -> Float[Array, "H"]:
    """Return |∂ℓ_h / ∂u_0| for each h < H, mean over the episodes; the action in units of `ActionRange`.

    It is the derivative of the cost h steps ahead by the first action, while the policy goes on to act: the product of
    slopes ∂ℓ_h/∂x_h · ∂x_h/∂x_{h−1} ⋯ ∂x_1/∂u_0 that backpropagation multiplies, without any clipping.
    """

    P, S, _ = starts.states.shape
    du = len(setting.range.width)

    def costs_of(nudges: Array) -> tuple[Array, Array]:
        course = _roll_out(policy, setting, starts, lambda u, x: (_within(u, setting), x), nudges)
        return course.costs, course.inside

    def differentiate(direction: Array) -> tuple[Array, Array]:
        along = jnp.broadcast_to(direction, (P, S, du))
        _, slope, inside = jax.jvp(costs_of, (jnp.zeros((P, S, du)),), (along,), has_aux=True)
        return slope, inside

    slopes, inside = jax.vmap(differentiate)(jnp.eye(du))  # (du, H, P, S): episodes do not meet each other
    lengths = jnp.linalg.norm(slopes, axis=0)
    known = inside[0] & jnp.isfinite(lengths)
    return jnp.sum(jnp.where(known, lengths, 0.0), axis=(1, 2)) / jnp.sum(known, axis=(1, 2))


@eqx.filter_jit
def imagine_returns(
    policy: NeuralPolicy, setting: ImaginedSetting, starts: ImaginedStarts, decay: float
) -> tuple[Float[Array, "H P S dx"], Int[Array, "H P S"], Float[Array, "H P S"]]:
    """Return the states of imagined episodes, their steps, and their λ-returns with the setting's value.

    The returns of an episode that exploded are NaN.
    """
    assert setting.value is not None
    course = imagine_episodes(policy, setting._replace(value=None), starts)
    t = starts.steps + jnp.arange(setting.steps)[:, None, None]
    after = jnp.concatenate([course.states[1:], course.last[None]])
    worth = jax.vmap(jax.vmap(jax.vmap(setting.value)))(after, t + 1)
    returns = find_returns(course.costs, jnp.where(t + 1 < setting.end, worth, 0.0), decay)
    return course.states, t, jnp.where(course.inside, returns, jnp.nan)


@eqx.filter_jit
def forecast_episodes(
    policy: NeuralPolicy, setting: ImaginedSetting, starts: Float[Array, "M N dx"], noise: Float[Array, "M N T du"]
) -> tuple[Float[Array, "M N T"], Float[Array, "M N T dx"]]:
    """Return the costs and the states of whole episodes in the model's mean, with this noise in their actions."""

    begin = jnp.zeros(memory_size(policy)), begin_memory(setting.model)

    def follow_one(x: Array, noise: Array) -> tuple[Array, Array]:
        def step(carry: tuple[Array, ...], now: tuple[Array, Array]) -> tuple[Any, tuple[Array, Array]]:
            (x, memory, of_model), (e, t) = carry, now
            memory, mean = follow_step(policy, memory, setting.observed(x, t))
            u = _within(mean + e, setting)
            of_model, after = advance_mean(setting.model, of_model, x, u)
            return (after.astype(x.dtype), memory, of_model), (setting.cost(x, u, t), x)

        return jax.lax.scan(step, (x, *begin), (noise, jnp.arange(len(noise))))[1]

    return jax.vmap(jax.vmap(follow_one))(starts, noise)


# -- what the KL divergence of an update is taken over ---------------------------------------------------------------


class Sequences(NamedTuple):
    """Observations along episodes, and the memory with which each begins."""

    memories: Float[Array, "n k"]
    observations: Float[Array, "n H do"]


def find_means_along(policy: NeuralPolicy, along: Sequences) -> Float[Array, "n H du"]:
    """Return the mean actions along sequences of observations: `gps.policies.natural_gradient.Means`."""
    return jax.vmap(follow_sequence, (None, 0, 0))(policy, *along)[1]


@eqx.filter_jit
def measure_kl(
    new: NeuralPolicy, old: NeuralPolicy, along: Sequences, weights: Float[Array, "n H"]
) -> Float[Array, ""]:
    """Return the mean of KL(new ‖ old) along sequences of observations, nats."""
    return mean_kl(new, old, along, weights, find_means_along)


@eqx.filter_jit
def imagine_observations(
    policy: NeuralPolicy, setting: ImaginedSetting, starts: ImaginedStarts
) -> tuple[Sequences, Float[Array, "n H"]]:
    """Return what the policy observes in imagined episodes, and the weight 1 of each step before T."""
    states = imagine_episodes(policy, setting, starts).states
    H, P, S, _ = states.shape
    t = starts.steps + jnp.arange(H)[:, None, None]

    def by_episode(array: Array) -> Array:
        return jnp.moveaxis(array, 0, 2).reshape(P * S, H, *array.shape[3:])

    observations = by_episode(setting.observed(states, t))
    return Sequences(starts.memories.reshape(P * S, -1), observations), by_episode(t < setting.end).astype(float)


# -- the rollout -----------------------------------------------------------------------------------------------------


def _roll_out(
    policy: NeuralPolicy,
    setting: ImaginedSetting,
    starts: ImaginedStarts,
    limit_slopes: Any,
    nudges: Float[Array, "P S du"] | None = None,
) -> ImaginedCourse:
    """Return the imagined episodes.

    Args:
        limit_slopes: from an action and a state to the action within the limits and the state.
        nudges: added to the first action within the limits, in units of `ActionRange`.
    """
    P, S, _ = starts.states.shape
    H, du = setting.steps, len(setting.range.width)
    to_draw, to_act, to_disturb = jax.random.split(jax.random.key(starts.seed), 3)
    factor = jnp.linalg.cholesky(jnp.asarray(policy.covariance))
    noise = jax.random.normal(to_act, (H, P, S, du)) @ factor.T
    bits = jax.random.bits(to_disturb, (H, P, S, 2), "uint32")  # drawn at once: each draw takes time to compile
    if setting.drawn:
        functions = setting.model.draw(to_draw, P)

        def advance(memory: Array, x: Array, u: Array, bits: Array) -> tuple[Array, Array]:
            follow = jax.vmap(jax.vmap(advance_function, (None, 0, 0, 0, 0)))
            return follow(functions, memory, x, u, jax.random.wrap_key_data(bits))
    else:

        def advance(memory: Array, x: Array, u: Array, bits: Array) -> tuple[Array, Array]:
            return jax.vmap(jax.vmap(lambda *at: advance_mean(setting.model, *at)))(memory, x, u)

    act = jax.vmap(jax.vmap(follow_step, (None, 0, 0)), (None, 0, 0))
    price: Any = jax.vmap(jax.vmap(setting.cost))
    low, high, _ = setting.box

    def step(carry: tuple[Array, ...], now: tuple[Array, Array, Array]) -> tuple[Any, tuple[Array, Array]]:
        (x, memory, of_model, inside), (h, e, bits) = carry, now
        t = starts.steps + h
        memory, mean = act(policy, memory, setting.observed(x, t))
        u, x = limit_slopes(mean + e, x)
        if nudges is not None:
            u = u + jnp.where(h == 0, nudges * setting.range.width, 0.0)
        cost = jnp.where(t < setting.end, price(x, u, t), 0.0)
        of_model, after = advance(of_model, x, u, bits)
        after = jnp.asarray(after, x.dtype)
        inside = inside & jnp.all((after >= low) & (after <= high), axis=-1)  # False for NaN
        return (jnp.where(inside[..., None], after, x), memory, of_model, inside), (cost, x)

    memories = jnp.asarray(starts.memories, float), jnp.asarray(starts.model_memories)
    begin = (jnp.asarray(starts.states, float), *memories, jnp.ones((P, S), bool))
    (last, _, _, inside), (costs, states) = jax.lax.scan(step, begin, (jnp.arange(H), noise, bits))
    return ImaginedCourse(costs, states, last, inside)


def _within(u: Array, setting: ImaginedSetting) -> Array:
    return jnp.clip(u, setting.range.low, setting.range.high)


@partial(jax.custom_vjp)
def _limit(u: Float[Array, "... du"], low: Float[Array, "du"], high: Float[Array, "du"]) -> Float[Array, "... du"]:
    """Return the action within the limits; what would bring it back from beyond them flows through."""
    return jnp.clip(u, low, high)


def _limit_forward(u: Array, low: Array, high: Array) -> tuple[Array, Any]:
    return jnp.clip(u, low, high), (u < low, u > high, low, high)


def _limit_backward(kept: Any, slope: Array) -> tuple[Array, Array, Array]:
    below, above, low, high = kept
    outwards = (below & (slope < 0)) | (above & (slope > 0))  # the slope is that of −J: the update follows it
    return jnp.where(outwards, 0.0, slope), jnp.zeros_like(low), jnp.zeros_like(high)


_limit.defvjp(_limit_forward, _limit_backward)


@partial(jax.custom_vjp)
def _shorten(x: Float[Array, "... dx"], deviation: Float[Array, "dx"], most: Float[Array, ""]) -> Array:
    """Return x; the adjoint that flows back through it is at most so long, in cost per `deviation`."""
    return x


def _shorten_forward(x: Array, deviation: Array, most: Array) -> tuple[Array, Any]:
    return x, (deviation, most)


def _shorten_backward(kept: Any, slope: Array) -> tuple[Array, Array, Array]:
    deviation, most = kept
    slope = jnp.where(jnp.isfinite(slope), slope, 0.0)
    length = jnp.sqrt(jnp.sum((slope * deviation) ** 2, axis=-1, keepdims=True))
    return slope * jnp.minimum(1.0, most / jnp.maximum(length, 1e-300)), jnp.zeros_like(deviation), jnp.zeros_like(most)


_shorten.defvjp(_shorten_forward, _shorten_backward)
