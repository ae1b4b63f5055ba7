"""Iterations in a global model: they follow the model, and spare episodes where it is good."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, changed, digest, toml, write
from helpers.global_models import FixedLearner

import gps
from gps.algorithms.local.imagination import imagine, linearise_along
from gps.algorithms.local.trajopt import TrajOpt, read_improvement
from gps.backend import jnp
from gps.builders import make_algorithm
from gps.config import parse
from gps.errors import ConfigError
from gps.linear_gaussian.types import Controller, pytree
from gps.models.prior import ModelPrior
from gps.players import FINAL
from gps.problem import Limits, Problem

M, N, T, DX, DU = 2, 3, 7, 2, 1
A, B = np.array([[1.0, 0.1], [0.0, 0.9]]), np.array([[0.0], [0.5]])


@pytree
class Exact:
    """x' = A x + B u, with growth if it is to explode."""

    growth: np.ndarray

    def mean(self, x, u):
        return self.growth * (A @ x) + B @ u

    def deviation(self, x, u):
        return 0.01 * jnp.ones(DX)

    def linearise(self, x, u):
        return jnp.concatenate([self.growth * A, B], axis=1), jnp.zeros(DX)

    def draw(self, key, count):
        return Drawn(jnp.full(count, self.growth))


@pytree
class Drawn:
    growth: np.ndarray

    def __call__(self, x, u, key=None):
        return self.growth * (A @ x) + B @ u


def problem(**limits):
    return Problem(cost=lambda x, u, t: x @ x + 0.1 * u @ u, dx=DX, du=DU, horizon=T, limits=Limits(**limits))


def controllers():
    rng = np.random.default_rng(0)
    covariance = np.tile(0.04 * np.eye(DU), (M, T, 1, 1))
    return Controller(0.2 * rng.normal(size=(M, T, DU, DX)), rng.normal(size=(M, T, DU)), covariance)


def starts():
    return np.random.default_rng(1).normal(size=(M, N, DX))


def test_imagined_episodes_follow_the_model_and_the_controllers():
    rollouts = imagine(problem(), Exact(np.array(1.0)), controllers(), starts(), seed=3)
    x, u = rollouts.states, rollouts.actions
    np.testing.assert_allclose(x[:, :, 0], starts())
    np.testing.assert_allclose(x[:, :, 1:], x[:, :, :-1] @ A.T + u[:, :, :-1] @ B.T, atol=1e-12)
    np.testing.assert_allclose(u, controllers().means(x) + rollouts.noise, atol=1e-12)
    assert rollouts.mask.all() and (rollouts.saturated == 0).all()


def test_limits_hold_in_the_model_too():
    rollouts = imagine(problem(low=-0.1, high=0.2), Exact(np.array(1.0)), controllers(), starts(), seed=3)
    assert rollouts.actions.min() >= -0.1 and rollouts.actions.max() <= 0.2 and (rollouts.saturated > 0).all()
    x, u = rollouts.states, rollouts.actions
    np.testing.assert_allclose(x[:, :, 1:], x[:, :, :-1] @ A.T + u[:, :, :-1] @ B.T, atol=1e-12)


def test_the_local_model_is_the_slope_along_the_mean():
    model = Exact(np.array(1.0))
    rollouts = imagine(problem(), model, controllers(), starts(), seed=3)
    local = linearise_along(problem(), model, rollouts)
    np.testing.assert_allclose(local.dynamics.matrix, np.broadcast_to(np.hstack([A, B]), (M, T - 1, DX, DX + DU)))
    np.testing.assert_allclose(local.dynamics.covariance, np.broadcast_to(1e-4 * np.eye(DX), (M, T - 1, DX, DX)))
    cost = np.sum(rollouts.states**2, axis=-1) + 0.1 * np.sum(rollouts.actions**2, axis=-1)
    np.testing.assert_allclose(local.sample_costs, cost, rtol=1e-12)


def test_an_explosion_in_the_model_is_masked():
    rollouts = imagine(problem(), Exact(np.array(1e4)), controllers(), starts(), seed=3)
    assert not rollouts.whole.any() and np.isfinite(rollouts.states).all()


def test_an_update_that_the_model_finds_worse_is_not_where_it_goes_on():
    optimiser = TrajOpt(problem(), imagined=1)
    state = optimiser.begin(controllers(), starts()[:, 0])
    worse = np.array([8.0, 0.0])[:, None, None]  # the first condition's actions are far off
    updated = dataclasses.replace(
        state, controllers=dataclasses.replace(state.controllers, feedforward=state.controllers.feedforward + worse)
    )
    before, model = read_improvement(state), Exact(np.array(1.0))
    assert optimiser._find_worse(model, starts(), updated, before).tolist() == [True, False]
    exploding = Exact(np.array(1e4))
    assert optimiser._find_worse(exploding, starts(), updated, before).tolist() == [False, False]


ALGORITHM = {"iterations": 3, "samples": 2, "dynamics": {"prior": {"name": "linear"}}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagined")
    base = changed(POINT_MASS, algorithm={**ALGORITHM, "kl_step": 0.02})
    return {count: run_with(folder, base, count) for count in (0, 6)}


def run_with(folder, base, count, **options):
    return gps.run(write(folder / str(count), base, algorithm={"imagined": count}), out=folder / "runs", **options)


def test_they_spare_episodes(runs):
    best = runs[6].evaluation(FINAL).costs.sum(axis=2).mean(axis=1)
    plain, imagined = (runs[count].iterations[1].mean_cost - best for count in (0, 6))
    assert (imagined < 0.5 * plain).all()


def test_the_record_has_the_controllers_that_are_sampled_next(runs):
    first, second, _ = runs[6].iterations
    np.testing.assert_array_equal(first.local.improved.feedforward, second.local.controllers.feedforward)
    assert second.environment_steps == runs[0].iterations[1].environment_steps


def test_the_forecast_is_the_imagined_cost(runs):
    first, second, _ = runs[6].iterations
    forecast = first.mean_cost + first.local.predicted
    np.testing.assert_allclose(forecast, second.mean_cost, rtol=0.05)
    np.testing.assert_array_equal(second.local.last.predicted, first.local.predicted)


@pytest.mark.parametrize("fit", ["slopes", "samples"])
def test_a_prior_that_has_its_model_is_practised_in_before_the_first_episode(fit):
    """Without a step on the system; and the samples of that practice are no evidence about the system."""
    prior = ModelPrior(FixedLearner(Exact(np.array(1.0))), before=None)
    optimiser = TrajOpt(problem(), imagined=4, imagined_samples=8, imagined_fit=fit, prior=prior)

    def begin_with(imagined):
        return dataclasses.replace(optimiser, imagined=imagined).begin(controllers(), starts()[:, 0])

    def cost_of(state):
        plan = optimiser.learned(state).controllers
        return problem().costs(imagine(problem(), Exact(np.array(1.0)), plan, starts(), 2)).mean()

    practised = begin_with(8)
    assert cost_of(practised) < 0.6 * cost_of(begin_with(0))
    assert practised.prior is prior and np.isnan(practised.cost).all() and practised.iteration == 0


def test_a_model_that_explodes_leaves_the_first_controllers():
    prior = ModelPrior(FixedLearner(Exact(np.array(1e4))), before=None)
    state = TrajOpt(problem(), imagined=4, prior=prior).begin(controllers(), starts()[:, 0])
    np.testing.assert_array_equal(state.controllers.feedforward, controllers().feedforward)


def test_it_resumes_bit_for_bit(runs, tmp_path):
    part = run_with(tmp_path, changed(POINT_MASS, algorithm={**ALGORITHM, "kl_step": 0.02}), 6, iterations=1)
    assert digest(gps.resume(part.path, iterations=2)) == digest(runs[6])


def test_without_a_global_model_it_says_what_it_takes():
    config = parse(toml(POINT_MASS, algorithm={"imagined": 3}))
    point_mass = Problem(cost=lambda x, u, t: x @ x + u @ u, dx=4, du=2, horizon=12)
    with pytest.raises(ConfigError, match=r"algorithm.imagined = 3: it takes a global model as the prior"):
        make_algorithm(config, Path(), point_mass)


@pytest.mark.parametrize("fit", ["slopes", "samples"])
def test_it_improves_by_slopes_and_by_regression(fit):
    prior = ModelPrior(FixedLearner(Exact(np.array(1.0))), before=None)
    optimiser = TrajOpt(problem(), imagined=4, imagined_samples=8, imagined_fit=fit, prior=prior)
    state = optimiser.begin(controllers(), starts()[:, 0])
    sampled = optimiser.policy(state)
    rollouts = imagine(problem(), Exact(np.array(1.0)), sampled.controllers, starts(), seed=1)
    local = optimiser.fit(state, rollouts, 0)

    def cost_after(imagined):
        after, _ = dataclasses.replace(optimiser, imagined=imagined).improve(state, sampled, rollouts, local)
        plan = optimiser.learned(after).controllers
        return problem().costs(imagine(problem(), Exact(np.array(1.0)), plan, starts(), 2)).mean()

    assert cost_after(4) < cost_after(0)
