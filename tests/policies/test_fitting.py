"""The training loop on a problem without a policy: an ensemble of models, fitted by least squares."""

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.errors import PolicyError
from gps.networks import MLP
from gps.networks.fitting import AdamState, FitOptions, Split, fit_members, fit_parameters

OPTIONS = FitOptions(steps=3000, check_every=100, batch=32, learning_rate=1e-2, patience=10)
SCALE = np.array([1.0, 5.0, 0.2])


def square_loss(network, context, samples, weights):
    x, y = samples
    return weights @ jnp.sum((jax.vmap(network)(x / context) - y) ** 2, axis=1)


def usual_loss(context, samples, weights):
    return jnp.sum(weights @ samples[1] ** 2) / jnp.sum(weights)


def data(n=200, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) * SCALE
    y = (x / SCALE) @ rng.normal(size=(3, 2)) + 0.1 * rng.normal(size=(n, 2)) + 1.0
    return (x, y), rng.uniform(0.5, 2.0, n)


def fit(samples, weights, seed=0, options=OPTIONS, sizes=(3, 2), **more):
    network = MLP.create(sizes, jax.random.key(seed))
    zeros = jax.tree.map(np.zeros_like, network)
    start = AdamState(network, zeros, zeros, np.int32(0))
    rng, context = np.random.default_rng(seed), SCALE
    return fit_parameters(
        square_loss, start, samples, weights, rng, options, context=context, usual_loss=usual_loss, **more
    )


@pytest.mark.parametrize("gather_by_batch", [False, True])
def test_a_linear_model_reaches_weighted_least_squares(gather_by_batch):
    (x, y), weights = data()
    end = fit((x, y), weights, gather_by_batch=gather_by_batch)
    z = np.column_stack([x, np.ones(len(x))])
    W = np.linalg.solve(z.T @ (weights[:, None] * z), z.T @ (weights[:, None] * y))
    np.testing.assert_allclose(end.best.parameters.evaluate(x / SCALE), z @ W, atol=0.1)
    assert not end.diverged
    assert len(end.training_loss) == len(end.held_out_loss) - 1 == end.steps // OPTIONS.check_every
    assert np.argmin(end.held_out_loss) == end.best.step // OPTIONS.check_every
    assert end.best.adam_steps == end.best.step


def test_equal_generators_fit_equally_and_members_of_an_ensemble_differ():
    samples, weights = data()
    one, two, other = (fit(samples, weights, seed) for seed in (0, 0, 1))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.held_out_loss, other.held_out_loss)


def test_samples_of_weight_zero_are_not_fitted():
    (x, y), weights = data()
    weights[::2] = 0.0
    spoilt = y + np.where(weights[:, None] > 0, 0.0, 100.0)
    for end in (fit((x, y), weights), fit((x, spoilt), weights)):
        residual = end.best.parameters.evaluate(x / SCALE) - y
        assert np.abs(residual[weights > 0]).mean() < 0.2


def test_it_stops_early_and_when_it_diverges():
    (x, _), weights = data()
    noise = np.random.default_rng(1).normal(size=(200, 2))
    options = FitOptions(steps=20_000, check_every=50, patience=4, held_out=0.5, learning_rate=1e-2)
    end = fit((x, noise), weights, options=options, sizes=(3, 64, 2))
    assert end.stopped_early and not end.diverged
    assert end.best.step == end.steps - 200
    end = fit((x, noise), weights, options=FitOptions(steps=2000, learning_rate=1e6), sizes=(3, 64, 2))
    assert end.diverged and end.stopped_early
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(end.best.parameters))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"patience": 0}, {"held_out": 1.0}, {"learning_rate": 0.0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(PolicyError):
        FitOptions(**wrong)


# -- ensembles ---------------------------------------------------------------------------------------------------------


def fit_ensemble(samples, splits, seed=0, options=OPTIONS, sizes=(3, 2)):
    networks = [MLP.create(sizes, jax.random.key(i)) for i in range(len(splits))]
    networks = jax.tree.map(lambda *arrays: np.stack(arrays), *networks)
    zeros, counts = jax.tree.map(np.zeros_like, networks), np.zeros(len(splits), np.int32)
    start = AdamState(networks, zeros, zeros, counts, counts)
    rng = np.random.default_rng(seed)
    return fit_members(square_loss, start, samples, splits, rng, options, context=SCALE, usual_loss=usual_loss)


def test_each_member_reaches_least_squares_on_its_own_rows():
    (x, y), _ = data()
    rng = np.random.default_rng(3)
    splits = [Split(rng.choice(150, 150), np.arange(150, 200 - 10 * i)) for i in range(3)]
    for end, split in zip(fit_ensemble((x, y), splits), splits, strict=True):
        z = np.column_stack([x, np.ones(len(x))])
        W = np.linalg.lstsq(z[split.rows], y[split.rows])[0]
        np.testing.assert_allclose(end.best.parameters.evaluate(x / SCALE), z @ W, atol=0.2)
        best = end.best.parameters.evaluate(x[split.held] / SCALE)
        np.testing.assert_allclose(
            end.held_out_loss.min(), np.sum((best - y[split.held]) ** 2, axis=1).mean(), rtol=1e-9
        )
        assert end.best.step == OPTIONS.check_every * np.argmin(end.held_out_loss)


def test_members_stop_for_themselves_and_their_bits_do_not_depend_on_the_others_fate():
    (x, _), _ = data()
    y = np.random.default_rng(1).normal(size=(200, 2))
    options = FitOptions(steps=4000, check_every=50, patience=4, learning_rate=1e-2)
    halves = [Split(np.arange(100), np.arange(100, 200)), Split(np.arange(100, 200), np.arange(100, 200))]
    one, two = fit_ensemble((x, y), halves, options=options, sizes=(3, 64, 2))
    assert one.stopped_early and one.steps < two.steps  # the second is checked on what it trains on
    assert one.best.step == one.steps - 200 and len(one.training_loss) == one.steps // 50
    again = fit_ensemble((x, y), halves, options=options, sizes=(3, 64, 2))
    for a, b in zip(jax.tree.leaves([one, two]), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_member_that_diverges_leaves_the_others_alone():
    (x, y), _ = data()
    spoilt = np.where(np.arange(200)[:, None] < 100, y, y * 1e200)
    splits = [Split(np.arange(50), np.arange(50, 100)), Split(np.arange(100, 200), np.arange(50, 100))]
    good, bad = fit_ensemble((x, spoilt), splits)
    assert bad.diverged and not good.diverged and good.steps > bad.steps
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(bad.best.parameters))
