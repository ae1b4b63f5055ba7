"""The contract of a batch environment: defaults, names and units, and a plug-in that breaks it."""

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import VectorEnv
from helpers.problems import LinearEnv

import gps.environments  # noqa: F401  (registers the ids)
from gps.builders.environments import make_environment
from gps.config.environment import EnvironmentConfig
from gps.environments.contract import BatchEnvironment, Entry, list_missing_members, name_entries
from gps.environments.guard import Guarded
from gps.environments.gymnasium_mujoco import find_batch_class
from gps.environments.mujoco import MujocoEnv
from gps.environments.plain.adapter import GymnasiumBatch
from gps.environments.plain.recipe import Recipe, find_spec
from gps.errors import ConfigError

ARM = """
<mujoco>
  <worldbody>
    <body name="box" pos="0 0 2"><freejoint name="box"/><geom size="0.1"/></body>
    <body name="ball" pos="1 0 2"><joint type="ball" name="ball"/><geom size="0.1" pos="0.1 0 0"/></body>
    <body><joint name="rail" type="slide" axis="1 0 0"/><geom size="0.1" mass="1"/>
      <body><joint name="elbow" axis="0 1 0"/><geom size="0.1" pos="0.3 0 0"/><site name="tip" pos="0.3 0 0"/>
        <body pos="0.3 0 0"><joint axis="0 1 0"/><geom size="0.1" pos="0.2 0 0"/></body>
      </body>
    </body>
    <site name="goal" pos="1 0 1"/>
  </worldbody>
  <tendon>
    <fixed name="both"><joint joint="rail" coef="1"/><joint joint="elbow" coef="1"/></fixed>
    <spatial name="cable"><site site="tip"/><site site="goal"/></spatial>
  </tendon>
  <actuator>
    <motor name="push" joint="rail"/>
    <motor joint="elbow"/>
    <motor name="geared" joint="elbow" gear="20"/>
    <position name="hold" joint="elbow" kp="7" kv="1"/>
    <velocity name="drive" joint="rail" kv="3"/>
    <intvelocity name="creep" joint="elbow" kp="5" actrange="-1 1"/>
    <damper name="brake" joint="elbow" kv="2" ctrlrange="0 1"/>
    <motor name="sum" tendon="both"/>
    <motor name="pull" tendon="cable"/>
    <general name="strong" joint="rail" gainprm="2"/>
    <motor name="thrust" site="tip" gear="0 0 1 0 0 0"/>
    <motor site="tip" gear="0 0 0 0 1 0"/>
  </actuator>
  <sensor>
    <touch name="touch" site="tip"/><jointpos name="angle" joint="elbow"/><gyro name="gyro" site="tip"/>
    <framequat name="turn" objtype="site" objname="tip"/>
  </sensor>
</mujoco>
"""
STATE = [
    "qpos", "qvel[0,2,9]", "act", "qpos:box", "qvel:elbow", "site_position:tip", "site_position:tip-goal[zx]",
    "site_velocity:tip", "sensor:touch", "sensor:angle", "sensor:gyro", "sensor:turn",
]  # fmt: skip


def make_plain():
    return GymnasiumBatch(2, Recipe("Pendulum-v1", find_spec("Pendulum-v1"), {}), threads=1)


ENVIRONMENTS = {
    "a task": lambda: gymnasium.make_vec("gps/PegInsertion-v0", 2),
    "Gymnasium's MuJoCo": lambda: find_batch_class("Hopper-v5")(2),
    "a guarded task": lambda: Guarded(gymnasium.make_vec("gps/Reacher-v0", 2)),
    "plain": make_plain,
    "guarded plain": lambda: Guarded(make_plain()),
    "a class with the defaults": lambda: LinearEnv(2, np.eye(2), np.ones((2, 1))),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_each_environment_satisfies_the_contract(name):
    env = ENVIRONMENTS[name]()
    assert BatchEnvironment in type(env).__mro__
    assert list_missing_members(env) == []
    dx, du = env.single_observation_space.shape[0], env.single_action_space.shape[0]
    assert sum(where.stop - where.start for where in env.state_layout.values()) == dx
    for entries, width in (env.state_entries, dx), (env.action_entries, du):
        assert len(entries) == len({entry.name for entry in entries}) == width
        assert all(isinstance(entry, Entry) for entry in entries)
    start = {"start": np.zeros(dx)} if isinstance(env, LinearEnv) else {}
    states, _ = env.reset(options={"conditions": [start, start]})
    assert states.shape == (2, dx)
    env.rest(np.array([True, False]))
    assert (env.snapshot(0) is None) == (name not in ("a task", "Gymnasium's MuJoCo", "a guarded task"))
    env.close()


def test_the_defaults():
    env = LinearEnv(2, np.eye(3), np.ones((3, 2)))
    assert np.isnan(env.dt)
    assert env.max_episode_steps is env.mechanics is env.observation_layout is env.render_mode is None
    assert (env.seeded, env.observation_pictures, dict(env.observation_shapes)) == (False, (), {})
    assert env.observation_dtype == np.float64
    assert env.state_entries == (Entry("x[0]", ""), Entry("x[1]", ""), Entry("x[2]", ""))
    assert env.action_entries == (Entry("action[0]", ""), Entry("action[1]", ""))


def test_a_guard_hands_on_what_the_environment_says():
    inner = gymnasium.make_vec("gps/Reacher-v0", 2)
    env = Guarded(inner, (np.full(2, -0.5), np.full(2, 0.5)))
    for name in ("state_layout", "state_entries", "action_entries", "mechanics", "dt", "max_episode_steps", "seeded"):
        assert getattr(env, name) == getattr(inner, name) or getattr(env, name) is getattr(inner, name)
    model, data = env.snapshot(1)
    assert isinstance(model, mujoco.MjModel) and isinstance(data, mujoco.MjData)
    env.close()


def test_entries_are_named_after_their_part():
    layout = {"speed": slice(0, 1), "place[0,2]": slice(1, 3), "tip[zx]": slice(3, 5), "all": slice(5, 7)}
    names = [entry.name for entry in name_entries(layout, 7)]
    assert names == ["speed", "place[0]", "place[2]", "tip[z]", "tip[x]", "all[0]", "all[1]"]


def test_names_and_units_of_a_state():
    env = MujocoEnv(1, mjcf=ARM, state=STATE)
    entries = {entry.name: entry.unit for entry in env.state_entries}
    box = [f"qpos:box[{i}]" for i in range(7)]
    assert [entry.name for entry in env.state_entries] == [
        *box, *(f"qpos:ball[{i}]" for i in range(4)), "qpos:rail", "qpos:elbow", "qpos[13]",
        "qvel:box[0]", "qvel:box[2]", "qvel:rail", "act", *box, "qvel:elbow",
        *(f"site_position:tip[{axis}]" for axis in "xyz"), "site_position:tip-goal[z]", "site_position:tip-goal[x]",
        *(f"site_velocity:tip[{axis}]" for axis in "xyz"), "sensor:touch", "sensor:angle",
        *(f"sensor:gyro[{i}]" for i in range(3)), *(f"sensor:turn[{i}]" for i in range(4)),
    ]  # fmt: skip
    units = {
        "qpos:box[2]": "m", "qpos:box[3]": "", "qpos:ball[0]": "", "qpos:rail": "m", "qpos:elbow": "rad",
        "qpos[13]": "rad", "qvel:box[2]": "m/s", "qvel:rail": "m/s", "qvel:elbow": "rad/s", "act": "",
        "site_position:tip[y]": "m", "site_position:tip-goal[z]": "m", "site_velocity:tip[x]": "m/s",
        "sensor:touch": "N", "sensor:angle": "rad", "sensor:gyro[1]": "rad/s", "sensor:turn[0]": "",
    }  # fmt: skip
    assert {name: entries[name] for name in units} == units
    free = MujocoEnv(1, mjcf=ARM, state=["qvel:box", "qvel:ball"])
    assert [entry.unit for entry in free.state_entries] == ["m/s"] * 3 + ["rad/s"] * 6


def test_the_name_of_an_entry_is_a_part_with_the_same_values():
    rng = np.random.default_rng(0)
    parts = [part for part in STATE if part != "qpos:box"]
    env = MujocoEnv(2, mjcf=ARM, state=parts)
    other = MujocoEnv(2, mjcf=ARM, state=[entry.name for entry in env.state_entries])
    env.reset()
    other.reset()
    for _ in range(3):
        action = 0.1 * rng.normal(size=(2, env.model.nu))
        np.testing.assert_array_equal(env.step(action)[0], other.step(action)[0])
    assert other.state_entries == env.state_entries


def test_names_and_units_of_actions():
    entries = MujocoEnv(1, mjcf=ARM, state=["qpos"]).action_entries
    assert [(entry.name, entry.unit) for entry in entries] == [
        ("push", "N"),
        ("elbow", "N m"),  # the joint's name: the actuator has none
        ("geared", ""),  # in units of 20 N m
        ("hold", "rad"),
        ("drive", "m/s"),
        ("creep", "rad/s"),
        ("brake", ""),
        ("sum", ""),  # metres and radians
        ("pull", "N"),
        ("strong", ""),
        ("thrust", "N"),
        ("tip", "N m"),
    ]


def test_actuators_without_a_unique_name_are_numbered():
    twice = ARM.replace('name="geared" joint', "joint")
    assert [entry.name for entry in MujocoEnv(1, mjcf=twice, state=["qpos"]).action_entries][:4] == [
        "push", "action[1]", "action[2]", "hold",
    ]  # fmt: skip


class Bare(VectorEnv):
    """A vector environment of Gymnasium's, without the contract."""

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.single_observation_space = self.single_action_space = Box(-1, 1, (1,), np.float64)
        self.state_layout = {"x": slice(0, 1)}

    def reset(self, *, seed=None, options=None):
        return np.zeros((self.num_envs, 1)), {}

    def step(self, actions):
        raise NotImplementedError


class Unlaid(Bare, BatchEnvironment):
    """One that derives from the contract, without the layout that it must set."""

    def __init__(self, num_envs):
        super().__init__(num_envs)
        del self.state_layout


class Still(VectorEnv, BatchEnvironment):
    """One that sets everything and defines nothing."""

    __init__ = Bare.__init__


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        (Bare, r"`observation_layout`, .*`dt`, .*`state_entries`, .*`rest`, `holding_action`, `snapshot`"),
        (Unlaid, "`state_layout`"),
        (Still, "`reset`, `step`"),
    ],
)
def test_a_plug_in_that_lacks_members_is_one_line(kind, missing, tmp_path):
    (tmp_path / "task.py").write_text("from test_environment_contract import Bare, Still, Unlaid\n")
    config = EnvironmentConfig(id=f"task:{kind.__name__}", conditions=[{}])
    message = (
        f"'task:{kind.__name__}' makes a {kind.__name__} without {missing}; derive it from gps.environments.contract"
    )
    with pytest.raises(ConfigError, match=message) as error:
        make_environment(config, tmp_path, 2)
    assert "\n" not in str(error.value)
