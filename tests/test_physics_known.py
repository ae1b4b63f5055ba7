"""What is known of a simulator besides its parameters: a position that the state lacks and that does not matter."""

import shutil

import numpy as np
import pytest
from helpers.experiments import SLIDER, SLIDER_MJCF, write

import gps
from gps import cli
from gps.config import load
from gps.errors import ConfigError
from gps.experiment import Experiment

PHYSICS = {
    "name": "physics", "assumed": {"qpos:x": -3.0}, "parameters": {"dof_damping": {"x": [0.01, 1.0]}},
}  # fmt: skip


def write_speeds(folder, **algorithm):
    """The slider whose place is not in its state, and which is to be fast."""
    algorithm = {
        "name": "mbrl",
        "samples": 2,
        "iterations": 1,
        "planner": "ilqr",
        "model": PHYSICS,
        "controller": {"initial": {"name": "zero"}},
    } | algorithm
    folder = write(
        folder, SLIDER, environment={"state": ["qvel"]}, algorithm=algorithm,
        cost=({"name": "quadratic", "on": "qvel", "target": 0.5},),
    )  # fmt: skip
    (folder / "slider.xml").write_text(SLIDER_MJCF)
    return folder


def test_a_stored_simulator_goes_on_with_what_was_assumed(tmp_path):
    run = gps.run(write_speeds(tmp_path / "speeds"), out=tmp_path / "runs")
    file, assumed = tmp_path / "model.npz", "model.assumed={'qpos:x'=-3.0}"
    bounds = "model.parameters={dof_damping={x=[0.01, 1.0]}}"
    assert (
        cli.main(["fit", str(run.path), "-o", str(file), "--model", "physics", "--set", assumed, "--set", bounds]) == 0
    )
    folder = write_speeds(tmp_path / "stored", model={"path": str(file)}, base_iterations=0, noise=0.0)
    (record,) = gps.run(folder, out=tmp_path / "runs").iterations
    np.testing.assert_allclose(record.planner.predicted, record.planner.actual, rtol=1e-6)
    np.testing.assert_allclose(record.rollouts.states[:, 0, 6:, 0], 0.5, atol=0.05)


def test_a_position_that_is_missing_is_named_with_the_key_that_helps(tmp_path):
    folder = write_speeds(tmp_path / "speeds", model={**PHYSICS, "assumed": {}})
    with pytest.raises(
        ConfigError,
        match=r"it lacks qpos:x; .* set `assumed = ",
    ):
        Experiment(load(folder), folder)


ROBOT = """
import gymnasium
import mujoco
import shutil

import numpy as np


class Robot(gymnasium.Env):
    \"\"\"A slider of 2 kg that is no simulation of the library, as a real robot.\"\"\"

    metadata = {"render_modes": []}
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float64)
    dt = 0.05

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = np.zeros(2)
        return self.x.copy(), {}

    def step(self, action):
        for _ in range(5):
            self.x[1] += 0.01 * (5.0 * float(action[0]) - 0.1 * self.x[1]) / (2.0 + 0.01 * 0.1)
            self.x[0] += 0.01 * self.x[1]
        return self.x.copy(), 0.0, False, False, {}
"""


def write_robot(folder, model):
    algorithm = {
        "name": "mbrl", "version": "1.0", "samples": 2, "iterations": 2, "noise": 0.0, "planner": "ilqr",
        "model": model, "controller": {"initial": {"name": "zero"}},
    }  # fmt: skip
    environment = {"id": "task:Robot", "mjcf": None, "frame_skip": None, "horizon": 12, "conditions": None}
    cost = ({"name": "quadratic", "on": "observation", "target": [0.5, 0.0]}, {"name": "quadratic", "weight": 0.01})
    folder = write(folder, SLIDER, ROBOT, environment=environment, algorithm=algorithm, cost=cost)
    (folder / "model").mkdir()
    (folder / "model/bad.xml").write_text("hello")
    (folder / "model/slider.xml").write_text(SLIDER_MJCF.replace("<body>", '<body name="box">'))
    return folder


OWN = {"mjcf": "model/slider.xml", "state": ["qpos", "qvel"]}


def test_a_robot_that_is_no_simulation_is_known_by_a_model_of_its_own(tmp_path):
    model = {"name": "physics", **OWN, "parameters": {"body_mass": {"box": [0.2, 20.0]}}}
    run = gps.run(write_robot(tmp_path / "robot", model), out=tmp_path / "runs")
    record = run.iterations[1]
    assert "body_mass:box 2 ±" in record.model.message
    np.testing.assert_allclose(record.planner.planned_states[0, :12], record.rollouts.states[0, 0], atol=1e-3)
    shutil.rmtree(tmp_path / "robot")  # the run has a copy of all
    assert len(gps.resume(run.path, iterations=1).iterations) == 3


def test_a_stored_simulator_serves_a_robot_that_is_no_simulation(tmp_path):
    model = {"name": "physics", **OWN, "parameters": {"body_mass": {"box": [0.2, 20.0]}}}
    run = gps.run(write_robot(tmp_path / "robot", model), out=tmp_path / "runs")
    options = ["--model", "physics", "--set", "model.parameters={body_mass={box=[0.2,20.0]}}"]
    options += ["--set", f"model.mjcf={tmp_path}/robot/model/slider.xml", "--set", 'model.state=["qpos","qvel"]']
    file = tmp_path / "model.npz"
    assert cli.main(["fit", str(run.path), "-o", str(file), *options]) == 0
    again = write_robot(tmp_path / "again", {"path": str(file), **OWN})
    record = gps.run(again, out=tmp_path / "runs", overrides=["algorithm.base_iterations=0"]).iterations[0]
    np.testing.assert_allclose(record.planner.planned_states[0, :12], record.rollouts.states[0, 0], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": ["qpos"]}, r"slider.xml has 1 states with state = \['qpos'\]; this experiment has 2"),
        ({"state": ["qpos", "qvell"]}, "did you mean 'qvel'"),
        ({"mjcf": "model/slidr.xml"}, r"algorithm\.model\.mjcf: .*slidr\.xml"),
        ({"mjcf": "model/bad.xml"}, r"algorithm\.model\.mjcf: .*XML parse error"),
        ({"mjcf": None}, "state: is for the model in mjcf, and there is none"),
    ],
)
def test_a_model_that_does_not_fit_the_robot_is_one_clear_error(tmp_path, changes, message):
    model = {key: value for key, value in ({"name": "physics"} | OWN | changes).items() if value is not None}
    folder = write_robot(tmp_path / "robot", model | {"parameters": {"body_mass": {"box": [0.2, 20.0]}}})
    with pytest.raises(ConfigError, match=message) as error:
        Experiment(load(folder), folder)
    assert "\n" not in str(error.value)
