"""The Gaussian process, its hyperparameters and its learner, against scikit-learn and finite differences."""

import dataclasses

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from gps.backend import jax, jnp
from gps.dynamics.prior import Transitions
from gps.errors import ConfigError
from gps.models.conditioning import condition_process
from gps.models.data import Dataset
from gps.models.features import NO_TRANSFORMS, Differences, Encoding, StateTransforms
from gps.models.gaussian_process import GaussianProcess
from gps.models.gaussian_process_learner import GaussianProcessLearner
from gps.models.marginal_likelihood import (
    Hyperparameters,
    LikelihoodFit,
    evaluate_likelihood,
    fit_hyperparameters,
    pad_rows,
    pad_size,
)
from gps.status import ModelStatus
from gps.storage.serialization import flatten, unflatten

H = Hyperparameters(np.array([[0.7, 1.5, 2.5], [2.0, 0.9, 1.2]]), np.array([1.3, 0.8]), np.array([0.1, 0.2]))


def move(x, u):
    """A pendulum-like system of two states and one action."""
    return x + 0.1 * np.stack([x[..., 1], np.sin(2.0 * x[..., 0]) + u[..., 0]], axis=-1)


def make_data(n, noise=0.005, seed=0):
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=(n, 2)), rng.normal(size=(n, 1))
    return Dataset(x, u, move(x, u) + noise * rng.normal(size=x.shape), np.zeros(n, int))


def as_transitions(data):
    points = np.concatenate([data.inputs, data.successors], axis=1)
    return Transitions(points[None, None], np.ones((1, 1, data.size), bool))


def make_process(data, h=H, most=1000, slopes=None, transforms=NO_TRANSFORMS):
    encoding, differences = Encoding.of(data, transforms), Differences.of(data, transforms)
    slopes = np.zeros((differences.mean.size, encoding.size)) if slopes is None else slopes
    return condition_process(data, encoding, differences, h, slopes, most)[0]


def make_regressor(h, a):
    kernel = ConstantKernel(h.signal[a] ** 2) * RBF(h.lengthscales[a]) + WhiteKernel(h.noise[a] ** 2)
    return GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0)


@pytest.fixture(scope="module")
def data():
    return make_data(30)


@pytest.fixture(scope="module")
def process(data):
    return make_process(data)


@pytest.fixture(scope="module")
def places():
    rng = np.random.default_rng(7)
    return rng.normal(size=(15, 2)), rng.normal(size=(15, 1))


# -- the likelihood ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [30, 64])
def test_the_likelihood_and_its_gradient_are_those_of_scikit_learn_whatever_the_padding(data, size):
    inputs, targets = Encoding.of(data).encode_all(data), Differences.of(data).encode_all(data)
    for a in range(2):
        regressor = make_regressor(H, a).fit(inputs, targets[:, a])
        expected, slope = regressor.log_marginal_likelihood(regressor.kernel_.theta, eval_gradient=True)
        present = pad_rows(np.ones(30), size)
        logarithms = H.to_logarithms()[a]
        loss, gradient = evaluate_likelihood(logarithms, pad_rows(inputs, size), pad_rows(targets[:, a], size), present)
        np.testing.assert_allclose(-loss, expected, rtol=1e-9)
        # scikit-learn's order is [s², l, σ²], ours [l, s, σ].
        np.testing.assert_allclose(-gradient[:3], slope[1:4], rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(-gradient[3:], 2.0 * slope[[0, 4]], rtol=1e-8, atol=1e-8)


def test_hyperparameters_are_recovered_from_data_of_a_known_process():
    rng = np.random.default_rng(3)
    inputs = rng.uniform(-3.0, 3.0, size=(250, 2))
    known = Hyperparameters(np.array([0.8, 2.0]), np.array(1.5), np.array(0.1))
    covariance = np.asarray(known.kernel(inputs, inputs)) + known.noise**2 * np.eye(250)
    targets = np.linalg.cholesky(covariance) @ rng.normal(size=250)
    start = Hyperparameters(np.ones(2) * 1.4, np.array(1.0), np.array(0.3))
    fit = fit_hyperparameters(inputs, targets, [start], 1e-3, 100, 300)
    assert fit is not None and fit.converged
    np.testing.assert_allclose(fit.hyperparameters.lengthscales, known.lengthscales, rtol=0.15)
    np.testing.assert_allclose(fit.hyperparameters.signal, known.signal, rtol=0.4)
    np.testing.assert_allclose(fit.hyperparameters.noise, known.noise, rtol=0.15)


def test_few_sizes_serve_all_numbers_of_points():
    sizes = {pad_size(n, 1000) for n in range(2, 1001)}
    assert len(sizes) <= 10 and max(sizes) == 1000
    assert all(pad_size(n, 1000) >= n for n in range(2, 1001)) and pad_size(250, 250) == 250


# -- predictions -------------------------------------------------------------------------------------------------------


def test_mean_and_deviation_are_those_of_scikit_learn(data, process, places):
    encoding, differences = Encoding.of(data), Differences.of(data)
    inputs, targets = encoding.encode_all(data), differences.encode_all(data)
    assert process.points.shape == (32, 3)  # it is padded
    x, u = places
    mean, deviation = jax.vmap(process.mean)(x, u), jax.vmap(process.deviation)(x, u)
    for a in range(2):
        query = encoding.encode_all(Dataset(x, u, x, np.zeros(15, int)))
        expected, spread = make_regressor(H, a).fit(inputs, targets[:, a]).predict(query, return_std=True)
        scale = differences.deviation[a]
        np.testing.assert_allclose(mean[:, a], x[:, a] + differences.mean[a] + scale * expected, atol=1e-9)
        np.testing.assert_allclose(deviation[:, a], scale * spread, rtol=1e-8)


def ask_slopes(process, x, u):
    by_state, by_action = jax.jacfwd(process.mean, (0, 1))(x, u)
    slope = jnp.concatenate([by_state, by_action], axis=1)
    return *process.linearise(x, u), slope, process.mean(x, u), process.slope_covariance(x, u)


def test_the_slope_is_that_of_the_mean_and_the_offset_gives_the_mean(process, places):
    for x, u in zip(places[0][:3], places[1][:3], strict=True):
        F, c, slope, mean, _ = jax.jit(ask_slopes)(process, x, u)
        np.testing.assert_allclose(F, slope, atol=1e-10)
        np.testing.assert_allclose(F @ np.concatenate([x, u]) + c, mean, atol=1e-12)


def test_slopes_with_angles_and_quaternions_are_those_of_the_mean():
    rng = np.random.default_rng(0)
    q = rng.normal(size=(40, 4))
    states = np.column_stack([rng.uniform(-3, 3, 40), q / np.linalg.norm(q, axis=1, keepdims=True)])
    after = states + 0.1 * rng.normal(size=states.shape)
    after[:, 1:] /= np.linalg.norm(after[:, 1:], axis=1, keepdims=True)
    data = Dataset(states, rng.normal(size=(40, 1)), after, np.zeros(40, int))
    transforms = StateTransforms(angles=(0,), quaternions=(1,))
    h = Hyperparameters(np.full((5, 12), 3.0), np.ones(5), np.full(5, 0.1))
    process = make_process(data, h, transforms=transforms)
    x, u = states[0] + 0.05, np.array([0.3])
    F, c, slope, mean, doubt = jax.jit(ask_slopes)(process, x, u)
    np.testing.assert_allclose(F, slope, atol=1e-10)
    np.testing.assert_allclose(F @ np.concatenate([x, u]) + c, mean, atol=1e-12)
    assert np.linalg.eigvalsh(doubt).min() > -1e-10


def test_the_covariance_of_slopes_is_that_of_finite_differences_of_the_function(data, process, places):
    """The covariance of central differences of f under scikit-learn's joint posterior."""
    encoding, differences = Encoding.of(data), Differences.of(data)
    inputs, targets = encoding.encode_all(data), differences.encode_all(data)
    z, step = np.concatenate([places[0][0], places[1][0]]), 1e-3
    around = np.concatenate([z + step * np.eye(3), z - step * np.eye(3)])
    query = encoding.encode_all(Dataset(around[:, :2], around[:, 2:], around[:, :2], np.zeros(6, int)))
    difference = np.concatenate([np.eye(3), -np.eye(3)], axis=1) / (2.0 * step)
    found = process.slope_covariance(z[:2], z[2:])
    for a in range(2):
        regressor = make_regressor(H, a).fit(inputs, targets[:, a])
        _, joint = regressor.predict(query, return_cov=True)
        joint -= H.noise[a] ** 2 * np.eye(6)  # scikit-learn adds the noise
        expected = difference @ joint @ difference.T * differences.deviation[a] ** 2
        np.testing.assert_allclose(found[a], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_samples_have_the_mean_and_the_deviation(process, places):
    x, u = places[0][0], places[1][0]
    draws = jax.vmap(lambda key: process.sample(x, u, key))(jax.random.split(jax.random.key(0), 20000))
    deviation = process.deviation(x, u)
    assert np.all(np.abs(draws.mean(axis=0) - process.mean(x, u)) < 4.0 * deviation / np.sqrt(20000))
    np.testing.assert_allclose(draws.std(axis=0), deviation, rtol=0.03)


def test_far_from_the_data_the_change_is_the_mean_change_and_the_deviation_that_of_the_prior(data, process):
    far = np.array([1e3, 1e3])
    differences = Differences.of(data)
    np.testing.assert_allclose(process.mean(far, np.array([0.0])), far + differences.mean, atol=1e-9)
    expected = differences.deviation * np.sqrt(H.signal**2 + H.noise**2)
    np.testing.assert_allclose(process.deviation(far, np.array([0.0])), expected, rtol=1e-9)


# -- the learner -------------------------------------------------------------------------------------------------------


def test_it_learns_a_system_and_knows_its_noise():
    learner = GaussianProcessLearner(2).refit(as_transitions(make_data(120)), 0)
    assert learner.record.status is ModelStatus.OK and learner.record.points == 120
    held_out = make_data(200, noise=0.0, seed=1)
    predicted = jax.vmap(learner.model.mean)(held_out.states, held_out.actions)
    assert np.sqrt(np.mean((predicted - held_out.successors) ** 2)) < 0.005
    noise = learner.model.hyperparameters.noise * learner.model.differences.deviation
    np.testing.assert_allclose(noise, 0.005, rtol=0.2)
    assert np.array_equal(learner.model.deviations, learner.data.inputs.std(axis=0))


def test_the_record_judges_the_last_model_on_the_new_data():
    first = GaussianProcessLearner(2).refit(as_transitions(make_data(100)), 0)
    assert first.record.one_step_error is None and first.record.coverage is None
    second = first.refit(as_transitions(make_data(130, seed=1)), 0)
    np.testing.assert_allclose(second.record.one_step_error, 0.006, rtol=0.3)  # the noise, and what is not known yet
    np.testing.assert_allclose(second.record.coverage, [0.68, 0.95], atol=0.1)
    assert second.record.points == 230 and "model" in second.__dict__


def test_a_linear_prior_mean_extrapolates():
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(40, 2)), rng.normal(size=(40, 1))
    data = Dataset(x, u, 0.9 * x + 0.2 * u, np.zeros(40, int))
    far, action = np.array([6.0, -5.0]), np.array([4.0])
    errors = [
        np.abs(learner.refit(as_transitions(data), 0).model.mean(far, action) - (0.9 * far + 0.2 * action)).max()
        for learner in (GaussianProcessLearner(2, linear=True), GaussianProcessLearner(2))
    ]
    assert errors[0] < 0.1 and errors[0] < errors[1] + 1e-12


def make_hard(name):
    data = make_data(30)
    if name == "two points":
        return data.take(np.arange(2))
    if name == "duplicates":
        return data.take(np.repeat(np.arange(10), 3))
    if name == "noise-free":
        return make_data(30, noise=0.0)
    if name == "a constant entry":
        return data._replace(successors=np.column_stack([data.states[:, 0] + 0.25, data.successors[:, 1]]))
    if name == "an outlier":
        successors = data.successors.copy()
        successors[3] = 1e8
        return data._replace(successors=successors)
    offset = np.array([1e6, -1e6])
    return data._replace(states=data.states + offset, successors=data.successors + offset)


@jax.jit
def ask_everything(model, x, u):
    moments = model.moments(jnp.concatenate([x, u]), jnp.diag(model.deviations**2))
    drawn = jax.vmap(lambda f: f(x, u))(model.draw(jax.random.key(0), 3))
    rest = (*model.linearise(x, u), *moments, drawn)
    return model.mean(x, u), model.deviation(x, u), model.slope_covariance(x, u), *rest


HARD = ("two points", "duplicates", "noise-free", "a constant entry", "an outlier", "a large offset")


@pytest.mark.parametrize("name", HARD)
def test_hard_data_give_a_finite_model(name):
    data = make_hard(name)
    learner = GaussianProcessLearner(2).refit(as_transitions(data), 0)
    assert learner.record.status in (ModelStatus.OK, ModelStatus.JITTERED), learner.record
    model = learner.model
    x, u = data.states[0], data.actions[0]
    mean, deviation, doubt, *rest = ask_everything(model, x, u)
    assert all(np.isfinite(array).all() for array in (mean, deviation, doubt, *rest))
    if name == "a constant entry":
        np.testing.assert_allclose(mean[0], x[0] + 0.25, rtol=1e-12)
        assert deviation[0] == 0 and np.all(doubt[0] == 0)
    if name != "an outlier":
        predicted = jax.vmap(model.mean)(data.states, data.actions)
        assert np.abs(predicted - data.successors).max() < 0.3


def test_units_do_not_matter():
    data = make_data(40)
    scale, unit = np.array([1e3, 1e-4]), np.array([50.0])
    scaled = Dataset(data.states * scale, data.actions * unit, data.successors * scale, data.episodes)
    first, second = (GaussianProcessLearner(2).refit(as_transitions(d), 0).model for d in (data, scaled))
    x, u = np.array([0.3, -0.2]), np.array([0.5])
    np.testing.assert_allclose(second.mean(x * scale, u * unit), first.mean(x, u) * scale, rtol=1e-5)
    np.testing.assert_allclose(second.deviation(x * scale, u * unit), first.deviation(x, u) * scale, rtol=1e-3)


def test_too_little_to_learn_from_keeps_the_last_model():
    learner = GaussianProcessLearner(2).refit(as_transitions(make_data(1)), 0)
    assert learner.model is None and learner.record.status is ModelStatus.TOO_FEW_POINTS
    still = make_data(5)._replace(states=np.ones((5, 2)), successors=np.ones((5, 2)))
    assert GaussianProcessLearner(2).refit(as_transitions(still), 0).record.status is ModelStatus.NO_VARIATION
    assert GaussianProcessLearner(2).make_record() is None
    learner = learner.refit(as_transitions(make_data(20)), 0)
    assert learner.model is not None and learner.data.size == 21


def test_a_fit_that_fails_keeps_the_last_model_and_a_stored_learner_knows_it(monkeypatch):
    good = GaussianProcessLearner(2).refit(as_transitions(make_data(20)), 0)
    monkeypatch.setattr("gps.models.gaussian_process_learner.fit_hyperparameters", lambda *arguments: None)
    failed = good.refit(as_transitions(make_data(20, seed=1)), 0)
    assert failed.record.status is ModelStatus.NOT_FINITE and failed.data.size == 40 and failed.record.points == 20
    read = unflatten(GaussianProcessLearner, flatten(failed))
    assert np.array_equal(read.model.weights, good.model.weights)


def test_a_kernel_matrix_that_cannot_be_factored_is_jittered_and_the_record_says_so(monkeypatch):
    tiny = LikelihoodFit(Hyperparameters(np.full(3, 50.0), np.array(10.0), np.array(1e-12)), 0.0, True, 1)
    monkeypatch.setattr("gps.models.gaussian_process_learner.fit_hyperparameters", lambda *arguments: tiny)
    data = make_data(10).take(np.repeat(np.arange(10), 3))
    learner = GaussianProcessLearner(2).refit(as_transitions(data), 0)
    assert learner.record.status is ModelStatus.JITTERED and "raised by 1e-" in learner.record.message
    assert np.isfinite(learner.model.weights).all() and np.all(learner.model.hyperparameters.noise > 1e-6)


def test_the_same_seed_gives_the_same_bits_and_a_stored_learner_is_the_same():
    first, second = (GaussianProcessLearner(2).refit(as_transitions(make_data(20)), 5) for _ in range(2))
    assert flatten(first).keys() == flatten(second).keys()
    assert all(np.array_equal(array, flatten(second)[key]) for key, array in flatten(first).items())
    assert all(map(np.array_equal, jax.tree.leaves(first.model), jax.tree.leaves(second.model)))
    read = unflatten(GaussianProcessLearner, flatten(first))
    assert all(map(np.array_equal, jax.tree.leaves(first.model), jax.tree.leaves(read.model)))
    again, after = (learner.refit(as_transitions(make_data(5, seed=1)), 6) for learner in (first, read))
    assert np.array_equal(again.model.weights, after.model.weights)


def test_refits_on_growing_data_compile_once_for_each_size():
    learner = GaussianProcessLearner(2, restarts=1)
    before = evaluate_likelihood._cache_size()
    for seed in range(8):
        learner = learner.refit(as_transitions(make_data(7, seed=seed)), seed)
        assert learner.record.status is ModelStatus.OK
    assert learner.data.size == 56
    assert evaluate_likelihood._cache_size() - before <= 2


def test_a_refit_starts_from_the_last_one_in_the_new_units():
    learner = GaussianProcessLearner(2, restarts=1).refit(as_transitions(make_data(60)), 0)
    wider = make_data(60, seed=1)
    wider = wider._replace(states=2.0 * wider.states, successors=move(2.0 * wider.states, wider.actions))
    encoding, differences = Encoding.of(wider), Differences.of(wider)
    start = learner._translate(encoding, differences)
    raw = (
        start.lengthscales / encoding.weight,
        start.signal * differences.deviation,
        start.noise * differences.deviation,
    )
    model = learner.model
    expected = (
        model.hyperparameters.lengthscales / model.encoding.weight,
        model.hyperparameters.signal * model.differences.deviation,
        model.hyperparameters.noise * model.differences.deviation,
    )
    for found, wanted in zip(raw, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_a_search_that_is_cut_short_says_so():
    learner = GaussianProcessLearner(2, iterations=1).refit(as_transitions(make_data(30)), 0)
    assert learner.record.status is ModelStatus.NOT_CONVERGED and "spent its iterations" in learner.record.message
    assert isinstance(learner.model, GaussianProcess)
    assert dataclasses.replace(learner, iterations=100).refit(as_transitions(make_data(2)), 0).record.status.ok


def test_with_more_data_than_points_it_is_projected_and_goes_on_learning():
    learner = GaussianProcessLearner(2, max_points=32, likelihood_points=32, restarts=1)
    exact = learner.refit(as_transitions(make_data(32)), 0)
    projected = exact.refit(as_transitions(make_data(100, seed=1)), 1)
    assert exact.model.shares is None and projected.model.shares is not None
    assert projected.model.points.shape == (32, 3) and projected.record.points == 132
    held_out = make_data(200, noise=0.0, seed=2)
    predicted = (jax.vmap(learner.model.mean)(held_out.states, held_out.actions) for learner in (exact, projected))
    errors = [np.sqrt(np.mean((mean - held_out.successors) ** 2)) for mean in predicted]
    assert errors[1] < errors[0]


def test_data_whose_variance_overflows_are_left_out_and_give_no_model_alone():
    learner = GaussianProcessLearner(2, restarts=1)
    states = 1e200 * np.random.default_rng(0).normal(size=(5, 2))
    huge = make_data(5)._replace(states=states, successors=-states)
    alone = learner.refit(as_transitions(huge), 0)
    assert alone.record.status is ModelStatus.NOT_FINITE and alone.model is None
    good = learner.refit(as_transitions(make_data(20)), 0)
    after = good.refit(as_transitions(huge), 0)
    assert after.record.status.ok and after.record.points == 20
    assert after.record.message.startswith("5 transitions were left out: a number as large as 1e+200")


def test_numbers_out_of_range_are_refused():
    for wrong in ({"max_points": 0}, {"likelihood_points": 1}, {"noise_floor": 0.0}, {"restarts": 0}):
        with pytest.raises(ConfigError, match="at least 1"):
            GaussianProcessLearner(2, **wrong)
