"""Recurrent models: a force that the state does not show, the memory along rollouts, sequences, bits, bad data."""

import dataclasses

import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.lagging import SMALL, record_lagging

from gps.backend import jax, jnp
from gps.dynamics.prior import Transitions
from gps.errors import PolicyError
from gps.models.calibration import calibrate
from gps.models.data import Dataset
from gps.models.ensemble_learner import EnsembleLearner
from gps.models.members import EnsembleOptions
from gps.models.propagation import propagate
from gps.models.recurrent_learner import RecurrentLearner, RecurrentOptions
from gps.models.remembering import advance_function, advance_mean, begin_memory, recall_episodes
from gps.models.sequences import cut_sequences
from gps.models.stored import System, read_model, save_model
from gps.status import ModelStatus
from gps.storage.serialization import flatten, unflatten

DATA = record_lagging(20, 40, seed=0)
TRANSITIONS = Transitions.of(*DATA)
FRESH = record_lagging(20, 40, seed=1)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def learner():
    return RecurrentLearner(2, SMALL).refit(TRANSITIONS, seed=0)


@pytest.fixture(scope="module")
def model(learner):
    assert learner.record.status.ok, learner.record.message
    return learner.model


def test_it_predicts_a_force_that_the_state_does_not_show(learner, model):
    """A network without a memory knows no more of the force than its mean; ten steps ahead the error adds up."""
    blind = EnsembleLearner(2, EnsembleOptions(hidden=(16,), members=2, steps=400)).refit(TRANSITIONS, seed=0)
    seen, unseen = calibrate(model, *FRESH, horizon=10), calibrate(blind.model, *FRESH, horizon=10)
    assert (seen.one_step_error < 0.5 * unseen.one_step_error).all()
    assert (seen.horizon_error < 0.5 * unseen.horizon_error).all()
    assert 0.4 < seen.coverage[0] < 0.95 and seen.coverage[1] > 0.7
    assert learner.record.points == 20 * 39


# -- the memory ------------------------------------------------------------------------------------------------------


def test_the_memory_of_a_recorded_episode_is_that_of_its_steps(model):
    states, actions, _ = FRESH
    recalled = recall_episodes(model, states[0], actions[0])
    memory = begin_memory(model)
    assert not np.asarray(memory).any() and recalled.shape == (20, 40, *memory.shape)
    for x, u, found in zip(states[0, 3], actions[0, 3], recalled[3], strict=True):
        np.testing.assert_allclose(found, memory, atol=1e-5)
        memory, _ = advance_mean(model, memory, x, u)
    assert np.abs(memory).max() > 0.1


def test_a_plain_question_is_answered_as_at_the_start_of_an_episode(model):
    x, u = np.array([0.3, -0.2]), np.array([1.0])
    functions = model.draw(KEY, 4)
    each = jax.vmap(lambda f: f(x, u))(functions)
    np.testing.assert_allclose(np.mean(each, axis=0), model.mean(x, u), rtol=1e-6)  # each member occurs twice
    np.testing.assert_allclose(model.mean(x, u), model.advance(model.begin(), x, u)[1])
    F, c = model.linearise(x, u)
    np.testing.assert_allclose(F @ np.append(x, u) + c, model.mean(x, u), rtol=1e-12)
    later, _ = model.advance(model.begin(), x, u)
    assert np.abs(model.advance(later, x, u)[1] - model.mean(x, u)).max() > 1e-4


def test_draws_have_the_deviation_of_the_model_with_its_memory(model):
    x, u = np.array([0.3, -0.2]), np.array([1.0])
    memory, _ = model.advance(model.begin(), x, u)
    drawn = np.asarray(jax.vmap(lambda key: model.advance(memory, x, u, key)[1])(jax.random.split(KEY, 20_000)))
    np.testing.assert_allclose(drawn.std(axis=0), model.deviation_after(memory, x, u), rtol=0.03)
    np.testing.assert_allclose(drawn.mean(axis=0), model.advance(memory, x, u)[1], atol=0.05 * drawn.std())


@pytest.mark.parametrize("propagation", ["mean", "ts_infinity", "ts1"])
def test_particles_carry_the_memory(model, propagation):
    """Without noise each particle is the rollout of its function; the members of `ts1` share what they remember."""
    start, actions = np.array([0.5, 0.0]), np.random.default_rng(0).normal(size=(3, 6, 1))
    found = np.asarray(propagate(model, start, actions, KEY, particles=2, propagation=propagation, noise=False))
    of_each = [model] if propagation == "mean" else [_take(model.draw(KEY, 2), i) for i in range(2)]
    memories = [[(begin_memory(model), jnp.asarray(start))] for _ in of_each]
    for path, function in zip(memories, of_each, strict=True):
        for u in actions[0]:
            follow = advance_mean if propagation == "mean" else advance_function
            path.append(follow(function, *path[-1], u))
    expected = np.array([[x for _, x in path] for path in memories])  # (P, H + 1, dx)
    if propagation != "ts1":
        order = np.argsort(expected[:, -1, 0])
        ours = np.argsort(found[-1, :, 0, 0])
        np.testing.assert_allclose(found[:, ours, 0].swapaxes(0, 1), expected[order], atol=1e-6)
    else:
        low, high = expected[:, 1].min(axis=0), expected[:, 1].max(axis=0)
        assert ((found[1, :, 0] >= low - 1e-9) & (found[1, :, 0] <= high + 1e-9)).all()
        assert np.isfinite(found).all()


def _take(batch, i):
    return jax.tree.map(lambda array: array[i], batch)


# -- sequences -------------------------------------------------------------------------------------------------------


def test_each_transition_counts_once_and_only_an_episodes_start_has_no_burn_in():
    states, actions, mask = record_lagging(3, 30, seed=0)
    mask = mask.copy()
    mask[0, 1, 12] = False  # row 12 is missing: the transitions 11 and 12 are
    data = Dataset.of(Transitions.of(states, actions, mask), 2)
    cut = cut_sequences(data, 10, 3, 1000)
    counts = np.bincount(cut.rows[cut.counted], minlength=data.size)
    of_second = np.flatnonzero(data.episodes == 1)
    after = of_second[11:14]  # the first steps after what is missing fill the memory
    assert (counts[after] == 0).all() and (np.delete(counts, after) == 1).all()
    for rows, counted in zip(cut.rows, cut.counted, strict=True):
        within = rows[: np.flatnonzero(counted)[-1] + 1]
        np.testing.assert_array_equal(data.successors[within[:-1]], data.states[within[1:]])
        assert (not counted[:3].any()) != (within[0] in np.searchsorted(data.episodes, [0, 1, 2]))
    assert len(cut_sequences(data, 10, 3, 4).rows) == 4


# -- fits ------------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_every_bit_can_be_stored(learner, tmp_path):
    assert_same_bits(RecurrentLearner(2, SMALL).refit(TRANSITIONS, seed=0), learner)
    stored = unflatten(RecurrentLearner, flatten(learner))
    assert_same_bits(stored, learner)
    assert_same_bits(stored.refit(TRANSITIONS, seed=1), learner.refit(TRANSITIONS, seed=1))
    save_model(tmp_path / "model.npz", learner, System(2, 1))
    found = read_model(tmp_path / "model.npz")
    assert found.kind == "recurrent"
    assert_same_bits(found.learner, learner)


def test_a_fit_that_fails_keeps_the_last_good_model(learner):
    wild = dataclasses.replace(learner, options=dataclasses.replace(SMALL, learning_rate=1e9))
    after = wild.refit(TRANSITIONS, seed=0)
    assert after.record.status is ModelStatus.DIVERGED and after.model is learner.model
    assert "last good model" in after.record.message and after.data.size == 2 * learner.data.size


def test_data_that_teach_nothing_are_told():
    states, actions, mask = record_lagging(1, 6, seed=0)
    few = RecurrentLearner(2, SMALL).refit(Transitions.of(states, actions, mask), 0)
    assert few.model is None and few.record.status is ModelStatus.TOO_FEW_POINTS
    still = np.zeros((1, 2, 20, 2)), np.zeros((1, 2, 20, 1)), np.ones((1, 2, 20), bool)
    assert RecurrentLearner(2, SMALL).refit(Transitions.of(*still), 0).record.status is ModelStatus.NO_VARIATION
    broken = np.full_like(states, np.nan), actions, mask
    assert RecurrentLearner(2, SMALL).refit(Transitions.of(*broken), 0).record.status is ModelStatus.TOO_FEW_POINTS


@pytest.mark.parametrize("bad", [{"units": 0}, {"burn_in": 50}, {"burn_in": -1}, {"members": 0}, {"hidden": (0,)}])
def test_bad_options_are_refused(bad):
    with pytest.raises(PolicyError, match=r"units|members"):
        RecurrentOptions(**bad)
