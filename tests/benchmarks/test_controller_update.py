"""The two yardsticks of the controller update against each other, the oracle and their bound."""

import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import eigen, numpy_update
from benchmarks.problems import make_lqr_problem, make_rollouts

DATA = Path(__file__).with_name("data")


@pytest.fixture(scope="session")
def library():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        built = eigen.build()
    if built is None:
        pytest.skip(str(caught[-1].message))
    return built


@pytest.fixture(params=["numpy", "eigen", "eigen, any size"])
def implementation(request):
    """(update, evaluate) of one implementation."""
    if request.param == "numpy":
        return numpy_update.update, numpy_update.evaluate
    built = request.getfixturevalue("library")
    fixed = request.param == "eigen"
    return lambda *args, **options: built.update(*args, fixed_sizes=fixed, **options), built.evaluate


def assert_same_controller(a, b, tolerance):
    for name in ("K", "k", "Sigma"):
        x, y = getattr(a, name), getattr(b, name)
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("fixed_sizes", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 1e-3])
@pytest.mark.parametrize("sizes", [(6, 2), (14, 7), (9, 1)])
def test_eigen_and_numpy_agree(library, sizes, alpha, fixed_sizes):
    problem = make_lqr_problem(*sizes)
    a = numpy_update.update(problem, bound=100.0, alpha=alpha)
    b = library.update(problem, bound=100.0, alpha=alpha, fixed_sizes=fixed_sizes)
    assert (a.status, a.evaluations) == (b.status, b.evaluations)
    assert a.eta == pytest.approx(b.eta, rel=1e-10)
    assert a.kl == pytest.approx(b.kl, rel=1e-8)
    assert_same_controller(a, b, 1e-8)


@pytest.mark.parametrize("bound", [0.5, 20.0, 100.0])
@pytest.mark.parametrize("sizes", [(6, 2), (14, 7)])
def test_bound_is_met_and_kl_belongs_to_the_returned_eta(implementation, sizes, bound):
    update, evaluate = implementation
    problem = make_lqr_problem(*sizes)
    found = update(problem, bound=bound, alpha=1e-3)
    assert found.status == "converged"
    assert abs(found.kl / bound - 1.0) <= 1e-3
    assert found.evaluations <= 6
    K, k, Sigma, kl = evaluate(problem, found.eta, alpha=1e-3)
    assert kl == pytest.approx(found.kl, rel=1e-9)
    assert_same_controller(found, replace(found, K=K, k=k, Sigma=Sigma), 1e-9)


def test_controller_of_the_oracle_at_its_eta(implementation):
    with np.load(DATA / "ref_lqr_6_2.npz") as arrays:
        oracle = dict(arrays)
    K, k, Sigma, kl = implementation[1](make_lqr_problem(6, 2), float(oracle["eta"]))
    np.testing.assert_allclose(K, oracle["K"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(k, oracle["k"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(Sigma, oracle["pol_covar"], rtol=1e-6, atol=1e-6)
    assert kl == pytest.approx(float(oracle["kl"]), rel=1e-6)


def test_kl_of_one_step_against_its_formula(implementation):
    """The KL at T = 1, where x ~ N(initial mean, covariance), against the formula written out."""
    problem = make_lqr_problem(4, 2, T=1, seed=3)
    K, k, Sigma, kl = implementation[1](problem, 0.7)
    P = np.linalg.inv(problem.Sigma[0])
    e = (K[0] - problem.K[0]) @ problem.initial_mean + k[0] - problem.k[0]
    dK = K[0] - problem.K[0]
    expected = 0.5 * (
        np.trace(P @ Sigma[0]) - 2 + np.linalg.slogdet(problem.Sigma[0])[1] - np.linalg.slogdet(Sigma[0])[1]
        + e @ P @ e + np.trace(dK.T @ P @ dK @ problem.initial_cov)
    )  # fmt: skip
    assert kl == pytest.approx(expected, rel=1e-12)


def test_inactive_bound_returns_the_unconstrained_controller(implementation):
    found = implementation[0](make_lqr_problem(6, 2, T=20), bound=1e6, alpha=1e-3)
    assert (found.status, found.eta) == ("inactive", 0.0)
    assert found.kl < 1e6
    found = implementation[0](make_lqr_problem(6, 2, T=20), bound=1e6)
    assert found.status == "inactive"
    assert found.eta == pytest.approx(1e-8)


def test_indefinite_cost_raises_eta(implementation):
    problem = make_lqr_problem(6, 2, T=30, indefinite=4.0)
    assert math.isinf(implementation[1](problem, 1e-3)[3])
    found = implementation[0](problem, bound=1.0, eta0=1e-3)
    assert found.status == "converged"
    assert abs(found.kl - 1.0) <= 1e-3
    assert np.all(np.isfinite(found.K))


def test_eta_does_not_depend_on_where_the_search_starts(implementation):
    problem = make_lqr_problem(6, 2)
    etas = [implementation[0](problem, bound=50.0, eta0=e, tolerance=1e-8).eta for e in (1e-7, 1.0, 1e7)]
    np.testing.assert_allclose(etas, etas[1], rtol=1e-6)


def test_arguments_are_checked(implementation, library):
    problem = make_lqr_problem(6, 2, T=5)
    with pytest.raises(ValueError, match="bound"):
        implementation[0](problem, bound=0.0)
    with pytest.raises(ValueError, match="W has shape"):
        library.update(replace(problem, W=problem.W[:-1]), bound=1.0)


def test_timers_return_seconds(library):
    problem = make_lqr_problem(6, 2, T=10)
    assert 0 < library.time_update(problem, bound=10.0, repeats=3) < 1
    assert 0 < numpy_update.time_update(problem, bound=10.0, repeats=3) < 1


@pytest.mark.parametrize(("hide", "name"), [("find_eigen", "libeigen3-dev"), ("find_compiler", "g\\+\\+")])
def test_a_missing_tool_is_named(monkeypatch, hide, name):
    monkeypatch.setattr(eigen, hide, lambda: None)
    with pytest.warns(UserWarning, match=name):
        assert eigen.build() is None


def test_generators_are_seeded():
    a, b = make_lqr_problem(6, 2, seed=4), make_lqr_problem(6, 2, seed=4)
    assert a.F.shape == (99, 6, 8)
    assert (a.C == b.C).all()
    assert make_rollouts(N=2, T=5)[0].shape == (2, 5, 14)
