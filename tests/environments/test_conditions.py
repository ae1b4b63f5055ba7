"""Where a simulation starts: keyframes, activations, quaternions, and bodies that are free to be anywhere."""

import mujoco
import numpy as np
import pytest

from gps.environments.mujoco import MujocoEnv

SCENE = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <body name="arm" pos="0 0 1">
      <joint name="hinge" axis="0 1 0" damping="1"/><geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.02" mass="1"/>
      <body name="hand" pos="0.3 0 0">
        <joint name="wrist" type="ball"/><geom size="0.03" mass="0.2"/><site name="hand"/>
      </body>
    </body>
    <body name="cube" pos="0.5 0 0.2"><freejoint name="cube"/><geom size="0.05" mass="0.1"/><site name="cube"/></body>
    <body name="target" mocap="true" pos="0 1 0"><site name="target"/></body>
    <body name="other" mocap="true" pos="0 2 0"><site name="other"/></body>
  </worldbody>
  <actuator>
    <motor name="torque" joint="hinge"/>
    <intvelocity name="servo" joint="hinge" kp="30" actrange="-2 2"/>
    <general name="filtered" joint="hinge" dyntype="filter" dynprm="0.1"/>
  </actuator>
  <keyframe>
    <key name="home" qpos="0.4 1 0 0 0 0.5 0 0.2 1 0 0 0" act="0.5 0.25" ctrl="0.1 0.2 0.3" mpos="0 1 1 0 2 2"/>
    <key name="hover" qpos="-0.4 1 0 0 0 0.5 0 0.9 1 0 0 0" qvel="1 0 0 0 0 0 0 0 0 0"/>
  </keyframe>
</mujoco>
"""
STILL = SCENE[: SCENE.index("<keyframe>")] + "</mujoco>"
STATE = ["qpos", "qvel", "act", "site_position:cube", "site_position:target", "site_position:other"]


def start(*conditions, mjcf=SCENE, **options):
    """The parts of the start in each condition, and the environment."""
    env = MujocoEnv(len(conditions), mjcf=mjcf, state=STATE, **options)
    states, _ = env.reset(options={"conditions": list(conditions)})
    return {part: states[:, where] for part, where in env.state_layout.items()}, env


def test_a_keyframe_gives_positions_velocities_activations_controls_and_mocap_poses():
    part, env = start({})
    np.testing.assert_array_equal(part["qpos"][0, :2], [0.4, 1])
    np.testing.assert_array_equal(part["act"], [[0.5, 0.25]])
    np.testing.assert_array_equal(part["site_position:target"], [[0, 1, 1]])
    np.testing.assert_array_equal(part["site_position:other"], [[0, 2, 2]])
    np.testing.assert_array_equal(env.snapshot(0)[1].ctrl, [0.1, 0.2, 0.3])
    np.testing.assert_array_equal(start({}, keyframe="hover")[0]["qvel"][0, :2], [1, 0])


def test_each_condition_may_start_in_a_keyframe_of_its_own():
    part, env = start({}, {"keyframe": "hover"}, {"keyframe": "hover", "qpos": {"hinge": 0.1}})
    np.testing.assert_array_equal(part["qpos"][:, 0], [0.4, -0.4, 0.1])
    np.testing.assert_array_equal(part["qpos"][:, 7], [0.2, 0.9, 0.9])
    np.testing.assert_array_equal(part["site_position:target"][:, 2], [1, 0, 0])
    np.testing.assert_array_equal([env.snapshot(i)[1].ctrl[0] for i in range(3)], [0.1, 0, 0])
    part, _ = start({"keyframe": "hover"}, keyframe="home")
    assert part["qpos"][0, 0] == -0.4


def test_an_episode_after_another_starts_as_the_first_did():
    _, env = start({})
    first, _ = env.reset(options={"condition": {}})
    env.reset(options={"condition": {"keyframe": "hover", "body_offset": {"target": [1, 1, 1], "cube": [1, 0, 0]}}})
    env.step(np.ones((1, 3)))
    np.testing.assert_array_equal(env.reset(options={"condition": {}})[0], first)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"keyframe": "hoover"}, r"keyframe 'hoover' is unknown; did you mean 'hover'"),
        ({"keyframe": 1}, r"keyframe: expected a name, got 1"),
        ({"act": [1, 2, 3]}, r"act: expected 2 numbers"),
        ({"act": {"sevro": 1}}, r"act: actuator 'sevro' is unknown; did you mean 'servo'"),
        ({"act": {"torque": 1}}, r"act: actuator 'torque' has no activation; those with one: servo, filtered"),
        ({"act": {"servo": "x"}}, r"act of actuator 'servo': expected numbers"),
        ({"qpos": {"cube": [0] * 7}}, r"qpos of joint 'cube': the quaternion is zero"),
        ({"qpos": {"wrist": [0] * 4}}, r"qpos of joint 'wrist': the quaternion is zero"),
        ({"qpos": [0] * 12}, r"qpos of joint 'wrist': the quaternion is zero"),
        ({"model": {"body_quat": {"cube": [0] * 4}}}, r"body_quat of 'cube': the quaternion is zero"),
        ({"model": {"site_quat": {"hand": [0] * 4}}}, r"site_quat of 'hand': the quaternion is zero"),
    ],
)
def test_a_wrong_start_is_named(condition, message):
    with pytest.raises(ValueError, match=message):
        start(condition)


# -- activations -----------------------------------------------------------------------------------------


def test_activations_whole_and_by_actuator():
    part, _ = start({"act": [0.1, 0.2]}, {"act": {"filtered": 0.7}}, {"act": {"servo": -1}}, mjcf=STILL)
    np.testing.assert_allclose(part["act"][[0, 2], 0], [0.1, -1])
    np.testing.assert_array_equal(part["act"][:, 1], [0.2, 0.7, 0])
    part, _ = start({"act": np.array([0.3, 0.4])}, mjcf=STILL)
    np.testing.assert_array_equal(part["act"], [[0.3, 0.4]])


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"qpos": {"hinge": 0.6}},
        {"qpos": {"hinge": 0.6}, "act": "rest"},
        {"keyframe": "hover"},
        {"keyframe": "hover", "act": "rest"},
    ],
)
def test_a_servo_at_rest_holds_its_joint_against_gravity(condition):
    mjcf = SCENE if "keyframe" in condition else STILL
    alone = mjcf.replace('<joint name="wrist" type="ball"/>', "").replace("1 0 0 0 0.5 0", "0.5 0")
    alone = alone.replace('qvel="1 0 0 0 0 0 0 0 0 0"', "")
    part, env = start(condition, mjcf=alone)
    for _ in range(100):
        state, *_ = env.step(np.zeros((1, 3)))
    assert state[0, 0] == pytest.approx(part["qpos"][0, 0], abs=1e-6)


@pytest.mark.parametrize(("angle", "held"), [(0.8, True), (0.0, False)])
def test_a_motor_holds_its_joint_as_far_as_it_can(angle, held):
    """Gravity pulls with m g l cos(angle): the motor's 1 N m is too weak where that is more."""
    mjcf = """
    <mujoco>
      <worldbody>
        <body><joint name="hinge" axis="0 -1 0"/><geom size="0.1" pos="0.3 0 0" mass="0.4"/></body>
      </worldbody>
      <actuator><motor joint="hinge" ctrllimited="true" ctrlrange="-1 1"/></actuator>
    </mujoco>
    """
    env = MujocoEnv(1, mjcf=mjcf, state=["qpos", "qvel"])
    env.reset(options={"condition": {"qpos": [angle]}})
    needed = 0.4 * 9.81 * 0.3 * np.cos(angle)
    assert (needed < 1) == held
    np.testing.assert_allclose(env.holding_action(0), [min(needed, 1.0)], atol=1e-6)


def test_rest_stays_within_the_limits_of_the_activation():
    part, _ = start({"qpos": {"hinge": 3.0}, "act": "rest"}, mjcf=STILL)
    np.testing.assert_array_equal(part["act"], [[2, 0]])


def test_the_default_state_has_the_activations():
    assert list(MujocoEnv(1, mjcf=SCENE).state_layout) == ["qpos", "qvel", "act"]
    without = STILL.replace('<intvelocity name="servo" joint="hinge" kp="30" actrange="-2 2"/>', "")
    without = without.replace('<general name="filtered" joint="hinge" dyntype="filter" dynprm="0.1"/>', "")
    assert list(MujocoEnv(1, mjcf=without).state_layout) == ["qpos", "qvel"]


# -- bodies that may be anywhere ---------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["cube", "target", "other"])
def test_an_offset_moves_the_start_of_a_free_body_and_of_a_mocap_body(body):
    part, _ = start({}, {"body_offset": {body: [0.1, 0.05, -0.1]}})
    places = part[f"site_position:{body}"]
    np.testing.assert_allclose(places[1] - places[0], [0.1, 0.05, -0.1], atol=1e-12)
    for other in {"cube", "target", "other"} - {body}:
        assert (part[f"site_position:{other}"][0] == part[f"site_position:{other}"][1]).all()


def test_an_offset_adds_to_the_positions_of_the_condition():
    moved = {"qpos": {"cube": [1, 2, 3, 1, 0, 0, 0]}, "body_offset": {"cube": [0, 0, 1]}}
    np.testing.assert_array_equal(start(moved)[0]["site_position:cube"], [[1, 2, 4]])


@pytest.mark.parametrize("body", ["cube", "target"])
def test_the_place_and_orientation_of_a_free_body_and_of_a_mocap_body(body):
    turn = np.array([1.0, 0, 0, 1])
    _, env = start({"model": {"body_pos": {body: [1, 2, 3]}, "body_quat": {body: turn}}})
    _, data = env.snapshot(0)
    np.testing.assert_allclose(data.body(body).xpos, [1, 2, 3])
    np.testing.assert_allclose(data.body(body).xquat, turn / np.sqrt(2))


def test_quaternions_are_normalised():
    turn, whole = [0, 3.0, 0, 4.0], [0.4, *[0, 2, 0, 0], 0, 0, 0, *[0, 0, 5, 0]]
    part, env = start({"qpos": {"wrist": turn, "cube": [0, 0, 0, *turn]}}, {"qpos": whole})
    np.testing.assert_allclose(part["qpos"][0, [1, 2, 3, 4, 8, 9, 10, 11]], [0, 0.6, 0, 0.8] * 2)
    np.testing.assert_allclose(part["qpos"][1, [1, 2, 3, 4, 8, 9, 10, 11]], [0, 1, 0, 0, 0, 0, 1, 0])
    env.reset(options={"condition": {"model": {"body_quat": {"arm": [2, 0, 0, 0]}}}})
    np.testing.assert_array_equal(env.snapshot(0)[0].body("arm").quat, [1, 0, 0, 0])


def test_a_body_with_other_joints_moves_in_the_model():
    _, env = start({"body_offset": {"arm": [0, 0, 1]}})
    model, data = env.snapshot(0)
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.body("arm").xpos, [0, 0, 2])
