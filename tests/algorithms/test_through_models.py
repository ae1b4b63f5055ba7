"""What the algorithms that train a policy through a model have in common."""

import dataclasses
import json
from contextlib import closing

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, changed, write

from gps.builders.modelled import Modelled
from gps.config import load
from gps.dynamics.prior import Transitions
from gps.experiment import Experiment
from gps.models.features import StateTransforms
from gps.models.linear import LinearLearner
from gps.models.reward import RewardLearner
from gps.models.stored import save_model
from gps.players import Player
from gps.records import Rollouts
from gps.status import Status

DX, DU = 4, 2


@pytest.mark.parametrize("name", ["pilco", "mc_pilco", "policy_backprop", "mppigps", "mbrl"])
def test_a_reward_that_is_not_learned_yet_is_said_and_the_base_policy_goes_on(tmp_path, name):
    """All rewards are alike, so nothing is known of them, while the model of the system learns."""
    folder = write(tmp_path / "point", changed(POINT_MASS, algorithm={"name": name, "model": "linear"}))
    with closing(Experiment(load(folder), folder)) as built:
        algorithm = dataclasses.replace(built.algorithm._inner, reward=RewardLearner())
        state = dataclasses.replace(built.begin(), reward=RewardLearner())
    M, T = state.first.feedforward.shape[:2]
    rng, there = np.random.default_rng(0), np.ones((M, 3, T), bool)
    states, actions, still = rng.normal(size=(M, 3, T, DX)), rng.normal(size=(M, 3, T, DU)), np.zeros((M, 3, T))
    rollouts = Rollouts(states, actions, np.zeros_like(actions), still, None, there, np.zeros(M))
    fitted = algorithm.fit(state, rollouts, 0)
    after, record = algorithm.improve(state, algorithm.policy(state), rollouts, fitted)
    assert record.model.status.ok and record.statuses == [Status.NO_REWARD] * M
    assert algorithm.policy(after).player is Player.FIRST


@pytest.mark.parametrize("name", ["pilco", "mc_pilco", "policy_backprop"])
def test_a_stored_model_tells_the_policy_which_entries_are_angles(tmp_path, name):
    folder = write(tmp_path / "point", changed(POINT_MASS, algorithm={"name": name, "model": "linear"}))
    rng = np.random.default_rng(0)
    points = rng.normal(size=(1, 3, 40, DX)), rng.normal(size=(1, 3, 40, DU))
    learner = LinearLearner(DX, DU, StateTransforms(angles=(1,)))
    learner = learner.refit(Transitions.of(*points, np.ones((1, 3, 40), bool)), 0)
    with closing(Experiment(load(folder), folder)) as built:
        save_model(tmp_path / "model.npz", learner, Modelled.of(built.problem).system)
    stored = json.dumps(str(tmp_path / "model.npz"))
    with closing(Experiment(load(folder, [f"algorithm.model={{path={stored}}}"]), folder)) as built:
        state = built.begin()
        policy = state.training.policy if name == "policy_backprop" else state.policy
        assert policy.network.angles == (1,)
