"""Dynamics from noisy measurements against dense conditioning, the true system, and the exact limit."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gps.dynamics.prior import NormalInverseWishart
from gps.dynamics.regression import fit_dynamics
from gps.dynamics.smoothing import _smooth, clip_semi_definite, smooth_states

DX, DU, T = 3, 1, 12


def make_system(seed=0, process=0.01):
    rng = np.random.default_rng(seed)
    F = np.concatenate([np.eye(DX) + 0.15 * rng.standard_normal((T - 1, DX, DX)), rng.standard_normal((T - 1, DX, DU))],
                       axis=2)  # fmt: skip
    return F, 0.1 * rng.standard_normal((T - 1, DX)), np.tile(process**2 * np.eye(DX), (T - 1, 1, 1))


def play(system, N, deviation, seed=1, gain=-0.3):
    """True and measured states (1, N, T, dx), and actions that feed back what is measured."""
    rng = np.random.default_rng(seed)
    F, c, W = system
    x = np.zeros((1, N, T, DX)) + 0.3 * rng.standard_normal((1, N, 1, DX))
    y, u = np.zeros_like(x), np.zeros((1, N, T, DU))
    for t in range(T):
        y[:, :, t] = x[:, :, t] + deviation * rng.standard_normal((N, DX))
        u[:, :, t] = gain * y[:, :, t, :DU] + 0.1 * rng.standard_normal((N, DU))
        if t < T - 1:
            z = np.concatenate([x[:, :, t], u[:, :, t]], axis=-1)
            x[:, :, t + 1] = z @ F[t].T + c[t] + rng.standard_normal((N, DX)) @ np.linalg.cholesky(W[t]).T
    return x, y, u


def test_the_smoother_is_dense_conditioning():
    """On the joint Gaussian of all states of an episode; some measurements at the end are missing."""
    F, c, W = make_system(process=0.1)
    _, y, u = play((F, c, W), 4, 0.1)
    R, P0, m0 = np.diag([0.01, 0.0, 0.04]), 0.1 * np.eye(DX), np.full(DX, 0.2)
    mask = np.ones((4, T), bool)
    mask[2, 7:] = False
    states, joint = _smooth(F, c, W, m0, P0, y[0], u[0], mask, R)

    G = np.eye(T * DX)  # x = G (means and noise of each step)
    for t in range(T - 1):
        G[(t + 1) * DX : (t + 2) * DX] += F[t, :, :DX] @ G[t * DX : (t + 1) * DX]
    noise = np.zeros((T * DX, T * DX))
    noise[:DX, :DX] = P0
    for t in range(T - 1):
        noise[(t + 1) * DX : (t + 2) * DX, (t + 1) * DX : (t + 2) * DX] = W[t]
    S = G @ noise @ G.T
    for n in range(4):
        drive = np.concatenate([[m0], u[0, n, :-1] @ F[0, :, DX:].T * 0 + c]).reshape(T, DX)
        drive[1:] += np.einsum("tij,tj->ti", F[:, :, DX:], u[0, n, :-1])
        prior = G @ drive.ravel()
        seen = np.repeat(mask[n], DX)
        K = S[:, seen] @ np.linalg.inv(S[np.ix_(seen, seen)] + np.kron(np.eye(mask[n].sum()), R))
        expected = prior + K @ (y[0, n].ravel()[seen] - prior[seen])
        assert_allclose(states[n], expected.reshape(T, DX), atol=1e-9)
        if mask[n].all():
            left = S - K @ S[seen]
            for t in range(T - 1):
                rows = np.r_[t * DX : (t + 1) * DX, (t + 1) * DX : (t + 2) * DX]
                both = np.r_[:DX, DX + DU : 2 * DX + DU]
                assert_allclose(np.asarray(joint[t])[np.ix_(both, both)], left[np.ix_(rows, rows)], atol=1e-9)
                assert not np.asarray(joint[t])[DX : DX + DU].any()


@pytest.mark.parametrize(("N", "error", "square"), [(20, 1.0, 0.75), (200, 0.7, 0.25)])
def test_noisy_measurements_give_more_nearly_the_model_of_the_true_states(N, error, square):
    """The error of the plain fit does not vanish with more samples: its slopes are too small."""
    system, deviation = make_system(), 0.05
    x, y, u = play(system, N, deviation)
    mask = np.ones((1, N, T), bool)
    smoothed = smooth_states(y, u, mask, np.full(DX, deviation))
    found = fit_dynamics(smoothed.states, u, mask, uncertainty=smoothed.uncertainty)
    plain, best = fit_dynamics(y, u, mask), fit_dynamics(x, u, mask)
    after, before = (np.linalg.norm(fit.matrix - best.matrix) for fit in (found, plain))
    assert after < error * before
    assert np.square(smoothed.states - x).mean() < square * np.square(y - x).mean()
    if N == 200:
        slope = [float(np.sum(fit.matrix[0] * system[0]) / np.sum(system[0] ** 2)) for fit in (plain, found)]
        assert slope[0] < 0.985 and slope[1] == pytest.approx(1.0, abs=0.01)


def test_exact_measurements_stay_as_they_are():
    x, _, u = play(make_system(), 20, 0.0)
    mask = np.ones((1, 20, T), bool)
    smoothed = smooth_states(x, u, mask, np.zeros(DX))
    assert_allclose(smoothed.states, x, atol=1e-5)
    assert_allclose(smoothed.uncertainty, 0.0, atol=1e-7)


def test_an_exact_entry_among_noisy_ones_stays_as_it_is():
    x, y, u = play(make_system(), 20, 0.05)
    y[..., 1] = x[..., 1]
    smoothed = smooth_states(y, u, np.ones((1, 20, T), bool), np.array([0.05, 0.0, 0.05]))
    assert_allclose(smoothed.states[..., 1], x[..., 1], atol=1e-3)
    assert np.square(smoothed.states - x).sum() < 0.9 * np.square(y - x).sum()


def test_what_is_masked_does_not_matter():
    _, y, u = play(make_system(), 20, 0.05)
    mask = np.ones((1, 20, T), bool)
    mask[0, :4, 6:] = False
    other = np.where(mask[..., None], y, np.nan)
    one, two = (smooth_states(states, u, mask, np.full(DX, 0.05)) for states in (y, other))
    assert_allclose(one.states[mask], two.states[mask], rtol=0, atol=0)
    assert_allclose(one.uncertainty, two.uncertainty, rtol=0, atol=0)


def test_units_do_not_matter():
    _, y, u = play(make_system(), 20, 0.05)
    mask, s = np.ones((1, 20, T), bool), np.array([1e3, 1.0, 1e-4])
    one = smooth_states(y, u, mask, np.full(DX, 0.05))
    two = smooth_states(y * s, u * 1e2, mask, 0.05 * s)
    assert_allclose(two.states / s, one.states, rtol=1e-5, atol=1e-7)


def test_three_samples_and_a_prior_are_enough():
    _, y, u = play(make_system(), 3, 0.05)
    d = 2 * DX + DU
    belief = NormalInverseWishart(
        np.zeros((1, T - 1, d)), np.tile(np.eye(d), (1, T - 1, 1, 1)), *np.ones((2, 1, T - 1))
    )
    smoothed = smooth_states(y, u, np.ones((1, 3, T), bool), np.full(DX, 0.05), belief)
    assert np.isfinite(smoothed.states).all()
    assert np.abs(smoothed.states - y).max() < 6 * 0.05


def test_a_semi_definite_matrix_is_its_own_nearest():
    half = np.random.default_rng(0).standard_normal((4, 5, 3))
    matrix = half @ half.swapaxes(1, 2)
    assert_allclose(clip_semi_definite(matrix, np.array([1e-3, 1.0, 1e2, 1.0, 1.0])), matrix, atol=1e-12)
    assert_allclose(clip_semi_definite(np.diag([1.0, -2.0]), np.ones(2)), np.diag([1.0, 0.0]), atol=1e-12)
