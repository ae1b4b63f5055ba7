"""Functions drawn from a Gaussian process, against its exact posterior."""

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.models.conditioning import condition_process
from gps.models.data import Dataset
from gps.models.features import Differences, Encoding
from gps.models.marginal_likelihood import Hyperparameters
from gps.models.pathwise import draw_functions, evaluate_path

H = Hyperparameters(np.array([[0.7, 1.5], [2.0, 0.9]]), np.array([1.3, 0.8]), np.array([0.1, 0.3]))
SLOPES = np.array([[0.5, 0.0], [0.0, -0.5]])
COUNT = 2000


@pytest.fixture(scope="module", params=["exact", "projected"])
def either(request):
    return make_process(*((12, 1000) if request.param == "exact" else (40, 12)))


@pytest.fixture(scope="module")
def process():
    return make_process(12, 1000)


def make_process(n, most):
    """A process that is exact, or projected on `most` points."""
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(n, 1)), rng.normal(size=(n, 1))
    x = np.concatenate([x, np.zeros_like(x)], axis=1)  # an input that never varies
    data = Dataset(x, u, x + rng.normal(size=x.shape), np.zeros(n, int))
    h = Hyperparameters(np.insert(H.lengthscales, 1, 1.0, axis=1), H.signal, H.noise)
    slopes = np.insert(SLOPES, 1, 0.0, axis=1)
    return condition_process(data, Encoding.of(data), Differences.of(data), h, slopes, most)[0]


X = jnp.array([[0.1, 0.0], [0.5, 0.0], [-1.0, 0.0], [4.0, 0.0]])
U = jnp.array([[0.2], [0.1], [1.0], [-3.0]])


@jax.jit
def evaluate(functions):
    """The values at a few places: near each other, near the data and far from them; (count, places, dx)."""
    return jax.vmap(lambda f: jax.vmap(f)(X, U))(functions)


@pytest.fixture(scope="module")
def values(either):
    return np.asarray(evaluate(either.draw(jax.random.key(0), COUNT)))


def compute_joint(process, a):
    """The posterior covariance of f_a at the places, in units of the state."""
    inputs = jax.vmap(process.encoding)(X, U)
    h = jax.tree.map(lambda array: array[a], process.hyperparameters)
    cross = h.kernel(inputs, process.points)
    covariance = h.kernel(inputs, inputs) - cross @ process.precisions[a] @ cross.T
    return process.differences.deviation[a] ** 2 * covariance


def test_their_mean_is_that_of_the_process(either, values):
    expected = jax.vmap(either.mean)(X, U)
    assert np.all(np.abs(values.mean(axis=0) - expected) < 4.0 * values.std(axis=0) / np.sqrt(COUNT))


def test_their_joint_covariance_is_that_of_the_process(either, values):
    for a in range(2):
        expected, found = compute_joint(either, a), np.cov(values[..., a].T)
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        assert np.all(np.abs(found - expected) < 6.0 * scale / np.sqrt(COUNT))
    across = np.corrcoef(values[..., 0].T, values[..., 1].T)[:4, 4:]
    assert np.abs(across).max() < 6.0 / np.sqrt(COUNT)  # the outputs are independent


def test_their_slopes_spread_as_the_process_says(process):
    functions = process.draw(jax.random.key(1), COUNT)

    @jax.jit
    def slope(functions):
        return jax.vmap(lambda f: jnp.concatenate(jax.jacfwd(f, (0, 1))(X[0], U[0]), axis=1))(functions)

    slopes = np.asarray(slope(functions))
    F, _ = process.linearise(X[0], U[0])
    doubt = process.slope_covariance(X[0], U[0])
    assert np.all(np.abs(slopes.mean(axis=0) - F) < 4.0 * slopes.std(axis=0) / np.sqrt(COUNT) + 1e-12)
    for a in range(2):
        scale = np.sqrt(np.outer(np.diag(doubt[a]), np.diag(doubt[a]))) + 1e-12
        assert np.all(np.abs(np.cov(slopes[:, a].T) - doubt[a]) < 8.0 * scale / np.sqrt(COUNT))


def test_a_function_is_one_function_and_a_key_adds_the_noise(process):
    function = jax.tree.map(lambda array: array[0], process.draw(jax.random.key(2), 2))
    assert np.array_equal(function(X[0], U[0]), function(X[0], U[0]))
    noisy = jax.vmap(lambda key: function(X[0], U[0], key))(jax.random.split(jax.random.key(3), 20000))
    expected = process.hyperparameters.noise * process.differences.deviation
    np.testing.assert_allclose(noisy.std(axis=0), expected, rtol=0.03)
    assert np.all(np.abs(noisy.mean(axis=0) - function(X[0], U[0])) < 4.0 * expected / np.sqrt(20000) + 1e-12)


def test_the_same_key_gives_the_same_functions_and_another_one_others(process):
    first, second, third = (evaluate(process.draw(jax.random.key(key), 3)) for key in (5, 5, 6))
    assert np.array_equal(first, second) and not np.allclose(first, third)
    assert np.ptp(first, axis=0).min() >= 0 and not np.allclose(first[0], first[1])


def test_any_number_of_frequencies_gives_the_variance_of_the_process(process):
    few = np.asarray(evaluate(draw_functions(process, jax.random.key(7), COUNT, frequencies=4)))
    expected = np.diag(compute_joint(process, 0))
    np.testing.assert_allclose(few[..., 0].var(axis=0), expected, rtol=0.25)


def test_the_slope_of_a_function_is_that_of_its_formula_also_by_its_parts(process):
    function = jax.tree.map(lambda array: array[0], process.draw(jax.random.key(8), 1))
    parts = function.scales, function.frequencies, function.features, function.coordinates, function.updates

    def formula(inputs, scales, frequencies, features, coordinates, updates):
        phase = (scales * inputs) @ frequencies
        distance = (inputs - coordinates.T) * scales[:, None]
        prior = jnp.sum(features[:, 0] * jnp.sin(phase) + features[:, 1] * jnp.cos(phase), axis=-1)
        return prior + jnp.sum(updates * jnp.exp(-0.5 * jnp.sum(distance**2, axis=-1)), axis=-1)

    def differentiate(f):
        inputs = jnp.array([0.3, -0.2, 0.5])
        by_input = f(inputs, *parts), jax.jacfwd(f)(inputs, *parts), jax.jacrev(f)(inputs, *parts)
        return *by_input, *jax.jacrev(f, (1, 5))(inputs, *parts)

    found, expected = jax.jit(lambda: (differentiate(evaluate_path), differentiate(formula)))()
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)
