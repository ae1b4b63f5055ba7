"""The smoother of whole episodes: exact motions stay, noisy ones come near the truth, and ends are left alone."""

import numpy as np

from gps.dynamics.motion import smooth_motions
from gps.environments.tasks.cart_pole import CartPoleSwingUp
from gps.linear_gaussian.mechanics import Mechanics

DT = 0.05
MECHANICS = Mechanics(slice(0, 1), slice(1, 2), np.eye(1), DT)


def swing(T=60, seed=0):
    """A cart-pole under random forces that are held: states (1, 1, T, 4), actions (1, 1, T, 1), mechanics."""
    env, rng = CartPoleSwingUp(1, state=("qpos", "qvel"), frame_skip=2, threads=1), np.random.default_rng(seed)
    states, actions, (x, _) = [], [], env.reset()
    for t in range(T):
        u = rng.uniform(-1, 1, (1, 1)) if t % 4 == 0 else u
        states.append(x[0])
        actions.append(u[0])
        x = env.step(u)[0]
    env.close()
    return np.array(states)[None, None], np.array(actions)[None, None], env.mechanics


def test_velocities_come_nearer_to_the_truth_than_differences_of_the_positions():
    states, actions, mechanics = swing()
    noise = np.array([0.003, 0.003, 0.0, 0.0])
    measured = states + noise * np.random.default_rng(1).normal(size=states.shape)
    measured[..., 2:] = np.nan  # nobody measures them
    mask = np.ones(states.shape[:3], bool)
    smoothed = smooth_motions(measured, actions, mask, mechanics, noise)
    error = np.sqrt(((smoothed - states) ** 2).mean(axis=(0, 1, 2)))
    differences = np.diff(measured[..., :2], axis=2) / mechanics.dt
    rough = np.sqrt(((differences - states[:, :, 1:, 2:]) ** 2).mean(axis=(0, 1, 2)))
    assert (error[:2] < 0.9 * noise[:2]).all()
    assert (error[2:] < 0.3 * rough).all()
    without = smooth_motions(measured, 0 * actions, mask, mechanics, noise)
    assert error[2] < np.sqrt(((without - states) ** 2).mean(axis=(0, 1, 2)))[2]  # the cart is pushed: actions help


def test_a_constant_acceleration_is_found_through_little_noise():
    t = DT * np.arange(30)
    actions = np.full((1, 1, 30, 1), 0.5)
    states = np.stack([1.0 + 0.3 * t + 2.0 * t**2, 0.3 + 4.0 * t], axis=-1)[None, None]
    noise = np.array([1e-4, 0.0])
    measured = states + noise * np.random.default_rng(0).normal(size=states.shape)
    smoothed = smooth_motions(measured, actions, np.ones((1, 1, 30), bool), MECHANICS, noise)
    np.testing.assert_allclose(smoothed, states, atol=2e-3)


def test_what_follows_the_end_and_exact_positions_stay_as_they_are():
    rng = np.random.default_rng(0)
    measured, actions = rng.normal(size=(1, 2, 20, 2)), rng.normal(size=(1, 2, 20, 1))
    mask = np.arange(20) < np.array([[[15]], [[3]]])
    mask = mask.reshape(1, 2, 20)
    smoothed = smooth_motions(measured, actions, mask, MECHANICS, np.array([0.1, 0.0]))
    assert (smoothed[0, 0, :15] != measured[0, 0, :15]).all()
    np.testing.assert_array_equal(smoothed[0, 0, 15:], measured[0, 0, 15:])
    np.testing.assert_array_equal(smoothed[0, 1], measured[0, 1])  # too short
    exact = smooth_motions(measured, actions, mask, MECHANICS, np.zeros(2))
    np.testing.assert_array_equal(exact, measured)
