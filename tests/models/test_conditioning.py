"""A Gaussian process given many data, projected on few points, against the exact one and the textbook's formula."""

import numpy as np
import pytest

from gps.backend import jax
from gps.models.conditioning import choose_spread, condition_process, factorise
from gps.models.data import Dataset
from gps.models.features import Differences, Encoding
from gps.models.marginal_likelihood import Hyperparameters

H = Hyperparameters(np.array([[1.0, 2.0, 3.0], [2.0, 1.5, 4.0]]), np.array([1.3, 0.8]), np.array([0.1, 0.2]))


def make_data(n, seed=0, noise=0.1):
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=(n, 2)), rng.normal(size=(n, 1))
    change = np.stack([np.sin(2.0 * x[:, 0]) + u[:, 0], x[:, 1] * u[:, 0]], axis=1)
    return Dataset(x, u, x + change + noise * rng.normal(size=x.shape), np.zeros(n, int))


def make_process(data, most):
    return condition_process(data, Encoding.of(data), Differences.of(data), H, np.zeros((2, 3)), most)[0]


@pytest.fixture(scope="module")
def data():
    return make_data(120)


def test_the_projected_process_is_that_of_the_textbook(data):
    """Rasmussen & Williams 2006, eq. 8.14 and 8.24 to 8.26 (subset of regressors, projected process)."""
    process = make_process(data, 40)
    inputs, targets = Encoding.of(data).encode_all(data), Differences.of(data).encode_all(data)
    other = make_data(10, seed=1)
    query = Encoding.of(data).encode_all(other)
    mean, deviation = (jax.vmap(f)(other.states, other.actions) for f in (process.mean, process.deviation))
    for a in range(2):
        h = Hyperparameters(H.lengthscales[a], H.signal[a], H.noise[a])
        points = process.points[:40]
        mm, mn, mt = (np.asarray(h.kernel(points, other)) for other in (points, inputs, query))
        mm = mm + 1e-8 * h.signal**2 * np.eye(40)
        inner = mn @ mn.T + h.noise**2 * mm
        expected = mt.T @ np.linalg.solve(inner, mn @ targets[:, a])
        variance = h.signal**2 - np.sum(mt * np.linalg.solve(mm, mt), axis=0)
        variance += h.noise**2 * np.sum(mt * np.linalg.solve(inner, mt), axis=0) + h.noise**2
        scale = Differences.of(data).deviation[a]
        change = (mean[:, a] - other.states[:, a] - Differences.of(data).mean[a]) / scale
        np.testing.assert_allclose(change, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(deviation[:, a] / scale, np.sqrt(variance), rtol=1e-5)


def test_projected_on_nearly_all_points_it_is_nearly_the_exact_one(data):
    exact, projected = make_process(data, 120), make_process(data, 115)
    assert exact.shares is None and projected.shares is not None
    other = make_data(30, seed=1)
    for name in ("mean", "deviation"):
        found, expected = (jax.vmap(getattr(p, name))(other.states, other.actions) for p in (projected, exact))
        np.testing.assert_allclose(found, expected, atol=0.03)


def test_many_data_projected_predict_better_than_the_points_alone():
    data, held_out = make_data(600, noise=0.5), make_data(200, seed=1, noise=0.0)
    rows = choose_spread(Encoding.of(data).encode_all(data), 60)

    def measure(process):
        predicted = jax.vmap(process.mean)(held_out.states, held_out.actions)
        return np.sqrt(np.mean((predicted - held_out.successors) ** 2))

    assert measure(make_process(data, 60)) < 0.8 * measure(make_process(data.take(rows), 60))


def test_chosen_points_are_distinct_and_spread():
    inputs = np.concatenate([np.zeros((50, 2)) + 1e-3 * np.arange(50)[:, None], [[5.0, 5.0], [-5.0, 5.0]]])
    chosen = choose_spread(inputs, 10)
    assert len(set(chosen)) == 10 and {50, 51} <= set(chosen.tolist())


def test_duplicates_do_not_count_as_points(data):
    few = data.take(np.repeat(np.arange(10), 5))
    process = make_process(few, 20)
    assert len(choose_spread(Encoding.of(few).encode_all(few), 20)) == 10 and process.shares is not None
    mean = jax.vmap(process.mean)(few.states, few.actions)
    np.testing.assert_allclose(mean, few.successors, atol=0.5)


def test_jitter_is_the_least_that_is_needed():
    factor, jitter = factorise(np.eye(3), 0.1, 1.0)
    assert jitter == 0 and np.allclose(factor @ factor.T, 1.1 * np.eye(3))
    factor, jitter = factorise(np.ones((50, 50)), 0.0, 1.0)
    assert 0 < jitter <= 1e-10 and np.isfinite(factor).all()
