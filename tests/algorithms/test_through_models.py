"""What the algorithms that train a policy through a model have in common."""

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
from gps.models.stored import save_model

DX, DU = 4, 2


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
