"""Experiments on environments that are not of this library: ids of Gymnasium, classes in task.py, MJCF files."""

from contextlib import closing

import numpy as np
import pytest
from helpers.experiments import write

import gps
from gps.cli import main
from gps.config import load
from gps.errors import ConfigError
from gps.experiment import Experiment
from gps.runs import load_run

EXPERIMENT = {
    "environment": {"id": "Pendulum-v1", "horizon": 10, "conditions": 2},
    "algorithm": {"iterations": 2, "samples": 3},
}


@pytest.fixture
def experiment(tmp_path):
    """Writes an experiment: the id of its environment, what it costs, its task.py, further keys of `environment`."""

    def make(id, on="observation", task=None, **environment):
        environment["id"] = id
        return write(tmp_path, EXPERIMENT, task, environment=environment, cost=[{"name": "quadratic", "on": on}])

    return make


def started(folder, *overrides):
    run = gps.run(folder, out=folder / "runs", overrides=overrides)
    for record in run.iterations:
        assert np.isfinite(record.local.improved.feedback).all()
        assert (np.linalg.eigvalsh(record.local.improved.covariance) > 0).all()
    return run


def test_an_id_alone_runs(experiment):
    folder = experiment("Pendulum-v1")
    run = started(folder)
    record = run.iterations[0]
    assert record.rollouts.states.shape == (2, 3, 10, 3)
    assert run.config.environment.conditions == ({"seed": 0}, {"seed": 1})
    np.testing.assert_allclose(record.local.controllers.covariance[0, 0], [[1.0]])  # a quarter of -2 to 2
    assert (record.rollouts.rewards < 0).any()
    alone = started(folder, "environment.threads=1")
    np.testing.assert_array_equal(alone.iterations[1].rollouts.states, run.iterations[1].rollouts.states)
    assert main(["check", str(folder)]) == 0


def horizon(folder, *overrides):
    with closing(Experiment(load(folder, overrides), folder)) as built:
        return built.horizon


def test_the_horizon_is_the_environments_unless_it_is_shorter(experiment, capsys):
    folder = experiment("helpers.plain_envs:Point-v0", horizon=51, threads=1)
    assert main(["run", str(folder), "--out", str(folder / "runs")]) == 2
    said = capsys.readouterr().err
    assert "environment.horizon: 51 steps are more than the environment's own limit of 50" in said
    assert not (folder / "runs").exists()
    assert horizon(folder, "environment.options.max_episode_steps=51") == 51
    experiment("helpers.plain_envs:Point-v0", horizon=None, threads=1)
    assert horizon(folder) == 50
    assert horizon(folder, "environment.horizon=7") == 7
    started(folder, "environment.options.max_episode_steps=10")


def test_an_environment_of_this_library_has_its_limit_too(experiment):
    folder = experiment("gps/PointMass-v0", conditions=[{}], horizon=101, on="qpos")
    with pytest.raises(ConfigError, match="101 steps are more than the environment's own limit of 100"):
        horizon(folder)
    assert horizon(folder, "environment.options.max_episode_steps=101") == 101


def test_a_module_of_ones_own(experiment, tmp_path, monkeypatch, registry):
    """`package.module:Env-v0`, found where Python finds modules, in the other processes too."""
    package = tmp_path / "somewhere" / "robots"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "arms.py").write_text("""
import gymnasium
from helpers.plain_envs import Point

class Arm(Point):
    pass

gymnasium.register("Arm-v0", entry_point="robots.arms:Arm", max_episode_steps=9)
""")
    monkeypatch.syspath_prepend(package.parent)
    run = started(experiment("robots.arms:Arm-v0", horizon=9, threads=2))
    assert run.iterations[0].rollouts.states.shape == (2, 3, 9, 2)


def test_early_ends_are_masked_and_learning_goes_on(experiment):
    """A pole that falls: all episodes of a condition end early, and at different steps."""
    folder = experiment("InvertedPendulum-v5", horizon=30, threads=1)
    run = started(folder, "algorithm.iterations=3", "algorithm.controller.initial.name=zero")
    lengths = run.iterations[0].rollouts.mask.sum(axis=2)
    assert lengths.max() < 30
    assert len(np.unique(lengths)) > 1


def test_one_state_and_one_action_and_a_dict(experiment):
    folder = experiment("helpers.plain_envs:Parted-v0", state=["velocity"], threads=1, on="velocity")
    assert started(folder).iterations[-1].local.improved.feedback.shape == (2, 10, 1, 1)
    folder = experiment("helpers.plain_envs:Point-v0", state=["observation[0]"], threads=1, on="observation[0]")
    assert started(folder).iterations[-1].local.improved.feedback.shape == (2, 10, 1, 1)


TASK = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box
from helpers.plain_envs import Point
from gps.environments.mujoco import MujocoEnv

class Own(Point):
    max_episode_steps = 12

def made(**options):
    return Own(**options)

class Slider(MujocoEnv):
    def __init__(self, num_envs, **options):
        model = '<mujoco><worldbody><body><joint name="x" type="slide"/><geom size="0.1"/></body></worldbody>'
        model += '<actuator><motor joint="x"/></actuator></mujoco>'
        super().__init__(num_envs, mjcf=model, state=["qpos", "qvel"], **options)
"""


def test_a_class_in_task_py_may_be_plain_or_a_batch(experiment):
    folder = experiment("task:Own", horizon=12, task=TASK)
    assert started(folder).iterations[0].rollouts.mask.all()
    with pytest.raises(ConfigError, match="13 steps are more than the environment's own limit of 12"):
        started(folder, "environment.horizon=13")
    started(experiment("task:made", options={"limit": 2.0}, threads=1, task=TASK))
    started(experiment("task:Slider", conditions=[{}, {"qpos": [0.1]}], on="qpos", task=TASK))
    with pytest.raises(ConfigError, match=r"no 'Onw', which environment.id refers to; did you mean 'Own'"):
        started(experiment("task:Onw", task=TASK))


def test_an_unknown_key_of_a_condition_is_told_by_whoever_knows_the_keys(experiment):
    with pytest.raises(ConfigError, match="condition 0: unknown key 'seed'"):
        started(experiment("gps/PointMass-v0", on="qpos"))


ARM = """
<mujoco>
  <worldbody>
    <body>
      <joint name="elbow" axis="0 1 0" damping="1"/>
      <geom type="capsule" fromto="0 0 0 0.5 0 0" size="0.05" mass="1"/><site name="tip" pos="0.5 0 0"/>
    </body>
    <site name="goal" pos="0.4 0 0.3"/>
  </worldbody>
  <actuator><motor joint="elbow" gear="5" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""


def test_an_own_model_needs_no_python(experiment):
    part = "site_position:tip-goal"
    conditions = [{}, {"qpos": [0.2]}]
    folder = experiment(None, mjcf="arm.xml", state=["qpos", "qvel", part], conditions=conditions, on=part)
    (folder / "arm.xml").write_text(ARM)
    run = started(folder)
    assert run.iterations[0].rollouts.states.shape == (2, 3, 10, 5)
    assert (run.source / run.config.environment.mjcf).is_file()  # so that a resume finds it, whatever becomes of it
    resumed = gps.resume(run.path, iterations=1)
    assert len(resumed.iterations) == 3
    (folder / "arm.xml").write_text(ARM.replace("</body>", "<body>"))
    with pytest.raises(ConfigError, match=r"environment: .*arm.xml: XML parse error .* Line number=7"):
        started(folder)


NO_MOTOR = """
<mujoco><worldbody><body><joint name="hinge"/><geom size="0.1" pos="0.1 0 0"/></body></worldbody></mujoco>
"""

NO_ACTION = """
import numpy as np
from gymnasium.spaces import Box
from helpers.plain_envs import Point


class Statue(Point):
    def __init__(self):
        super().__init__()
        self.action_space = Box(-1, 1, (0,))
"""


@pytest.mark.parametrize("kind", ["mjcf", "gymnasium"])
def test_an_environment_without_actions_is_refused(experiment, tmp_path, kind, capsys):
    folder = experiment("task:Statue", task=NO_ACTION, threads=1)
    if kind == "mjcf":
        (tmp_path / "hinge.xml").write_text(NO_MOTOR)
        cost = [{"name": "quadratic", "on": "qpos"}]
        folder = write(tmp_path, {"environment": {"mjcf": "hinge.xml", "horizon": 5}, "cost": cost})
    assert main(["check", str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert {"mjcf": "the model has no actuators", "gymnasium": "has no actions"}[kind] in line


ARM_XML = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <body><joint name="x" type="slide" axis="1 0 0" damping="1"/><geom size="0.1" mass="1"/><site name="tip"/></body>
  </worldbody>
  <actuator><motor joint="x" gear="5" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""
IN_A_CLASS = """
from gps.environments.mujoco import MujocoEnv

class Robot(MujocoEnv):
    def __init__(self, num_envs, **options):
        super().__init__(num_envs, mjcf="arm.xml", **options)
"""


IN_A_FUNCTION = """
from gps.environments.mujoco import MujocoEnv

def Robot(num_envs, **options):
    return MujocoEnv(num_envs, mjcf="arm.xml", **options)
"""


@pytest.mark.parametrize("kind", ["mjcf", "class", "function"])
def test_a_model_has_a_target_and_a_success_without_python(tmp_path, kind, monkeypatch, capsys):
    """A point of the world is the target, the model is beside `task.py`, and a joint of `qpos` has a cost."""
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "arm.xml").write_text(ARM_XML)
    environment = {
        "id": None if kind == "mjcf" else "task:Robot",
        "mjcf": "arm.xml" if kind == "mjcf" else None,
        "state": ["qpos", "qvel", "site_position:tip-[0.3, 0, 0]"],
        "frame_skip": 5,
        "horizon": 10,
        "conditions": [{"qpos": [0.29]}, {"qpos": [-5.0]}],
        "success": {"distance": "tip-[0.3, 0, 0]", "within": 0.5, "from": 0.2},
    }
    cost = [{"name": "distance"}, {"name": "quadratic", "on": "qvel:x", "weight": 0.1}]
    task = IN_A_FUNCTION if kind == "function" else IN_A_CLASS
    folder = write(tmp_path / "task", EXPERIMENT, task, environment=environment, cost=cost)
    monkeypatch.chdir(tmp_path)
    assert main(["run", str(folder), "--out", str(tmp_path / "runs")]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.split()[-1:] == ["status"]) + 1
    assert [line.split()[3] for line in lines[first : first + 2]] == ["3/3", "0/3"]
    (run,) = (tmp_path / "runs" / "task").iterdir()
    final = load_run(run).evaluation("final").rollouts
    x = final.states[:, 0, -1, 2]  # of the state before the last step
    np.testing.assert_allclose(final.distance[:, 0], np.abs(x), atol=0.2)
    for command in ("show", "evaluate") if kind == "mjcf" else ("show",):
        assert main([command, str(run)]) == 0
        assert "distance" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["keyframe", "success"])
def test_a_key_of_mujoco_models_is_refused_elsewhere(experiment, key, capsys):
    value = {"keyframe": "home", "success": {"distance": "a-b", "within": 1.0}}[key]
    assert main(["check", str(experiment("Pendulum-v1", **{key: value}))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"environment.{key}: only a MuJoCo model has it; 'Pendulum-v1' is a Gymnasium environment" in line
