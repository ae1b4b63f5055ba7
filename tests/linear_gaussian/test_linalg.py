"""The operations on positive definite matrices, against NumPy."""

import numpy as np
from helpers.problems import spd

from gps.backend import jnp
from gps.linear_gaussian.linalg import gaussian_kl, half_solve, logdet, psd_inverse, psd_solve, symmetrize


def test_solve_inverse_and_logdet_agree_with_numpy():
    rng = np.random.default_rng(0)
    A, b = spd(rng, 3, 5), rng.standard_normal((3, 5, 2))
    np.testing.assert_allclose(psd_solve(A, b), np.linalg.solve(A, b), rtol=1e-11)
    np.testing.assert_allclose(psd_inverse(A), np.linalg.inv(A), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(logdet(A), np.linalg.slogdet(A)[1], rtol=1e-12)


def test_half_solve_is_the_cholesky_factors():
    rng = np.random.default_rng(3)
    for n in (1, 5):
        A, b = spd(rng, n), rng.standard_normal((n, 3))
        np.testing.assert_allclose(half_solve(A, b), np.linalg.solve(np.linalg.cholesky(A), b), rtol=1e-10)
    for bad in (np.diag([1.0, -1.0]), np.zeros((2, 2)), np.array([[1.0, 2.0], [2.0, 1.0]])):
        assert np.isnan(half_solve(bad, np.eye(2))[1]).any()


def test_inverses_are_symmetric_to_the_last_bit():
    inverse = np.asarray(psd_inverse(spd(np.random.default_rng(1), 4, 9)))
    assert (inverse == inverse.swapaxes(-1, -2)).all()
    half = symmetrize(jnp.asarray([[1.0, 2.0], [4.0, 3.0]]))
    assert (np.asarray(half) == [[1.0, 3.0], [3.0, 3.0]]).all()


def test_what_is_not_positive_definite_is_nan_and_leaves_its_neighbours_alone():
    matrices = np.stack([np.eye(2), np.diag([1.0, -1.0])])
    for result in (logdet(matrices), psd_inverse(matrices), psd_solve(matrices, np.ones((2, 2, 1)))):
        assert np.isfinite(result[0]).all()
        assert np.isnan(result[1]).any()


def test_gaussian_kl_is_the_mean_log_ratio():
    rng = np.random.default_rng(2)
    (m, n), (P, Q) = rng.standard_normal((2, 3)), spd(rng, 2, 3)
    x = rng.multivariate_normal(m, P, size=200_000)
    from scipy.stats import multivariate_normal as normal

    ratio = normal(m, P).logpdf(x) - normal(n, Q).logpdf(x)
    assert abs(gaussian_kl(m, P, n, Q) - ratio.mean()) < 4 * ratio.std() / np.sqrt(len(x))
    assert abs(gaussian_kl(m, P, m, P)) < 1e-12
