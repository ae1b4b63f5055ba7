"""Points of the world as targets, and success without Python."""

import numpy as np
import pytest

from gps.environments.mujoco import MujocoEnv
from gps.environments.mujoco.goal import Goal
from gps.environments.parts import find_entries

SLIDER = """
<mujoco>
  <option timestep="0.01" gravity="0 0 0"/>
  <worldbody>
    <body><joint name="x" type="slide" axis="1 0 0"/><geom size="0.1" mass="1"/><site name="tip-a"/></body>
    <site name="goal" pos="0.5 0 0"/>
  </worldbody>
  <actuator><motor joint="x"/></actuator>
</mujoco>
"""


def make(state=("qpos", "qvel"), **options):
    return MujocoEnv(1, mjcf=SLIDER, state=state, **options)


@pytest.mark.parametrize("point", ["[0.5, 0, 0.3]", "[0.5,0,0.3]", "[ 5e-1 ,-0, .3 ]"])
def test_a_point_of_the_world_is_a_target(point):
    part = f"site_position:tip-a-{point}"
    env = make([part, f"{part}[xz]", "site_position:tip-a"])
    x, _ = env.reset(options={"condition": {"qpos": [0.2]}})
    np.testing.assert_allclose(x, [[-0.3, 0, -0.3, -0.3, -0.3, 0.2, 0, 0]])
    assert [entry.unit for entry in env.state_entries] == ["m"] * 8
    assert env.state_entries[2].name == f"{part}[z]"


def test_a_point_of_whole_numbers_is_not_a_choice_of_entries():
    env = make(["site_position:tip-a-[0,0,1]", "site_position:tip-a-[0,0,1][z]"])
    np.testing.assert_array_equal(env.reset()[0], [[0, 0, -1, -1]])
    assert find_entries("site_position:tip-a-[0,0,1][z]", {"site_position:tip-a-[0,0,1]": slice(0, 3)}) == [2]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("site_position:tip-a-[0, 1]", r"the point \[0, 1\]: expected 3 numbers"),
        ("site_position:tip-a-[0, 1, x]", r"the point \[0, 1, x\]: expected numbers"),
        ("site_position:tip-a-[0, 1, nan]", r"is not finite"),
        ("site_position:tip_a-[0, 1, 2]", r"site 'tip_a' is unknown; did you mean 'tip-a'"),
    ],
)
def test_a_wrong_point_is_named(part, message):
    with pytest.raises(ValueError, match=message):
        make([part])


# -- success -----------------------------------------------------------------------------------------------


def successes(goal, places, **options):
    """The success flag at each of some positions of the slider, which are 0.1 s apart."""
    env = make(frame_skip=10, success=goal, **options)
    _, info = env.reset(options={"condition": {"qpos": [places[0]]}})
    result = [bool(info["success"][0])]
    for place in places[1:]:
        env.batch.bind("qpos")[:], env.batch.bind("qvel")[:] = place, 0.0
        result.append(bool(env.step([[0.0]])[4]["success"][0]))
    return result


NEAR, FAR = 0.49, 0.3


@pytest.mark.parametrize("distance", ["tip-a-goal", "tip-a-[0.5, 0, 0]"])
@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("last", [True, False, True, True, True, False]),
        ("any", [True, True, True, True, True, True]),
        (0.3, [False, False, False, False, True, False]),
        (0.0, [True, False, True, True, True, False]),
    ],
)
def test_success_is_judged_in_the_last_state_in_any_or_over_some_seconds(distance, since, expected):
    assert successes(Goal(distance, 0.02, since), [NEAR, FAR, NEAR, NEAR, NEAR, FAR]) == expected


def test_the_distance_is_reported_in_metres():
    env = make(success=Goal("tip-a-[0.5, 0.3, 0.4]", 0.02))
    assert env.reset(options={"condition": {"qpos": [0.5]}})[1]["distance"] == pytest.approx([0.5])
    assert env.step([[0.0]])[4]["distance"] == pytest.approx([0.5])
    assert "distance" not in make().reset()[1]


def test_a_reset_forgets_a_success():
    env = make(success=Goal("tip-a-goal", 0.02, "any"))
    assert env.reset(options={"condition": {"qpos": [NEAR]}})[1]["success"]
    assert not env.reset(options={"condition": {"qpos": [FAR]}})[1]["success"]
    assert not env.step([[0.0]])[4]["success"]


@pytest.mark.parametrize(
    ("distance", "message"),
    [
        ("tip-a", r"success.distance: 'tip-a' has no target: write SITE-TARGET"),
        ("tip-a-gaol", r"success.distance: site 'tip-a-gaol' is unknown"),
        ("tip-a-[1]", r"success.distance: the point \[1\]: expected 3 numbers"),
    ],
)
def test_a_wrong_goal_is_named(distance, message):
    with pytest.raises(ValueError, match=message):
        make(success=Goal(distance, 0.02))


def test_a_class_with_a_goal_of_its_own_takes_no_other():
    class Robot(MujocoEnv):
        def at_goal(self, states):
            return states[:, 0] > 0

    with pytest.raises(ValueError, match=r"success: Robot says itself what success is"):
        Robot(1, mjcf=SLIDER, success=Goal("tip-a-goal", 0.02))
