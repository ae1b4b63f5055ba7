"""What an established implementation returns on the same problems, at its eta and at its bound.

The files were made with kl_step * T = 20 nats, alpha = 0, and a tolerance of 10 % on the KL.
"""

import numpy as np
import pytest
from helpers.problems import lqr, negative_log_density, oracle, stack, step_costs

from gps.backend import jax
from gps.linear_gaussian.kl import Reference, controller_kl
from gps.linear_gaussian.riccati import backward, forward
from gps.linear_gaussian.trust_region import update
from gps.linear_gaussian.types import CostExpansion
from gps.records import Status

SIZES = [(6, 2), (14, 7)]
BOUND, T = 20.0, 100


@jax.jit
def at_eta(dynamics, cost, previous, eta):
    """The controller of an eta with its marginals and KL, from the public pieces and not from the search."""
    reference = Reference.of(previous)
    hessian, gradient = negative_log_density(previous)
    total = CostExpansion(cost.hessian + eta * hessian, cost.gradient + eta * gradient, cost.constant)
    result = backward(dynamics, total, np.full(T, 1.0) * eta)
    marginals = forward(dynamics, result.controller)
    return result.controller, marginals, controller_kl(result.controller, result.logdet, reference, marginals)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_controller_marginals_and_kl_at_the_oracles_eta(size):
    problem, expected = lqr(*size), oracle("ref_lqr_{}_{}".format(*size))
    controller, marginals, kl = at_eta(*problem, expected["eta"])
    np.testing.assert_allclose(controller.feedback, expected["K"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(controller.feedforward, expected["k"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(controller.covariance, expected["covariance"], rtol=1e-6, atol=1e-6)
    mean, covariance = marginals.joint(controller)
    np.testing.assert_allclose(mean, expected["mean"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(covariance[expected["steps"]], expected["joint"], rtol=1e-6, atol=1e-6)
    assert kl.sum() == pytest.approx(float(expected["kl"]), rel=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_expected_cost_before_and_after(size):
    problem, expected = lqr(*size), oracle("ref_lqr_{}_{}".format(*size))
    controller, _, _ = at_eta(*problem, expected["eta"])
    for one, value in ((problem.previous, expected["cost_prev"]), (controller, expected["cost_new"])):
        assert step_costs(problem.dynamics, problem.cost, one).sum() == pytest.approx(float(value), rel=1e-6)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_search_ends_within_the_oracles_bound(size):
    problem, expected = lqr(*size), oracle("ref_lqr_{}_{}".format(*size))
    bound, alpha, eta = np.array([BOUND / T]), np.zeros(1), np.ones(1)
    found = update(*stack(tuple(problem)), bound, alpha, eta)
    kl = float(found.kl.sum())
    assert found.statuses == [Status.OK]
    assert 0.998 * BOUND < kl <= BOUND < float(expected["kl"]) < 1.1 * BOUND  # the oracle stops above, within 10 %
    assert found.eta[0] > expected["eta"]  # KL falls as eta grows
    cost = step_costs(problem.dynamics, problem.cost, found.controller[0]).sum()
    assert expected["cost_new"] < cost < expected["cost_prev"]
