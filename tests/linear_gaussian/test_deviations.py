"""The problem in deviations from a controller: the same problem, without large terms that cancel."""

import dataclasses

import numpy as np
import pytest
from helpers.problems import lqr, stack

from gps.linear_gaussian.deviations import from_deviations, to_deviations
from gps.linear_gaussian.trust_region import update
from gps.records import Status


@pytest.fixture(scope="module")
def problem():
    return lqr(6, 2)


def test_dynamics_and_costs_are_the_same_in_either(problem):
    dynamics, cost, previous = problem
    moved, shifted = to_deviations(*problem)
    rng = np.random.default_rng(0)
    T, dx, du = len(cost.gradient), 6, 2
    x, d = rng.normal(size=(2, T, dx)), rng.normal(size=(2, T, du))
    u = np.einsum("tij,ntj->nti", previous.feedback, x) + previous.feedforward + d
    z, w = np.concatenate([x, u], axis=-1), np.concatenate([x, d], axis=-1)

    def after(model, point):
        return np.einsum("tij,ntj->nti", model.matrix, point[:, :-1]) + model.offset

    def spent(expansion, point):
        quadratic = 0.5 * np.einsum("nti,tij,ntj->nt", point, expansion.hessian, point)
        return quadratic + np.einsum("ti,nti->nt", expansion.gradient, point)

    np.testing.assert_allclose(after(dynamics, z), after(moved, w), rtol=1e-9, atol=1e-9)
    # The constants differ; the difference between two points does not.
    np.testing.assert_allclose(
        np.diff(spent(cost, z), axis=0), np.diff(spent(shifted, w), axis=0), rtol=1e-9, atol=1e-7
    )


def test_a_controller_comes_back(problem):
    previous = problem[2]
    deviation = dataclasses.replace(previous, feedback=previous.feedback + 1.0, feedforward=previous.feedforward - 2.0)
    back = from_deviations(deviation, previous)
    np.testing.assert_allclose(back.feedback, 2 * previous.feedback + 1.0)
    np.testing.assert_allclose(back.feedforward, 2 * previous.feedforward - 2.0)


@pytest.mark.parametrize("growth", [1.5, 3.0])
def test_a_previous_controller_that_is_unstable_in_the_model_still_has_an_update(problem, growth):
    """Its feedback makes the model grow by 1.5 or 3 a step, 1e17 or 1e47 over the horizon."""
    dynamics, cost, previous = problem
    unstable = dynamics.matrix.copy()
    unstable[:, :, :6] = growth * np.eye(6) - unstable[:, :, 6:] @ previous.feedback[:-1]
    grown = dataclasses.replace(dynamics, matrix=unstable)
    found = update(*stack((grown, cost, previous)), np.ones(1), np.full(1, 1e-3), np.ones(1))
    assert found.statuses == [Status.OK]
    assert np.isfinite(found.controller.feedback).all()
    assert 0.99 * 100 < found.kl.sum() <= 100
