"""The tasks that are like those of the DeepMind Control Suite: their mechanics, rewards and starts."""

import gymnasium
import mujoco
import numpy as np
import pytest

from gps.environments import IDS
from gps.environments.tasks.tolerance import tolerate, tolerate_until

SUITE = [name for name in IDS if "Suite" in name]


def make(name, n=1):
    return gymnasium.make_vec(name if "/" in name else f"gps/Suite{name}-v0", num_envs=n).unwrapped


def find_acceleration(name, qpos, qvel, ctrl):
    model = make(name).model
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:], data.ctrl[:] = qpos, qvel, ctrl
    mujoco.mj_forward(model, data)
    return data.qacc


def test_the_pendulum_accelerates_as_the_closed_form_says():
    angle, velocity, torque = 2.0, -1.5, 0.4
    expected = (torque - 0.1 * velocity + 9.81 * 0.5 * np.sin(angle)) / (0.25 + 0.4 * 0.05**2)
    np.testing.assert_allclose(find_acceleration("Pendulum", angle, velocity, torque), expected)


def test_the_cart_pole_accelerates_as_the_closed_form_says():
    angle, (v, w), u, m, r = 2.0, (0.3, -1.5), 0.4, 0.1, 0.045
    tube = 1.0 / (1.0 + 4 / 3 * r)  # the share of the cylinder in the capsule
    inertia = m * (tube * (3 * r**2 + 1) / 12 + (1 - tube) * (0.4 * r**2 + 0.25 + 3 * r / 8))
    arm, s, c = 0.5 * m, np.sin(angle), np.cos(angle)
    mass = [[1.0 + m, arm * c], [arm * c, inertia + 0.25 * m]]
    forces = [10 * u - 5e-4 * v + arm * w**2 * s, -2e-6 * w + 9.81 * arm * s]
    np.testing.assert_allclose(find_acceleration("CartPole", [0.2, angle], [v, w], u), np.linalg.solve(mass, forces))


def test_the_ball_hangs_from_the_cup_on_a_string():
    env = make("Cup")
    states, _ = env.reset()
    for _ in range(200):
        states, *_ = env.step([[0.0, 0.0]])
    length = np.linalg.norm(env.site("ball") - env.site("hook"))
    assert length == pytest.approx(0.3, abs=0.01)
    cup, ball = env.model.body("cup").mass[0], env.model.body("ball").mass[0]
    assert states[0, 1] == pytest.approx(-9.81 * (cup + ball) / 20.0, abs=1e-3)  # of the springs


def test_a_ball_in_the_cup_is_rewarded_and_stays():
    env = make("Cup")
    _, info = env.reset(options={"condition": {"qpos": {"ball_z": 0.35}}})
    rewards = [env.step([[0.0, 0.3]])[1][0] for _ in range(50)]
    assert info["success"][0] and rewards == [1.0] * 50


@pytest.mark.parametrize(("name", "reach"), [("ReacherEasy", 0.06), ("ReacherHard", 0.025)])
def test_the_reacher_is_rewarded_while_finger_and_target_touch(name, reach):
    env = make(name, 2)
    conditions = [{"target": [0.24 - factor * reach, 0.0]} for factor in (0.95, 1.05)]
    states, info = env.reset(options={"conditions": conditions})
    np.testing.assert_allclose(states[:, 4], [0.95 * reach, 1.05 * reach])
    assert info["success"].tolist() == [True, False]
    assert env.step(np.zeros((2, 2)))[1].tolist() == [1.0, 0.0]
    radius = env.model.geom("target").size[0]
    assert radius + 0.01 == pytest.approx(reach)


def test_a_body_that_spins_is_rewarded_until_damping_slows_it():
    env = make("Finger")
    env.reset(options={"condition": {"qvel": {"spinner": -25.0}}})
    states, rewards = [], []
    for _ in range(60):
        x, reward, *_ = env.step([[0.0, 0.0]])
        states, rewards = [*states, x[0, 5]], [*rewards, reward[0]]
    assert rewards == [float(speed <= -15) for speed in states] and 0 < sum(rewards) < 60


def test_the_shapes_of_the_rewards():
    np.testing.assert_allclose(tolerate(np.array([0.0, 2.0, 4.0]), 2.0), [1.0, 0.1, 1e-4])
    np.testing.assert_allclose(tolerate_until(np.array([0.0, 0.5, -1.0, 2.0]), 1.0), [1.0, 0.75, 0.0, 0.0])


def test_the_cart_pole_pays_all_upright_in_the_middle_at_rest():
    env = make("CartPole", 2)
    env.reset(options={"conditions": [{"qpos": [0.0, 0.0]}, {"qpos": [2.0, np.pi / 2], "qvel": [0.0, 5.0]}]})
    states, rewards, *_ = env.step([[0.0], [1.0]])
    assert rewards[0] == 1.0
    x, angle, _, w = states[1]
    b = [1 + 0.1 ** ((x / 2) ** 2), 1 + 0.1 ** ((w / 5) ** 2)]
    assert rewards[1] == pytest.approx((1 + np.cos(angle)) / 2 * b[0] / 2 * b[1] / 2 * 0.8)


@pytest.mark.parametrize("name", SUITE)
def test_an_episode_has_1000_steps_and_no_reward_beyond_1(name):
    env, rng = make(name, 4), np.random.default_rng(0)
    assert env.max_episode_steps == 1000 and env.dt in (pytest.approx(0.01), pytest.approx(0.02))
    env.reset(options={"conditions": [{"seed": i} for i in range(4)]})
    total = np.zeros(4)
    for _ in range(200):
        _, rewards, *_ = env.step(rng.uniform(-1, 1, env.action_space.shape))
        assert (rewards >= 0).all() and (rewards <= 1).all()
        total += rewards
    assert total.mean() < 100  # random actions solve none


@pytest.mark.parametrize("name", SUITE)
def test_a_seed_draws_the_start_and_always_the_same_one(name):
    conditions = [{"seed": i} for i in range(20)]
    one, _ = make(name, 20).reset(options={"conditions": conditions})
    two, _ = make(name, 20).reset(options={"conditions": conditions[::-1]})
    np.testing.assert_array_equal(one, two[::-1])
    assert len(np.unique(one.round(12), axis=0)) == 20


@pytest.mark.parametrize("name", ["Cup", "Finger"])
def test_no_drawn_start_touches_anything(name):
    env = make(name, 30)
    env.reset(options={"conditions": [{"seed": i} for i in range(30)]})
    assert not any(env.snapshot(i)[1].ncon for i in range(30))
