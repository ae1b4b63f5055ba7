"""What every registered task must do, and what is particular to each."""

import subprocess
import sys

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from gps.environments import IDS


def make_vec(name, n, **options):
    return gymnasium.make_vec(name, num_envs=n, **options).unwrapped


@pytest.mark.parametrize("name", IDS)
@pytest.mark.filterwarnings("ignore:.*observation space m.*imum value is:UserWarning")  # a state has no bounds
def test_gymnasium_accepts_it(name):
    env = gymnasium.make(name)
    check_env(env.unwrapped)
    assert env.spec.max_episode_steps == env.unwrapped.vector.__class__().max_episode_steps
    env.close()


@pytest.mark.parametrize("name", IDS)
def test_one_simulation_equals_the_first_of_many(name):
    single, many = gymnasium.make(name), make_vec(name, 3)
    (x, _), (xs, _) = single.reset(seed=1), many.reset(seed=1)
    np.testing.assert_array_equal(xs, [x] * 3)
    many.action_space.seed(0)
    while True:
        actions = many.action_space.sample()
        x, reward, terminated, truncated, info = single.step(actions[0])
        xs, rewards, terminations, truncations, infos = many.step(actions)
        np.testing.assert_array_equal(x, xs[0])
        assert (reward, terminated, truncated) == (rewards[0], terminations[0], truncations[0])
        assert info["success"] == infos["success"][0] and rewards.dtype == float
        if truncated:
            break
    assert truncations.all() and not terminations.any()
    assert single.unwrapped.state_layout == many.state_layout
    assert single.unwrapped.dt == many.dt


@pytest.mark.parametrize("name", IDS)
def test_actions_are_normalised_and_the_mechanics_complete(name):
    env = make_vec(name, 1)
    np.testing.assert_array_equal(env.single_action_space.high, 1.0)
    np.testing.assert_array_equal(env.single_action_space.low, -1.0)
    mechanics, layout = env.mechanics, env.state_layout
    assert (mechanics.position, mechanics.velocity) == (layout["qpos"], layout["qvel"])
    np.testing.assert_allclose(mechanics.actuation.sum(axis=0), 1.0)  # each action drives one joint


@pytest.mark.parametrize("name", IDS)
def test_random_full_torques_never_diverge(name):
    env = make_vec(name, 16)
    rng = np.random.default_rng(0)
    env.reset()
    for _ in range(env.max_episode_steps):
        *_, info = env.step(rng.choice([-1.0, 1.0], size=env.action_space.shape))
        assert not info["diverged"].any()


def test_importing_the_registry_loads_no_simulator():
    code = "import gps.environments as e, gps.environments, sys; assert 'mujoco' not in sys.modules, e.IDS"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_condition_key_comes_with_the_nearest():
    with pytest.raises(ValueError, match="unknown key 'slto'; did you mean 'slot'"):
        make_vec("gps/PegInsertion-v0", 1).reset(options={"condition": {"slto": [0, 0]}})
    with pytest.raises(ValueError, match="condition: target: expected 2 numbers"):
        make_vec("gps/Reacher-v0", 1).reset(options={"condition": {"target": [0, 0, 0]}})


def test_point_mass_is_stopped_by_the_post_and_reaches_the_goal_around_it():
    env = make_vec("gps/PointMass-v0", 2)
    goal = np.array([1.0, 0.0])
    straight = around = {"qpos": [-1.0, 0.05]}  # at the height of the middle of the post
    x, _ = env.reset(options={"conditions": [straight, around]})
    for _ in range(100):
        aims = np.array([goal, [0.2, -0.5] if x[1, 0] < 0 else goal])
        x, rewards, *_, info = env.step(2 * (aims - x[:, :2]) * [[1, 0], [1, 1]] - 2 * x[:, 2:])
        np.testing.assert_allclose(rewards, -np.linalg.norm(x[:, :2] - goal, axis=1), atol=1e-12)
    assert info["success"].tolist() == [False, True]
    assert x[0, 0] < -0.25


def test_reacher_target():
    env = make_vec("gps/Reacher-v0", 2)
    x, info = env.reset(options={"conditions": [{"target": [0.24, 0.0]}, {}]})
    offset = x[:, env.state_layout["site_position:fingertip-target"]]
    np.testing.assert_allclose(offset, [[0, 0, 0], [0.14, -0.1, 0]], atol=1e-12)
    np.testing.assert_array_equal(info["success"], [True, False])


def test_cart_pole_is_pilcos():
    """Against the equations of motion of Deisenroth & Rasmussen 2011, integrated finely."""
    env = make_vec("gps/CartPoleSwingUp-v0", 1)
    assert env.dt == pytest.approx(0.1)
    m, M, length, b, g = 0.5, 0.5, 0.6, 0.1, 9.82
    start = {"qpos": [0.2, 2.5], "qvel": [0.3, -1.0]}
    env.reset(options={"condition": start})
    actions = np.random.default_rng(1).uniform(-0.5, 0.5, 10)
    z = np.array([0.2, 2.5, 0.3, -1.0])

    def derivative(z, force):
        s, c = np.sin(z[1]), np.cos(z[1])
        mass = np.array([[M + m, m * length * c / 2], [m * length * c / 2, m * length**2 / 3]])
        right = np.array([force - b * z[2] + m * length * z[3] ** 2 * s / 2, m * g * length * s / 2])
        return np.concatenate([z[2:], np.linalg.solve(mass, right)])

    for a in actions:
        x, *_ = env.step([[a]])
        for _ in range(1000):
            half = z + 0.5e-4 * derivative(z, 10 * a)
            z = z + 1e-4 * derivative(half, 10 * a)
        np.testing.assert_allclose(x[0, :4], z, atol=1e-4)


def test_cart_pole_succeeds_after_a_second_upright():
    env = make_vec("gps/CartPoleSwingUp-v0", 1)
    env.reset(options={"condition": {"qpos": [0, 0]}})
    flags = [bool(env.step([[0.0]])[4]["success"][0]) for _ in range(12)]
    assert flags.index(True) in (8, 9) and all(flags[9:])


def test_pendulum_is_gymnasiums():
    """The same acceleration as Pendulum-v1 has, for small steps."""
    env = make_vec("gps/PendulumSwingUp-v0", 2)
    angle, velocity, action = np.array([2.0, -0.7]), np.array([1.0, -2.0]), np.array([[0.5], [-1.0]])
    conditions = [{"qpos": [2.0], "qvel": [1.0]}, {"qpos": [-0.7], "qvel": [-2.0]}]
    env.reset(options={"conditions": conditions})
    x, rewards, *_ = env.step(action)
    fine_angle, fine_velocity = angle.copy(), velocity.copy()
    for _ in range(500):
        fine_velocity += 1e-4 * (15.0 * np.sin(fine_angle) + 3.0 * 2.0 * action[:, 0])
        fine_angle += 1e-4 * fine_velocity
    np.testing.assert_allclose(x, np.stack([fine_angle, fine_velocity], axis=1), atol=1e-2)
    torque = 2 * action[:, 0]
    np.testing.assert_allclose(rewards, -(x[:, 0] ** 2 + 0.1 * x[:, 1] ** 2 + 0.001 * torque**2))


def test_the_block_stays_where_its_condition_puts_it_until_it_is_pushed():
    env = make_vec("gps/BlockPushing-v0", 2)
    start, info = env.reset(
        options={"conditions": [{"block": [0.02, -0.03], "goal": [0.0, 0.06]}, {"block": [0.18, 0]}]}
    )
    layout = env.state_layout
    np.testing.assert_allclose(start[0, layout["qpos"]][:3], [0.02, -0.03, 0.0])
    np.testing.assert_allclose(start[:, layout["site_position:block-goal"]], [[-0.16, -0.09, 0], [0, 0, 0]], atol=1e-12)
    np.testing.assert_array_equal(info["success"], [False, True])
    for _ in range(50):
        states, rewards, *_ = env.step(np.zeros((2, 3)))
    np.testing.assert_allclose(states, start, atol=1e-6)
    np.testing.assert_allclose(rewards, [-np.hypot(0.16, 0.09), 0.0], atol=1e-9)
    with pytest.raises(ValueError, match="condition 0: block: expected 2 numbers"):
        env.reset(options={"conditions": [{"block": [1]}, {}]})


def test_the_gripper_carries_the_block_along():
    """A scripted push: computed torques that move the gripper straight ahead."""
    env = make_vec("gps/BlockPushing-v0", 1)
    states, _ = env.reset()
    model, data = env.model, mujoco.MjData(env.model)
    grip, jacobian, turn, M = model.site("grip").id, *np.zeros((2, 3, model.nv)), np.zeros((model.nv, model.nv))
    for t in range(100):
        data.qpos[:], data.qvel[:] = states[0, :6], states[0, 6:12]
        mujoco.mj_forward(model, data)
        mujoco.mj_jacSite(model, data, jacobian, turn, grip)
        mujoco.mj_fullM(model, data, M)
        J = np.stack([jacobian[0], jacobian[1], turn[2]])[:, 3:]
        x, y, _ = data.site_xpos[grip]
        yaw = np.arctan2(*data.site_xmat[grip][[3, 0]])
        wanted = 40 * np.array([0.42 + 0.26 * min(t / 70, 1) - x, -y, -yaw]) - 12 * (J @ data.qvel[3:])
        torques = M[3:, 3:] @ np.linalg.solve(J, wanted) + data.qfrc_bias[3:] - data.qfrc_passive[3:]
        states, rewards, *_, info = env.step((torques / model.actuator_gear[:, 0])[None])
    assert info["success"].all()
    assert rewards[0] > -0.01


def test_the_door_is_latched_until_its_handle_is_down():
    env = make_vec("gps/Door-v0", 3)
    _, info = env.reset(options={"conditions": [{}, {}, {"door": [0.03, -0.02], "qpos": {"door": 0.6}}]})
    assert info["success"].tolist() == [False, False, True]
    model = env.model
    for handle in (0.0, 0.15, 0.2, 0.3, 0.5):
        data = mujoco.MjData(model)
        mujoco.mj_resetDataKeyframe(model, data, model.key("start").id)
        for _ in range(400):  # 2 s of 5 N m on the door, with the handle held at an angle
            data.qfrc_applied[:2] = 5.0, 20 * (handle - data.qpos[1]) - 0.3 * data.qvel[1] + 0.2 * (np.pi / 6 + handle)
            mujoco.mj_step(model, data)
        assert data.qpos[1] == pytest.approx(handle, abs=0.03)
        assert (data.qpos[0] > 0.5) == (handle > 0.25)
        assert data.qpos[0] > 0.5 or data.qpos[0] < 0.02


def test_a_door_opens_for_who_presses_and_then_pushes():
    """A scripted finger: down on the handle, then along the way that the door turns."""
    env = make_vec("gps/Door-v0", 2)
    states, _ = env.reset(options={"conditions": [{}, {"door": [0.03, 0.04]}]})
    model, data = env.model, mujoco.MjData(env.model)
    finger, jacobian = model.site("finger").id, np.zeros((3, model.nv))
    down, open_ = (env.state_layout[f"site_position:finger-{name}"] for name in ("down", "open"))
    for t in range(100):
        torques = np.zeros((2, 4))
        for i, x in enumerate(states):
            data.qpos[:], data.qvel[:] = x[:6], x[6:12]
            mujoco.mj_forward(model, data)
            mujoco.mj_jacSite(model, data, jacobian, None, finger)
            J, ahead = jacobian[:, 2:], np.clip((t - 35) / 40, 0, 1)
            error = -(1 - ahead) * x[down] - ahead * x[open_]
            force = 500 * error - 20 * (J @ data.qvel[2:])
            torques[i] = (J.T @ force - 0.3 * data.qvel[2:]) / model.actuator_gear[:, 0]
        states, rewards, *_, info = env.step(torques)
    assert info["success"].all()
    assert (rewards == 0).all()
