"""The tasks of PILCO's thesis and of MC-PILCO: motion, rewards, starts and success."""

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

import gps.environments  # noqa: F401  (registers the ids)
from gps.builders.environments import make_environment
from gps.config import parse
from gps.environments.tasks.arm_tracking import RADIUS, find_offset, find_reference


def make(name, n=1, **options):
    return gymnasium.make_vec(f"gps/{name}-v0", num_envs=n, **options).unwrapped


# -- MC-PILCO's cart-pole ----------------------------------------------------------------------------------------------


def test_mc_pilcos_cart_pole_accelerates_as_its_program_says():
    """Amadio et al. 2022: the angle is 0 hanging; the pole is 0.5 m long."""
    model = make("McPilcoCartPole").model
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    cart = pole = length = 0.5
    for _ in range(20):
        (p, a), (v, w), u = rng.uniform([-2, -4], [2, 4]), rng.normal(0, 3, 2), rng.uniform(-1, 1)
        data.qpos[:], data.qvel[:], data.ctrl[:] = (p, a), (v, w), u
        mujoco.mj_forward(model, data)
        s, c, force = np.sin(a), np.cos(a), 10 * u - 0.1 * v
        share = 4 * (cart + pole) - 3 * pole * c**2
        cart_faster = (2 * pole * length * w**2 * s + 3 * pole * 9.81 * s * c + 4 * force) / share
        turn = -3 * pole * length * w**2 * s * c - 6 * (cart + pole) * 9.81 * s - 6 * force * c
        np.testing.assert_allclose(data.qacc, [cart_faster, turn / (length * share)], rtol=1e-9)


def test_mc_pilcos_cart_pole_has_its_trial_its_reward_and_its_success():
    env = make("McPilcoCartPole", 4)
    assert (env.dt, env.max_episode_steps) == (pytest.approx(0.05), 60)
    starts = [{"qpos": [0.0, np.pi]}, {"qpos": [0.0, -np.pi]}, {"qpos": [0.0, 3 * np.pi]}, {"qpos": [0.2, np.pi]}]
    env.reset(options={"conditions": starts})
    flags = []
    for _ in range(22):
        states, rewards, *_, info = env.step(np.zeros((4, 1)))
        flags.append(info["success"])
        error = (np.abs(states[:, 1]) - np.pi) / 3
        np.testing.assert_allclose(rewards, np.exp(-(error**2) - states[:, 0] ** 2) - 1, atol=1e-12)
    np.testing.assert_array_equal(np.argmax(np.array(flags)[:, :2], axis=0), [18, 18])  # 20 states make a second
    assert flags[-1].tolist() == [True, True, False, False]


def test_a_seed_draws_starts_as_wide_as_the_originals():
    drawn = {}
    for name in ("CartPoleSwingUp", "McPilcoCartPole", "CartDoublePendulum"):
        env = make(name, 400)
        drawn[name], _ = env.reset(options={"conditions": [{"seed": i} for i in range(400)]})
        assert env.seeded
    np.testing.assert_allclose(drawn["CartPoleSwingUp"][:, :4].std(axis=0), 0.1, rtol=0.15)
    np.testing.assert_allclose(drawn["McPilcoCartPole"].std(axis=0), 0.01, rtol=0.15)
    x = drawn["CartDoublePendulum"]
    x[:, [2, 5]] += x[:, [1, 4]]  # both links' angles to the vertical
    np.testing.assert_allclose(x.std(axis=0), [0.1, 0.01, 0.01, 0.1, 0.1, 0.1], rtol=0.15)
    np.testing.assert_allclose(x.mean(axis=0), [0, np.pi, np.pi, 0, 0, 0], atol=0.02)


# -- the cart with a double pendulum -----------------------------------------------------------------------------------


def accelerate(position, velocity, force, m1=0.5, m2=0.5, m3=0.5):
    """Deisenroth 2010, appendix C; angles to the vertical, 0 upright."""
    (_, a, b), (v, wa, wb), g, la, lb = position, velocity, 9.82, 0.6, 0.6
    matrix = [
        [2 * (m1 + m2 + m3), -(m2 + 2 * m3) * la * np.cos(a), -m3 * lb * np.cos(b)],
        [-(3 * m2 + 6 * m3) * np.cos(a), (2 * m2 + 6 * m3) * la, 3 * m3 * lb * np.cos(a - b)],
        [-3 * np.cos(b), 3 * la * np.cos(a - b), 2 * lb],
    ]
    right = [
        2 * force - 0.2 * v - (m2 + 2 * m3) * la * wa**2 * np.sin(a) - m3 * lb * wb**2 * np.sin(b),
        (3 * m2 + 6 * m3) * g * np.sin(a) - 3 * m3 * lb * wb**2 * np.sin(a - b),
        3 * la * wa**2 * np.sin(a - b) + 3 * g * np.sin(b),
    ]
    return np.linalg.solve(matrix, right)


def test_the_cart_double_pendulum_accelerates_as_the_thesis_says():
    env = make("CartDoublePendulum")
    model, rng = env.model, np.random.default_rng(0)
    data = mujoco.MjData(model)
    assert (env.dt, env.max_episode_steps) == (pytest.approx(0.05), 100)
    for _ in range(20):
        q, v, u = rng.uniform(-3, 3, 3), rng.normal(0, 3, 3), rng.uniform(-1, 1)
        data.qpos[:], data.qvel[:], data.ctrl[:] = [q[0], q[1], q[2] - q[1]], [v[0], v[1], v[2] - v[1]], u
        mujoco.mj_forward(model, data)
        expected = accelerate(q, v, 20 * u)
        np.testing.assert_allclose(np.r_[data.qacc[:2], data.qacc[1] + data.qacc[2]], expected, rtol=1e-8)


def test_the_cart_double_pendulum_succeeds_after_a_second_upright():
    env = make("CartDoublePendulum", 2)
    _, info = env.reset(options={"conditions": [{"qpos": [0.0, 0.0, 0.0]}, {}]})
    assert not info["success"].any()
    flags = []
    for _ in range(25):
        _, rewards, *_, info = env.step(np.zeros((2, 1)))
        flags.append(info["success"])
    assert np.argmax(np.array(flags)[:, 0]) == 18 and not np.array(flags)[:, 1].any()
    np.testing.assert_allclose(rewards, [0.0, np.expm1(-0.5 * 2.4**2 / 0.25)], atol=1e-3)


def test_each_episode_may_have_masses_of_its_own():
    section = '[environment]\nid = "gps/CartDoublePendulum-v0"\nrandomise = { body_mass = { "*" = [0.8, 1.2] } }\n'
    env = make_environment(parse(section).environment, Path(), 3)
    env.reset(seed=0, options={"conditions": [{}] * 3, "episodes": [(0,), (1,), (2,)]})
    masses, accelerations = [], []
    for i in range(3):
        model, data = env.snapshot(i)
        m = [model.body(name).mass[0] for name in ("cart", "inner", "outer")]
        np.testing.assert_allclose(model.body("inner").inertia[1], m[1] * 0.6**2 / 12)
        data.qpos[:], data.qvel[:], data.ctrl[:] = [0.0, 1.0, 1.0], [1.0, 2.0, 1.0], 0.5
        mujoco.mj_forward(model, data)
        accelerations.append(np.r_[data.qacc[:2], data.qacc[1] + data.qacc[2]])
        np.testing.assert_allclose(accelerations[-1], accelerate([0, 1, 2], [1, 2, 3], 10.0, *m), rtol=1e-8)
        masses += m
    assert len(set(masses)) == 9 and 0.4 <= min(masses) <= max(masses) <= 0.6
    env.close()


# -- the arm that follows a circle -------------------------------------------------------------------------------------


def test_the_target_goes_once_around_a_circle_from_rest_to_rest():
    times = np.linspace(0.0, 4.2, 421)
    places, velocities = map(np.array, zip(*map(find_offset, times), strict=True))
    np.testing.assert_allclose(np.hypot(places[:, 1], places[:, 2] - RADIUS), RADIUS)
    np.testing.assert_allclose(np.gradient(places, times, axis=0)[1:-1], velocities[1:-1], atol=2e-4)
    for place, velocity in zip(places[[0, 400, 420]], velocities[[0, 400, 420]], strict=True):
        np.testing.assert_allclose([place, velocity], 0.0, atol=1e-12)


def test_the_reference_keeps_the_tool_at_the_target_and_its_velocities_are_its_slopes():
    env, reference = make("ArmTracking"), find_reference()
    data, start = mujoco.MjData(env.model), env.model.body("target").pos
    for t in range(0, 201, 10):
        data.qpos[:] = reference[t, :6]
        mujoco.mj_forward(env.model, data)
        np.testing.assert_allclose(data.site("tool").xpos, start + find_offset(0.02 * t)[0], atol=1e-8)
        np.testing.assert_allclose(data.site("tool").xmat.reshape(3, 3)[:, 1], [1, 0, 0], atol=1e-8)
    slopes = np.gradient(reference[:, :6], 0.02, axis=0)
    np.testing.assert_allclose(slopes[1:-1], reference[1:-1, 6:], atol=1e-3)


def follow(env, compensate):
    """Errors, m, of an episode of PD control, with or without the torques of the exact model."""
    reference, model = find_reference(), env.model
    data, M = mujoco.MjData(model), np.zeros((6, 6))
    states, _ = env.reset()
    errors = []
    for t in range(200):
        q, v = states[0, :6], states[0, 6:]
        wanted = 400 * (reference[t, :6] - q) + 40 * (reference[t, 6:] - v)
        if compensate:
            data.qpos[:], data.qvel[:] = q, v
            mujoco.mj_forward(model, data)
            mujoco.mj_fullM(model, data, M)
            change = (reference[t + 1, 6:] - reference[t, 6:]) / env.dt
            wanted = M @ (wanted + change) + data.qfrc_bias - data.qfrc_passive
        states, rewards, *_, info = env.step((wanted / model.actuator_gear[:, 0])[None])
        errors.append(-rewards[0])
    return np.array(errors), bool(info["success"][0])


def test_computed_torques_follow_the_circle_and_plain_feedback_does_not():
    errors, succeeded = follow(make("ArmTracking"), compensate=True)
    assert succeeded and errors.max() < 0.005
    errors, succeeded = follow(make("ArmTracking"), compensate=False)
    assert not succeeded and errors.max() > 0.02


def test_the_reference_and_the_error_are_parts_of_the_observation():
    parts = ["reference", "site_position:tool-target"]
    env, reference = make("ArmTracking", 2, observation=parts), find_reference()
    _, info = env.reset()
    np.testing.assert_allclose(info["observation"], np.tile(np.r_[reference[0], np.zeros(3)], (2, 1)), atol=1e-8)
    for _ in range(5):
        _, rewards, *_, info = env.step(np.zeros((2, 6)))
    np.testing.assert_array_equal(info["observation"][:, :12], reference[[5, 5]])
    np.testing.assert_allclose(np.linalg.norm(info["observation"][:, 12:], axis=1), -rewards)
    _, info = env.reset(options={"reset_mask": np.array([True, False]), "conditions": [{}, {}]})
    np.testing.assert_array_equal(info["observation"][:, :12], reference[[0, 5]])
