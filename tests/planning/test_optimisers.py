"""Every optimiser of action sequences on a quadratic: its optimum, its limits, its invariances, its trouble."""

import dataclasses

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.planning.cem import CEM
from gps.planning.colour import draw_coloured, make_basis
from gps.planning.icem import ICEM
from gps.planning.mppi import MPPI, weigh_at, weigh_by_effective_size, weigh_by_kl, weigh_with_policy
from gps.planning.searching import search_outside
from gps.planning.sequences import ActionRange, count_rounds, estimate_curvature, shift
from gps.planning.shooting import RandomShooting

H, DU = 6, 2
OPTIMISERS = {
    "shooting": RandomShooting(samples=300, hold=3),
    "cem": CEM(samples=100, elites=10, rounds=20),
    "icem": ICEM(samples=60, elites=10, rounds=25, decay=1.0, beta=0.5, momentum=0.1),
    "mppi": MPPI(samples=200, rounds=40, adapt=True, beta=0.5, effective=15.0, least_spread=0.005),
}
GOAL = np.linspace(-0.6, 0.6, H * DU).reshape(H, DU)
BOUNDS = -np.ones(DU), np.ones(DU)
GAPS = {"shooting": 8.0, "cem": 1e-2, "icem": 1e-2, "mppi": 1e-2}
"""Above the optimum, 0; at the start the cost is 3.5."""


def bowl(sequences, key=None):
    return np.sum((np.asarray(sequences) - GOAL) ** 2, axis=(1, 2))


def find(name, objective=bowl, bounds=BOUNDS, seed=0):
    optimiser = OPTIMISERS[name]
    guesses = np.zeros((optimiser.guesses, H, DU))
    return search_outside(optimiser, objective, guesses, bounds, jax.random.key(seed))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_it_comes_near_the_optimum(name):
    found = find(name)
    assert bowl(found.actions[None])[0] <= GAPS[name]
    assert found.guesses.shape == (OPTIMISERS[name].guesses, H, DU)
    assert (np.linalg.eigvalsh(found.curvature) > 0).all()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_limits_are_never_violated_and_the_optimum_there_is_found(name):
    bounds, seen = (np.array([-0.3, -1.0]), np.array([0.2, 1.0])), []

    def objective(sequences, key):
        seen.append(np.asarray(sequences))
        return bowl(sequences)

    found = find(name, objective, bounds)
    for sequences in [*seen, found.actions[None], found.guesses]:
        assert (sequences >= bounds[0]).all()
        assert (sequences <= bounds[1]).all()
    if name != "shooting":
        best = bowl(np.clip(GOAL, *bounds)[None])[0]
        assert bowl(found.actions[None])[0] <= best + 2e-2


@pytest.mark.parametrize("name", OPTIMISERS)
def test_costs_that_are_not_numbers_leave_the_guess(name):
    found = find(name, lambda sequences, key: np.full(len(sequences), np.nan))
    np.testing.assert_array_equal(found.actions, 0.0)
    assert np.isfinite(found.curvature).all()
    assert found.effective == 0


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_few_costs_that_are_not_numbers_do_no_harm(name):
    def objective(sequences, key):
        costs = bowl(sequences)
        costs[::7], costs[1::7] = np.nan, -np.inf
        return costs

    assert bowl(find(name, objective).actions[None])[0] <= 10 * GAPS[name]


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_order_of_the_sequences_does_not_matter(name):
    optimiser = OPTIMISERS[name]
    search = optimiser.begin(np.zeros((optimiser.guesses, H, DU)), -np.ones(DU), np.ones(DU))
    sequences = np.asarray(optimiser.propose(search, jax.random.key(1), optimiser.counts[0], jnp.array(False)))
    order = np.random.default_rng(0).permutation(len(sequences))
    one = optimiser.finish(optimiser.update(search, sequences, bowl(sequences)))
    two = optimiser.finish(optimiser.update(search, sequences[order], bowl(sequences[order])))
    for first, second in zip(one, two, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-12)


def test_icem_proposes_the_elites_again_and_the_mean_in_the_last_round():
    optimiser = OPTIMISERS["icem"]
    guesses = np.random.default_rng(0).uniform(-0.9, 0.9, (optimiser.guesses, H, DU))
    search = optimiser.begin(guesses, -np.ones(DU), np.ones(DU))
    for last in (False, True):
        sequences = np.asarray(optimiser.propose(search, jax.random.key(1), 20, jnp.array(last)))
        np.testing.assert_array_equal(sequences[:3], guesses[1:])
        assert (sequences[3] == guesses[0]).all() == last
    after = optimiser.update(search, sequences, bowl(sequences))
    again = np.asarray(optimiser.propose(after, jax.random.key(2), 20, jnp.array(False)))
    np.testing.assert_array_equal(again[:3], sequences[np.argsort(bowl(sequences))[:3]])
    assert ICEM(samples=100, elites=10, rounds=4, decay=2.0).counts == (100, 50, 25, 20)


@pytest.mark.parametrize("name", ["cem", "icem"])
@pytest.mark.parametrize("best", [True, False])
def test_the_best_sequence_seen_is_executed_or_the_mean(name, best):
    """One sequence of the first round is cheap by chance: the best one seen is it, and the mean goes elsewhere."""
    optimiser, seen = dataclasses.replace(OPTIMISERS[name], best=best), []

    def objective(sequences, key):
        costs = bowl(sequences)
        costs[7] -= 100.0 * (not seen)
        seen.extend(np.asarray(sequences))
        return costs

    guesses = np.zeros((optimiser.guesses, H, DU))
    found = search_outside(optimiser, objective, guesses, BOUNDS, jax.random.key(0))
    mean = found.guesses[0]  # the search of the next step begins with it in either case
    assert bowl(mean[None])[0] < 0.1 < bowl(seen[7][None])[0]
    np.testing.assert_array_equal(found.actions, seen[7] if best else mean)


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0, 3.0])
def test_coloured_noise_has_its_spectrum_and_unit_variance(beta):
    steps = 32
    basis = make_basis(steps, beta)
    np.testing.assert_allclose((basis**2).sum(axis=1), 1.0)
    noise = np.asarray(draw_coloured(jax.random.key(0), 4000, (steps, 1), beta))[..., 0]
    power = (np.abs(np.fft.rfft(noise, axis=1)) ** 2).mean(axis=0)[1:-1]
    frequencies = np.arange(1, len(power) + 1)
    slope = np.polyfit(np.log(frequencies), np.log(power), 1)[0]
    assert abs(slope + beta) < 0.05
    assert abs(noise.std() - 1.0) < 0.05


def test_noise_of_an_odd_number_of_steps_has_unit_variance():
    for steps in (1, 2, 3, 25):
        np.testing.assert_allclose((make_basis(steps, 2.0) ** 2).sum(axis=1), 1.0)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_temperature_gives_the_wanted_effective_sample_size_in_any_unit(scale):
    costs = scale * np.random.default_rng(0).normal(size=200)
    for wanted in (2.0, 10.0, 100.0):
        soft = weigh_by_effective_size(costs, wanted)
        np.testing.assert_allclose(soft.effective, wanted, rtol=1e-6)
        np.testing.assert_allclose(np.sum(soft.weights), 1.0)
        assert np.argmax(soft.weights) == np.argmin(costs)


def test_a_size_out_of_reach_is_the_nearest_one():
    costs = np.array([0.0, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(weigh_by_effective_size(costs, 1.0).effective, 2.0)  # a tie
    np.testing.assert_allclose(weigh_by_effective_size(costs, 10.0).effective, 4.0, rtol=1e-6)
    equal = weigh_by_effective_size(np.ones(5), 2.0)
    np.testing.assert_allclose(equal.weights, 0.2)


def test_the_bound_on_the_divergence_is_kept_and_used():
    costs = np.random.default_rng(0).normal(size=50)
    soft = weigh_by_kl(costs, 0.7)
    w = np.asarray(soft.weights)
    np.testing.assert_allclose(np.sum(w * np.log(50 * w)), 0.7, rtol=1e-6)
    np.testing.assert_allclose(soft.kl, 0.7, rtol=1e-6)
    raw = np.exp(-(costs - costs.min()) / float(soft.temperature))
    np.testing.assert_allclose(w, raw / raw.sum(), rtol=1e-9)


def test_the_policy_enters_the_weights_by_its_log_probability():
    rng = np.random.default_rng(0)
    costs, log_probabilities = rng.normal(size=50), rng.normal(size=50)
    soft = weigh_with_policy(costs, log_probabilities, 2.0, 0.5)
    expected = weigh_at(costs - 2.0 * log_probabilities, soft.temperature)
    np.testing.assert_allclose(soft.weights, expected.weights)
    np.testing.assert_allclose(soft.kl, 0.5, rtol=1e-6)
    alone = weigh_with_policy(costs, np.full(50, -np.inf), 0.0, 0.5)
    np.testing.assert_allclose(alone.weights, weigh_by_kl(costs, 0.5).weights)
    never = weigh_with_policy(costs, np.where(np.arange(50) < 25, -np.inf, 0.0), 1.0, 0.5)
    assert (np.asarray(never.weights)[:25] == 0).all()


def test_the_curvature_is_exact_for_the_gaussian_of_its_assumption():
    """Samples with the covariance s Q⁻¹: the Schur complement of Q, whatever s."""
    rng, n, du = np.random.default_rng(0), 4, 2
    root = rng.normal(size=(n, n))
    Q = root @ root.T + np.eye(n)
    deltas = rng.multivariate_normal(np.zeros(n), 0.3 * np.linalg.inv(Q), size=200_000)
    excess = 0.5 * np.einsum("ki,ij,kj->k", deltas, Q, deltas)
    weights = np.full(len(deltas), 1.0 / len(deltas))
    estimate = estimate_curvature(deltas[:, :du], excess, weights, n // du, 1e-9)
    schur = Q[:du, :du] - Q[:du, du:] @ np.linalg.solve(Q[du:, du:], Q[du:, :du])
    np.testing.assert_allclose(estimate, schur, rtol=0.02, atol=0.02)


def test_a_shift_repeats_the_last_action():
    sequences = np.arange(8.0).reshape(1, 4, 2)
    np.testing.assert_array_equal(shift(sequences)[0], [[2, 3], [4, 5], [6, 7], [6, 7]])
    np.testing.assert_array_equal(shift(sequences, 9)[0], np.tile([6.0, 7.0], (4, 1)))


def test_units_of_actions_with_and_without_limits():
    some = ActionRange.of(np.array([-1.0, -np.inf, 0.0]), np.array([3.0, np.inf, np.inf]), np.array([9.0, 2.0, 0.5]))
    np.testing.assert_allclose(some.to_actions(jnp.array([1.0, 1.0, 1.0])), [3.0, 4.0, 1.0])
    np.testing.assert_allclose(some.to_actions(jnp.array([-2.0, -1.0, -1.0])), [-1.0, -4.0, 0.0])
    low, high = some.bounds
    np.testing.assert_allclose(low, [-1.0, -np.inf, 0.0])
    np.testing.assert_allclose(high, [1.0, np.inf, np.inf])
    units = np.array([0.3, -0.2, 0.7])
    np.testing.assert_allclose(some.to_units(np.asarray(some.to_actions(units))), units)


def test_rounds_of_equal_counts_are_one_loop():
    assert count_rounds((5, 5, 3, 2, 2)) == [(0, 2, 5), (2, 1, 3), (3, 2, 2)]
