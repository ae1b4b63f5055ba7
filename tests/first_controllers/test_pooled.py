"""The pooled Bayesian fit against the dense closed form, least squares, and a change of units."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gps.first_controllers.pooled import STRENGTHS, Deviations, fit_pooled_model, fit_separate_models, predict

DX, DU = 4, 2
PRIOR = np.eye(DX) + 0.1 * np.eye(DX, k=2)
GROUPS = [np.array([0, 2]), np.array([1, 3])]


def make_data(n=60, noise=0.02, seed=0, A=None):
    """Transitions of a system from two starts, each with its own offset; and the system."""
    rng = np.random.default_rng(seed)
    A = PRIOR + 0.05 * rng.standard_normal((DX, DX)) if A is None else A
    B, c = rng.standard_normal((DX, DU)), 0.1 * rng.standard_normal((2, DX))
    x, u = rng.standard_normal((n, DX)), 0.3 * rng.standard_normal((n, DU))
    m = rng.integers(0, 2, n)
    return (x, u, x @ A.T + u @ B.T + c[m] + noise * rng.standard_normal((n, DX)), m), (A, B, c)


def test_many_clear_transitions_give_the_system_itself():
    data, (A, B, c) = make_data(400, noise=0.0)
    model = fit_pooled_model(Deviations(*data, np.ones(400)), PRIOR)
    for found, true in zip(model[:3], (A, B, c), strict=True):
        assert_allclose(found, true, atol=1e-6)
    assert model.covariance.max() < 1e-8


def test_many_noisy_transitions_give_weighted_least_squares():
    (x, u, after, m), _ = make_data(2000, noise=0.1)
    weight = np.random.default_rng(1).uniform(0.1, 1.0, 2000)
    model = fit_pooled_model(Deviations(x, u, after, m, weight), PRIOR)
    root = np.sqrt(weight)[:, None]
    exact = np.linalg.lstsq(root * np.hstack([x, u, np.eye(2)[m]]), root * after, rcond=None)[0].T
    assert_allclose(np.hstack([model.A, model.B, model.c.T]), exact, atol=0.01)


@pytest.mark.parametrize("n", [5, 30])
def test_the_posterior_is_the_dense_one(n):
    """By n × n Gaussian conditioning instead of the fit's normal equations; n = 5 is less than the unknowns."""
    (x, u, after, m), _ = make_data(n)
    weight = np.random.default_rng(2).uniform(0.2, 1.0, n)
    model = fit_pooled_model(Deviations(x, u, after, m, weight), PRIOR)
    root = np.sqrt(weight)[:, None]
    Z, r = root * np.hstack([x, u, np.eye(m.max() + 1)[m]]), root * (after - x @ PRIOR.T)
    P = np.diag(1.0 / (model.strength * np.mean(Z**2, axis=0)))  # the prior covariance over σ²
    gain = P @ Z.T @ np.linalg.inv(Z @ P @ Z.T + np.eye(n))
    mean, S = gain @ r, P - gain @ Z @ P
    assert_allclose(np.hstack([model.A - PRIOR, model.B, model.c.T]), mean.T, atol=1e-6)
    # each row's σ² is its quadratic form in the marginal covariance, over n + 1
    quadratic = np.einsum("ni,nm,mi->i", r, np.linalg.inv(Z @ P @ Z.T + np.eye(n)), r)
    expected = (quadratic / (weight.sum() + 1))[:, None, None] * S[: DX + DU, : DX + DU]
    assert_allclose(model.covariance, expected, rtol=1e-4, atol=1e-9)


def test_the_strength_maximises_the_marginal_likelihood():
    """The density of the data themselves, of each row with its own σ²."""
    (x, u, after, m), _ = make_data(25, noise=0.3)
    model = fit_pooled_model(Deviations(x, u, after, m, np.ones(25)), PRIOR)
    Z, r = np.hstack([x, u, np.eye(2)[m]]), after - x @ PRIOR.T

    def explain(strength):
        K = Z @ np.diag(1.0 / (strength * np.mean(Z**2, axis=0))) @ Z.T + np.eye(25)
        quadratic = np.einsum("ni,nm,mi->i", r, np.linalg.inv(K), r)
        return -0.5 * (DX * np.linalg.slogdet(K)[1] + 26 * np.log(quadratic).sum())

    assert model.strength == pytest.approx(max(STRENGTHS, key=explain))
    assert STRENGTHS[0] < model.strength < STRENGTHS[-1]


def test_units_do_not_matter():
    (x, u, after, m), _ = make_data()
    s, r, weight = np.array([1e3, 1.0, 1e-4, 7.0]), np.array([1e-3, 1e4]), np.ones(60)
    one = fit_pooled_model(Deviations(x, u, after, m, weight), PRIOR)
    two = fit_pooled_model(Deviations(x * s, u * r, after * s, m, weight), s[:, None] * PRIOR / s)
    assert two.strength == one.strength
    z = np.r_[s, r]
    assert_allclose(two.A * s / s[:, None], one.A, rtol=1e-8, atol=1e-10)
    assert_allclose(two.B * r / s[:, None], one.B, rtol=1e-8, atol=1e-10)
    assert_allclose(two.c / s, one.c, rtol=1e-8, atol=1e-10)
    assert_allclose(two.covariance * np.outer(z, z) / (s**2)[:, None, None], one.covariance, rtol=1e-6, atol=1e-14)


def test_transitions_with_little_weight_count_little():
    (x, u, after, m), (A, *_) = make_data(100, noise=0.0)
    wrong = after.copy()
    wrong[50:] += 10 * x[50:] ** 2
    weight = np.where(np.arange(100) < 50, 1.0, 1e-8)
    assert_allclose(fit_pooled_model(Deviations(x, u, wrong, m, weight), PRIOR).A, A, atol=1e-3)


def test_separate_models_are_those_of_their_groups():
    decoupled = 0.9 * np.eye(DX) + 0.1 * np.eye(DX, k=2)
    (x, u, after, m), (A, B, _) = make_data(300, noise=0.0, A=decoupled)
    data = Deviations(x, u, after, m, np.ones(300))
    model = fit_separate_models(data, PRIOR, GROUPS)
    assert_allclose(model.A, A, atol=1e-6)
    assert_allclose(model.B, B, atol=1e-6)
    one = fit_pooled_model(data.restrict(np.array([0, 2])), PRIOR[np.ix_([0, 2], [0, 2])])
    places = np.ix_([0, 2, 4, 5], [0, 2, 4, 5])
    for i, row in enumerate([0, 2]):
        assert_allclose(model.covariance[row][places], one.covariance[i])
    assert not model.covariance[0][[1, 3]].any()


def test_separate_models_do_not_grow():
    (x, u, after, m), _ = make_data(A=1.3 * np.eye(DX) + 0.2 * np.eye(DX, k=2))
    model = fit_separate_models(Deviations(x, u, after, m, np.ones(60)), PRIOR, GROUPS)
    assert np.abs(np.linalg.eigvals(model.A)).max() <= 1 + 1e-9


def test_a_prediction_is_made_from_the_first_state_alone():
    (x, u, after, m), (A, B, c) = make_data(40, noise=0.0)
    model = fit_pooled_model(Deviations(x, u, after, m, np.ones(40)), PRIOR)
    predicted = predict(model, Deviations(x[:5], u[:5], after[:5], np.zeros(5, int), np.ones(5)))
    state = x[0]
    for t in range(5):
        state = A @ state + B @ u[t] + c[0]
        assert_allclose(predicted[t], state, atol=1e-5)
