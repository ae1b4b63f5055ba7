"""The supervised step: its objective, its optimum, its outcomes, and its warm start."""

import dataclasses

import numpy as np
import pytest
from helpers.bits import assert_same_bits, same_bits
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

from gps.backend import jax, jnp
from gps.errors import PolicyError
from gps.policies import MLP, Convolutional, NeuralPolicy, Pixels
from gps.policies.supervised import Options, Samples, Training, objective, shared_covariance, train
from gps.records import PolicyStatus
from gps.storage.serialization import flatten, unflatten

KEY = jax.random.key(0)
QUICK = Options(steps=300, check_every=50, batch=16)


def precisions(rng, n, du):
    root = rng.normal(size=(n, du, du))
    return root @ root.swapaxes(1, 2) + 0.1 * np.eye(du)


def samples(n=200, do=4, du=2, seed=0, linear=False) -> Samples:
    rng = np.random.default_rng(seed)
    o = rng.normal(size=(n, do)) * [1, 10, 0.1, 3][:do] + [0, 5, 100, -2][:do]
    u = 3 * np.tanh((o - o.mean(0)) / o.std(0) @ rng.normal(size=(do, du))) + 1
    λ = rng.normal(size=(n, du)) if linear else None
    return Samples(o, u, precisions(rng, n, du), rng.uniform(0.5, 2, n), λ)


def untrained(sizes=(4, 16, 2), activation="tanh") -> Training[MLP]:
    return Training.begin(NeuralPolicy.untrained(MLP.create(sizes, KEY, activation)), KEY)


def test_the_gradient_is_that_of_finite_differences():
    policy = dataclasses.replace(untrained().policy, output_scale=np.array([2.0, 0.5]))
    data = samples(20, linear=True)
    flat, unravel = ravel_pytree(policy.network)

    def value(vector):
        return objective(dataclasses.replace(policy, network=unravel(vector)), data)

    gradient, h = jax.grad(value)(flat), 1e-5
    for i in np.random.default_rng(0).choice(len(flat), 12, replace=False):
        step = jnp.zeros_like(flat).at[i].set(h)
        slope = float(value(flat + step) - value(flat - step)) / (2 * h)
        assert float(gradient[i]) == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_the_objective_is_the_formula():
    policy, data = untrained().policy, samples(5, linear=True)
    e = policy.act(data.observations) - data.actions
    each = [
        w * (0.5 * e_i @ P @ e_i + λ @ (e_i + u))
        for w, e_i, P, λ, u in zip(data.weights, e, data.precisions, data.linear, data.actions, strict=True)
    ]
    assert float(objective(policy, data)) == pytest.approx(sum(each) / data.weights.sum(), rel=1e-12)


def test_the_covariance_minimises_the_kl():
    rng = np.random.default_rng(1)
    P, w = precisions(rng, 30, 3), rng.uniform(0, 1, 30)
    covariance, outcome = shared_covariance(P, w, np.array([1.0, 2.0, 0.5]), Options())
    assert outcome == PolicyStatus.OK

    def kl(vector):
        L = np.zeros((3, 3))
        L[np.tril_indices(3)] = vector
        S = L @ L.T
        return 0.5 * np.average(np.einsum("nij,ji->n", P, S), weights=w) - 0.5 * np.linalg.slogdet(S)[1]

    best = minimize(kl, np.eye(3)[np.tril_indices(3)], tol=1e-12)
    L = np.zeros((3, 3))
    L[np.tril_indices(3)] = best.x
    np.testing.assert_allclose(covariance, L @ L.T, atol=1e-4)
    assert kl(np.linalg.cholesky(covariance)[np.tril_indices(3)]) <= best.fun + 1e-9


@pytest.mark.parametrize(
    ("P", "outcome"),
    [(np.diag([1.0, 0.0]), PolicyStatus.SINGULAR_PRECISION), (np.diag([1.0, 1e14]), PolicyStatus.COLLAPSED_COVARIANCE)],
)
def test_a_covariance_is_limited(P, outcome):
    data = samples()._replace(precisions=np.broadcast_to(P, (200, 2, 2)))
    after, fit = train(untrained(), data, QUICK)
    assert fit.covariance_outcome == outcome
    assert not fit.ok
    assert outcome.sentence in fit.message
    deviations = np.sqrt(np.linalg.eigvalsh(after.policy.covariance))
    assert deviations.min() > 1e-4 * after.policy.output_scale.min()
    assert deviations.max() < 1.1e2 * after.policy.output_scale.max()


@pytest.mark.parametrize("linear", [False, True])
def test_a_linear_network_reaches_the_weighted_least_squares_solution(linear):
    data = samples(60, linear=True)
    data = data._replace(linear=data.linear * linear)
    options = Options(steps=6000, batch=60, learning_rate=1e-2, held_out=0.0, patience=60)
    after, fit = train(untrained((4, 2)), data, options)
    assert fit.ok
    # The optimum solves Σ w (oᵀ ⊗ P)(...) = Σ w (P u − λ) oᵀ, with o extended by 1.
    z = np.column_stack([(data.observations - data.observations.mean(0)) / data.observations.std(0), np.ones(60)])
    A = np.einsum("n,ni,nj,nkl->ikjl", data.weights, z, z, data.precisions).reshape(10, 10)
    pulled = np.einsum("nij,nj->ni", data.precisions, data.actions) - data.linear
    W = np.linalg.solve(A, np.einsum("n,ni,nk->ik", data.weights, z, pulled).reshape(10)).reshape(5, 2)
    np.testing.assert_allclose(after.policy.act(data.observations), z @ W, atol=2e-3)
    assert fit.held_out_loss[-1] < fit.held_out_loss[0]


def test_equal_keys_train_equally():
    data = samples()
    one, fit = train(untrained(), data, QUICK)
    two, fit_two = train(untrained(), data, QUICK)
    assert_same_bits(one, two)
    assert_same_bits(fit, fit_two)
    other, _ = train(Training.begin(untrained().policy, jax.random.key(1)), data, QUICK)
    assert not same_bits(one.policy, other.policy)


def test_a_training_goes_on_from_disk_bit_for_bit():
    first, _ = train(untrained(), samples(), QUICK)
    restored = unflatten(Training[MLP], flatten(first))
    assert_same_bits(first, restored)
    more = samples(seed=1)
    assert_same_bits(train(first, more, QUICK)[0], train(restored, more, QUICK)[0])


def test_a_warm_start_is_the_same_function_under_another_normaliser():
    first, _ = train(untrained(), samples(), QUICK)
    data = samples(seed=5)
    moved = data._replace(observations=data.observations * [0.2, 3, 1, 0] + [1, -4, 0.5, 7])
    # Nothing to learn: whatever it does is what the change of variables does.
    nowhere = dataclasses.replace(QUICK, learning_rate=1e-300)
    second, fit = train(first, moved, nowhere)
    assert not np.allclose(second.policy.input_mean, first.policy.input_mean)
    np.testing.assert_allclose(second.policy.input_mean, moved.observations.mean(0))
    assert second.policy.input_scale[3] == 1.0  # an observation that does not vary
    for o in (data.observations, moved.observations):
        np.testing.assert_allclose(second.policy.act(o), first.policy.act(o), atol=1e-9)
    assert fit.held_out_loss[0] == pytest.approx(fit.held_out_loss[-1])


def test_an_input_that_goes_twenty_times_as_far_changes_nothing_by_itself():
    """A policy trained on a first, timid round of episodes stays the same function in the next."""
    rng = np.random.default_rng(0)

    def data(deviation):
        o = rng.normal(size=(200, 2)) * [1.0, deviation]
        return Samples(o, o + 1.0, np.tile(100 * np.eye(2), (200, 1, 1)), np.ones(200))

    first, _ = train(untrained((2, 32, 2)), data(0.05), QUICK)
    later = data(1.0)
    second, _ = train(first, later, dataclasses.replace(QUICK, learning_rate=1e-300))
    assert second.policy.input_scale[1] > 10 * first.policy.input_scale[1]
    np.testing.assert_allclose(second.policy.act(later.observations), first.policy.act(later.observations), atol=1e-9)


@pytest.mark.parametrize("still", [1e-3, 1e-6])
@pytest.mark.parametrize("change", ["varies", "moves"])
def test_an_input_that_hardly_moved_at_first_may_move_later(still, change):
    """A block that is not touched at first: the slopes fitted to its tremor must not grow with its motion."""
    rng = np.random.default_rng(0)

    def data(deviation, mean):
        o = rng.normal(size=(200, 2)) * [1.0, deviation] + [0.0, mean]
        u = np.stack([o[:, 0] + np.tanh(o[:, 1]), o[:, 0]], axis=1)
        return Samples(o, u, np.tile(100 * np.eye(2), (200, 1, 1)), np.ones(200))

    first, _ = train(untrained((2, 32, 2)), data(still, 0.0), QUICK)
    later = data(1.0, 0.0) if change == "varies" else data(still, 1.0)
    _, fresh = train(untrained((2, 32, 2)), later, QUICK)
    _, warm = train(first, later, QUICK)
    assert warm.outcome == PolicyStatus.OK
    assert warm.held_out_loss[0] < 2 * fresh.held_out_loss[0]
    assert warm.held_out_loss.min() < 0.2 * fresh.held_out_loss[0]


@pytest.mark.parametrize("first_size", [1e-3, 1e3])
def test_actions_that_were_of_another_size_at_first_are_learned_as_well(first_size):
    data = samples()
    first, _ = train(untrained(), data._replace(actions=first_size * data.actions), QUICK)
    nowhere, _ = train(first, data, dataclasses.replace(QUICK, learning_rate=1e-300))
    np.testing.assert_allclose(nowhere.policy.output_scale, np.sqrt((data.actions**2).mean(axis=0)))
    mean = min(1, 1 / first_size) * first.policy.act(data.observations)
    np.testing.assert_allclose(nowhere.policy.act(data.observations), mean, rtol=1e-9, atol=1e-12)
    warm, fit = train(first, data, QUICK)
    _, fresh = train(untrained(), data, QUICK)
    assert fit.ok, "and the covariance is within its limits"
    assert fit.held_out_loss.min() < 1.5 * fresh.held_out_loss.min()
    np.testing.assert_array_equal(warm.policy.covariance, train(untrained(), data, QUICK)[0].policy.covariance)


def test_a_warm_start_never_does_worse_on_what_is_held_out():
    data = samples()
    first, cold = train(untrained(), data, QUICK)
    second, fit = train(first, data, dataclasses.replace(QUICK, learning_rate=0.3))
    assert fit.held_out_loss[fit.best_step // 50] <= fit.held_out_loss[0]
    assert second.calls == 2
    assert fit.held_out_loss[0] < 0.8 * cold.held_out_loss[0]


def test_a_trained_policy_stays_the_same_function_under_a_fresh_optimiser():
    first, _ = train(untrained(), samples(), QUICK)
    nowhere = dataclasses.replace(QUICK, learning_rate=1e-300)
    again, _ = train(Training.begin(first.policy, KEY, trained=True), samples(seed=1), nowhere)
    o = samples().observations
    np.testing.assert_allclose(again.policy.act(o), first.policy.act(o), atol=1e-9)


def test_it_stops_early_and_keeps_the_best():
    rng = np.random.default_rng(0)
    data = Samples(rng.normal(size=(40, 4)), rng.normal(size=(40, 2)), np.tile(np.eye(2), (40, 1, 1)), np.ones(40))
    options = Options(steps=20_000, check_every=50, patience=4, held_out=0.5, learning_rate=1e-2)
    after, fit = train(untrained((4, 64, 2)), data, options)
    assert fit.outcome == PolicyStatus.STOPPED_EARLY
    assert fit.ok and fit.message == ""
    assert fit.steps < 20_000
    assert fit.best_step == fit.steps - 200
    assert np.argmin(fit.held_out_loss) == fit.best_step // 50
    assert len(fit.training_loss) == len(fit.held_out_loss) - 1 == fit.steps // 50
    assert fit.training_loss[-1] < fit.held_out_loss[-1]
    assert after.count == fit.best_step


def test_groups_are_held_out_together():
    """Two samples of each group are the same: only a split by groups holds out what was not trained on."""
    rng = np.random.default_rng(0)
    o, u = (np.repeat(rng.normal(size=(30, k)), 2, axis=0) for k in (4, 2))
    data = Samples(o, u, np.tile(np.eye(2), (60, 1, 1)), np.ones(60), groups=np.repeat(np.arange(30), 2))
    options = Options(steps=3000, check_every=500, held_out=0.2, learning_rate=1e-2)
    by_group = train(untrained((4, 64, 2)), data, options)[1].held_out_loss[-1]
    by_sample = train(untrained((4, 64, 2)), data._replace(groups=None), options)[1].held_out_loss[-1]
    assert by_group > 2 * by_sample


def test_a_diverging_training_keeps_the_last_good_policy():
    first, _ = train(untrained(), samples(), QUICK)
    after, fit = train(first, samples(), dataclasses.replace(QUICK, learning_rate=1e6))
    assert fit.outcome == PolicyStatus.DIVERGED
    assert "last good policy" in fit.message
    o = samples().observations
    np.testing.assert_allclose(after.policy.act(o), first.policy.act(o), atol=1e-12)
    assert fit.best_step == 0
    recovered, fit = train(after, samples(), QUICK)
    assert fit.outcome.ok
    assert all(np.isfinite(array).all() for array in flatten(recovered).values() if array.dtype.kind == "f")


@pytest.mark.parametrize(
    ("field", "value", "outcome", "where"),
    [
        ("weights", 0.0, PolicyStatus.NO_SAMPLES, "left as it was"),
        ("weights", -1.0, PolicyStatus.NO_SAMPLES, "left as it was"),
        ("observations", np.nan, PolicyStatus.BAD_SAMPLES, "the observation of sample 0"),
        ("actions", np.inf, PolicyStatus.BAD_SAMPLES, "the action of sample 0"),
        ("linear", np.nan, PolicyStatus.BAD_SAMPLES, "the linear term of sample 0"),
        ("precisions", np.nan, PolicyStatus.BAD_PRECISION, "sample 0 is not finite"),
        ("precisions", -np.eye(2), PolicyStatus.BAD_PRECISION, "sample 0 has the eigenvalue -1"),
    ],
)
def test_samples_that_cannot_be_used_leave_the_policy(field, value, outcome, where):
    before, data = untrained(), samples(linear=True)
    data = data._replace(**{field: np.broadcast_to(value, getattr(data, field).shape)})
    after, fit = train(before, data, QUICK)
    assert fit.outcome == outcome
    assert where in fit.message
    assert_same_bits(before, after)
    if field != "weights":  # a sample without weight may hold anything
        good = samples(linear=True)
        spoilt = np.concatenate([getattr(good, field), getattr(data, field)[:1]])
        joined = Samples(*(None if a is None else np.concatenate([a, a[:1]]) for a in good))._replace(**{field: spoilt})
        joined.weights[-1] = 0
        assert train(before, joined, QUICK)[1].ok


def test_shapes_that_do_not_fit_are_refused():
    data = samples()
    for field in ("actions", "precisions", "weights"):
        with pytest.raises(PolicyError, match=rf"{field} of shape .*; expected"):
            train(untrained(), data._replace(**{field: getattr(data, field)[1:]}))
    with pytest.raises(PolicyError, match=r"takes \(..., 3\)"):
        train(untrained((3, 2)), data)
    for wrong in ({"steps": 0}, {"held_out": 1.0}, {"least_deviation": 0.0}):
        with pytest.raises(PolicyError):
            Options(**wrong)


def test_a_network_learns_to_point_at_a_blob():
    rng = np.random.default_rng(0)
    n = 200
    at = rng.uniform(-0.8, 0.8, (n, 2))
    x, y = np.meshgrid(*[np.linspace(-1, 1, 64)] * 2)
    blob = np.exp(-((x - at[:, :1, None]) ** 2 + (y - at[:, 1:, None]) ** 2) / 0.01)
    image = rng.integers(0, 60, (n, 64, 64, 3), dtype=np.uint8)
    image[..., 0] = np.maximum(image[..., 0], 255 * blob)
    vector = rng.normal(size=(n, 1))
    u = at + vector * [0.5, -0.5]
    network = Convolutional.create((64, 64, 3), 1, 2, KEY, (4, 4), (3, 3), (2, 2), (16,))
    training = Training.begin(NeuralPolicy.untrained(network), KEY)
    data = Samples(Pixels(image, vector), u, np.tile(np.eye(2), (n, 1, 1)), np.ones(n))
    options = Options(steps=200, batch=8, learning_rate=1e-2, held_out=0.2)
    after, fit = train(training, data, options)
    assert fit.ok
    assert fit.held_out_loss[-1] < 0.02 * fit.held_out_loss[0]
    assert np.abs(after.policy.act(Pixels(image[:20], vector[:20])) - u[:20]).mean() < 0.1
    with pytest.raises(PolicyError, match="images of shape"):
        train(training, data._replace(observations=Pixels(image[:, 1:], vector)))


def test_the_gradient_of_a_network_that_sees_is_that_of_finite_differences():
    network = Convolutional.create((12, 14, 3), 2, 2, KEY, (3, 4), (3, 3), (2, 1), (5,), "tanh")
    network = jax.tree.map(lambda array: np.asarray(array, np.float64), network)
    policy = dataclasses.replace(NeuralPolicy.untrained(network), output_scale=np.array([2.0, 0.5]))
    rng, data = np.random.default_rng(0), samples(6, do=2, linear=True)
    data = data._replace(observations=Pixels(rng.integers(0, 256, (6, 12, 14, 3), dtype=np.uint8), data.observations))
    flat, unravel = ravel_pytree(policy.network)
    assert flat.dtype == np.float64

    def value(vector):
        return objective(dataclasses.replace(policy, network=unravel(vector)), data)

    value, gradient, h = jax.jit(value), jax.jit(jax.grad(value))(flat), 1e-5
    sharpness = int(np.argmax(ravel_pytree(dataclasses.replace(
        jax.tree.map(np.zeros_like, network), sharpness=np.ones(())))[0]))  # fmt: skip
    for i in (sharpness, *rng.choice(len(flat), 20, replace=False)):
        step = jnp.zeros_like(flat).at[i].set(h)
        slope = float(value(flat + step) - value(flat - step)) / (2 * h)
        assert float(gradient[i]) == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_many_images_are_looked_at_in_parts_with_the_same_result(monkeypatch):
    network = Convolutional.create((12, 14, 3), 0, 2, KEY, (3,), (3,), (2,), (5,))
    policy, rng, data = NeuralPolicy.untrained(network), np.random.default_rng(0), samples(10)
    data = data._replace(observations=Pixels(rng.random((10, 12, 14, 3)), np.zeros((10, 0))))
    whole = float(jax.jit(lambda: objective(policy, data))())
    monkeypatch.setattr(Convolutional, "max_batch", 4)
    assert float(jax.jit(lambda: objective(policy, data))()) == pytest.approx(whole, rel=1e-5)
