"""Simulations that become unstable leave no file of MuJoCo's behind, and say what they say once."""

import pytest
from helpers.experiments import SLIDER_MJCF
from helpers.processes import run_python

BATCH = f"""
import numpy as np
from gps.environments.mujoco import MujocoEnv
envs = MujocoEnv(2, mjcf='''{SLIDER_MJCF}''', state=["qpos", "qvel"])
envs.reset()
envs.batch.state[:] = 1e11
envs.step(np.ones((2, 1)))
"""

UNSTABLE = f"""
import warnings
import gymnasium, mujoco, numpy as np
from gymnasium.spaces import Box

class Unstable(gymnasium.Env):
    observation_space = action_space = Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        warnings.warn("the gripper is old")
        return np.zeros(1, np.float32), {{}}

    def step(self, action):
        model = mujoco.MjModel.from_xml_string('''{SLIDER_MJCF}''')
        data = mujoco.MjData(model)
        data.qvel[0] = 1e300
        mujoco.mj_step(model, data)
        return np.zeros(1, np.float32), 0.0, False, False, {{}}

gymnasium.register("Unstable-v0", entry_point=Unstable)
"""

PLAIN = """
import sys
sys.path.insert(0, {path!r})
import numpy as np
from gps.environments.plain.adapter import GymnasiumBatch
from gps.environments.plain.recipe import Recipe, find_spec
name = "unstable:Unstable-v0"
envs = GymnasiumBatch(4, Recipe(name, find_spec(name)), threads={threads})
envs.reset(options={{"conditions": [{{}}] * 4}})
envs.step(np.zeros((4, 1)))
envs.close()
"""


def test_a_batch_leaves_no_file(tmp_path):
    done = run_python("-c", BATCH, cwd=tmp_path)
    assert done.returncode == 0 and "unstable" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("threads", [1, 3])
def test_a_plain_environment_leaves_no_file_and_warns_once(threads, tmp_path):
    (tmp_path / "unstable.py").write_text(UNSTABLE.replace("entry_point=Unstable", 'entry_point="unstable:Unstable"'))
    here = tmp_path / "here"
    here.mkdir()
    done = run_python("-c", PLAIN.format(path=str(tmp_path), threads=threads), cwd=here)
    assert done.returncode == 0, done.stderr
    assert "unstable" in done.stderr and done.stderr.count("the gripper is old") == 2  # the sentence, and its line
    assert not list(here.iterdir())


def test_a_file_that_the_user_has_named_is_kept(tmp_path):
    own = "import mujoco; c = mujoco.MjLogConfig.get(); c.logfile = 'own.txt'; c.set()"
    assert run_python("-c", own + BATCH, cwd=tmp_path).returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["own.txt"]
