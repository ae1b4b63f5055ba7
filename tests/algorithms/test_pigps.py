"""PIGPS as a whole: towards the known optimum of a linear system, its steps, and samples that teach nothing."""

import dataclasses

import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.linear_system import (
    FIRST,
    PROBLEM,
    STARTS,
    M,
    cost_without_noise,
    improve,
    learn,
    make_learner,
    make_problem,
    roll_out,
    steep,
)

from gps.algorithms.guided.base import GuidedState
from gps.algorithms.guided.lessons import precision
from gps.algorithms.guided.pigps import PIGPS
from gps.algorithms.local.path_integral import cost_to_go
from gps.algorithms.local.pi2 import PI2, exploration
from gps.algorithms.local.pilqr import PILQR
from gps.players import Player
from gps.status import PolicyStatus, Status
from gps.storage.serialization import flatten, unflatten

N = 40


def pigps(local=None, **settings) -> PIGPS:
    return PIGPS(local or PI2(PROBLEM, kl_step=1.0), make_learner(), **settings)


@pytest.fixture(scope="module")
def learned():
    """The algorithm, on-policy, its last state and its records."""
    algorithm = pigps()
    return algorithm, *learn(algorithm, 30, N)


def test_the_policy_approaches_the_optimum_of_a_linear_system(learned, best):
    algorithm, state, records = learned
    start = cost_without_noise(algorithm.begin(FIRST, STARTS).local.controllers)
    sampled = np.array([record.mean_cost for record in records])
    third = sampled.reshape(3, 10, M).mean(axis=1)
    assert (np.diff(third, axis=0) < 0).all(), "the mean cost of the samples falls"
    # PI² never touches the gains and has 40 samples of 20 actions at a time: near the optimum, not at it.
    assert (cost_without_noise(algorithm.learned(state)) - best < 0.05 * (start - best)).all()
    assert all(status.ok for record in records for status in record.statuses)


def test_with_the_local_models_of_pilqr_it_reaches_the_optimum(best):
    algorithm = pigps(PILQR(PROBLEM, kl_step=2.0))
    state, records = learn(algorithm, 7, N)
    np.testing.assert_allclose(cost_without_noise(algorithm.learned(state)), best, rtol=2e-2)
    np.testing.assert_allclose(cost_without_noise(algorithm.teachers(state)[0]), best, rtol=2e-2)
    assert records[-1].player is Player.POLICY


def test_the_steps_are_those_of_the_docstring(learned):
    """Each quantity of the C-step and the S-step, from a record alone."""
    _, _, records = learned
    record, before = records[4], records[3]
    around, new, rollouts = record.policy.linearised, record.local.improved, record.rollouts
    assert record.player is Player.POLICY
    assert record.local.dynamics is None and record.policy.marginals is None
    assert_same_bits(record.local.controllers, around)
    assert_same_bits(new.feedback, around.feedback)

    S = cost_to_go(record.costs, rollouts.mask)
    w = np.exp(-(S - S.min(axis=1, keepdims=True)) / record.local.search.eta[:, None])
    w /= w.sum(axis=1, keepdims=True)
    kl = (w * np.log(np.maximum(N * w, 1e-300))).sum(axis=1)
    np.testing.assert_allclose(kl, np.broadcast_to(record.local.search.bound[:, None], kl.shape), rtol=1e-5)
    without_feedback = rollouts.actions - np.einsum("mtij,mntj->mnti", around.feedback, rollouts.states)
    np.testing.assert_allclose(new.feedforward, np.einsum("mnt,mnti->mti", w, without_feedback), atol=1e-8)
    e = without_feedback - new.feedforward[:, None]
    expected = 0.8 * around.covariance + 0.2 * np.einsum("mnt,mnti,mntj->mtij", w, e, e)
    np.testing.assert_allclose(new.covariance, expected, atol=1e-8)

    # The noise that was sampled is the policy's, and the line leaves little of a nearly linear policy.
    size = np.sqrt((rollouts.noise**2).mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(size, before.policy.deviation, rtol=0.1)
    assert np.sqrt(((exploration(rollouts, around) - rollouts.noise) ** 2).mean()) < 0.2 * size.max()
    mean = precision(new).mean(axis=(0, 1))
    np.testing.assert_allclose(record.policy.deviation, np.sqrt(np.diagonal(np.linalg.inv(mean))), rtol=1e-6)


def test_the_noise_does_not_fall_below_its_floor(learned):
    algorithm, _, records = learned
    deviations = np.array([record.policy.deviation for record in records])
    assert (deviations[-1] < 0.9 * deviations[0]).all()
    assert (deviations > algorithm.local.covariance_floor).all(), "of the first controllers', which was 1"


@pytest.mark.parametrize("local", [PI2(PROBLEM, kl_step=1.0), PILQR(PROBLEM, kl_step=2.0)], ids=["pi2", "pilqr"])
def test_off_policy_the_controllers_learn_as_they_would_alone(local):
    alone, _ = learn(local, 4)
    algorithm = pigps(local, on_policy=False)
    state, records = learn(algorithm, 4)
    assert_same_bits(state.local, alone)
    assert {record.player for record in records} == {Player.LOCAL}
    # The policy has the mean of what 4 noisy updates made of neighbouring steps, and does no worse.
    assert (cost_without_noise(algorithm.learned(state)) < 1.05 * cost_without_noise(state.local.controllers)).all()


def test_with_pi2_a_cost_needs_no_derivatives():
    algorithm = pigps(PI2(make_problem(steep), kl_step=1.0))
    assert not algorithm.needs.derivatives
    assert pigps(PILQR(PROBLEM)).needs.derivatives
    _, records = learn(algorithm, 12, N)
    costs = np.array([record.mean_cost for record in records])
    assert (costs[-3:].mean(axis=0) < 0.7 * costs[0]).all()


def test_a_state_is_stored_and_read_back():
    for local in (PI2(PROBLEM), PILQR(PROBLEM)):
        algorithm = pigps(local)
        state, _ = learn(algorithm, 2)
        again = unflatten(algorithm.state_type, flatten(state))
        assert isinstance(again, GuidedState)
        assert again.iteration == 2
        assert_same_bits(again, state)


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda rollouts: dataclasses.replace(rollouts, mask=np.zeros_like(rollouts.mask)), Status.NO_VALID_SAMPLES),
        (lambda rollouts: alike(rollouts), Status.NO_PREFERENCE),
    ],
    ids=["no sample", "samples that are all alike"],
)
def test_samples_without_a_preference_teach_nothing(spoil, status):
    algorithm = pigps()
    before, _ = learn(algorithm, 2)
    rollouts = spoil(roll_out(algorithm.policy(before), 7, N))
    state, record = improve(algorithm, before, rollouts)
    assert record.statuses == [status] * M
    assert record.policy.status == PolicyStatus.NO_SAMPLES
    assert record.troubles[-1].startswith("policy: No sample has a positive weight")
    assert_same_bits(state.training.policy, before.training.policy)
    assert_same_bits(record.local.improved, before.local.controllers)
    again, record = improve(algorithm, state, roll_out(algorithm.policy(state), 7, N), seed=1)
    assert record.troubles == []
    assert again.iteration == 4


def alike(rollouts):
    """The first sample of each condition, again and again."""
    one = {name: np.repeat(getattr(rollouts, name)[:, :1], N, axis=1) for name in ("states", "actions", "noise")}
    return dataclasses.replace(rollouts, **one)
