"""PILCO: its expected cost against samples, the textbook and finite differences; it learns, and what it survives."""

import dataclasses
import itertools

import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.global_models import AffineModel
from helpers.textbook import match_by_the_textbook, match_radial_by_the_textbook, predict_all

from gps.algorithms.through_models import expected_cost
from gps.algorithms.through_models.expected_cost import (
    Scene,
    StartBelief,
    expect_course,
    from_vector,
    to_vector,
    value_and_gradient,
)
from gps.algorithms.through_models.pilco import PILCO, _describe
from gps.backend import jax, jnp
from gps.costs import Quadratic, Ramp, Saturating, Sum, TaskCost
from gps.dynamics.prior import Transitions
from gps.errors import ConfigError
from gps.linear_gaussian.initial import zero
from gps.models import gaussian_process
from gps.models.features import StateTransforms
from gps.models.gaussian_process_learner import GaussianProcessLearner
from gps.networks import Affine, RadialBasis
from gps.planning.sources import ILQRPlanning
from gps.players import Player
from gps.policies import NeuralPolicy, moments
from gps.policies.lbfgs import Descent
from gps.policies.observed import Observed
from gps.problem import Limits, Problem
from gps.records import Rollouts
from gps.status import ModelStatus, PolicyStatus, Status

DX, DU, T = 2, 1, 8
RAMP = Ramp(T)
UP = Saturating(
    (0, 0), ("sin", "cos"), jnp.array([0.0, 1.0]), jnp.eye(2), jnp.asarray(1.0), RAMP
)  # a pole's tip of length 1, upright at 0
GENTLE = Quadratic(None, jnp.zeros(1), jnp.array([0.01]), RAMP)
COST = Sum((UP, GENTLE))
LIMITS = Limits(np.array([-2.0]), np.array([2.0]))
START = np.array([[1.5, 0.0]])


def swing(x, u):
    """A damped pendulum of 0.15 s a step, upright at 0."""
    speed = 0.9 * x[..., 1] + 0.6 * np.sin(x[..., 0]) + 0.6 * np.clip(u[..., 0], -2.0, 2.0)
    return np.stack([x[..., 0] + 0.15 * speed, speed], axis=-1)


def make_learner(n=30, noise=0.01, seed=0, angles=(0,)):
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=(n, DX)) * [2.0, 2.0], rng.uniform(-2.0, 2.0, size=(n, DU))
    after = swing(x, u) + noise * rng.normal(size=(n, DX))
    learner = GaussianProcessLearner(DX, StateTransforms(angles), restarts=1)
    return learner.refit(Transitions(np.concatenate([x, u, after], axis=1)[None, None], np.ones((1, 1, n), bool)), 0)


@pytest.fixture(scope="module")
def process():
    """A process of noisy data: of noise-free ones, its variance is a difference of large numbers, and loses digits."""
    return jax.tree.map(jnp.asarray, make_learner(noise=0.3).model)


def make_policy(kind="rbf", squash="sine", angles=(0,)):
    limits = [-2.0], [2.0]
    if kind == "rbf":
        network = RadialBasis.create(DX, *limits, jax.random.key(1), 6, angles, squash, spread=1.0)
    else:
        network = Affine.create(DX, *limits, jax.random.key(1), angles, squash, spread=0.5)
    return NeuralPolicy.untrained(network, 1e-6)


def make_scene(model, cost=COST, horizon=T, deviation=0.2):
    start = StartBelief(START, deviation**2 * np.eye(DX)[None])
    return Scene(model, cost, start, horizon, Observed((0, 1)), str(jax.tree.structure((model, cost))))


# -- the expected cost -----------------------------------------------------------------------------------------------


def test_a_step_through_policy_process_and_cost_is_that_of_many_samples():
    """An affine policy of plain entries leaves [x; u] Gaussian, so every moment of the first step is exact."""
    samples, rng = 1_000_000, np.random.default_rng(1)
    model = jax.tree.map(jnp.asarray, make_learner(angles=()).model)
    cost = Sum((Saturating((0, 1), ("plain",) * 2, jnp.zeros(2), jnp.eye(2), jnp.asarray(1.0), RAMP), GENTLE))
    policy, scene = make_policy("affine", "none", ()), make_scene(model, cost, horizon=2)
    imagined = expect_course(scene, policy)

    x = START[0] + 0.2 * rng.normal(size=(samples, DX))
    z = np.concatenate([x, policy.act(x)], axis=1)
    values = np.asarray(jax.jit(jax.vmap(lambda z: cost(z[:DX], z[DX:], 0)))(z))
    means, variances = (np.asarray(array) for array in jax.jit(predict_all)(model, z))

    def check(found, terms):
        assert np.all(np.abs(found - terms.mean(axis=0)) < 4.5 * terms.std(axis=0) / np.sqrt(samples))

    check(imagined.costs[0, 0], values)
    check(imagined.means[0, 1], means)
    check(imagined.deviations[0, 1] ** 2, (means - means.mean(axis=0)) ** 2 + variances)


def expected_by_the_textbook(monkeypatch, scene, policy):
    """Value and gradient by autodiff of the textbook's formulas."""
    with monkeypatch.context() as patched:
        patched.setattr(gaussian_process, "match_moments", match_by_the_textbook)
        patched.setitem(moments._RESPONSES, RadialBasis, match_radial_by_the_textbook)

        def total(network):
            imagined = expected_cost.propagate_start(scene, dataclasses.replace(policy, network=network))
            return jnp.mean(jnp.sum(imagined.costs, axis=1))

        return jax.jit(jax.value_and_grad(total))(policy.network)


@pytest.mark.slow  # autodiff of the textbook's formulas compiles for half a minute
def test_value_and_gradient_are_those_of_the_textbook(process, monkeypatch):
    policy, scene = make_policy(), make_scene(process, horizon=4)
    value, gradient = value_and_gradient(scene, policy)
    expected, slopes = expected_by_the_textbook(monkeypatch, scene, policy)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    np.testing.assert_allclose(to_vector(gradient), to_vector(slopes), rtol=1e-9, atol=1e-10)


def test_the_gradient_is_that_of_finite_differences(process):
    policy, scene = make_policy(), make_scene(process)
    at, direction = to_vector(policy.network), np.random.default_rng(0).normal(size=to_vector(policy.network).shape)
    _, gradient = value_and_gradient(scene, policy)

    def value(step):
        moved = dataclasses.replace(policy, network=from_vector(policy.network, at + step * direction))
        return float(value_and_gradient(scene, moved)[0])

    expected = (value(1e-4) - value(-1e-4)) / 2e-4
    np.testing.assert_allclose(to_vector(gradient) @ direction, expected, rtol=1e-5)


def test_a_vector_of_parameters_makes_the_network_again():
    network = make_policy().network
    assert_same_bits(from_vector(network, to_vector(network)), jax.tree.map(np.asarray, network))


# -- learning --------------------------------------------------------------------------------------------------------


def make_algorithm(model=None, cost=COST, kind="rbf", **settings):
    problem = Problem(cost=cost, dx=DX, du=DU, horizon=T, limits=LIMITS)

    def draw_network(seed, seen):
        if kind == "affine":
            return Affine.create(DX, [-2.0], [2.0], jax.random.key(seed), (0,))
        return RadialBasis.create(DX, [-2.0], [2.0], jax.random.key(seed), 8, (0,), seen=seen)

    model = model or GaussianProcessLearner(DX, StateTransforms((0,)), restarts=1)
    options = {"observed": Observed((0, 1)), "iterations": 15, "restarts": 1, **settings}
    return PILCO(problem, model=model, draw_network=draw_network, **options)


def roll_out(policy, noise, system=swing, starts=START):
    """One episode of each condition."""
    M = len(starts)
    states, actions = np.zeros((M, 1, T, DX)), np.zeros((M, 1, T, DU))
    x = starts[:, None]
    for t in range(T):
        states[:, :, t], actions[:, :, t] = x, np.clip(policy.act(x, t) + noise[:, :, t], -2.0, 2.0)
        x = system(x, actions[:, :, t])
    return make_rollouts(states, actions, noise)


def make_rollouts(states, actions, noise=None):
    M, N, length = states.shape[:3]
    noise = np.zeros_like(actions) if noise is None else noise
    zeros, mask = np.zeros((M, N, length)), np.ones((M, N, length), bool)
    return Rollouts(states, actions, noise, zeros, None, mask, np.zeros(M))


def advance(algorithm, state, seed, system=swing, rollouts=None):
    sampled = algorithm.policy(state)
    M = len(state.first.feedforward)
    noise = np.random.default_rng(seed).normal(size=(M, 1, T, DU)) if sampled.player is Player.FIRST else None
    if rollouts is None:
        rollouts = roll_out(sampled, np.zeros((M, 1, T, DU)) if noise is None else noise, system, state.starts[:, 0])
    return algorithm.improve(state, sampled, rollouts, algorithm.fit(state, rollouts, seed))


def begin(algorithm, starts=START):
    return algorithm.begin(zero(len(starts), T, DX, DU, 1.0), starts)


@pytest.fixture(scope="module")
def learned():
    algorithm, records = make_algorithm(), []
    state = begin(algorithm)
    for seed in range(4):
        state, record = advance(algorithm, state, seed)
        records.append(record)
    return algorithm, state, records


def test_it_lifts_the_pole_in_four_episodes(learned):
    algorithm, state, records = learned
    assert [record.player for record in records] == [Player.FIRST] + [Player.POLICY] * 3
    end = roll_out(algorithm.learned(state), np.zeros((1, 1, T, DU)))
    assert algorithm.problem.costs(end).sum() < 0.75 * records[0].mean_cost.sum()
    for record in records:
        assert record.optimisation.trained and record.optimisation.status.ok and record.troubles == []
        assert len(record.optimisation.starts) == 2 and record.statuses == [Status.LEARNED]
        assert record.optimisation.losses[-1] == np.nanmin(record.optimisation.starts)
        assert record.model.name == "Gaussian process" and record.local is None and record.policy is None
    assert [record.optimisation.existed for record in records] == [False, True, True, True]


def test_what_the_model_expected_is_compared_with_what_happened(learned):
    records = learned[2]
    assert records[0].planner is None
    for before, after in itertools.pairwise(records):
        planner = after.planner
        np.testing.assert_allclose(planner.predicted, before.optimisation.losses[-1], rtol=1e-3)  # rounding
        np.testing.assert_allclose(planner.actual, after.costs.sum(axis=2).mean(axis=1))
        assert planner.planned_states.shape == planner.planned_deviations.shape == (1, T, DX)
        assert (planner.planned_deviations > 0).all()
    last = records[-1]
    off = np.abs(last.rollouts.states[:, 0] - last.planner.planned_states) / last.planner.planned_deviations
    assert np.median(off) < 3.0


def test_the_next_policy_is_not_worse_than_the_last_one_in_the_new_model(learned):
    for record in learned[2][1:]:
        assert (np.diff(record.optimisation.losses) <= 1e-12).all()


def test_the_same_seed_gives_the_same_bits_with_any_threads(learned):
    algorithm, _, records = learned
    one = dataclasses.replace(algorithm, threads=1)
    state, record = advance(one, begin(one), 0)
    assert_same_bits(record.optimisation, records[0].optimisation)
    state, record = advance(one, state, 1)
    assert_same_bits(record.optimisation, records[1].optimisation)


def test_a_planner_adds_one_search_and_changes_no_other(learned):
    algorithm, _, records = learned
    planner = ILQRPlanning(horizon=T, guesses=8, first_rounds=20)
    planning = dataclasses.replace(algorithm, planner=planner)
    _, record = advance(planning, begin(planning), 0)
    *others, planned = record.optimisation.starts
    np.testing.assert_allclose(others, records[0].optimisation.starts, rtol=1e-3)  # the units are the mean of one more
    assert record.optimisation.losses[-1] == min(*others, planned) and np.isfinite(planned)


def test_the_start_does_not_spread_with_the_data(learned):
    algorithm, state, _ = learned
    first, _ = advance(algorithm, begin(algorithm), 0)
    np.testing.assert_array_equal(first.units, first.model.model.deviations[:DX])
    np.testing.assert_array_equal(state.units, first.units)
    assert not np.array_equal(state.units, state.model.model.deviations[:DX])


def test_several_starts_are_one_cost():
    starts = np.array([[2.5, 0.0], [-2.0, 0.5]])
    algorithm = make_algorithm(iterations=3, restarts=0, kind="affine")
    state, record = advance(algorithm, begin(algorithm, starts), 0)
    assert state.forecast.costs.shape == (2,)
    np.testing.assert_allclose(record.optimisation.losses[-1], state.forecast.costs.mean(), rtol=1e-5)


# -- what it survives ------------------------------------------------------------------------------------------------


def cut(rollouts, steps):
    mask = np.arange(T) < steps
    return dataclasses.replace(rollouts, mask=np.broadcast_to(mask, rollouts.mask.shape).copy())


def first_rollouts(seed=0, system=swing):
    return roll_out(Idle(), np.random.default_rng(seed).normal(size=(1, 1, T, DU)), system)


class Idle:
    def act(self, x, t):
        return np.zeros((*x.shape[:-1], DU))


def still(x, u):
    return x


def half(x, u):
    """The angle never changes."""
    return np.stack([x[..., 0], swing(x, u)[..., 1]], axis=-1)


def improve_once(algorithm, rollouts):
    return advance(algorithm, begin(algorithm), 0, rollouts=rollouts)


@pytest.mark.parametrize(
    ("rollouts", "settings"),
    [
        (cut(first_rollouts(), 3), {}),  # two transitions
        (first_rollouts(system=half), {}),  # a target without variance
        (first_rollouts(), {"start_deviation": 5.0}),
        (first_rollouts(), {"start_deviation": 0.0}),
    ],
    ids=["two points", "one target constant", "a wide start", "a known start"],
)
def test_little_and_odd_data_are_learned_from(rollouts, settings):
    state, record = improve_once(make_algorithm(iterations=3, **settings), rollouts)
    assert state.trained and np.isfinite(state.forecast.costs).all() and np.isfinite(record.optimisation.losses).all()
    assert record.optimisation.status.ok


def test_duplicates_of_one_point_are_said_and_taken_for_noise_free():
    twice = first_rollouts()
    again = make_rollouts(np.concatenate([twice.states] * 3, axis=1), np.concatenate([twice.actions] * 3, axis=1))
    state, record = improve_once(make_algorithm(iterations=3), again)
    assert state.trained and record.model.status in (ModelStatus.OK, ModelStatus.JITTERED, ModelStatus.NOT_CONVERGED)


def test_without_a_model_the_base_policy_goes_on():
    for rollouts in (first_rollouts(system=still), cut(first_rollouts(), 1)):
        algorithm = make_algorithm(iterations=3)
        state, record = improve_once(algorithm, rollouts)
        assert not state.trained and state.forecast is None
        assert record.optimisation.status is PolicyStatus.WARM_UP
        assert record.model.status in (ModelStatus.NO_VARIATION, ModelStatus.TOO_FEW_POINTS)
        assert algorithm.policy(state).player is algorithm.learned(state).player is Player.FIRST


def test_a_policy_that_saturates_at_once_is_optimised_or_said():
    algorithm = make_algorithm(iterations=3)

    def draw_network(seed, seen):
        network = algorithm.draw_network(seed, seen)
        return dataclasses.replace(network, weights=1e4 * np.ones_like(network.weights))

    state, record = improve_once(dataclasses.replace(algorithm, draw_network=draw_network), first_rollouts())
    assert state.trained and np.isfinite(record.optimisation.losses).all()
    assert record.optimisation.status.ok or record.optimisation.message


@pytest.fixture
def trained():
    algorithm = make_algorithm(iterations=3, restarts=1)
    return algorithm, advance(algorithm, begin(algorithm), 0)[0]


def test_a_gradient_that_is_not_finite_keeps_the_last_policy(trained, monkeypatch):
    algorithm, state = trained

    def broken(scene, policy):
        value, gradient = value_and_gradient(scene, policy)
        return value, jax.tree.map(lambda array: array * np.nan, gradient)

    monkeypatch.setattr("gps.algorithms.through_models.pilco.value_and_gradient", broken)
    after, record = advance(algorithm, state, 1)
    assert_same_bits(after.policy, state.policy)
    assert after.trained and record.optimisation.status is PolicyStatus.NOT_FINITE
    assert "not finite at 2 of 2 starts" in record.troubles[0] and "last good policy was kept" in record.troubles[0]
    assert after.forecast is not None


def test_a_covariance_that_is_not_positive_definite_keeps_the_last_policy(trained, monkeypatch):
    algorithm, state = trained
    make_scene = PILCO._make_scene

    def broken(self, world, starts, units):
        scene = make_scene(self, world, starts, units)
        return scene._replace(start=StartBelief(scene.start.mean, -100.0 * np.eye(DX)[None]))

    monkeypatch.setattr(PILCO, "_make_scene", broken)
    after, record = advance(algorithm, state, 1)
    assert_same_bits(after.policy, state.policy)
    assert record.optimisation.status is PolicyStatus.NOT_FINITE and after.trained and after.forecast is None
    monkeypatch.undo()
    assert advance(algorithm, after, 2)[1].optimisation.status.ok  # the next iteration goes on


def test_lost_digits_are_said(trained, monkeypatch):
    """The same cost, computed with and without its gradient, differs where rounding has eaten it."""
    algorithm, state = trained

    def rounded(scene, policy):
        imagined = expect_course(scene, policy)
        return imagined._replace(costs=1.1 * imagined.costs)

    monkeypatch.setattr("gps.algorithms.through_models.pilco.expect_course", rounded)
    after, record = advance(algorithm, state, 1)
    assert after.trained and record.optimisation.status is PolicyStatus.DIGITS_LOST
    assert "noise_floor" in record.optimisation.status.remedy and "differ" in record.troubles[0]


def test_a_term_that_is_expanded_is_said(process):
    cost = Sum((TaskCost(lambda x, u, t: 1.0 - jnp.cos(x[0]), jnp.asarray(1.0), RAMP), GENTLE))
    found = Descent(None, np.nan, np.empty(0), np.array([np.nan]), (0,), PolicyStatus.CONVERGED, "")
    text = _describe(found, PolicyStatus.CONVERGED, make_scene(process, cost))
    assert text == "The expected cost of TaskCost is a second-order expansion."
    assert _describe(found, PolicyStatus.NOT_FINITE, make_scene(process)) == PolicyStatus.NOT_FINITE.sentence


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A learner whose model is always the same."""

    model: object

    def refit(self, transitions, seed):
        return self

    def make_record(self):
        return None


def test_a_model_without_moments_is_refused():
    zeros = np.zeros(DX)
    affine = AffineModel(np.eye(DX, DX + DU), zeros, np.zeros(DX + DU), zeros, zeros, np.zeros((DX, DX + DU, DX + DU)))
    with pytest.raises(ConfigError, match='take "gp" or "linear"'):
        improve_once(make_algorithm(Fixed(affine)), first_rollouts())


@pytest.mark.slow
def test_fifty_seeds_end_without_an_exception():
    algorithm = make_algorithm(iterations=4)
    for seed in range(50):
        rng = np.random.default_rng(seed)
        state = begin(algorithm, rng.normal(size=(1, DX)) * [3.0, 3.0])
        for k in range(3):
            scale = 10.0 ** rng.uniform(-3, 3)  # of a kick that the model has never seen
            state, record = advance(algorithm, state, 100 * seed + k, lambda x, u, s=scale: swing(x, u) + s * 1e-3)
            assert record.optimisation.status.ok or record.optimisation.message
        assert state.trained and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.policy))


# -- fifty seeds of poor data ----------------------------------------------------------------------------------------

POOR = (
    "two points", "duplicates", "noise-free", "noisy", "still", "one still", "absurd", "a wide start",
    "saturated", "indefinite", "a broken gradient",
)  # fmt: skip


def fit_poor_process(rng, kind, points=8):
    """The process of a few transitions that a robot might give; None where nothing is to be learned."""
    n = 2 if kind == "two points" else points
    x, u = rng.normal(size=(n, DX)) * 10.0 ** rng.uniform(-2, 2, DX), rng.normal(size=(n, DU))
    if kind == "duplicates":
        x, u = (array[rng.integers(0, 2, n)] for array in (x, u))
    after = swing(x, u)
    if kind == "noisy":
        after = after + rng.normal(size=after.shape)
    if kind == "still":
        after = x
    if kind == "one still":
        after[:, 1] = x[:, 1]
    if kind == "absurd":
        after = after * 10.0 ** rng.uniform(0, 150, after.shape)
    points = np.concatenate([x, u, after], axis=1)[None, None]
    learner = GaussianProcessLearner(DX, StateTransforms((0,)), restarts=1, iterations=10)
    return learner.refit(Transitions(points, np.ones((1, 1, n), bool)), 0).model


def make_poor_algorithm(rng, kind):
    """An algorithm with a small budget in such a process."""
    settings = {"start_deviation": 50.0} if kind == "a wide start" else {}
    algorithm = make_algorithm(Fixed(fit_poor_process(rng, kind)), iterations=3, restarts=1, threads=1, **settings)
    if kind != "saturated":
        return algorithm

    def draw_network(seed, seen):
        network = algorithm.draw_network(seed, seen)
        return dataclasses.replace(network, weights=10.0 ** rng.uniform(0, 8) * np.ones_like(network.weights))

    return dataclasses.replace(algorithm, draw_network=draw_network)


def break_search(patched, rng, kind):
    """Let the next optimisation fail as its kind says: at some points, or from the start."""
    if kind == "indefinite":
        make_scene, factor = PILCO._make_scene, -(10.0 ** rng.uniform(-3, 3))

        def make_broken_scene(self, world, starts, units):
            scene = make_scene(self, world, starts, units)
            return scene._replace(start=StartBelief(scene.start.mean, factor * np.eye(DX)[None]))

        patched.setattr(PILCO, "_make_scene", make_broken_scene)
    if kind == "a broken gradient":
        share = rng.uniform(0.1, 1.0)

        def differentiate(scene, policy):
            value, gradient = value_and_gradient(scene, policy)
            return value, jax.tree.map(lambda array: array * np.nan, gradient) if rng.random() < share else gradient

        patched.setattr("gps.algorithms.through_models.pilco.value_and_gradient", differentiate)


@pytest.mark.slow
def test_fifty_seeds_of_poor_data_raise_nothing_and_keep_the_last_good_policy(monkeypatch):
    ends = set()
    for seed in range(50):
        rng, kind = np.random.default_rng(seed), POOR[seed % len(POOR)]
        algorithm = make_poor_algorithm(rng, kind)
        state = begin(algorithm)
        for number in range(3):
            with monkeypatch.context() as patched:
                if number == 1:
                    break_search(patched, rng, kind)
                after, record = advance(algorithm, state, number)
            side = record.optimisation
            ends.add(side.status)
            case = seed, kind, number, side.status.name
            assert all(isinstance(status, Status) for status in record.statuses), case
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.policy)), case
            assert side.status.ok or side.status.sentence in side.message, case
            assert after.forecast is None or np.isfinite(after.forecast.costs).all(), case
            if side.status is PolicyStatus.NOT_FINITE or side.status is PolicyStatus.WARM_UP:
                assert_same_bits(after.policy, state.policy)
                assert after.trained == state.trained, case
            assert np.isfinite(algorithm.policy(after).act(np.broadcast_to(START, (1, 1, DX)), 0)).all(), case
            state = after
    assert {PolicyStatus.WARM_UP, PolicyStatus.NOT_FINITE} < ends
