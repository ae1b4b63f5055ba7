"""Acrobot and pendubot: RealAIGym's equations of motion, its energy, and its published scores."""

import mujoco
import numpy as np
import pytest

from gps.environments.tasks.acrobot import Acrobot
from gps.environments.tasks.double_pendulum import TORQUE, play_finely
from gps.environments.tasks.pendubot import Pendubot
from gps.environments.tasks.real_ai_score import RealAIScore, find_height, score_v2

M1, M2, L1, R1, R2 = 0.5234602302310271, 0.6255677234174437, 0.2, 0.2, 0.25569305436052964
I1, I2, G = 0.031887199591513114, 0.05086984812807257, 9.81


def mass_matrix(q):
    """Spong's acrobot with the inertias about the joints, as RealAIGym writes it."""
    coupling = M2 * L1 * R2 * np.cos(q[1])
    return np.array([[I1 + I2 + M2 * L1**2 + 2 * coupling, I2 + coupling], [I2 + coupling, I2]])


def accelerate(q, v, torques):
    """The closed form: M a = torques - C v - gravity."""
    h = M2 * L1 * R2 * np.sin(q[1])
    coriolis = np.array([-2 * h * v[1] * v[0] - h * v[1] ** 2, h * v[0] ** 2])
    second = M2 * G * R2 * np.sin(q[0] + q[1])
    gravity = np.array([(M1 * R1 + M2 * L1) * G * np.sin(q[0]) + second, second])
    return np.linalg.solve(mass_matrix(q), torques - coriolis - gravity)


def energy(q, v):
    height = -M1 * R1 * np.cos(q[0]) - M2 * (L1 * np.cos(q[0]) + R2 * np.cos(q[0] + q[1]))
    return 0.5 * v @ mass_matrix(q) @ v + G * height


@pytest.mark.parametrize(("task", "joint"), [(Acrobot, 1), (Pendubot, 0)])
def test_it_accelerates_as_the_closed_form_says(task, joint):
    model = task().model
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(20):
        q, v, u = rng.uniform(-np.pi, np.pi, 2), rng.normal(0, 5, 2), rng.uniform(-1, 1)
        data.qpos[:], data.qvel[:], data.ctrl[:] = q, v, u
        mujoco.mj_forward(model, data)
        torques = np.zeros(2)
        torques[joint] = TORQUE * u
        np.testing.assert_allclose(data.qacc, accelerate(q, v, torques), rtol=1e-9)
        assert data.site("tip").xpos[2] == pytest.approx(find_height(q))


def test_without_torque_the_energy_stays():
    env = Acrobot()
    states, _ = env.reset(options={"condition": {"qpos": [2.0, 1.0], "qvel": [1.0, -2.0]}})
    start = energy(states[0, :2], states[0, 2:])
    for _ in range(500):
        states, *_ = env.step([[0.0]])
    assert energy(states[0, :2], states[0, 2:]) == pytest.approx(start, abs=1e-5)


def test_success_is_a_second_above_the_line():
    env = Pendubot()
    _, info = env.reset(options={"condition": {"qpos": [np.pi, 0.0]}})
    flags = [bool(env.step([[0.0]])[4]["success"][0]) for _ in range(60)]
    assert not info["success"][0] and flags.index(True) in (48, 49, 50)
    env.reset()
    assert not any(env.step([[0.0]])[4]["success"][0] for _ in range(60))


def test_the_reward_is_minus_the_distance_from_upright():
    env = Acrobot(2)
    env.reset(options={"conditions": [{}, {"qpos": [np.pi, 0.0]}]})
    np.testing.assert_allclose(env.step(np.zeros((2, 1)))[1], [-1.0, 0.0], atol=1e-9)


# -- the score ---------------------------------------------------------------------------------------------------------

# Acrobot simulation performance leaderboard V2: time, energy, torque cost, smoothness, velocity cost, score.
PUBLISHED = [
    (1.45, 19.43, 3.22, 0.097, 253.59, 0.316),
    (1.0, 8.08, 1.8, 0.01, 88.5, 0.655),
    (4.05, 10.43, 1.87, 0.016, 105.83, 0.504),
    (1.39, 8.32, 1.52, 0.008, 117.96, 0.633),
    (4.04, 10.55, 1.98, 0.067, 106.49, 0.396),
    (0.96, 9.26, 2.71, 0.03, 96.56, 0.524),
    (4.86, 11.54, 2.68, 0.096, 110.4, 0.345),
]


@pytest.mark.parametrize("row", PUBLISHED)
def test_the_score_is_the_published_one_up_to_the_rounding_of_the_criteria(row):
    smooth = [RealAIScore(True, *row[:3], row[3] + delta, row[4]).score for delta in (5e-4, 0.0, -5e-4)]
    assert smooth[0] - 1e-3 <= row[5] <= smooth[2] + 1e-3
    assert RealAIScore(False, *row[:5]).score == 0.0


def test_the_criteria_are_those_of_a_hand_made_attempt():
    times = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    positions = np.array([[0.0, 0.0], [np.pi, 0.0], [1.0, 0.5], [np.pi, 0.0], [np.pi, 0.1]])
    velocities = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 0.0], [0.0, 0.0], [9.0, 9.0]])
    torques = np.array([[0.0, 1.0], [0.0, 3.0], [0.0, -1.0], [0.0, 0.0], [0.0, 0.0]])
    score = score_v2(times, positions, velocities, torques)
    assert (score.success, score.swing_up_time) == (True, 0.3)
    assert score.energy == pytest.approx(0.0 * 1 + 0.5 * 3 + 0.5 * 1)
    assert score.torque_cost == pytest.approx(0.1 * (1 + 9 + 1))
    assert score.torque_smoothness == pytest.approx(np.std([2.0, -4.0, 1.0, 0.0]))
    assert score.velocity_cost == pytest.approx(0.1 * (5 + 9))


def test_an_attempt_that_falls_has_no_score():
    still = np.zeros((6, 2))
    upright = still + [np.pi, 0.0]
    assert score_v2(np.arange(6.0), upright, still, still).swing_up_time == 0.0
    upright[-1] = 0.0
    fallen = score_v2(np.arange(6.0), upright, still, still)
    assert (fallen.success, fallen.score, fallen.swing_up_time) == (False, 0.0, 5.0)


def test_what_has_no_score_is_an_error():
    with pytest.raises(ValueError, match=r"expected times \(K,\) and three arrays \(K, 2\)"):
        score_v2(np.arange(4.0), np.zeros((4, 2)), np.zeros((4, 2)), np.zeros(4))
    with pytest.raises(ValueError, match="not finite has no score"):
        score_v2(np.arange(4.0), np.full((4, 2), np.nan), np.zeros((4, 2)), np.zeros((4, 2)))


@pytest.mark.parametrize(("task", "joint"), [(Acrobot, 1), (Pendubot, 0)])
def test_a_fine_record_repeats_the_episode_bit_for_bit(task, joint):
    env = task()
    states, actions = [env.reset()[0][0]], np.random.default_rng(0).uniform(-1.5, 1.5, (50, 1))
    states += [env.step(action[None])[0][0] for action in actions]
    times, positions, velocities, torques = play_finely(task, actions)
    np.testing.assert_array_equal(np.hstack([positions, velocities])[::10], states)
    np.testing.assert_allclose(times[[1, -1]], [0.002, 1.0])
    assert not torques[:, 1 - joint].any() and np.abs(torques).max() == TORQUE


def test_actions_of_another_control_period_lead_to_the_same_states():
    env = Acrobot(frame_skip=5)
    states, actions = [env.reset()[0][0]], np.random.default_rng(0).uniform(-1, 1, (20, 1))
    states += [env.step(action[None])[0][0] for action in actions]
    times, positions, velocities, _ = play_finely(Acrobot, actions, frame_skip=5)
    np.testing.assert_array_equal(np.hstack([positions, velocities])[::5], states)
    np.testing.assert_allclose(times[-1], 0.2)
