"""MuJoCo's simulator with unknown parameters against the environment itself."""

import numpy as np
import pytest

from gps.environments.disturbed import Disturbance, Disturbed
from gps.environments.mujoco import MujocoEnv
from gps.environments.mujoco.simulator import MujocoSimulator
from gps.errors import ConfigError
from gps.models.data import Dataset
from gps.models.physics.fitting import fit_physics
from gps.models.physics.parameters import Coordinates, Known

MODEL = """<mujoco><option timestep="0.005"/><worldbody>
<body name="box" pos="0 0 1"><freejoint name="box"/><geom name="box" size=".1" mass="1"/></body>
<body name="arm" pos="1 0 0"><joint name="hinge" axis="0 1 0" damping=".2"/>
<geom type="capsule" fromto="0 0 0 0 0 -.5" size=".03" mass="2"/><site name="tip" pos="0 0 -.5"/></body>
<geom name="floor" type="plane" size="5 5 .1"/>
</worldbody><actuator><position name="servo" joint="hinge" kp="3" ctrlrange="-1 1"/></actuator></mujoco>"""

CART = """<mujoco><option timestep="0.005"/><worldbody>
<body><joint name="x" type="slide" axis="1 0 0" damping=".5"/><geom size=".1" mass="1"/></body>
</worldbody><actuator><motor joint="x" ctrlrange="-2 2"/></actuator></mujoco>"""


def play(environment, actions, condition=None):
    """The states of an environment under actions (B, H, du): (B, H + 1, dx)."""
    states = [environment.reset(options={"condition": condition or {}})[0]]
    states += [environment.step(actions[:, h])[0] for h in range(actions.shape[1])]
    return np.stack(states, axis=1)


@pytest.fixture(scope="module")
def environment():
    parts = ["site_position:tip", "qvel", "qpos:hinge", "qpos:box"]
    return MujocoEnv(3, mjcf=MODEL, state=parts, frame_skip=3)


def test_it_repeats_the_environment_bit_for_bit_from_the_state_alone(environment):
    actions = np.random.default_rng(0).normal(size=(3, 6, 1))
    condition = {"qvel": {"box": [0.1, 0.2, 0.3, 1.0, 2.0, 3.0], "hinge": 1.0}}
    states = play(environment, actions, condition)
    simulator = MujocoSimulator(environment, {})
    assert set(simulator.determining) == set(range(3, 18))
    start = states[:, 0].copy()
    start[:, :3] = 99.0  # where the tip is follows from the joints
    found = simulator.simulate(start, actions, np.zeros((3, 0)))
    np.testing.assert_allclose(found, states[:, 1:], atol=1e-12)


@pytest.mark.parametrize(
    ("table", "value", "condition"),
    [
        ({"body_mass": {"arm": [0.1, 10]}}, 4.0, {"body_mass": {"arm": 4.0}}),
        ({"dof_damping": {"hinge": [0, 1]}}, 0.6, {"model": {"dof_damping": {"hinge": [0.6]}}}),
        ({"dof_armature": {"hinge": [0, 1]}}, 0.3, {"model": {"dof_armature": {"hinge": [0.3]}}}),
        ({"body_pos[z]": {"arm": [-1, 1]}}, 0.3, {"body_offset": {"arm": [0, 0, 0.3]}}),
        ({"body_inertia[1]": {"arm": [0.01, 1]}}, 0.2, {"model": {"body_inertia": {"arm": None}}}),
        (
            {"servo_gain": {"servo": [1, 9]}},
            6.0,
            {"scale": {"actuator_gainprm": {"servo": 2.0}, "actuator_biasprm": {"servo": 2.0}}},
        ),
    ],
    ids=lambda item: next(iter(item)) if isinstance(item, dict) else "",
)
def test_a_parameter_changes_the_system_as_a_condition_does(environment, table, value, condition):
    actions = np.random.default_rng(0).normal(size=(3, 5, 1))
    if "body_inertia" in condition.get("model", {}):
        inertia = environment.model.body("arm").inertia.copy()
        inertia[1] = value
        condition = {"model": {"body_inertia": {"arm": inertia.tolist()}}}
    states = play(environment, actions, {**condition, "qpos": {"hinge": 0.5}})
    plain = play(environment, actions, {"qpos": {"hinge": 0.5}})
    simulator = MujocoSimulator(environment, table)
    found = simulator.simulate(states[:, 0], actions, np.full((3, 1), value))
    np.testing.assert_allclose(found, states[:, 1:], atol=1e-10)
    assert np.abs(states - plain).max() > 1e-4
    own = simulator.simulate(plain[:, 0], actions, np.full((3, 1), simulator.parameters[0].start))
    if simulator.parameters[0].start != value and not table.get("body_pos[z]"):
        np.testing.assert_allclose(own, plain[:, 1:], atol=1e-10)


def test_gravity_and_friction_change_the_fall_and_the_slide(environment):
    simulator = MujocoSimulator(environment, {"gravity": [1, 20], "geom_friction[0]": {"floor": [0.1, 2]}})
    start = play(environment, np.zeros((3, 0, 1)))[:, 0]
    one, other = (simulator.simulate(start, np.zeros((3, 8, 1)), np.full((3, 2), v))[0, :, 5] for v in (5.0, 10.0))
    np.testing.assert_allclose(other, 2 * one, rtol=1e-9)


def test_a_state_that_lacks_something_names_it():
    with pytest.raises(ConfigError, match=r"it lacks qpos:box\[0\], .*qvel:hinge"):
        MujocoSimulator(MujocoEnv(1, mjcf=MODEL, state=["qpos:hinge"]), {})
    lacking = MujocoEnv(1, mjcf=CART, state=["qvel"])
    with pytest.raises(ConfigError, match="lacks qpos:x"):
        MujocoSimulator(lacking, {})
    with pytest.raises(ConfigError, match="did you mean 'qpos:x'"):
        MujocoSimulator(lacking, {}, known=Known(assumed=(("qpos:y", 0.0),)))
    assert MujocoSimulator(lacking, {}, known=Known(assumed=(("qpos:x", 0.0),))).determining == (0,)


def test_more_simulations_than_fit_at_once_give_the_same_bits():
    simulator = MujocoSimulator(MujocoEnv(1, mjcf=CART), {"dof_damping": {"x": [0, 1]}})
    rng = np.random.default_rng(0)
    x, u, values = rng.normal(size=(1100, 2)), rng.normal(size=(1100, 2, 1)), rng.uniform(size=(1100, 1))
    found = simulator.simulate(x, u, values)
    for i in (0, 1050, 1099):
        part = slice(i, i + 1)
        np.testing.assert_array_equal(simulator.simulate(x[part], u[part], values[part])[0], found[i])


def test_a_simulation_that_is_not_finite_leaves_the_others_alone():
    simulator = MujocoSimulator(MujocoEnv(1, mjcf=CART), {"dof_damping": {"x": [0, 1]}})
    x, u = np.ones((4, 2)), np.ones((4, 3, 1))
    expected = simulator.simulate(x, u, np.full((4, 1), 0.5))
    x[1, 0], u[2, 1] = np.nan, np.nan
    found = simulator.simulate(x, u, np.array([[0.5], [0.5], [0.5], [np.inf]]))
    assert np.isfinite(found).all(axis=2).sum(axis=1).tolist() == [3, 0, 1, 0]
    np.testing.assert_array_equal(found[0], expected[0])


# -- delays ------------------------------------------------------------------------------------------------------------


def disturbed(delay):
    env = MujocoEnv(2, mjcf=CART, frame_skip=4)
    zero = np.zeros(1)
    size = Disturbance(state=np.zeros(2), observation=None, measured=None, action=zero, rate=zero + np.inf, delay=delay)
    return Disturbed(env, size, state=["qpos", "last_action", "qvel"])


@pytest.mark.parametrize("delay", [1, 2])
def test_commands_come_late_as_in_a_disturbed_environment(delay):
    environment = disturbed(delay)
    actions = np.random.default_rng(0).normal(size=(2, 7, 1))
    states = play(environment, actions)
    simulator = MujocoSimulator(environment, {"delay": [0.0, 0.02 * delay]})
    assert simulator.remembered == tuple(range(1, 1 + delay)) and simulator.determining == (0, 1 + delay)
    late = simulator.simulate(states[:, 0], actions, np.full((2, 1), 0.02 * delay))
    np.testing.assert_allclose(late, states[:, 1:], atol=1e-12)
    known = MujocoSimulator(environment, {}, known=Known(delay=0.02 * delay))
    np.testing.assert_array_equal(known.simulate(states[:, 0], actions, np.zeros((2, 0))), late)


def test_a_delay_of_a_part_of_a_step_is_found():
    simulator = MujocoSimulator(disturbed(1), {"delay": [0.0, 0.02], "dof_damping": {"x": [0.1, 2.0]}})
    truth, rng = np.array([0.0137, 0.8]), np.random.default_rng(0)
    actions = rng.normal(size=(1, 60, 1))
    x = np.concatenate([np.zeros((1, 1, 3)), simulator.simulate(np.zeros((1, 3)), actions, truth[None])], axis=1)[0]
    found = fit_physics(simulator, Dataset(x[:-1], actions[0], x[1:], np.zeros(60, int)))
    np.testing.assert_allclose(
        Coordinates.of(simulator.parameters).decode(found.fit.coordinates), truth, rtol=1e-4, atol=1e-6
    )


def test_a_delay_longer_than_the_memory_is_an_error():
    with pytest.raises(ConfigError, match="between 0 and 0"):
        MujocoSimulator(disturbed(1), {"delay": [0.0, 0.05]})
    with pytest.raises(ConfigError, match="remembers 0 commands"):
        MujocoSimulator(MujocoEnv(1, mjcf=CART), {}, known=Known(delay=0.01))
