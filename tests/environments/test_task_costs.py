"""The costs of the experiments that come with the tasks: minus the rewards where they say so; Gymnasium's own tasks."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv

import gps.environments  # noqa: F401  (registers the ids)
from gps.backend import jax, jnp
from gps.environments.tasks.arm_tracking import find_reference
from gps.extensions import task_file

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def find(experiment, name):
    return task_file.find(EXPERIMENTS / experiment / "task.py", name, "test")


@pytest.mark.parametrize(
    ("experiment", "function", "environment", "shift"),
    [
        ("pets_cart_pole", "cost", "PetsCartPole", None),
        ("cart_double_pendulum", "minus_reward", "CartDoublePendulum", {"qpos": [0.1, 0.2, -0.1]}),
        ("pets_pusher", "cost", "PetsPusher", None),
        ("pets_reacher", "cost", "PetsReacher", None),
        ("suite_pendulum", "minus_reward", "SuitePendulum", {"qpos": [0.1]}),
        ("suite_cart_pole", "cost", "SuiteCartPole", None),
        ("suite_cup", "minus_reward", "SuiteCup", {"qpos": [0.0, 0.0, 0.0, 0.355]}),
        ("suite_reacher", "minus_reward", "SuiteReacherEasy", {"target": [0.2, 0.03]}),
        ("suite_reacher", "minus_reward_hard", "SuiteReacherHard", {"target": [0.22, 0.0]}),
        ("suite_finger", "minus_reward", "SuiteFinger", {"qvel": [0.0, 0.0, -16.0]}),
    ],
)
def test_the_cost_of_a_state_and_an_action_is_minus_its_reward(experiment, function, environment, shift):
    """Random actions from random starts, and a start near the edge of a reward that is 0 or 1."""
    cost, env = find(experiment, function), gymnasium.make_vec(f"gps/{environment}-v0", num_envs=6).unwrapped
    conditions = [{"seed": i} for i in range(5)] + [shift or {}]
    env.reset(options={"conditions": conditions})
    rng, seen = np.random.default_rng(0), []
    for t in range(30):
        actions = rng.uniform(-1, 1, env.action_space.shape) * (0.3 if shift else 1.0)
        states, rewards, *_ = env.step(actions)
        costs = jax.vmap(cost, (0, 0, None))(jnp.asarray(states), jnp.asarray(actions), t)
        np.testing.assert_allclose(costs, -rewards, atol=1e-12)
        seen += rewards.tolist()
    assert len(set(seen)) > 1


@pytest.mark.parametrize("task", ["Acrobot", "Pendubot"])
def test_the_swing_ups_cost_is_zero_upright_at_rest_and_grows_with_the_tips_distance(task):
    cost, env = find("double_pendulum", "swing_up"), gymnasium.make_vec(f"gps/{task}-v0", num_envs=1).unwrapped
    assert cost(jnp.array([jnp.pi, 0.0, 0.0, 0.0]), jnp.zeros(1), 0) == pytest.approx(0.0, abs=1e-12)
    env.reset()
    for _ in range(20):
        states, rewards, *_ = env.step([[0.5]])
        still = jnp.asarray(states[0]).at[2:].set(0.0)
        assert cost(still, jnp.zeros(1), 0) == pytest.approx((rewards[0] / 0.5) ** 2)


def test_the_arms_cost_is_zero_on_its_reference_alone():
    cost, saturated = find("arm_tracking", "follow"), find("arm_tracking", "saturated")
    reference = find_reference()
    for t in (0, 70, 199):
        on = jnp.asarray(reference[t])
        assert cost(on, jnp.zeros(6), t) == saturated(on, jnp.zeros(6), t) == 0
        off = on.at[2].add(0.1)
        assert cost(off, jnp.zeros(6), t) == pytest.approx(0.5 * 100 * 0.1**2)
        assert saturated(off, jnp.zeros(6), t) == pytest.approx(1 - np.exp(-(0.2**2)))


# -- the homework's half-cheetah ---------------------------------------------------------------------------------------


def test_the_homeworks_cheetah_has_its_20_numbers_and_its_reward():
    env = find("cheetah_homework", "HomeworkCheetah")(2)
    original = gymnasium.make("HalfCheetah-v5", frame_skip=1).unwrapped
    states, _ = env.reset(options={"conditions": [{"seed": 3}, {"seed": 4}]})
    original.reset(seed=3)
    assert env.dt == pytest.approx(0.01) and states.shape == (2, 21)
    rng, before = np.random.default_rng(0), states
    for _ in range(20):
        actions, lagged = rng.uniform(-1, 1, (2, 6)), states[0, 17]
        states, rewards, *_ = env.step(actions)
        observation, reward, *_ = original.step(actions[0])
        np.testing.assert_array_equal(states[0, :17], observation)
        np.testing.assert_array_equal(states[0, 17:20], original.data.subtree_com[1])
        assert rewards[0] == reward
        assert states[0, 20] == pytest.approx((states[0, 17] - lagged) / 0.01)
    again, _ = env.reset(options={"conditions": [{"seed": 3}, {"seed": 4}]})
    np.testing.assert_array_equal(again, before)


def test_the_homeworks_cost_is_its_formula():
    cost = find("cheetah_homework", "cost")
    legs = [(0.19, -0.1, -0.1), (0.2, -0.1, -0.1), (0.0, 0.0, -0.1), (0.3, 0.1, 0.2)]
    for penalty, angles in zip((0, 10, 10, 30), legs, strict=True):
        x = jnp.zeros(21).at[5:8].set(jnp.array(angles)).at[20].set(1.5)
        assert cost(x, jnp.zeros(6), 0) == penalty - 1.5


def test_the_smooth_cost_is_the_homeworks_away_from_its_limits_and_has_a_slope_at_them():
    cost, smooth, rng = *(find("cheetah_homework", name) for name in ("cost", "smooth_cost")), np.random.default_rng(0)
    for signs in rng.choice([-1.0, 1.0], (8, 3)):
        x = jnp.zeros(21).at[5:8].set(jnp.array([0.2, 0.0, 0.0]) + 1.0 * signs).at[20].set(1.5)
        assert smooth(x, jnp.zeros(6), 0) == pytest.approx(float(cost(x, jnp.zeros(6), 0)), abs=1e-6)
    slope = jax.grad(smooth)(jnp.zeros(21).at[5].set(0.2), jnp.zeros(6), 0)
    np.testing.assert_allclose(slope[5:8], 10.0 / 4.0 / 0.05)


# -- Gymnasium's own ---------------------------------------------------------------------------------------------------


def test_the_hanging_pendulum_is_gymnasiums_but_for_its_start():
    env, original, cost = find("pendulum_hanging", "HangingPendulum")(), PendulumEnv(), find("pendulum_hanging", "cost")
    exact = find("pendulum_hanging", "minus_reward")
    start, info = env.reset(seed=0)
    np.testing.assert_allclose(start, [-1.0, 0.0, 0.0], atol=1e-6)
    original.reset(seed=0)
    original.state = env.state.copy()
    rng, x = np.random.default_rng(0), start
    for t in range(60):
        action = rng.uniform(-2, 2, 1)
        assert exact(jnp.asarray(x), jnp.asarray(action), t) >= 0
        expected = original.step(action)
        got = env.step(action)
        if t:  # at the start, the rounded observation cannot tell π from -π
            assert exact(jnp.asarray(x), jnp.asarray(action), t) == pytest.approx(-expected[1], rel=1e-4)
        np.testing.assert_array_equal(got[0], expected[0])
        assert got[1] == expected[1]
        x = got[0]
    for sample in ([1.0, 0.0, 0.0], [-1.0, 0.0, 3.0]):
        assert cost(jnp.array(sample), jnp.zeros(1), 0) == pytest.approx(exact(jnp.array(sample), jnp.zeros(1), 0))
    env.reset(options={"angle": 0.1})
    assert env.step(np.zeros(1))[4]["success"] and not info["success"]


def test_a_car_that_rocks_reaches_the_flag_and_five_steps_are_five_of_the_originals():
    env, original = find("mountain_car", "FlagCar")(), Continuous_MountainCarEnv()
    state, _ = env.reset(options={"position": -0.5})
    original.reset(seed=0)
    original.state = np.array([-0.5, 0.0])
    total, steps, terminated = 0.0, 0, False
    while not terminated and steps < 40:
        action = np.array([1.0 if state[1] >= 0 else -1.0])
        state, reward, terminated, _, info = env.step(action)
        total, steps = total + reward, steps + 1
        for _ in range(5):
            expected, _, ended, *_ = original.step(action)
            if ended:
                break
        np.testing.assert_array_equal(state, expected)
        assert info["success"] == terminated
    assert terminated and 10 < steps < 40 and 85 < total < 95


def test_the_cars_cost_falls_towards_the_flag():
    cost = find("mountain_car", "cost")
    costs = [float(cost(jnp.array([p, 0.0]), jnp.zeros(1), 0)) for p in (-1.2, -0.5, 0.0, 0.45, 0.6)]
    assert costs == sorted(costs, reverse=True) and costs[3:] == [0.0, 0.0]
