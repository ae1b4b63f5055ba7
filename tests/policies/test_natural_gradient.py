"""The update within a KL bound: its bound is the trust region's."""

import dataclasses

import equinox as eqx
import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.errors import PolicyError
from gps.linear_gaussian.kl import Reference, controller_kl
from gps.linear_gaussian.linalg import logdet
from gps.linear_gaussian.trust_region import update
from gps.linear_gaussian.types import Controller, CostExpansion, LinearDynamics, Marginals
from gps.policies import MLP, NeuralPolicy
from gps.policies.natural_gradient import Advantages, improve_policy, log_density, mean_kl

DX, DU = 3, 2
RNG = np.random.default_rng(0)
K, k = RNG.normal(size=(DU, DX)), RNG.normal(size=DU)
S = np.array([[0.5, 0.1], [0.1, 0.3]])
X = RNG.normal(size=(40, DX)) @ RNG.normal(size=(DX, DX)) + [1, 0, -1]
MARGINALS = Marginals(X.mean(0)[None], np.cov(X.T, bias=True)[None])


class Cost(eqx.Module):
    """−E[½ zᵀCz + gᵀz] over the observations and the policy's actions, z = [x; u]."""

    states: np.ndarray
    hessian: np.ndarray
    gradient: np.ndarray

    def __call__(self, policy):
        z = jnp.concatenate([self.states, policy.mean(self.states)], axis=1)
        quadratic = 0.5 * jnp.einsum("ni,ij,nj->n", z, self.hessian, z) + z @ self.gradient
        return -jnp.mean(quadratic) - 0.5 * jnp.sum(self.hessian[DX:, DX:] * policy.covariance)


def linear_gaussian() -> NeuralPolicy:
    return dataclasses.replace(NeuralPolicy.untrained(MLP((K.T,), (k,), "relu")), covariance=S)


def as_controller(policy: NeuralPolicy) -> Controller:
    """The affine policy as a controller of one step."""
    W, b = policy.network.input_layer
    return Controller(np.asarray(W).T[None], np.asarray(b)[None], np.asarray(policy.covariance)[None])


def cost() -> Cost:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(DX + DU, DX + DU))
    return Cost(X, root @ root.T + np.eye(DX + DU), rng.normal(size=DX + DU))


def trust_region_kl(new: Controller, old: Controller) -> float:
    return float(controller_kl(new, logdet(jnp.asarray(new.covariance)), Reference.of(old), MARGINALS)[0])


@pytest.mark.parametrize("bound", [1e-3, 0.1, 1.0])
def test_the_bound_is_the_trust_regions(bound):
    old = linear_gaussian()
    step = improve_policy(old, X, cost(), bound)
    assert step.moved and step.gain > 0
    assert step.kl == pytest.approx(trust_region_kl(as_controller(step.policy), as_controller(old)), rel=1e-9)
    assert 0.3 * bound < step.kl <= bound * (1 + 1e-9)


def test_the_mean_alone_ends_at_the_bound():
    """Without the covariance the KL is quadratic, and the model of it exact."""
    step = improve_policy(linear_gaussian(), X, cost(), 1e-2, learn_covariance=False)
    assert step.fraction == 1
    assert step.kl == pytest.approx(1e-2, rel=1e-6)
    np.testing.assert_array_equal(step.policy.covariance, S)


def test_a_small_step_is_the_trust_regions_own():
    """Within a bound that goes to zero, both are the steepest descent of the cost in the metric of the KL."""
    bound, objective, old = 1e-6, cost(), linear_gaussian()
    step = improve_policy(old, X, objective, bound, iterations=100, damping=0.0)
    one = lambda array: np.asarray(array)[None]  # a batch of one condition  # noqa: E731
    # The smallest horizon that the trust region has: a second step that neither costs nor moves.
    dz = DX + DU
    dynamics = LinearDynamics(
        np.zeros((1, 1, DX, dz)), np.zeros((1, 1, DX)), 1e-9 * np.eye(DX)[None, None],
        one(MARGINALS.mean[0]), one(MARGINALS.covariance[0]),
    )  # fmt: skip
    last = np.zeros((dz, dz))
    expansion = CostExpansion(
        one(np.stack([objective.hessian, last])), one(np.stack([objective.gradient, np.zeros(dz)])), np.zeros((1, 2))
    )
    previous = jax.tree.map(lambda array: np.repeat(array, 2, axis=0)[None], as_controller(old))
    new = update(dynamics, expansion, previous, np.full(1, bound / 2), np.zeros(1), np.full(1, 1e4), tolerance=1e-4)

    def moved(controller):
        pairs = zip(jax.tree.leaves(controller), jax.tree.leaves(as_controller(old)), strict=True)
        return np.concatenate([(new[0] - old[0]).ravel() for new, old in pairs])

    theirs, ours = moved(new.controller[0].numpy()), moved(as_controller(step.policy))
    assert new.kl[0].sum() == pytest.approx(bound, rel=1e-2)
    np.testing.assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())


def test_advantages_raise_the_good_actions():
    policy = NeuralPolicy.untrained(MLP.create((DX, 16, DU), jax.random.key(0), "tanh"))
    rng = np.random.default_rng(2)
    o = rng.normal(size=(200, DX))
    u = policy.act(o, rng=rng)
    advantages = -((u - 1) ** 2).sum(axis=1)
    objective = Advantages.from_policy(policy, o, u, advantages - advantages.mean())
    step = improve_policy(policy, o, objective, 0.05)
    assert step.moved and step.kl <= 0.05 * (1 + 1e-9)
    assert step.policy.act(o).mean() > policy.act(o).mean() + 0.05
    assert float(mean_kl(step.policy, policy, o)) == pytest.approx(step.kl)
    assert type(step.policy.covariance) is np.ndarray


def test_the_density_is_the_gaussians():
    from scipy.stats import multivariate_normal

    policy, u = linear_gaussian(), RNG.normal(size=(40, DU))
    expected = [multivariate_normal(mean, S).logpdf(one) for mean, one in zip(policy.act(X), u, strict=True)]
    np.testing.assert_allclose(log_density(policy, X, u), expected, rtol=1e-10)


class Odd(eqx.Module):
    """A constant, plus a slope in the first variance, plus a jump as soon as that grows."""

    constant: np.ndarray
    slope: np.ndarray
    jump: np.ndarray

    def __call__(self, policy):
        variance = policy.covariance[0, 0]
        return self.constant + self.slope * variance + jnp.where(variance > S[0, 0] * (1 + 1e-12), self.jump, 0.0)


@pytest.mark.parametrize(
    ("values", "message"),
    [((1, 0, 0), "gradient of the objective is zero"), ((np.nan, 1, 0), "not finite"), ((0, 1, -5), "No shortening")],
)
def test_where_there_is_no_step_the_policy_stays(values, message):
    old, objective = linear_gaussian(), Odd(*map(np.float64, values))
    step = improve_policy(old, X, objective, 0.1)
    assert not step.moved and step.kl == step.gain == step.fraction == 0
    assert step.policy is old
    assert message in step.message
    with pytest.raises(PolicyError, match="bound"):
        improve_policy(old, X, objective, 0.0)
