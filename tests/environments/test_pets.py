"""PETS' tasks: masses, motion and rewards are those of Chua et al. 2018."""

import gymnasium
import mujoco
import numpy as np
import pytest

import gps.environments  # noqa: F401  (registers the ids)


def make(name, n=1):
    return gymnasium.make_vec(f"gps/Pets{name}-v0", num_envs=n).unwrapped


def capsule(radius, length, density=1000.0):
    """Mass and inertia about an axis across the middle, kg and kg m²: a cylinder and two half balls."""
    tube, ball = density * np.pi * radius**2 * length, density * 4 / 3 * np.pi * radius**3
    across = tube * (3 * radius**2 + length**2) / 12
    return tube + ball, across + ball * (0.4 * radius**2 + length**2 / 4 + 3 * length * radius / 8)


def test_the_cart_pole_accelerates_as_the_closed_form_says():
    model = make("CartPole").model
    (cart, _), (pole, inertia) = capsule(0.1, 0.2), capsule(0.049, 0.6)
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(20):
        (x, angle), (v, w), u = rng.uniform([-2, -3], [2, 3]), rng.normal(0, 3, 2), rng.uniform(-1, 1)
        data.qpos[:], data.qvel[:], data.ctrl[:] = (x, angle), (v, w), u
        mujoco.mj_forward(model, data)
        s, c, arm = np.sin(angle), np.cos(angle), pole * 0.3
        mass = [[cart + pole, -arm * c], [-arm * c, inertia + arm * 0.3]]
        forces = [300 * u - v - arm * w**2 * s, -w - 9.81 * arm * s]
        # the pole leans by 1 mm of 0.6 m, as in the original, which the closed form leaves out
        np.testing.assert_allclose(data.qacc, np.linalg.solve(mass, forces), rtol=0.02, atol=0.3)


def test_the_cart_pole_pays_for_the_tips_place():
    env = make("CartPole", 2)
    env.reset(options={"conditions": [{"qpos": [0.0, np.pi]}, {}]})
    _, rewards, *_ = env.step([[0.1], [0.0]])
    assert 0.99 - 0.01 * 0.09 < rewards[0] <= 1 - 0.01 * 0.09
    assert rewards[1] == pytest.approx(np.exp(-(1.2**2) / 0.36), rel=0.02)


def turn(axis, angle):
    """The rotation by an angle about x, y or z."""
    i, j = [k for k in range(3) if k != axis]
    matrix = np.eye(3)
    matrix[[i, j], [i, j]] = np.cos(angle)
    matrix[i, j], matrix[j, i] = -np.sin(angle), np.sin(angle)
    return matrix.T if axis == 1 else matrix


def test_the_reachers_gripper_is_where_a_chain_of_rotations_puts_it():
    env, rng = make("Reacher", 5), np.random.default_rng(0)
    angles = rng.uniform(-0.5, 0.0, (5, 7))
    states, _ = env.reset(options={"conditions": [{"qpos": q.tolist(), "target": [0.1, 0.2, 0.3]} for q in angles]})
    for q, state in zip(angles, states, strict=True):
        place, frame = np.array([0.0, -0.188, 0.0]), np.eye(3)
        links = [(2, 0.1), (1, 0.0), (0, 0.4), (1, 0.0), (0, 0.321), (1, 0.0), (0, 0.16828)]
        for angle, (axis, length) in zip(q, links, strict=True):
            frame = frame @ turn(axis, angle)
            place = place + frame @ [length, 0, 0]
        np.testing.assert_allclose(state[14:] + [0.1, 0.2, 0.3], place, atol=1e-12)
    _, rewards, *_ = env.step(np.full((5, 7), 0.1))
    far = env.site("grip") - [0.1, 0.2, 0.3]
    np.testing.assert_allclose(rewards, -(far**2).sum(axis=1) - 0.01 * 7 * 4.0)


def test_the_arms_weigh_what_the_originals_weigh():
    """The sums over the originals' bodies, with 1000 and 300 kg/m³; the cylinder moves as if it had 0.04 kg."""
    assert make("Reacher").model.body_mass.sum() == pytest.approx(46.186883)
    model = make("Pusher").model
    assert model.body_mass.sum() - model.body("object").mass[0] == pytest.approx(13.672997)
    assert model.body("object").mass[0] == 0.04 and not model.dof_armature[7:].any()


def test_the_fork_pushes_the_cylinder_and_the_reward_counts_it():
    env = make("Pusher")
    states, _ = env.reset()
    np.testing.assert_allclose(states[0, 7:9], [-0.25, 0.15])
    model, data = env.model, mujoco.MjData(env.model)
    jacobian, rolls = np.zeros((3, model.nv)), np.array([0, 0, 1, 0, 1, 0, 1])
    for t in range(120):  # fold the arm over the table, then move the fork along y, level
        data.qpos[:], data.qvel[:] = states[0, :9], states[0, 9:18]
        mujoco.mj_forward(model, data)
        mujoco.mj_jacSite(model, data, jacobian, None, model.site("tip").id)
        target = [0.64, -0.6 + 0.4 * np.clip((t - 60) / 60, 0, 1), -0.27]
        force = 60 * (target - states[0, 18:]) - 3 * (jacobian @ data.qvel)
        action = np.clip((jacobian[:, :7].T @ force - 20 * rolls * states[0, :7]) / 2, -1, 1)
        states, rewards, *_ = env.step(action[None])
    place, goal, tip = env.site("object")[0], env.site("goal")[0], env.site("tip")[0]
    expected = -1.25 * np.abs(place - goal).sum() - 0.5 * np.abs(place - tip).sum() - 0.4 * (action**2).sum()
    assert states[0, 7] > -0.1
    assert rewards[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "spread"), [("CartPole", 0.1), ("Pusher", 0.025), ("Reacher", 0.1)], ids=["cart-pole", "pusher", "reacher"]
)
def test_a_seed_draws_the_start_and_always_the_same_one(name, spread):
    env = make(name, 200)
    conditions = [{"seed": i} for i in range(200)]
    one, _ = env.reset(options={"conditions": conditions})
    two, _ = make(name, 200).reset(options={"conditions": conditions})
    np.testing.assert_array_equal(one, two)
    drawn = {"CartPole": one[:, :2], "Pusher": one[:, 7:9], "Reacher": one[:, 14:]}[name]
    np.testing.assert_allclose(drawn.std(axis=0), spread, rtol=0.2)
    with pytest.raises(ValueError, match="condition: seed: must be a whole number, 0 or more, got -1"):
        env.reset(options={"condition": {"seed": -1}})


@pytest.mark.parametrize(
    ("name", "still", "shaken"),
    [("CartPole", (0, 5), (-10, 0)), ("Pusher", (-160, -130), (-340, -240)), ("Reacher", (-230, -90), (-1600, -1400))],
)
def test_an_episode_without_and_with_random_actions_pays_what_it_should(name, still, shaken):
    env, rng = make(name, 10), np.random.default_rng(0)
    for size, (low, high) in ((0.0, still), (1.0, shaken)):
        env.reset(options={"conditions": [{"seed": i} for i in range(10)]})
        actions = size * rng.uniform(-1, 1, (env.max_episode_steps, *env.action_space.shape))
        returns = sum(env.step(action)[1] for action in actions)
        assert (returns > low).all() and (returns < high).all()
