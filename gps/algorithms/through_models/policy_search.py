"""MPPI around a policy: improve its action distribution in each of many visited states, in a model.

It is the search of `gps.algorithms.through_models.mppigps`, which has the equations. Each state's search is a
computation of its own with its own noise, so that the errors of neighbouring targets are independent, and a policy that
imitates them averages them out.
"""

import dataclasses
from typing import Any, NamedTuple, Self

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from gps.algorithms.guided.lessons import flatten_samples
from gps.backend import Array, jax, jnp
from gps.costs.terms import Cost
from gps.linear_gaussian.linalg import psd_inverse
from gps.models.model import GlobalModel
from gps.models.propagation import Propagation, count_particles, draw_beliefs, follow_beliefs, roll_out_particles
from gps.models.remembering import advance_mean, begin_memory
from gps.planning.colour import draw_coloured
from gps.planning.mppi import SoftMinimum, weigh_with_policy
from gps.planning.objective import total_costs
from gps.planning.searching import make_key
from gps.planning.sequences import ActionRange
from gps.policies.neural import NeuralPolicy, mean_of_one
from gps.policies.observed import Observed
from gps.problem import Problem
from gps.records import Rollouts

_INDIFFERENT = 1e-6
"""Weights whose divergence from equal ones is below it say nothing, nats."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PathIntegralSearch:
    """The settings of the search in a visited state.

    Args:
        samples: S, sequences in each round; the plan itself is one of them.
        rounds: R, in each of which the plan moves to the weighted mean of the sequences.
        horizon: H, steps of a sequence.
        spread: s, the standard deviation of the noise, in units of `gps.planning.sequences.ActionRange`.
        beta: the exponent of the noise's spectrum; 0 for white noise.
        particles, propagation: of a sequence, see `gps.models.propagation`.
    """

    samples: int = 128
    rounds: int = 3
    horizon: int = 20
    spread: float = 0.3
    beta: float = 1.0
    particles: int = 3
    propagation: Propagation = "ts1"


class Targets(NamedTuple):
    """The improved action distributions in the visited states. NaN where no sequence has a finite cost."""

    actions: Float[np.ndarray, "M N T du"]
    precisions: Float[np.ndarray, "M N T du du"]
    kl: Float[np.ndarray, "M N T"]  # KL(w ‖ equal weights), nats
    effective: Float[np.ndarray, "M N T"]  # 1 / Σ w²

    @property
    def known(self) -> Bool[np.ndarray, "M N T"]:
        """True where there is an action."""
        return np.isfinite(self.actions).all(axis=-1) & np.isfinite(self.precisions).all(axis=(-1, -2))

    @property
    def informed(self) -> Bool[np.ndarray, "M N T"]:
        """True where the weights prefer some sequences to others."""
        return self.known & (self.kl > _INDIFFERENT)


class Setting(NamedTuple):
    """Model, policy, cost and options of the search: a pytree whose other leaves are static."""

    model: GlobalModel
    cost: Cost
    policy: NeuralPolicy | None  # None before there is one
    range: ActionRange
    end: Int[Any, ""]  # T
    kl_step: Float[Any, ""]  # ε, nats
    observed: Observed
    search: PathIntegralSearch
    kinds: str  # the classes in model, cost and policy, which JAX does not tell apart if they have equally many fields

    @classmethod
    def of(
        cls,
        problem: Problem,
        model: GlobalModel,
        cost: Cost,
        policy: NeuralPolicy | None,
        search: PathIntegralSearch,
        kl_step: float,
        observed: Observed,
    ) -> Self:
        """The setting for a problem, with the complete `cost`; sequences are at most as long as an episode."""
        return cls(
            model=model,
            cost=cost,
            policy=policy,
            range=ActionRange.of(*problem.limits, np.asarray(model.deviations)[-problem.du :]),
            end=np.int32(problem.horizon),
            kl_step=np.asarray(float(kl_step)),
            observed=observed,
            search=dataclasses.replace(search, horizon=min(search.horizon, problem.horizon)),
            kinds=str(jax.tree.structure((model, cost, policy))),
        )


def find_targets(setting: Setting, rollouts: Rollouts, policy_weight: float, seed: int) -> Targets:
    """Improve the action distribution in each visited state; it is deterministic in `seed`.

    Args:
        policy_weight: λ_π, cost per nat; it does not matter before there is a policy.
    """
    M, N, T = rollouts.mask.shape
    followed = np.minimum(np.arange(T)[:, None] + np.arange(setting.search.horizon), T - 1)
    where = _Where(
        flatten_samples(rollouts.states),
        np.tile(np.arange(T, dtype=np.int32), M * N),
        np.repeat(np.arange(M * N, dtype=np.int32), T),
        flatten_samples(rollouts.actions[:, :, followed]),
    )
    found = _search_all(setting, where, np.asarray(float(policy_weight)), np.uint32(seed % 2**32))
    targets = Targets(*(np.asarray(array).reshape(M, N, T, *array.shape[1:]) for array in found))
    return targets._replace(actions=np.where(rollouts.mask[..., None], targets.actions, 0.0))


@eqx.filter_jit
def forecast(
    setting: Setting, starts: Float[Array, "M N dx"], noise: Float[Array, "M N T du"]
) -> tuple[Float[Array, "M N T"], Float[Array, "M N T dx"]]:
    """Return the costs and the states of the policy's episodes in the model's mean, with the noise in their actions."""

    def step(carry: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        (memory, x), (e, t) = carry, now
        u = _act(setting, x, t, e)
        memory, after = advance_mean(setting.model, memory, x, u)
        return (memory, after.astype(x.dtype)), (setting.cost(x, u, t), x)

    def follow(x: Array, e: Array) -> tuple[Array, Array]:
        return jax.lax.scan(step, (begin_memory(setting.model), x), (e, jnp.arange(len(e))))[1]

    return jax.vmap(jax.vmap(follow))(starts, noise)


class _Where(NamedTuple):
    """Visited states: with a leading axis of B, or one of them."""

    x: Any  # (dx,)
    t: Any
    row: Any  # the number of the episode
    followed: Any  # (H, du), the actions that the episode went on with


@eqx.filter_jit
def _search_all(
    setting: Setting, where: _Where, policy_weight: Float[Array, ""], seed: Array
) -> tuple[Array, Array, Array, Array]:
    """Return `Targets` for B visited states, one after another."""
    return jax.lax.map(lambda one: _search(setting, one, policy_weight, seed), where)


def _search(
    setting: Setting, where: _Where, policy_weight: Float[Array, ""], seed: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the mean, precision, divergence and effective size of the weighted first actions in one state."""
    search, units = setting.search, setting.range
    to_draw, to_propose, to_evaluate = jax.random.split(make_key(seed, where.t, where.row), 3)
    particles = count_particles(search.propagation, search.particles)
    functions = draw_beliefs(setting.model, search.propagation, particles, to_draw)
    advance = follow_beliefs(setting.model, functions, search.propagation)
    plan = where.followed if setting.policy is None else _roll_out_policy(setting, where.x, where.t)

    def weigh(plan: Array, number: Array) -> tuple[Float[Array, "S H du"], SoftMinimum]:
        noise = draw_coloured(jax.random.fold_in(to_propose, number), search.samples, plan.shape, search.beta)
        actions = units.to_actions(units.to_units(plan) + search.spread * noise.at[0].set(0.0))
        costs, states = roll_out_particles(
            advance, particles, setting.cost, where.x, actions, units.idle, where.t, setting.end, to_evaluate
        )
        likely = _log_probability(setting, actions, states[:-1], where.t)
        return actions, weigh_with_policy(total_costs(costs, states), likely, policy_weight, setting.kl_step)

    def move(plan: Array, number: Array) -> tuple[Array, tuple[Array, SoftMinimum]]:
        actions, soft = weigh(plan, number)
        moved = jnp.where(soft.effective > 0, jnp.einsum("s,shi->hi", soft.weights, actions), plan)
        return moved, (actions[:, 0], soft)

    _, each = jax.lax.scan(move, plan, jnp.arange(search.rounds))  # one loop: `weigh` takes long to compile
    first, soft = jax.tree.map(lambda array: array[-1], each)
    return *_summarise(setting, first, soft.weights, soft.effective), soft.kl, soft.effective


def _roll_out_policy(setting: Setting, x: Float[Array, "dx"], t: Int[Array, ""]) -> Float[Array, "H du"]:
    """Return the policy's actions, within the limits, along its own rollout in the model's mean from step t on."""

    def step(carry: tuple[Array, Array], h: Array) -> tuple[tuple[Array, Array], Array]:
        memory, x = carry
        u = _act(setting, x, t + h)
        memory, after = advance_mean(setting.model, memory, x, u)
        return (memory, after.astype(x.dtype)), u

    return jax.lax.scan(step, (begin_memory(setting.model), x), jnp.arange(setting.search.horizon))[1]


def _act(
    setting: Setting, x: Float[Array, "dx"], t: Int[Array, ""], noise: Float[Array, "du"] | float = 0.0
) -> Float[Array, "du"]:
    assert setting.policy is not None
    mean = mean_of_one(setting.policy, setting.observed(x, t))
    return jnp.clip(mean + noise, setting.range.low, setting.range.high)


def _log_probability(
    setting: Setting, actions: Float[Array, "S H du"], states: Float[Array, "H P S dx"], t: Int[Array, ""]
) -> Float[Array, "S"]:
    """Return log π of each sequence up to a constant, mean over the particles; 0 before there is a policy."""
    if setting.policy is None:
        return jnp.zeros(len(actions))

    def act(x: Float[Array, "dx"], t: Int[Array, ""]) -> Float[Array, "du"]:
        return _act(setting, x, t)

    along = jax.vmap(jax.vmap(jax.vmap(act, (0, None)), (0, None)))
    errors = actions.swapaxes(0, 1)[:, None] - along(states, t + jnp.arange(len(states)))
    factor = jnp.linalg.cholesky(jnp.asarray(setting.policy.covariance))
    white = jax.scipy.linalg.solve_triangular(factor, errors.reshape(-1, errors.shape[-1]).T, lower=True)
    squares = jnp.sum(white**2, axis=0).reshape(errors.shape[:-1])
    counts = t + jnp.arange(len(squares)) < setting.end
    return -0.5 * jnp.mean(jnp.sum(jnp.where(counts[:, None, None], squares, 0.0), axis=0), axis=0)


def _summarise(
    setting: Setting, first: Float[Array, "S du"], weights: Float[Array, "S"], effective: Float[Array, ""]
) -> tuple[Float[Array, "du"], Float[Array, "du du"]]:
    """Return the weighted mean of the first actions and the inverse of C; NaN where all weights are 0."""
    units, du = setting.range, first.shape[1]
    action = jnp.where(effective > 0, weights @ first, jnp.nan)
    deviations = (first - action) / units.width
    prior = setting.search.spread**2 * jnp.eye(du)
    scatter = effective * (weights[:, None] * deviations).T @ deviations
    covariance = (scatter + (du + 1) * prior) / (effective + du + 1)
    return action, psd_inverse(covariance) / (units.width[:, None] * units.width)
