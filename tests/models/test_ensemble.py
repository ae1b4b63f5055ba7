"""Ensembles of networks: calibration on a known function, slopes, moments, and what bad data do."""

import dataclasses

import numpy as np
import pytest

from gps.backend import jax, jnp
from gps.dynamics.prior import Transitions
from gps.errors import PolicyError
from gps.models.data import Dataset
from gps.models.ensemble_learner import EnsembleLearner, score
from gps.models.features import Differences, Encoding, StateTransforms
from gps.models.members import EnsembleOptions, split_members
from gps.networks.fitting import _minimise_members
from gps.status import ModelStatus
from gps.storage.serialization import flatten, unflatten

SMALL = EnsembleOptions(hidden=(32, 32), members=4, steps=800, warm_steps=300, batch=64, learning_rate=3e-3)
KEY = jax.random.key(0)


def noise(x):
    return 0.02 + 0.1 / (1.0 + np.exp(-4.0 * x))


def move(x, u):
    return x + 0.3 * np.sin(3.0 * x) + 0.2 * u


def points(n, seed, episodes=20):
    """Transitions of a scalar system whose noise depends on the state, which lies within ±1."""
    rng = np.random.default_rng(seed)
    x, u = rng.uniform(-1, 1, (2, episodes, n // episodes, 1))
    after = move(x, u) + noise(x) * rng.normal(size=x.shape)
    return pack(x, u, after)


def pack(x, u, after):
    joint = np.concatenate([x, u, after], axis=-1)[None]
    return Transitions(joint, np.ones(joint.shape[:3], bool))


def linear_points(n, seed, scale=1.0, shift=0.0):
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=(10, n // 10, 3)) * scale + shift, rng.normal(size=(10, n // 10, 2))
    return pack(x, u, x + 0.1 * (x @ F[:, :3].T + u @ F[:, 3:].T) + 0.05)


F = np.random.default_rng(5).normal(size=(3, 5))


@pytest.fixture(scope="module")
def learner():
    return EnsembleLearner(1, SMALL).refit(points(2000, 0), seed=0)


@pytest.fixture(scope="module")
def linear():
    return EnsembleLearner(3, SMALL).refit(linear_points(1000, 0), seed=0)


def predict(model, x, u):
    return jax.vmap(model.mean)(x, u), jax.vmap(model.deviation)(x, u)


def test_a_probabilistic_ensemble_is_calibrated_on_noise_that_depends_on_the_state(learner):
    fresh = Dataset.of(points(4000, 1), 1)
    error, coverage = score(learner.model, fresh)
    np.testing.assert_allclose(coverage, [0.683, 0.954], atol=0.04)
    np.testing.assert_allclose(error, np.sqrt((noise(fresh.states) ** 2).mean()), rtol=0.08)
    x = np.linspace(-0.9, 0.9, 19)[:, None]
    mean, deviation = predict(learner.model, x, np.zeros_like(x))
    np.testing.assert_allclose(mean, move(x, 0.0), atol=0.06)
    ratio = np.asarray(deviation) / noise(x)
    assert 0.9 < np.median(ratio) < 1.15 and ratio.min() > 0.6 and ratio.max() < 2.0


def test_doubt_grows_away_from_the_data(learner):
    near, far = np.linspace(-0.9, 0.9, 10)[:, None], np.array([[-6.0], [6.0]])
    spread = jax.vmap(learner.model.spread)
    inside = spread(near, np.zeros_like(near)).mean()
    assert spread(far, np.zeros_like(far)).min() > 5.0 * inside


def test_mean_and_deviation_are_those_of_drawn_functions_with_their_noise(learner):
    model, x, u = learner.model, np.array([0.3]), np.array([-0.5])
    functions = model.draw(KEY, 20_000)
    drawn = np.asarray(jax.vmap(lambda f, key: f(x, u, key))(functions, jax.random.split(KEY, 20_000)))
    sampled = np.asarray(jax.vmap(lambda key: model.sample(x, u, key))(jax.random.split(KEY, 20_000)))
    for values in (drawn, sampled):
        np.testing.assert_allclose(values.mean(axis=0), model.mean(x, u), atol=4e-3)
        np.testing.assert_allclose(values.std(axis=0), model.deviation(x, u), rtol=0.03)
    quiet = np.asarray(jax.vmap(lambda f: f(x, u))(functions))
    np.testing.assert_allclose(quiet.std(axis=0), model.spread(x, u), rtol=1e-3)
    assert (
        len(np.unique(quiet.round(6))) == 4 and np.unique(quiet.round(6), return_counts=True)[1].tolist() == [5000] * 4
    )


def test_a_linear_system_is_learned_to_one_percent(linear):
    error, _ = score(linear.model, Dataset.of(linear_points(500, 1), 3))
    assert (error / linear.model.differences.deviation).max() < 0.01
    np.testing.assert_allclose(linear.record.one_step_error, error, rtol=3.0)
    slope, offset = linear.model.linearise(jnp.zeros(3), jnp.zeros(2))
    np.testing.assert_allclose(slope, np.eye(3, 5) + 0.1 * F, atol=0.01)
    np.testing.assert_allclose(offset, 0.05, atol=0.01)


def test_slopes_agree_with_finite_differences(linear):
    model = dataclasses.replace(linear.model, members=jax.tree.map(np.float64, linear.model.members))
    z, h = np.array([0.3, -0.7, 0.2, 1.0, -0.4]), 1e-5
    numeric = np.stack(
        [(model.mean(*np.split(z + d, [3])) - model.mean(*np.split(z - d, [3]))) / (2 * h) for d in h * np.eye(5)], 1
    )
    slope, offset = model.linearise(z[:3], z[3:])
    np.testing.assert_allclose(slope, numeric, atol=1e-8)
    np.testing.assert_allclose(slope @ z + offset, model.mean(z[:3], z[3:]), rtol=1e-12)
    each = model.slopes(z[:3], z[3:])
    assert each.shape == (4, 3, 5)
    np.testing.assert_allclose(each.mean(axis=0), slope, atol=1e-12)
    single = linear.model.slopes(z[:3], z[3:])
    np.testing.assert_allclose(single, each, atol=1e-5)


def test_a_deterministic_network_has_a_constant_noise_from_what_it_did_not_see():
    options = dataclasses.replace(SMALL, probabilistic=False, members=1)
    learner = EnsembleLearner(1, options).refit(points(2000, 0), seed=0)
    x = np.linspace(-0.9, 0.9, 5)[:, None]
    _, deviation = predict(learner.model, x, np.zeros_like(x))
    np.testing.assert_allclose(deviation, np.sqrt((noise(np.linspace(-1, 1)) ** 2).mean()), rtol=0.2)
    np.testing.assert_array_equal(jax.vmap(learner.model.spread)(x, np.zeros_like(x)), 0.0)
    assert learner.make_record().name == "deterministic network"


def test_a_hundred_points_are_enough_for_a_smooth_system_and_do_not_make_it_overconfident():
    learner = EnsembleLearner(1, SMALL).refit(points(100, 0), seed=0)
    fresh = Dataset.of(points(2000, 1), 1)
    error, coverage = score(learner.model, fresh)
    assert error[0] < 0.65 * learner.model.differences.deviation[0]
    assert coverage[0] > 0.5 and coverage[1] > 0.85


def test_equal_seeds_give_equal_bits_and_members_differ(learner):
    again = EnsembleLearner(1, SMALL).refit(points(2000, 0), seed=0)
    for one, two in zip(jax.tree.leaves(learner.model), jax.tree.leaves(again.model), strict=True):
        np.testing.assert_array_equal(one, two)
    weights = learner.model.members.network.weights[0]
    assert weights.dtype == np.float32 and not np.array_equal(weights[0], weights[1])


def test_a_learner_can_be_stored(learner):
    back = unflatten(EnsembleLearner, flatten(learner))
    assert back.options == learner.options and back.record.status == learner.record.status
    x, u = np.array([0.1]), np.array([0.2])
    np.testing.assert_array_equal(back.model.mean(x, u), learner.model.mean(x, u))
    one, two = (each.refit(points(200, 7), seed=3) for each in (learner, back))
    np.testing.assert_array_equal(one.model.mean(x, u), two.model.mean(x, u))


def test_a_warm_start_is_the_same_function_in_new_units(linear):
    data = Dataset.of(linear_points(300, 3, scale=4.0, shift=1.0), 3)
    encoding, differences = Encoding.of(data), Differences.of(data)
    converted = linear.model.convert(encoding, differences)
    for one, two in zip(
        predict(linear.model, data.states, data.actions), predict(converted, data.states, data.actions), strict=True
    ):
        np.testing.assert_allclose(two, one, rtol=2e-4, atol=2e-5)


def test_a_refit_measures_the_model_before_on_data_that_it_has_not_seen(linear):
    more = linear_points(200, 4, scale=2.0)
    error, coverage = score(linear.model, Dataset.of(more, 3))
    refitted = linear.refit(more, seed=1)
    record = refitted.make_record()
    np.testing.assert_array_equal(record.one_step_error, error)
    np.testing.assert_array_equal(record.coverage, coverage)
    assert record.points == 1200 and (score(refitted.model, Dataset.of(more, 3))[0] < error).all()


def test_a_refit_goes_on_from_the_last_weights_and_is_compiled_once():
    """A few steps from the last weights, which fit most of the data, are better than many from random ones."""
    x, u = np.random.default_rng(0).uniform(-1, 1, (2, 30, 50, 1))
    data = pack(x, u, move(x, u)).points
    parts = [Transitions(part, np.ones(part.shape[:3], bool)) for part in (data[:, :20], data[:, 20:25], data[:, 25:])]
    options = dataclasses.replace(SMALL, steps=400, warm_steps=100)
    first = EnsembleLearner(1, options).refit(parts[0], seed=0)
    cold, warm = (dataclasses.replace(first, warm=warm).refit(parts[1], seed=1) for warm in (False, True))
    fresh = Dataset.of(points(2000, 1), 1)
    fresh = fresh._replace(successors=move(fresh.states, fresh.actions))
    assert score(warm.model, fresh)[0] < score(cold.model, fresh)[0]
    assert len(warm.make_record().training_loss) < len(cold.make_record().training_loss)
    compiled = _minimise_members._cache_size()
    again = warm.refit(parts[2], seed=2)
    assert again.make_record().points == 1500 and _minimise_members._cache_size() == compiled


def test_angles_enter_without_their_turns():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, (8, 50, 2))
    u = rng.normal(size=(8, 50, 1))
    after = x + 0.1 * np.stack([x[..., 1], np.sin(x[..., 0]) + u[..., 0]], axis=-1)
    learner = EnsembleLearner(2, SMALL, transforms=StateTransforms(angles=(0,))).refit(pack(x, u, after), seed=0)
    one, turn = learner.model.mean(x[0, 0], u[0, 0]), np.array([2 * np.pi, 0.0])
    np.testing.assert_allclose(learner.model.mean(x[0, 0] + turn, u[0, 0]), one + turn, atol=1e-6)


# -- bad data ----------------------------------------------------------------------------------------------------------


def test_a_constant_entry_is_left_out():
    x, u, after = np.split(points(200, 0).points[0], [1, 2], axis=-1)
    constant = np.full_like(x, 7.0)
    learner = EnsembleLearner(2, SMALL).refit(
        pack(np.concatenate([x, constant], -1), u, np.concatenate([after, constant], -1)), seed=0
    )
    mean, deviation = (
        learner.model.mean(np.array([0.3, 7.0]), np.zeros(1)),
        learner.model.deviation(np.array([0.3, 7.0]), np.zeros(1)),
    )
    assert mean[1] == 7.0 and deviation[1] == 0.0 and deviation[0] > 0.0


def test_too_few_points_make_no_model_and_are_remembered():
    learner = EnsembleLearner(1, SMALL).refit(points(8, 0, episodes=1), seed=0)
    assert learner.model is None and learner.make_record().status is ModelStatus.TOO_FEW_POINTS
    learner = learner.refit(points(8, 1, episodes=1), seed=0)
    assert learner.model is not None and learner.make_record().points == 16


def test_nothing_that_varies_keeps_the_last_good_model(learner):
    still = pack(np.ones((1, 30, 1)), np.zeros((1, 30, 1)), np.ones((1, 30, 1)))
    blank = EnsembleLearner(1, SMALL).refit(still, seed=0)
    assert blank.model is None and blank.make_record().status is ModelStatus.NO_VARIATION
    assert learner.refit(still, seed=1).model is not None


def test_a_divergence_keeps_the_last_good_model(learner):
    wild = dataclasses.replace(learner, options=dataclasses.replace(SMALL, learning_rate=1e9))
    after = wild.refit(points(200, 2), seed=0)
    record = after.make_record()
    assert record.status is ModelStatus.DIVERGED and after.model is learner.model and after.data.size == 2200
    assert "last good model" in record.message


def test_an_ensemble_that_is_sure_and_wrong_learns_from_new_data():
    x, u = np.random.default_rng(0).uniform(-1, 1, (2, 20, 50, 1))
    sure = EnsembleLearner(1, SMALL).refit(pack(x, u, x + 1e-3 * np.sin(3.0 * x)), seed=0)
    after = sure.refit(points(400, 1), seed=1)
    assert after.make_record().status.ok, after.make_record().message
    test = Dataset.of(points(400, 3), 1)
    assert score(after.model, test)[0] < 0.8 * score(sure.model, test)[0]


def test_a_number_near_the_largest_float_is_left_out_and_named_as_nan_is(learner):
    joint = points(100, 0).points.copy()
    joint[0, 0, 0, 0] = np.nan
    mask = np.ones(joint.shape[:3], bool)
    assert EnsembleLearner(1, SMALL).refit(Transitions(joint, mask), seed=0).make_record().points == 99
    joint[0, 0, 1, 0] = 1e300
    before, after = learner.make_record(), learner.refit(Transitions(joint, mask), seed=0).make_record()
    assert after.status.ok and after.points == before.points + 98
    assert "1 transition was left out: a number as large as 1e+300" in after.message


def test_duplicate_points_do_no_harm():
    one = points(20, 0, episodes=20)
    many = Transitions(np.repeat(one.points, 10, axis=2), np.ones((1, 20, 10), bool))
    learner = EnsembleLearner(1, SMALL).refit(many, seed=0)
    assert learner.make_record().status.ok and np.isfinite(learner.model.mean(np.zeros(1), np.zeros(1))).all()


@pytest.mark.parametrize("episodes", [1, 3, 12])
def test_what_is_held_out_is_not_trained_on_and_stays_held_out(episodes):
    groups = np.repeat(np.arange(episodes), 20)
    splits = split_members(groups, SMALL, np.random.default_rng(0))
    for split in splits:
        assert not set(split.rows) & set(split.held) and len(split.rows) + len(split.held) == len(groups)
        assert len(np.unique(split.rows)) < len(split.rows)  # a bootstrap
    if episodes >= 5:
        assert all(len(split.held) % 20 == 0 for split in splits)
        later = split_members(np.repeat(np.arange(30), 20), SMALL, np.random.default_rng(1))
        assert all(set(one.held) <= set(two.held) for one, two in zip(splits, later, strict=True))
    assert len({tuple(split.held) for split in splits}) == len(splits)


@pytest.mark.parametrize("wrong", [{"members": 0}, {"hidden": (0,)}, {"shrinkage": -1.0}, {"steps": 0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(PolicyError):
        EnsembleOptions(**wrong)
    with pytest.raises(PolicyError):
        EnsembleLearner(0)
