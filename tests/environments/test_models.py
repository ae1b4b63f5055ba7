"""Models as they are found: where the file is, URDF, models without actuators, numbers that cannot be."""

import importlib.util

import mujoco
import numpy as np
import pytest

from gps.environments.mujoco import MujocoEnv
from gps.environments.mujoco.passive import find_passive, find_unactuated

URDF = """<?xml version="1.0"?>
<robot name="two">
  <link name="base"/>
  <link name="l1">
    <inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
  </link>
  <link name="l2">
    <inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>
  </link>
  <joint name="j1" type="revolute"><parent link="base"/><child link="l1"/><axis xyz="0 1 0"/>
    <limit lower="-2" upper="1" effort="10" velocity="3"/></joint>
  <joint name="j2" type="prismatic"><parent link="l1"/><child link="l2"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="0.5" effort="20" velocity="3"/></joint>
</robot>
"""
SLIDER = """
<mujoco>
  <worldbody><body><joint name="x" type="slide" axis="1 0 0"/><geom size="0.1" mass="1"/></body></worldbody>
  <actuator><motor joint="x" gear="5"/></actuator>
</mujoco>
"""
ROBOT = """
from gps.environments.mujoco import MujocoEnv

class Robot(MujocoEnv):
    def __init__(self, num_envs, **options):
        super().__init__(num_envs, **{"mjcf": "model.xml", **options})
"""


def load_class(file, code=ROBOT):
    """The class `Robot` of a module that is read from a file and is in no package."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("a_task", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Robot


# -- the file ----------------------------------------------------------------------------------------------


def test_a_relative_path_is_beside_the_module_of_the_class(tmp_path, monkeypatch):
    robot = load_class(tmp_path / "task" / "task.py")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.xml").write_text(SLIDER.replace('gear="5"', 'gear="7"'))
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"task/model\.xml: no such MJCF file"):
        robot(1)
    (tmp_path / "task" / "model.xml").write_text(SLIDER)
    assert robot(1).model.actuator_gear[0, 0] == 5
    assert MujocoEnv(1, mjcf="model.xml").model.actuator_gear[0, 0] == 7


def test_a_class_finds_the_model_of_the_class_that_it_derives_from(tmp_path, monkeypatch):
    base = load_class(tmp_path / "base" / "task.py")
    (tmp_path / "base" / "model.xml").write_text(SLIDER)
    derived = load_class(tmp_path / "derived" / "task.py", "def make(base):\n    class Robot(base):\n"
                         "        def at_goal(self, states): ...\n    return Robot\nRobot = make")(base)  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert derived(1).model.nu == 1
    (tmp_path / "derived" / "model.xml").write_text(SLIDER.replace('gear="5"', 'gear="7"'))
    assert derived(1).model.actuator_gear[0, 0] == 7


@pytest.mark.parametrize("path", ["a" * 5000, "a\0b", "/" + "b/" * 3000])
def test_a_path_that_cannot_be_is_one_short_sentence(path):
    with pytest.raises(ValueError, match="no such MJCF file") as error:
        MujocoEnv(1, mjcf=path)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_skip": 5000}, "frame_skip must be at most 1000, got 5000"),
        ({"image_size": (100000, 64)}, "image_size must be a width and a height in pixels, 1 to 1024, got"),
        ({"image_size": (64, 0)}, "image_size must be"),
    ],
)
def test_numbers_that_cannot_be_are_refused_before_the_model_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        MujocoEnv(1, mjcf="no such file", **options)


# -- actuators -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mjcf", [URDF, SLIDER[: SLIDER.index("<actuator>")] + "</mujoco>"])
def test_a_model_without_actuators_is_refused_in_one_sentence(mjcf):
    with pytest.raises(ValueError, match=r'the model has no actuators.*actuators = \{ kind = "motor" \}'):
        MujocoEnv(1, mjcf=mjcf)


def test_a_urdf_with_motors_has_the_limits_of_its_efforts():
    env = MujocoEnv(1, mjcf=URDF, actuators={"kind": "motor"})
    assert [entry.name for entry in env.action_entries] == ["j1", "j2"]
    assert [entry.unit for entry in env.action_entries] == ["N m", "N"]
    np.testing.assert_array_equal(env.single_action_space.high, [10, 20])
    geared = MujocoEnv(1, mjcf=URDF, actuators={"kind": "motor", "gear": {"j2": 4}})
    np.testing.assert_array_equal(geared.single_action_space.high, [10, 5])


def test_a_urdf_with_position_servos_goes_where_it_is_told():
    env = MujocoEnv(1, mjcf=URDF, frame_skip=10, actuators={"kind": "position", "kp": {"j1": 4e3, "j2": 2e3}})
    np.testing.assert_array_equal(env.single_action_space.low, [-2, 0])
    np.testing.assert_array_equal(env.single_action_space.high, [1, 0.5])
    env.reset()
    for _ in range(500):
        states, *_ = env.step([[0.5, 0.2]])
    np.testing.assert_allclose(states[0], [0.5, 0.2, 0, 0], atol=0.02)  # it sags under gravity


def test_velocity_servos_on_chosen_joints():
    env = MujocoEnv(1, mjcf=URDF, actuators={"kind": "velocity", "kv": 5, "range": [-1, 1], "joints": ["j2"]})
    assert [(entry.name, entry.unit) for entry in env.action_entries] == [("j2", "m/s")]
    np.testing.assert_array_equal(env.single_action_space.high, [1])


def test_actuators_are_added_where_there_is_none():
    two = SLIDER.replace('<joint name="x"', '<joint name="y" type="slide" axis="0 1 0"/><joint name="x"')
    env = MujocoEnv(1, mjcf=two, actuators={"kind": "motor", "range": [-2, 2]})
    assert [entry.name for entry in env.action_entries] == ["x", "y"]


@pytest.mark.parametrize(
    ("actuators", "message"),
    [
        ({}, r"actuators.kind: expected 'motor', 'position', 'velocity', got None"),
        ([1], r"actuators: must be a mapping"),
        ({"kind": "motor", "kp": 1}, r"actuators: a motor has no key 'kp'"),
        ({"kind": "position"}, r"actuators.kp: missing"),
        ({"kind": "velocity", "range": [-1, 1]}, r"actuators.kv: missing"),
        ({"kind": "velocity", "kv": 1}, r"actuators.range: the joint 'j1' has no limit of velocity"),
        ({"kind": "motor", "joints": ["j3"]}, r"actuators: joint 'j3' is unknown; known are 'j1', 'j2'"),
        ({"kind": "motor", "joints": "j1"}, r"actuators.joints: expected a list of names"),
        ({"kind": "motor", "range": [1, -1]}, r"actuators.range of 'j1': expected \[lowest, highest\]"),
        ({"kind": "motor", "gear": 0}, r"actuators.gear of 'j1': must be positive"),
    ],
)
def test_wrong_actuators_are_named(actuators, message):
    with pytest.raises(ValueError, match=message):
        MujocoEnv(1, mjcf=URDF, actuators=actuators)


# -- joints that nothing moves ---------------------------------------------------------------------------------

PARTS = """
<mujoco>
  <worldbody>
    <body><joint name="x" type="slide"/><geom size="0.1" {geom}/><site name="x"/>
      <body><joint name="pole"/><geom size="0.1"/></body></body>
    <body name="b" pos="1 0 0"><joint name="other"/><geom size="0.1" {geom}/><site name="b"/></body>
    <body name="c" pos="2 0 0"><freejoint name="free"/><geom size="0.1" {geom}/></body>
  </worldbody>
  {more}
  <actuator><motor joint="x"/></actuator>
</mujoco>
"""
APART = 'contype="0" conaffinity="0"'


@pytest.mark.parametrize(
    ("geom", "more", "passive"),
    [
        (APART, "", ["other", "free"]),
        ("", "", []),  # whatever can be touched can be pushed
        (APART, '<equality><connect body1="b" body2="c" anchor="0 0 0"/></equality>', ["other", "free"]),
        (APART, '<equality><joint joint1="x" joint2="other"/></equality>', ["free"]),
        (APART, '<equality><weld site1="x" site2="b"/><weld body1="b" body2="c"/></equality>', []),
        (APART, '<tendon><fixed><joint joint="x" coef="1"/><joint joint="other" coef="1"/></fixed></tendon>', ["free"]),
        (APART, '<tendon><spatial><site site="x"/><site site="b"/></spatial></tendon>', ["free"]),
    ],
)
def test_passive_joints_are_those_that_no_actuator_moves_by_any_way(geom, more, passive):
    model = mujoco.MjModel.from_xml_string(PARTS.format(geom=geom, more=more))
    assert find_passive(model) == passive
    if passive:  # the simulation agrees
        one, two = mujoco.MjData(model), mujoco.MjData(model)
        two.ctrl[:] = 100
        mujoco.mj_step(model, one, nstep=20)
        mujoco.mj_step(model, two, nstep=20)
        for name in ("x", *passive):
            assert np.array_equal(one.joint(name).qpos, two.joint(name).qpos) == (name in passive)


def test_the_transmissions_reach_what_they_pull():
    tendon = '<tendon><spatial name="t"><site site="b"/><site site="x"/></spatial></tendon>'
    by_tendon = PARTS.format(geom=APART, more=tendon).replace('<motor joint="x"/>', '<motor tendon="t"/>')
    assert find_passive(mujoco.MjModel.from_xml_string(by_tendon)) == ["free"]
    by_site = PARTS.format(geom=APART, more="").replace('<motor joint="x"/>', '<general site="b" gear="1 0 0 0 0 0"/>')
    assert find_passive(mujoco.MjModel.from_xml_string(by_site)) == ["x", "pole", "free"]


def test_joints_without_an_actuator_are_those_that_it_moves_through_others():
    assert find_unactuated(mujoco.MjModel.from_xml_string(PARTS.format(geom="", more=""))) == ["pole", "other", "free"]
    follows = '<equality><joint joint1="pole" joint2="other"/><joint joint1="x" joint2="pole"/></equality>'
    assert find_unactuated(mujoco.MjModel.from_xml_string(PARTS.format(geom="", more=follows))) == ["free"]
    tendon = '<tendon><fixed name="t"><joint joint="x" coef="1"/><joint joint="other" coef="1"/></fixed></tendon>'
    pulled = PARTS.format(geom="", more=tendon).replace('<motor joint="x"/>', '<motor tendon="t"/>')
    assert find_unactuated(mujoco.MjModel.from_xml_string(pulled)) == ["pole", "free"]
