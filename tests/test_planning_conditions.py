"""Planners where the simulator differs between the conditions: a box of another mass is in each."""

import numpy as np
import pytest
from helpers.experiments import SLIDER, write

import gps
from gps.config import load
from gps.errors import ConfigError
from gps.evaluation import evaluate
from gps.experiment import Experiment

MJCF = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody><body name="box"><joint name="x" type="slide" axis="1 0 0" damping="0.1"/><geom size="0.1" mass="1"/></body></worldbody>
  <actuator><motor joint="x" gear="5" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""  # noqa: E501
CONDITIONS = [{}, {"body_mass": {"box": 4.0}}, {"body_mass": {"box": 0.5}}]
PLANNERS = {
    "ilqr": {"name": "ilqr", "horizon": 12},
    "icem": {
        "name": "icem", "samples": 20, "elites": 4, "rounds": 2, "horizon": 12, "propagation": "mean", "particles": 1,
    },
}  # fmt: skip
FITTED = {"name": "physics", "parameters": {"dof_damping": {"x": [0.01, 1.0]}}}


def write_boxes(folder, planner, model, **algorithm):
    algorithm = {
        "name": "mbrl",
        "version": "1.0",
        "samples": 1,
        "noise": 0.0,
        "planner": planner,
        "model": model,
    } | algorithm
    environment = {"test_conditions": [{"body_mass": {"box": 2.0}}], "conditions": CONDITIONS}
    folder = write(folder, SLIDER, environment=environment, algorithm=algorithm)
    (folder / "slider.xml").write_text(MJCF)
    return folder


@pytest.mark.parametrize("planner", PLANNERS)
def test_plans_in_a_fitted_simulator_are_those_of_each_condition(tmp_path, planner):
    """What was planned is what happens, in boxes of very different masses."""
    folder = write_boxes(tmp_path / "boxes", PLANNERS[planner], FITTED, iterations=2)
    record = gps.run(folder, out=tmp_path).iterations[1]
    happened = record.rollouts.states[:, 0]
    np.testing.assert_allclose(record.planner.planned_states[:, :12], happened, atol=1e-3)
    assert np.abs(happened[0] - happened[1]).max() > 0.3


def test_iterative_lqr_searches_in_the_true_simulator_of_each_condition(tmp_path):
    folder = write_boxes(tmp_path / "boxes", PLANNERS["ilqr"], "simulator", iterations=1)
    (record,) = gps.run(folder, out=tmp_path).iterations
    np.testing.assert_allclose(record.planner.planned_states[:, :12], record.rollouts.states[:, 0], atol=1e-6)
    np.testing.assert_allclose(record.planner.predicted, record.planner.actual, rtol=1e-6)


def test_a_planner_that_adapts_begins_with_the_simulator_of_each_condition(tmp_path):
    planner = {"name": "adaptive", "horizon": 12, "rounds": 1}
    folder = write_boxes(tmp_path / "boxes", planner, FITTED, iterations=2, version="1.5")
    record = gps.run(folder, out=tmp_path).iterations[1]
    np.testing.assert_allclose(record.planner.planned_states[:, :12], record.rollouts.states[:, 0], atol=2e-2)


def test_such_a_planner_knows_its_own_conditions_alone(tmp_path):
    folder = write_boxes(tmp_path / "boxes", PLANNERS["ilqr"], FITTED, iterations=1)
    run = gps.run(folder, out=tmp_path)
    with pytest.raises(ConfigError, match="knows its own start alone"):
        evaluate(run, starts="unseen")
    assert len(evaluate(run, episodes=2).costs) == len(CONDITIONS)


def test_a_policy_that_is_trained_through_one_model_needs_one_system(tmp_path):
    folder = write_boxes(
        tmp_path / "boxes", None, FITTED, iterations=1, name="policy_backprop", version=None, noise=0.1
    )
    with pytest.raises(ConfigError, match="the conditions change the simulator's model"):
        Experiment(load(folder), folder)
