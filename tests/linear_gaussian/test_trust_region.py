"""The update inside a trust region: its bound, its optimality, its statuses, its entropy, and indefinite costs."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest
from helpers.problems import lqr, negative_log_density, stack, step_costs

from gps.backend import jax, jnp
from gps.linear_gaussian.kl import Reference, controller_kl
from gps.linear_gaussian.riccati import backward, forward
from gps.linear_gaussian.trust_region import find_indefinite, update
from gps.linear_gaussian.types import Controller, CostExpansion
from gps.records import Status

SIZES = [(6, 2), (14, 7), (26, 7)]
KINDS = list(itertools.product(["total", "per_step"], ["secant", "gradient"]))
T = 30
BOUNDS, ALPHAS = np.array([0.05, 0.5]), np.array([0.0, 1e-2])


def solve(problem, bound, alpha, eta=1.0, **options):
    """The update of M problems (a batch, or one for M = 1)."""
    if problem.cost.gradient.ndim == 2:
        problem = stack(tuple(problem))
    M, T = problem[1].gradient.shape[:2]
    shape = (M,) if options.get("constraint", "total") == "total" else (M, T)
    full = [np.broadcast_to(np.asarray(value, dtype=float), M) for value in (bound, alpha)]
    return update(*problem, *full, np.broadcast_to(np.asarray(eta, dtype=float), shape), **options)


@jax.jit
def at_eta(dynamics, cost, previous, alpha, eta):
    """The controller of an eta (T,) and its KL at each step, from the public pieces and not from the search."""
    reference = Reference.of(previous)
    hessian, gradient = negative_log_density(previous)
    hessian, gradient = cost.hessian + eta[:, None, None] * hessian, cost.gradient + eta[:, None] * gradient
    result = backward(dynamics, CostExpansion(hessian, gradient, cost.constant), alpha + eta)
    kl = controller_kl(result.controller, result.logdet, reference, forward(dynamics, result.controller))
    return result.controller, kl


def assert_same_controller(a, b, tolerance):
    for name in ("feedback", "feedforward", "covariance"):
        x, y = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance * np.abs(y).max(), err_msg=name)


@pytest.fixture(scope="module")
def found():
    """Updates of two problems at once (two bounds, without and with entropy), solved when first asked for."""
    cache = {}

    def get(size, constraint, solver):
        key = size, constraint, solver
        if key not in cache:
            batch = stack(lqr(*size, T=T, seed=0), lqr(*size, T=T, seed=1))
            cache[key] = batch, solve(batch, BOUNDS, ALPHAS, constraint=constraint, solver=solver)
        return cache[key]

    return get


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("constraint", "solver"), KINDS)
def test_kl_meets_its_bound_and_never_exceeds_it(found, size, constraint, solver):
    _, result = found(size, constraint, solver)
    assert result.statuses == [Status.OK, Status.OK]
    kl = np.asarray(result.kl)
    assert (kl > 0).all()
    bound = BOUNDS * T if constraint == "total" else BOUNDS[:, None]
    kl = kl.sum(axis=1) if constraint == "total" else kl
    active = np.asarray(result.eta) > 0
    assert active.any()
    assert (kl <= bound).all()
    assert (kl >= 0.998 * bound)[active].all()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_secant_needs_a_few_evaluations(found, size):
    _, result = found(size, "total", "secant")
    assert (np.asarray(result.evaluations) <= 7).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("constraint", ["total", "per_step"])
def test_both_solvers_find_the_same_controller(found, size, constraint):
    _, a = found(size, constraint, "secant")
    batch, b = found(size, constraint, "gradient")
    for m in range(2):
        one, other = (float(step_costs(batch.dynamics[m], batch.cost[m], x.controller[m]).sum()) for x in (a, b))
        start = float(step_costs(batch.dynamics[m], batch.cost[m], batch.previous[m]).sum())
        assert abs(one - other) < 2e-3 * (start - one)  # as the tolerance of the search on the KL
    np.testing.assert_allclose(a.kl.sum(axis=1), b.kl.sum(axis=1), rtol=2e-3)


@pytest.mark.parametrize(("constraint", "solver"), KINDS)
def test_the_controller_returned_is_that_of_the_eta_returned(found, constraint, solver):
    """The last step of a search may change eta after the controller was computed."""
    batch, result = found(SIZES[0], constraint, solver)
    for m in range(2):
        eta = jnp.broadcast_to(result.eta[m], (T,))
        controller, kl = at_eta(*stack_index(batch, m), ALPHAS[m], eta)
        assert_same_controller(result.controller[m], controller, 1e-9)
        np.testing.assert_allclose(result.kl[m], kl, rtol=1e-9, atol=1e-12)


def stack_index(batch, m):
    return jax.tree.map(lambda array: array[m], batch)


@pytest.mark.parametrize(("constraint", "solver"), KINDS)
def test_the_controller_is_a_minimum_of_the_lagrangian(found, constraint, solver):
    """Its gradient over (K, k, L) with Sigma = L L' vanishes, and no perturbation lowers it."""
    batch, result = found(SIZES[0], constraint, solver)

    @jax.jit
    def lagrangian(parameters, problem, alpha, eta):
        K, k, L = parameters
        logdet = 2.0 * jnp.linalg.slogdet(L)[1]
        controller = Controller(K, k, L @ L.swapaxes(1, 2))
        kl = controller_kl(controller, logdet, Reference.of(problem.previous), forward(problem.dynamics, controller))
        entropy = 0.5 * logdet  # up to a constant
        cost = step_costs(problem.dynamics, problem.cost, controller).sum()
        return cost - alpha * entropy.sum() + eta @ kl

    gradient_of = jax.jit(jax.grad(lagrangian))
    rng = np.random.default_rng(0)
    for m in range(2):
        problem = stack_index(batch, m)
        eta = jnp.broadcast_to(result.eta[m], (T,))
        best = result.controller[m]
        best = best.feedback, best.feedforward, jnp.linalg.cholesky(best.covariance)
        before = problem.previous
        before = before.feedback, before.feedforward, jnp.linalg.cholesky(before.covariance)
        size = [np.abs(np.asarray(g)).max() for g in gradient_of(before, problem, ALPHAS[m], eta)]
        gradient = gradient_of(best, problem, ALPHAS[m], eta)
        for g, scale in zip(gradient, size, strict=True):
            assert np.abs(np.asarray(g)).max() < 1e-9 * scale
        value = lagrangian(best, problem, ALPHAS[m], eta)
        for length in (1e-3, 1e-2, 1e-1):
            moved = tuple(p * (1 + length * rng.standard_normal(p.shape)) for p in best)
            assert lagrangian(moved, problem, ALPHAS[m], eta) > value


@pytest.mark.parametrize("constraint", ["total", "per_step"])
def test_an_inactive_bound_gives_the_maximum_entropy_controller(constraint):
    """Eta is 0, and the covariance is alpha Quu^-1, not less."""
    problem = stack(lqr(*SIZES[0], T=T, seed=0), lqr(*SIZES[0], T=T, seed=1))
    alpha = np.array([0.1, 2.0])
    result = solve(problem, 1e4, alpha, constraint=constraint)
    assert result.statuses == [Status.BOUND_INACTIVE] * 2
    assert (np.asarray(result.eta) == 0).all()
    for m in range(2):
        free = jax.jit(backward)(problem.dynamics[m], problem.cost[m], np.full(T, alpha[m]))
        assert_same_controller(result.controller[m], free.controller, 1e-9)
        Sigma = alpha[m] * np.linalg.inv(free.quu)
        np.testing.assert_allclose(result.controller.covariance[m], Sigma, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("factor", [1.03, 1.1])
def test_a_bound_a_little_above_the_optimum_is_found_inactive_soon(factor):
    """There KL hardly answers to eta any more, and the secant must not creep."""
    problem = stack(*(lqr(*SIZES[0], T=T, seed=seed) for seed in (0, 1)))
    free = solve(problem, 1e6, 1e-2)
    bound = factor * np.asarray(free.kl).mean(axis=1)
    result = solve(problem, bound, 1e-2, tolerance=1e-2)
    assert result.statuses == [Status.BOUND_INACTIVE] * 2
    assert (np.asarray(result.evaluations) <= 15).all()
    assert_same_controller(result.controller, free.controller, 1e-9)


def test_repeated_updates_keep_their_entropy():
    """With alpha > 0 they end at the maximum-entropy controller; without it the entropy falls without end."""
    one = lqr(*SIZES[0], T=T, seed=0)
    problem = stack(one, one)
    alpha, entropies, eta = np.array([1e-2, 0.0]), [], np.ones(2)
    for _ in range(12):
        result = solve(problem, 5.0, alpha, eta)
        entropies.append(result.controller.numpy().entropy().mean(axis=1))
        eta = np.where(np.asarray(result.eta) > 0, result.eta, eta)
        problem = problem._replace(previous=result.controller)
    free = jax.jit(backward)(one.dynamics, one.cost, np.full(T, 1e-2)).controller
    kept, collapsed = np.transpose(entropies)
    assert result.statuses[0] == Status.BOUND_INACTIVE
    assert_same_controller(result.controller[0], free, 1e-9)
    assert kept[-1] == pytest.approx(free.numpy().entropy().mean(), rel=1e-9)
    assert collapsed[-1] < kept[-1] - 10


def test_a_linear_quadratic_problem_is_solved_by_one_update():
    one = lqr(*SIZES[0], T=T, seed=0)
    result = solve(stack(one, one), 1e5, 1e-3)
    optimum = jax.jit(backward)(one.dynamics, one.cost, np.full(T, 1e-3)).controller
    assert_same_controller(result.controller[0], optimum, 1e-9)


@pytest.mark.parametrize("constraint", ["total", "per_step"])
@pytest.mark.parametrize("solver", ["secant", "gradient"])
def test_an_indefinite_cost_moves_the_lower_end_of_the_search(constraint, solver):
    """Quu is indefinite below some eta. The search learns that once, and ends above it."""
    problem = stack(*(lqr(*SIZES[0], T=T, seed=s, indefinite=4.0) for s in (0, 1)))
    evaluations = 50 if constraint == "total" else 100  # the steps pull at one another
    result = solve(
        problem, [0.1, 20.0], 1e-2, eta=1e-3, constraint=constraint, solver=solver, max_evaluations=evaluations
    )
    trace_kl, trace = np.asarray(result.trace_kl), np.exp(np.asarray(result.trace_log_eta))
    assert np.isnan(trace_kl[:, 0]).all()  # the first eta is infeasible
    for leaf in jax.tree.leaves((result.controller, result.kl, result.eta)):
        assert np.isfinite(leaf).all()
    kl = np.asarray(result.kl)
    bound = np.array([0.1, 20.0])
    total = kl.sum(axis=1) / T if constraint == "total" else kl.max(axis=1)
    assert (total <= bound).all()
    # KL grows without limit towards the eta that is infeasible, so the bound can be met. The lecture's method does not
    # find the 100 multipliers of a bound of 20 nats at that brink, and says so.
    met = [True, (constraint, solver) != ("per_step", "gradient")]
    assert result.statuses == [Status.OK if meets else Status.SEARCH_EXHAUSTED for meets in met]
    assert (total >= 0.998 * bound)[met].all()
    if solver == "secant" and constraint == "total":
        assert (np.asarray(result.evaluations) <= 20).all()
        for m in range(2):  # no eta below one that is known to be infeasible is tried again
            bad = np.isnan(trace_kl[m]) & ~np.isnan(trace[m])
            for i in np.flatnonzero(bad):
                later = trace[m, i + 1 :]
                assert (later[~np.isnan(later)] > trace[m, i]).all()
    eta = np.broadcast_to(np.asarray(result.eta)[0], T)
    assert find_indefinite(*stack_index(problem, 0), 1e-2, eta.max()) is None


def test_a_hopeless_cost_leaves_the_previous_controller_and_names_the_place():
    """A status and a place, and never a KL of NaN with a flag of success."""
    problem = stack(lqr(*SIZES[0], T=T, seed=0, indefinite=1e120), lqr(*SIZES[0], T=T, seed=1))
    result = solve(problem, 0.1, 1e-2)
    assert result.statuses == [Status.NO_FEASIBLE_ETA, Status.OK]
    assert_same_controller(result.controller[0], problem.previous[0], 0.0)
    assert (np.asarray(result.kl)[0] == 0).all()
    t, eigenvalue = find_indefinite(*stack_index(problem, 0), 1e-2, 1e3)
    assert t == T - 2  # one step before the end: the last action moves nothing
    assert eigenvalue < 0
    assert find_indefinite(*stack_index(problem, 1), 1e-2, 1.0) is None


def test_spent_evaluations_return_the_best_controller_within_the_bound():
    problem = stack(lqr(*SIZES[0], T=T, seed=0), lqr(*SIZES[0], T=T, seed=1))
    result = solve(problem, 0.01, 1e-2, eta=[1e9, 1e-9], max_evaluations=2)
    assert result.statuses == [Status.SEARCH_EXHAUSTED, Status.SEARCH_EXHAUSTED]
    kl = np.asarray(result.kl).sum(axis=1)
    assert 0 < kl[0] <= 0.01 * T
    assert kl[1] == 0
    controller, _ = at_eta(*stack_index(problem, 0), 1e-2, jnp.full(T, result.eta[0]))
    assert_same_controller(result.controller[0], controller, 1e-9)


@pytest.mark.parametrize("solver", ["secant", "gradient"])
def test_a_search_that_converged_returns_the_controller_that_converged(solver):
    """Wherever the last evaluation lies within the tolerance: 200 bounds, close to the KL of the first eta."""
    one, tolerance = lqr(4, 2, T=10, seed=0), 0.1
    _, kl = at_eta(one.dynamics, one.cost, one.previous, 0.0, jnp.full(10, 5.0))
    bounds = float(np.mean(kl)) * np.exp(np.linspace(-3 * tolerance, 3 * tolerance, 200))
    result = solve(stack(*[one] * 200), bounds, 0.0, eta=5.0, solver=solver, tolerance=tolerance)
    assert set(result.statuses) == {Status.OK}
    used = np.asarray(result.kl).mean(axis=1) / bounds
    assert (used <= 1).all()
    assert (used >= np.exp(-2 * tolerance) * (1 - 1e-9)).all()


@pytest.mark.parametrize("solver", ["secant", "gradient"])
def test_a_bound_that_is_little_slack_is_found_inactive_in_few_evaluations(solver):
    """log KL flattens towards its value at eta = 0, a little below the bound: small steps would never end."""
    one = lqr(4, 2, T=10, seed=0)
    _, kl = at_eta(one.dynamics, one.cost, one.previous, 1e-2, jnp.zeros(10))
    bounds = float(np.mean(kl)) * np.array([1.025, 1.05, 1.2])
    result = solve(stack(*[one] * 3), bounds, 1e-2, eta=0.02, solver=solver, tolerance=1e-2)
    assert set(result.statuses) == {Status.BOUND_INACTIVE}
    assert np.asarray(result.evaluations).max() <= 20


@pytest.mark.parametrize("solver", ["secant", "gradient"])
def test_slack_steps_take_few_evaluations_and_every_bound_is_met(solver):
    """Many steps reach the entropy's optimum within their bounds, as others do not; the bounds hold for all."""
    problems, bound, alpha, eta = make_problems(30, 4, 2, T=30)
    result = solve(problems, bound, alpha, eta, constraint="per_step", solver=solver, tolerance=1e-2)
    kl = np.asarray(result.kl)
    assert Status.NO_FEASIBLE_ETA not in result.statuses
    assert (kl <= bound[:, None]).all()
    assert (kl.sum(axis=1) > 0).all()
    slack = (np.asarray(result.eta) == 0).any(axis=1)
    assert slack.sum() >= 5
    converged = np.array([status.ok for status in result.statuses])
    assert converged.mean() > 0.9
    assert np.asarray(result.evaluations)[slack].max() <= 20


def test_where_no_eta_is_found_a_common_factor_meets_the_bounds():
    """Unstable models, whose steps pull at one another too much for the lecture's method."""
    problems, bound, alpha, eta = make_problems(30, 4, 2, T=60, growth=0.5)
    options = {"solver": "gradient", "tolerance": 1e-2, "max_evaluations": 30}
    result = solve(problems, bound, alpha, eta, constraint="per_step", **options)
    kl = np.asarray(result.kl)
    exhausted = np.array([status is Status.SEARCH_EXHAUSTED for status in result.statuses])
    assert exhausted.sum() >= 5
    assert Status.NO_FEASIBLE_ETA not in result.statuses
    assert (kl <= bound[:, None]).all()
    assert (kl[exhausted].max(axis=1) > 0.5 * bound[exhausted]).mean() > 0.8


def make_problems(count, dx, du, T, growth=0.0):
    """Problems of all scales: cost, noise, bound, entropy, first eta; `growth` makes them unstable."""
    rng = np.random.default_rng(4)
    problems, settings = [], []
    for seed in range(count):
        one = lqr(dx, du, T=T, seed=seed, init_std=np.exp(rng.normal()))
        matrix = one.dynamics.matrix.copy()
        matrix[:, :, :dx] *= 1 + growth * rng.random()
        scale = 10 ** rng.uniform(-3, 3)
        problems.append(
            one._replace(
                dynamics=dataclasses.replace(one.dynamics, matrix=matrix),
                cost=jax.tree.map(lambda array: scale * array, one.cost),  # noqa: B023
            )
        )
        settings.append((10 ** rng.uniform(-2, 1), scale * 10 ** rng.uniform(-4, 1), scale * 10 ** rng.uniform(-3, 3)))
    bound, alpha, eta = np.transpose(settings)
    return stack(*problems), bound, alpha, np.repeat(eta[:, None], T, axis=1)


def extended_kl(dynamics, new, old):
    """The KL at each step in extended precision, from the marginals of the controller itself."""
    exact = functools.partial(np.asarray, dtype=np.longdouble)
    (T, du, dx), F, K = new.feedback.shape, exact(dynamics.matrix), exact(new.feedback)
    m, P, kl = exact(dynamics.initial_mean), exact(dynamics.initial_covariance), []
    for t in range(T):
        dK, S, precision = K[t] - old.feedback[t], new.covariance[t], np.linalg.inv(old.covariance[t])
        e = dK @ m + (exact(new.feedforward[t]) - old.feedforward[t])
        spread = np.sum(precision * (S + np.outer(e, e))) + np.sum((precision @ dK) * (dK @ P))
        kl.append(float(spread - du - np.linalg.slogdet(S)[1] + np.linalg.slogdet(old.covariance[t])[1]) / 2)
        if t < T - 1:
            B = F[t, :, dx:]
            closed = F[t, :, :dx] + B @ K[t]
            m = closed @ m + B @ exact(new.feedforward[t]) + dynamics.offset[t]
            P = closed @ P @ closed.T + B @ exact(S) @ B.T + dynamics.covariance[t]
    return np.array(kl)


@pytest.mark.parametrize("constraint", ["total", "per_step"])
def test_the_kl_is_that_of_the_returned_controller_even_in_a_model_that_explodes(constraint):
    """A state of 1e20 magnifies the last digit of a gain: the KL of what is returned counts, not that of the search."""
    problems, bound, alpha, eta = make_problems(20, 4, 2, T=100, growth=1.0)
    eta = eta if constraint == "per_step" else eta[:, 0]
    result = solve(problems, bound, alpha, eta, constraint=constraint, tolerance=1e-2)
    largest = 0.0
    for m in range(20):
        dynamics, _, old = stack_index(problems, m)
        kl = extended_kl(dynamics, result.controller[m].numpy(), old)
        assert (kl.mean() if constraint == "total" else kl.max()) <= bound[m] * (1 + 1e-6)
        np.testing.assert_allclose(kl, result.kl[m], rtol=1e-4, atol=1e-6 * bound[m])
        largest = max(largest, np.abs(result.marginals.mean[m]).max())
    assert largest > 1e6


@pytest.mark.parametrize("constraint", ["total", "per_step"])
def test_a_batch_is_its_conditions_one_by_one(found, constraint):
    batch, together = found(SIZES[0], constraint, "secant")
    for m in range(2):
        alone = solve(type(batch)(*stack_index(batch, m)), BOUNDS[m], ALPHAS[m], constraint=constraint)
        assert_same_controller(alone.controller[0], together.controller[m], 1e-10)
        np.testing.assert_allclose(alone.kl[0], together.kl[m], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(alone.eta[0], together.eta[m], rtol=1e-10)
        assert alone.evaluations[0] == together.evaluations[m]


@pytest.mark.parametrize("constraint", ["total", "per_step"])
def test_the_smallest_problem(constraint):
    result = solve(lqr(1, 1, T=2), 0.1, 1e-2, constraint=constraint)
    assert result.statuses == [Status.OK]
    kl = np.asarray(result.kl[0])
    assert kl.sum() <= 0.2 if constraint == "total" else (kl <= 0.1).all()
    assert kl.sum() >= 0.998 * 0.2


def test_an_eta_left_over_from_a_cost_of_nothing_does_no_harm():
    """A cost with a Quu that is indefinite below some eta, and a search that begins a hundred decades lower."""
    problem = lqr(4, 2, T=10)
    hessian = problem.cost.hessian.copy()
    hessian[:, 4:, 4:] -= 3.0 * np.eye(2)
    bad = problem._replace(cost=CostExpansion(hessian, problem.cost.gradient, problem.cost.constant))
    new = solve(bad, 0.1, 1e-2, eta=1e-120)
    assert new.statuses == [Status.OK]
    assert_same_controller(new.controller, solve(bad, 0.1, 1e-2).controller, 1e-2)


def test_the_result_does_not_depend_on_where_the_search_begins():
    one = lqr(*SIZES[0], T=T, seed=0)
    results = [solve(stack(one, one), 0.3, 1e-2, eta=pair) for pair in ([1e-6, 1e6], [1.0, 30.0])]
    etas = np.concatenate([result.eta for result in results])
    assert all(status == Status.OK for result in results for status in result.statuses)
    np.testing.assert_allclose(etas, etas[0], rtol=5e-3)  # dlog KL / dlog eta is about -1/2
