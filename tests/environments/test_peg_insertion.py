"""The peg task can be solved: a scripted controller inserts the peg wherever the slot stands."""

import mujoco
import numpy as np
import pytest

from gps.environments.tasks.peg_insertion import PegInsertion

SLOTS = [(0.0, 0.0), (-0.08, -0.08), (-0.08, 0.08), (0.08, 0.08), (0.08, -0.08)]
DEPTH = 0.12  # m, of the hole
ABOVE = 0.04  # m, the height over the mouth from which the peg goes down


def joint_path(model, slot, steps):
    """Joint angles, (steps, 7), that carry the upright peg over the slot and then down into it."""
    data = mujoco.MjData(model)
    tip, base = model.site("peg_tip").id, model.site("peg_base").id
    bottom = model.body("slot").pos + np.array([*slot, 0.0])
    data.qpos[:] = model.key("start").qpos
    mujoco.mj_fwdPosition(model, data)
    corners = [data.site_xpos[tip].copy(), bottom + [0, 0, DEPTH + ABOVE], bottom + [0, 0, 0.005]]
    times = np.array([0.0, 0.4, 0.9]) * steps
    path = np.stack([np.interp(np.arange(steps), times, axis) for axis in np.transpose(corners)], axis=1)
    angles, jacobian = np.empty((steps, model.nv)), np.zeros((2, 3, model.nv))
    for t, goal in enumerate(path):
        for _ in range(4):  # Gauss-Newton steps, from where the last point ended
            mujoco.mj_fwdPosition(model, data)
            mujoco.mj_jacSite(model, data, jacobian[0], None, tip)
            mujoco.mj_jacSite(model, data, jacobian[1], None, base)
            error = np.concatenate([goal - data.site_xpos[tip], goal + [0, 0, DEPTH] - data.site_xpos[base]])
            J = jacobian.reshape(6, -1)
            data.qpos += J.T @ np.linalg.solve(J @ J.T + 1e-6 * np.eye(6), error)
        angles[t] = data.qpos
    return angles


class Inserter:
    """Computed torques that track a `joint_path` in each simulation of `env`."""

    def __init__(self, env, slots, steps=100):
        self.env, self.data = env, mujoco.MjData(env.model)
        paths = np.stack([joint_path(env.model, slot, steps) for slot in slots])
        self.paths = np.concatenate([paths, paths[:, -1:]], axis=1)

    def act(self, states, t):
        model, data, layout = self.env.model, self.data, self.env.state_layout
        torques, M = np.empty((len(states), model.nu)), np.zeros((model.nv, model.nv))
        for i, x in enumerate(states):
            data.qpos[:], data.qvel[:] = x[layout["qpos"]], x[layout["qvel"]]
            mujoco.mj_forward(model, data)
            mujoco.mj_fullM(model, data, M)
            now, after = self.paths[i, t], self.paths[i, t + 1]
            wanted = 60.0 * (after - data.qpos) + 12.0 * ((after - now) / self.env.dt - data.qvel)
            torques[i] = M @ wanted + data.qfrc_bias - data.qfrc_passive
        return torques / model.actuator_gear[:, 0]


def insert(env, slots):
    controller = Inserter(env, slots)
    states, _ = env.reset(options={"conditions": [{"slot": slot} for slot in slots]})
    for t in range(100):
        states, rewards, _, truncated, info = env.step(controller.act(states, t))
    assert truncated.all()
    return states, rewards, info


def test_a_scripted_controller_inserts_the_peg_everywhere():
    env = PegInsertion(len(SLOTS))
    states, rewards, info = insert(env, SLOTS)
    assert info["success"].all()
    for part in (
        "site_position:peg_tip-slot_bottom",
        "site_position:peg_base-slot_axis",
    ):  # zero when it is in
        assert np.abs(states[:, env.state_layout[part]]).max() < 0.01
    assert (rewards > -0.01).all()


def test_it_must_go_into_the_hole():
    """The same motions with the slot 3 cm aside end on top of the block."""
    env = PegInsertion(len(SLOTS))
    controller = Inserter(env, SLOTS)
    states, _ = env.reset(options={"conditions": [{"slot": (x + 0.03, y)} for x, y in SLOTS]})
    for t in range(100):
        states, *_, info = env.step(controller.act(states, t))
        assert not info["diverged"].any()
    assert not info["success"].any()
    assert states[:, env.state_layout["site_position:peg_tip-slot_bottom"]][:, 2].min() > 0.1


def test_the_slot_moves_and_the_start_does_not():
    env = PegInsertion(2)
    states, _ = env.reset(options={"conditions": [{"slot": [0.05, -0.03]}, {}]})
    layout = env.state_layout
    np.testing.assert_array_equal(states[0, :14], states[1, :14])
    for part in ("site_position:peg_tip-slot_bottom", "site_position:peg_base-slot_axis"):
        np.testing.assert_allclose(states[0, layout[part]] - states[1, layout[part]], [-0.05, 0.03, 0], atol=1e-12)
        np.testing.assert_allclose(states[1, layout[part]], [0, 0, 0.2 + DEPTH], atol=1e-6)
    both, _ = env.reset(options={"condition": {"slot": [0.05, -0.03], "body_offset": {"slot": [0.01, 0, 0]}}})
    assert both[0, layout["site_position:peg_tip-slot_bottom"]][0] == pytest.approx(-0.06)


def test_the_arm_stays_where_it_starts_without_torque():
    env = PegInsertion(1)
    start, _ = env.reset()
    for _ in range(100):
        states, *_ = env.step(np.zeros((1, 7)))
    np.testing.assert_allclose(states, start, atol=1e-6)


def test_the_state_is_a_choice():
    env = PegInsertion(1, state=["qpos", "qvel"])
    env.reset()
    assert env.single_observation_space.shape == (14,)
    assert env.step(np.zeros((1, 7)))[1][0] == pytest.approx(-0.32, abs=0.01)
