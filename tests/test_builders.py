"""From configuration to objects: the parts of a state that a cost names, and the experiments that ship."""

from pathlib import Path

import numpy as np
import pytest

import gps
from gps.backend import jnp
from gps.builders.costs import make_cost
from gps.config import parse
from gps.environments.mujoco import MujocoEnv
from gps.errors import ConfigError, DrawingError

EXPERIMENTS = sorted(path.parent for path in (Path(__file__).parents[1] / "experiments").glob("*/experiment.toml"))
LAYOUT = {"qpos": slice(0, 2), "site_position:tip-goal": slice(2, 5)}


def weighed(on: str, layout=LAYOUT, names: tuple[str, ...] = ()) -> list[int]:
    """The entries of the state that a quadratic cost on `on` looks at."""
    config = parse(f'[environment]\nid = "x"\n[[cost]]\nname = "quadratic"\non = {on!r}\n')
    dx = max(where.stop for where in layout.values())
    total = make_cost(config, Path(), layout, dx, 1, 3, names)
    return [i for i in range(dx) if total(jnp.eye(dx)[i], jnp.zeros(1), 0) > 0]


@pytest.mark.parametrize(
    ("on", "entries"),
    [
        ("qpos", [0, 1]),
        ("qpos[1]", [1]),
        ("site_position:tip-goal", [2, 3, 4]),
        ("site_position:tip-goal[xy]", [2, 3]),
        ("site_position:tip-goal[z]", [4]),
        ("site_position:tip-goal[0,2]", [2, 4]),
    ],
)
def test_a_cost_may_name_some_entries_of_a_part(on, entries):
    assert weighed(on) == entries


@pytest.mark.parametrize(
    ("on", "message"), [("qpos[z]", "has 2 entries"), ("site_positoin:tip-goal[x]", "did you mean")]
)
def test_entries_that_are_not_there(on, message):
    with pytest.raises(ConfigError, match=message):
        weighed(on)


CABINET = """
<mujoco>
  <worldbody>
    <body><joint name="hinge"/><geom size="0.1"/><body><joint type="slide"/><geom size="0.1"/></body></body>
    <body pos="1 0 0"><freejoint name="box"/><geom size="0.1"/></body>
  </worldbody>
  <actuator><motor joint="hinge"/></actuator>
</mujoco>
"""


@pytest.mark.parametrize(
    ("state", "on", "entries"),
    [
        (["qpos", "qvel"], "qpos:hinge", [0]),
        (["qpos", "qvel"], "qvel:hinge", [9]),
        (["qpos", "qvel"], "qpos:box", [2, 3, 4, 5, 6, 7, 8]),
        (["qpos", "qvel"], "qpos:box[2]", [4]),
        (["qpos", "qvel"], "qvel:box[xz]", [11, 13]),
        (["qvel", "qpos:hinge"], "qpos:hinge", [8]),
        (["qpos", "qpos:hinge"], "qpos:hinge", [9]),  # the part of the state itself
    ],
)
def test_a_cost_may_name_a_joint_where_all_joints_are_in_the_state(state, on, entries):
    env = MujocoEnv(1, mjcf=CABINET, state=state)
    assert weighed(on, env.state_layout, [entry.name for entry in env.state_entries]) == entries


@pytest.mark.parametrize("state", [["qvel"], ["qpos[2,3]"]])
def test_a_joint_that_is_not_whole_in_the_state_is_unknown(state):
    env = MujocoEnv(1, mjcf=CABINET, state=state)
    with pytest.raises(ConfigError, match=r"cost\.0\.on: unknown part 'qpos:box'"):
        weighed("qpos:box", env.state_layout, [entry.name for entry in env.state_entries])


def test_the_nearest_joint_is_suggested():
    env = MujocoEnv(1, mjcf=CABINET)
    with pytest.raises(ConfigError, match=r"unknown part 'qpos:hing' of the state; did you mean 'qpos:hinge'"):
        weighed("qpos:hing", env.state_layout, [entry.name for entry in env.state_entries])


def test_a_distance_without_parts_is_that_of_all_relative_sites():
    config = parse('[environment]\nid = "x"\n[[cost]]\nname = "distance"\n')
    total = make_cost(config, Path(), LAYOUT, 5, 1, 3)
    flat = total(jnp.array([1.0, 2.0, 0, 0, 0]), jnp.zeros(1), 0)
    assert flat == total(jnp.zeros(5), jnp.zeros(1), 0)
    np.testing.assert_array_less(flat, total(jnp.array([0, 0, 0, 0, 1.0]), jnp.zeros(1), 0))


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(path, id=path.name, marks=[pytest.mark.slow] if "pixels" in path.name else [])
        for path in EXPERIMENTS
    ],
)
def test_every_shipped_experiment_builds_and_makes_one_update(experiment):
    try:
        assert gps.check(experiment).ok
    except DrawingError as error:
        pytest.skip(str(error))
