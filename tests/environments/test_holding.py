"""The action that holds a start, for every kind of drive: played, the simulation stays where it is."""

import numpy as np
import pytest
from helpers.robots import DRIVES, POSE, make_arm, make_environment

STEPS = 100  # of 4 ms

HOVER = """
<mujoco>
  <worldbody>
    <body name="drone" pos="0 0 1">
      <freejoint/><geom type="box" size="0.1 0.1 0.02" mass="1.3"/>
      <site name="1" pos="0.1 0.1 0"/><site name="2" pos="-0.1 0.1 0"/>
      <site name="3" pos="-0.1 -0.1 0"/><site name="4" pos="0.1 -0.1 0"/>
    </body>
  </worldbody>
  <actuator>
    <motor site="1" gear="0 0 1 0 0 0.02" ctrllimited="true" ctrlrange="0 13"/>
    <motor site="2" gear="0 0 1 0 0 -0.02" ctrllimited="true" ctrlrange="0 13"/>
    <motor site="3" gear="0 0 1 0 0 0.02" ctrllimited="true" ctrlrange="0 13"/>
    <motor site="4" gear="0 0 1 0 0 -0.02" ctrllimited="true" ctrlrange="0 13"/>
  </actuator>
</mujoco>
"""

TENDON = '<tendon><fixed name="t"><joint joint="a" coef="1"/><joint joint="b" coef="0.5"/></fixed></tendon>'

MORE = {
    "intvelocity": {"drive": '<intvelocity joint="a" kp="200" kv="20" actrange="-3 3" ctrlrange="-2 2"/>'
                             '<intvelocity joint="b" kp="200" kv="20" actrange="-3 3" ctrlrange="-2 2"/>'},
    "filtered position": {"drive": '<position joint="a" kp="40" kv="4" timeconst="0.1" inheritrange="1"/>'
                                   '<position joint="b" kp="20" kv="2" timeconst="0.05" inheritrange="1"/>'},
    "filtered motor": {"drive": '<general joint="a" gear="10" dyntype="filter" dynprm="0.1" ctrlrange="-1 1"/>'
                                '<general joint="b" gear="4" dyntype="filterexact" dynprm="0.1" ctrlrange="-1 1"/>'},
    "tendon": {"drive": '<motor tendon="t" gear="10" ctrlrange="-2 2"/><motor joint="b" gear="4" ctrlrange="-2 2"/>',
               "extra": TENDON},
    "tendon servo": {"drive": '<position tendon="t" kp="60" kv="4" ctrlrange="-4 4"/>'
                              '<position joint="b" kp="20" kv="2" inheritrange="1"/>', "extra": TENDON},
    "motor and spring": {"drive": "motor", "a": 'stiffness="6" springref="0.4"', "b": 'stiffness="3"'},
    "muscles": {"drive": '<muscle joint="a" gear="1" lengthrange="-3 3" force="60" ctrlrange="0 1"/>'
                         '<muscle joint="a" gear="-1" lengthrange="-3 3" force="60" ctrlrange="0 1"/>'
                         '<muscle joint="b" gear="1" lengthrange="-2.5 2.5" force="30" ctrlrange="0 1"/>'
                         '<muscle joint="b" gear="-1" lengthrange="-2.5 2.5" force="30" ctrlrange="0 1"/>'},
    "redundant motors": {"drive": DRIVES["motor"] + '<motor joint="a" gear="0.5"/>'},
    "without limits": {"drive": '<motor joint="a" gear="10"/><motor joint="b" gear="3"/>'},
    "motor and damper": {"drive": DRIVES["motor"] + '<damper joint="b" kv="1" ctrlrange="0 2"/>'},
    "one-sided motor": {"drive": '<motor joint="a" gear="10" ctrlrange="-2 0"/><motor joint="b" gear="4" '
                                 'ctrlrange="-1 1"/>'},
}  # fmt: skip

ARMS = {drive: {"drive": drive} for drive in DRIVES} | MORE


def find_drift(environment, condition, action=None):
    """How far an episode of the held start moves in its worst position, and the action."""
    start, _ = environment.reset(options={"conditions": [condition]})
    action = environment.holding_action(0) if action is None else np.asarray(action, float)
    position = environment.state_layout["qpos"]
    for _ in range(STEPS):
        states, *_ = environment.step(action[None])
    return np.abs(states - start)[0, position].max(), action


SLOW = "filtered position", "filtered motor", "muscles"
"""A force that comes up slowly cannot hold from the beginning, unless its activation is there."""


@pytest.mark.parametrize("drive", ARMS)
def test_every_kind_of_drive_holds_its_start(tmp_path, drive):
    environment = make_environment(tmp_path, make_arm(**ARMS[drive]))
    condition = {"qpos": POSE, "act": "rest"} if drive == "intvelocity" else {"qpos": POSE}
    if drive in SLOW:
        environment.reset(options={"conditions": [condition]})
        condition |= {"act": environment.holding_action(0)}
    drift, action = find_drift(environment, condition)
    assert environment.single_action_space.contains(action.astype(environment.single_action_space.dtype))
    assert drift < 0.03, action  # rad; a velocity servo that knows gravity creeps a little
    fallen, _ = find_drift(environment, {"qpos": POSE}, np.zeros_like(action))
    assert drift < 0.2 * fallen or drive == "intvelocity"  # whose zero is the answer


def test_the_action_of_motors_is_the_gravity_torque(tmp_path):
    environment = make_environment(tmp_path, make_arm("motor"))
    environment.reset(options={"conditions": [{"qpos": POSE}]})
    angle, g = (POSE[0], sum(POSE)), 9.81  # a positive angle about y turns the arm down
    outer = 0.6 * g * 0.125 * np.cos(angle[1])
    inner = 1.0 * g * 0.15 * np.cos(angle[0]) + 0.6 * g * 0.3 * np.cos(angle[0]) + outer
    np.testing.assert_allclose(environment.holding_action(0), [-inner / 10, -outer / 4], rtol=1e-6)


def test_four_rotors_hover(tmp_path):
    environment = make_environment(tmp_path, HOVER)
    drift, action = find_drift(environment, {})
    np.testing.assert_allclose(action, 1.3 * 9.81 / 4, rtol=1e-6)
    assert drift < 1e-3


KEYFRAME = '<keyframe><key name="home" qpos="{qpos}" ctrl="{ctrl}"/></keyframe>'


def test_a_keyframe_whose_controls_are_a_pose_is_no_trap_for_motors(tmp_path):
    """Files whose motors came later than their keyframe have angles for its controls."""
    qpos = " ".join(map(str, POSE))
    trap = make_environment(tmp_path, make_arm("motor", extra=KEYFRAME.format(qpos=qpos, ctrl=qpos)), keyframe="home")
    drift, action = find_drift(trap, {})
    assert drift < 0.01 and np.abs(action - POSE).max() > 0.3
    assert find_drift(trap, {}, POSE)[0] > 0.3


LEGS = """
<mujoco>
  <option timestep="0.004"/>
  <worldbody>
    <geom type="plane" size="2 2 0.1"/>
    <body pos="0 0 0.31">
      <joint name="z" type="slide" axis="0 0 1"/>
      <geom type="box" size="0.1 0.1 0.03" mass="4"/>
      <body>
        <joint name="leg" type="slide" axis="0 0 1" range="-0.2 0.2" limited="true"/>
        <geom type="capsule" fromto="0 0 -0.1 0 0 -0.27" size="0.04" mass="0.3"/>
      </body>
    </body>
  </worldbody>
  <actuator><position joint="leg" kp="800" kv="60" ctrlrange="-0.2 0.2"/></actuator>
  <keyframe><key name="home" qpos="0 0" ctrl="{ctrl}"/></keyframe>
</mujoco>
"""
"""A body on one leg, whose foot touches the ground at z = 0: only the ground can carry it."""


def test_a_keyframe_that_holds_better_than_the_balance_is_used(tmp_path):
    """The contact that the balance sees, a foot that just touches, is not the one on which the body comes to rest."""
    stand = -4 * 9.81 / 800
    known = make_environment(tmp_path, LEGS.format(ctrl=stand), keyframe="home")
    drift, action = find_drift(known, {})
    assert action == pytest.approx([stand])
    assert drift < 0.003
    unknown = make_environment(tmp_path, LEGS.format(ctrl=0.0), keyframe="home")
    assert find_drift(unknown, {})[0] > 10 * drift


@pytest.mark.parametrize("first", ['gear="2" ctrlrange="-1 1"', 'gear="10" ctrlrange="0 2"'])
def test_actuators_that_are_too_weak_do_what_they_can(tmp_path, first):
    """The weak one is at its limit, and the other still carries its own link."""
    drive = f'<motor joint="a" {first}/><motor joint="b" gear="4" ctrlrange="-1 1"/>'
    environment = make_environment(tmp_path, make_arm(drive))
    environment.reset(options={"conditions": [{"qpos": POSE}]})
    low, high = environment.single_action_space.low, environment.single_action_space.high
    weak, strong = environment.holding_action(0)
    assert np.isclose(weak, [low[0], high[0]], rtol=1e-3, atol=1e-3).any()
    assert low[1] < strong < high[1]


def test_an_unactuated_joint_is_left_to_itself(tmp_path):
    """The gravity of the joint that nothing moves is not the others' business."""
    environment = make_environment(tmp_path, make_arm('<motor joint="a" gear="10" ctrlrange="-2 2"/>'))
    environment.reset(options={"conditions": [{"qpos": [-np.pi / 2, 0.0]}]})  # hanging up: an equilibrium
    np.testing.assert_allclose(environment.holding_action(0), 0.0, atol=1e-6)


def test_the_simulation_is_left_as_it_was(tmp_path):
    environment = make_environment(tmp_path, make_arm(**MORE["filtered motor"]))
    environment.reset(options={"conditions": [{"qpos": POSE, "qvel": [1.0, -1.0], "act": [0.1, 0.2]}]})
    model, data = environment.snapshot(0)
    environment.holding_action(0)
    after_model, after = environment.snapshot(0)
    for field in ("qpos", "qvel", "act", "ctrl"):
        np.testing.assert_array_equal(getattr(after, field), getattr(data, field))
    for field in ("actuator_ctrllimited", "actuator_forcelimited", "jnt_actfrclimited"):
        np.testing.assert_array_equal(getattr(after_model, field), getattr(model, field))
