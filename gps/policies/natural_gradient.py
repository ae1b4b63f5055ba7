"""A KL-bounded update of the neural policy itself: natural gradient, conjugate gradients, line search.

It is the step of policies that are trained through a model.

Maximise an objective over the policy's parameters θ (the network's, and the covariance's) subject to

    Σ_i w_i KL(π_θ(· | o_i) ‖ π_old(· | o_i)) / Σ_i w_i ≤ bound,

the mean over observations of the KL that also bounds local controllers in the trust region, where it is the expectation
over the state's marginals (`gps.linear_gaussian.kl`). To second order it is ½ δθᵀ F δθ with Fisher's matrix F, so the
step is along F⁻¹ ∇objective (Kakade 2001; Schulman et al. 2015, appendix C). F is never formed: conjugate gradients
need only its products with vectors, which are JAX's derivatives of the KL. The line search then checks the KL itself.

The covariance enters as its Cholesky factor with the logarithm of the diagonal, so that no step leaves the cone.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from gps.backend import Array, jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.linalg import gaussian_kl
from gps.policies.neural import NeuralPolicy, mean_of_one

Objective = Callable[[NeuralPolicy], Array]
"""A differentiable function of the policy, to be maximised. An `equinox.Module` with arrays is compiled once."""


Means = Callable[[NeuralPolicy, Any], Array]
"""`means(policy, observations)`, the mean actions (n, ..., du): a JAX function of a module."""


class Advantages(eqx.Module):
    """The objective E[π(u|o) / π_old(u|o) · A] over samples: how much better the policy would have done.

    Args:
        actions: the actions taken.
        log_density: log π_old(u | o) of each action.
        advantages: how much better each action was than expected.
    """

    observations: Any
    actions: Float[Array, "n du"]
    log_density: Float[Array, "n"]
    advantages: Float[Array, "n"]

    @classmethod
    def from_policy(
        cls, policy: NeuralPolicy, observations: Any, actions: np.ndarray, advantages: np.ndarray
    ) -> "Advantages":
        """Return the objective over samples of the policy itself."""
        observations = policy.network.check(observations)
        return cls(observations, actions, log_density(policy, observations, actions), advantages)

    def __call__(self, policy: NeuralPolicy) -> Array:
        ratio = jnp.exp(log_density(policy, self.observations, self.actions) - self.log_density)
        return jnp.mean(ratio * self.advantages)


class NaturalStep(NamedTuple):
    """The result of an update."""

    policy: NeuralPolicy
    moved: bool  # False: no step along the direction both kept the bound and raised the objective
    kl: float  # mean over the observations, nats
    gain: float  # by which the objective rose
    fraction: float  # of the step that the quadratic model proposed
    message: str


def log_density(policy: NeuralPolicy, observations: Any, actions: Array) -> Float[Array, "n"]:
    """Return log π(u | o) of each sample; JAX."""
    mean = find_means(policy, observations)
    factor = jnp.linalg.cholesky(policy.covariance)
    white = jax.scipy.linalg.solve_triangular(factor, (actions - mean).T, lower=True)
    constant = jnp.sum(jnp.log(jnp.diagonal(factor))) + 0.5 * mean.shape[-1] * jnp.log(2 * jnp.pi)
    return -0.5 * jnp.sum(white**2, axis=0) - constant


def find_means(policy: NeuralPolicy, observations: Any) -> Float[Array, "n du"]:
    """Return the mean action at each observation; JAX."""
    return jax.vmap(mean_of_one, (None, 0))(policy, policy.network.check(observations))


def mean_kl(
    new: NeuralPolicy,
    old: NeuralPolicy,
    observations: Any,
    weights: Float[Array, "n ..."] | None = None,
    means: Means = find_means,
) -> Array:
    """Return the mean over observations of KL(new(· | o) ‖ old(· | o)), nats; JAX."""
    kl = gaussian_kl(means(new, observations), new.covariance, means(old, observations), old.covariance)
    return jnp.average(kl, weights=weights)


def improve_policy(
    policy: NeuralPolicy,
    observations: Any,
    objective: Objective,
    bound: float,
    *,
    weights: Float[Array, "n ..."] | None = None,
    iterations: int = 20,
    damping: float = 1e-4,
    backtracks: int = 15,
    learn_covariance: bool = True,
    means: Means = find_means,
) -> NaturalStep:
    """Raise the objective by one step within the bound.

    Args:
        observations: the KL is averaged over these.
        objective: the function to raise.
        bound: largest mean KL, nats.
        weights: of the observations in the mean KL; None for equal weights.
        iterations: largest number of conjugate-gradient iterations.
        damping: added to the diagonal of Fisher's matrix, relative to its mean along the gradient.
        backtracks: how often the step may be shortened, by a factor of 0.7.
        learn_covariance: False to learn the mean alone.
        means: of the policy at the observations; a policy with a memory takes sequences of them, and weights (n, H).

    Raises:
        PolicyError: if the bound is not positive, or the observations do not fit the network.
    """
    if not bound > 0:
        raise PolicyError(f"bound = {bound}: expected a KL divergence above 0, in nats")
    if means is find_means:
        observations = policy.network.check(observations)
    weights = np.ones(len(jax.tree.leaves(observations)[0])) if weights is None else weights
    knobs = np.array([bound, damping])  # an array, so that another value does not compile the step anew
    new, kl, gain, fraction, state = jax.tree.map(
        np.asarray,
        _step(policy, observations, objective, knobs, weights, iterations, backtracks, learn_covariance, means),
    )
    moved = bool(fraction > 0)
    message = "" if moved else _WHY[int(state)]
    return NaturalStep(new if moved else policy, moved, float(kl), float(gain), float(fraction), message)


_WHY = (
    "No shortening of the step raised the objective within the bound; the policy was left as it was.",
    "The gradient of the objective is zero; the policy was left as it was.",
    "The objective or its gradient is not finite; the policy was left as it was.",
)


def _parameters(policy: NeuralPolicy, learn_covariance: bool) -> tuple[Array, Callable[[Array], NeuralPolicy]]:
    """Return the learned parameters as a vector, and the function from such a vector to its policy."""
    factor = jnp.linalg.cholesky(policy.covariance)
    start = (policy.network, jnp.tril(factor, -1), jnp.log(jnp.diagonal(factor)))
    flat, unravel = ravel_pytree(start if learn_covariance else start[:1])

    def policy_of(vector: Array) -> NeuralPolicy:
        network, *rest = unravel(vector)
        covariance = policy.covariance
        if rest:
            L = jnp.tril(rest[0], -1) + jnp.diag(jnp.exp(rest[1]))
            covariance = L @ L.T
        return dataclasses.replace(policy, network=network, covariance=covariance)

    return flat, policy_of


@eqx.filter_jit
def _step(policy, observations, objective, knobs, weights, iterations, backtracks, learn_covariance, means):
    bound, damping = knobs
    start, policy_of = _parameters(policy, learn_covariance)

    def kl(vector):
        return mean_kl(policy_of(vector), policy, observations, weights, means)

    def value(vector):
        return objective(policy_of(vector))

    before, g = jax.value_and_grad(value)(start)
    hessian_product = lambda v: jax.jvp(jax.grad(kl), (start,), (v,))[1]  # noqa: E731
    norm2 = jnp.maximum(g @ g, 1e-300)
    ridge = damping * (g @ hessian_product(g)) / norm2
    direction, _ = jax.scipy.sparse.linalg.cg(lambda v: hessian_product(v) + ridge * v, g, maxiter=iterations)
    curvature = direction @ hessian_product(direction)
    whole = jnp.sqrt(2 * bound / jnp.maximum(curvature, 1e-300)) * direction

    def try_next(at):
        shortenings, _, _, _ = at
        fraction = 0.7**shortenings
        spent, gain = kl(start + fraction * whole), value(start + fraction * whole) - before
        # The quadratic model meets the bound exactly where it is exact: rounding must not cost a shortening.
        good = (spent <= bound * (1 + 1e-9)) & (gain > 0)
        return shortenings + 1, good, spent, gain

    usable = jnp.isfinite(before) & jnp.all(jnp.isfinite(whole)) & jnp.any(g != 0)
    go_on = lambda at: (at[0] <= backtracks) & ~at[1] & usable  # noqa: E731
    zero = jnp.zeros(())
    tries, good, spent, gain = jax.lax.while_loop(go_on, try_next, (0, jnp.array(False), zero, zero))
    fraction = jnp.where(good, 0.7 ** (tries - 1), 0.0)
    reason = jnp.where(usable, 0, jnp.where(jnp.all(g == 0), 1, 2))
    new = policy_of(start + fraction * jnp.where(good, whole, 0.0))
    return new, jnp.where(good, spent, 0.0), jnp.where(good, gain, 0.0), fraction, reason
