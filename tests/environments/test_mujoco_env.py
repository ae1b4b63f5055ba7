"""Properties of `MujocoEnv`, on a model that has one of everything."""

import time
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
from mujoco.batch import SimulationError

import gps.environments  # noqa: F401  (registers the ids)
from gps.environments.mujoco import MujocoEnv

MJCF = """
<mujoco>
  <option timestep="0.004" integrator="implicitfast"/>
  <worldbody>
    <geom name="floor" type="plane" size="2 2 0.1"/>
    <body name="goal" pos="0.5 0 0.4"><site name="goal"/></body>
    <body name="box" pos="0 0 0.3">
      <freejoint name="box"/>
      <geom name="box" type="box" size="0.05 0.05 0.05" mass="0.5"/>
    </body>
    <body name="upper" pos="0 0.5 1">
      <joint name="shoulder" axis="0 1 0" damping="0.1"/>
      <geom name="upper" type="capsule" fromto="0 0 0 0.4 0 0" size="0.03" mass="1"/>
      <body name="lower" pos="0.4 0 0">
        <joint name="elbow" axis="0 1 0" damping="0.1"/>
        <geom type="capsule" fromto="0 0 0 0.4 0 0" size="0.03" mass="1"/>
        <site name="tip" pos="0.4 0 0"/>
        <site name="mid-way" pos="0.2 0 0"/>
      </body>
    </body>
  </worldbody>
  <tendon><fixed name="both"><joint joint="shoulder" coef="0.5"/><joint joint="elbow"
  coef="-1"/></fixed></tendon> <actuator>
    <motor name="elbow" joint="elbow" gear="3" ctrllimited="true" ctrlrange="-1 1"/>
    <general name="filtered" joint="shoulder" dyntype="filter" dynprm="0.1" gainprm="2"/>
    <motor name="both" tendon="both" gear="4" ctrllimited="true" ctrlrange="-0.5 0.5"/>
  </actuator>
  <sensor><jointpos name="elbow_angle" joint="elbow"/><touch name="touch" site="tip"/></sensor>
</mujoco>
"""
ARM = MJCF.replace('<freejoint name="box"/>', "")
STATE = [
    "qpos", "qvel", "act", "qpos:elbow", "qvel:box", "site_position:tip", "site_velocity:tip",
    "site_position:tip-goal", "site_position:mid-way", "site_position:mid-way-goal", "sensor:elbow_angle",
]  # fmt: skip


def make(n=1, mjcf=MJCF, state=None, frame_skip=5, **options):
    if state is None:
        state = [part for part in STATE if mjcf is not ARM or part != "qvel:box"]
    return MujocoEnv(n, mjcf=mjcf, state=state, frame_skip=frame_skip, **options)


def rollout(env, actions, **options):
    """States (steps + 1, num_envs, dx) under `actions` (steps, num_envs, du)."""
    states = [env.reset(options=options)[0]]
    return np.stack(states + [env.step(action)[0] for action in actions])


def actions_for(env, steps, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, *env.action_space.shape))


# -- the state -------------------------------------------------------------------------------------------


def test_the_layout_follows_the_list():
    env = make()
    widths = [9, 8, 1, 1, 6, 3, 3, 3, 3, 3, 1]
    assert list(env.state_layout) == STATE
    assert [part.stop - part.start for part in env.state_layout.values()] == widths
    assert env.single_observation_space.shape == (sum(widths),)
    assert env.single_action_space.shape == (3,)
    np.testing.assert_array_equal(env.single_action_space.high, [1.0, np.inf, 0.5])
    assert env.dt == pytest.approx(0.02)
    assert env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.DISABLED


def test_the_parts_agree_with_each_other_and_with_the_order():
    env = make(2)
    x = rollout(env, actions_for(env, 20))
    part = {name: x[..., where] for name, where in env.state_layout.items()}
    np.testing.assert_array_equal(part["qpos:elbow"], part["qpos"][..., 8:9])
    np.testing.assert_array_equal(part["sensor:elbow_angle"], part["qpos:elbow"])
    np.testing.assert_array_equal(part["qvel:box"], part["qvel"][..., :6])
    goal = np.array([0.5, 0, 0.4])
    np.testing.assert_allclose(part["site_position:tip-goal"], part["site_position:tip"] - goal, atol=1e-12)
    np.testing.assert_allclose(part["site_position:mid-way-goal"], part["site_position:mid-way"] - goal, atol=1e-12)
    reversed_env = make(2, state=STATE[::-1])
    y = rollout(reversed_env, actions_for(env, 20))
    for name, where in reversed_env.state_layout.items():
        np.testing.assert_array_equal(y[..., where], part[name])


def test_each_step_is_current_and_equals_a_plain_loop():
    """All of the state, sites and sensors too, is that of mj_step * frame_skip followed by mj_forward."""
    env = make(3)
    actions = actions_for(env, 60)
    ours = rollout(env, actions)
    model = env.model
    low, high = env.single_action_space.low, env.single_action_space.high
    for i in range(3):
        data = mujoco.MjData(model)
        for t, action in enumerate(actions[:, i]):
            data.ctrl[:] = np.clip(action, low, high)
            mujoco.mj_step(model, data, nstep=5)
            after = mujoco.MjData(model)  # a copy, so that mj_forward leaves the warm start alone
            mujoco.mj_copyData(after, model, data)
            mujoco.mj_forward(model, after)
            tip, velocity = after.site("tip").xpos, after.sensor("site_velocity:tip").data
            expected = np.concatenate([
                after.qpos, after.qvel, after.act, after.qpos[8:9], after.qvel[:6], tip, velocity,
                tip - after.site("goal").xpos, after.site("mid-way").xpos,
                after.site("mid-way").xpos - after.site("goal").xpos, after.qpos[8:9],
            ])  # fmt: skip
            np.testing.assert_array_equal(ours[t + 1, i], expected)


def test_a_force_sensor_is_current_too():
    env = make(1, state=["qpos", "sensor:touch"])
    x, _ = env.reset(options={"condition": {"qpos": {"shoulder": np.pi / 2, "box": [2, 2, 0.5, 1, 0, 0, 0]}}})
    for _ in range(50):
        x, *_ = env.step(np.zeros((1, 3)))
    _, data = env.snapshot(0)
    assert x[0, -1] == pytest.approx(data.sensor("touch").data[0], rel=1e-6)


def test_site_velocity_is_the_derivative_of_the_position():
    env = make(1, mjcf=ARM, state=["site_position:tip", "site_velocity:tip"], frame_skip=1)
    x = rollout(env, 0.2 * actions_for(env, 50))[:, 0]
    central = (x[2:, :3] - x[:-2, :3]) / (2 * env.dt)
    np.testing.assert_allclose(x[1:-1, 3:], central, atol=0.05 * np.abs(x[:, 3:]).max())


def test_mechanics():
    mechanics = make(mjcf=ARM).mechanics
    assert (mechanics.position, mechanics.velocity, mechanics.dt) == (
        slice(0, 2),
        slice(2, 4),
        pytest.approx(0.02),
    )
    np.testing.assert_allclose(mechanics.actuation, [[0, 1, 0.5], [1, 0, -1]])
    assert make().mechanics is None  # a free joint: nq != nv
    assert make(mjcf=ARM, state=["qpos"]).mechanics is None


# -- reproducibility -------------------------------------------------------------------------------------


def test_one_and_two_threads_give_the_same_bits():
    one, two = make(6, threads=1), make(6, threads=2)
    np.testing.assert_array_equal(rollout(one, actions_for(one, 40)), rollout(two, actions_for(two, 40)))


def test_a_simulation_of_a_batch_equals_a_batch_of_one():
    batch = make(3)
    conditions = [
        {},
        {"qpos": {"elbow": 0.5}, "body_mass": {"upper": 2}},
        {"body_offset": {"goal": [0, 0.1, 0]}},
    ]
    actions = actions_for(batch, 40)
    together = rollout(batch, actions, conditions=conditions)
    for i, condition in enumerate(conditions):
        alone = rollout(make(1), actions[:, i : i + 1], condition=condition)
        np.testing.assert_array_equal(together[:, i], alone[:, 0])


def test_returned_arrays_are_the_callers():
    env = make(2)
    x, _ = env.reset()
    x[:] = np.nan
    y, *_, info = env.step(np.zeros((2, 3)))
    kept = y.copy()
    env.step(np.ones((2, 3)))
    np.testing.assert_array_equal(y, kept)
    assert np.isfinite(y).all() and not info["diverged"].any()


# -- conditions ------------------------------------------------------------------------------------------


def test_qpos_and_qvel_by_joint_and_whole():
    env = make(2, mjcf=ARM, state=["qpos", "qvel"])
    conditions = [{"qpos": {"elbow": 0.3}, "qvel": {"shoulder": -1}}, {"qpos": [0, 0.3], "qvel": [-1, 0]}]
    x, _ = env.reset(options={"conditions": conditions})
    np.testing.assert_array_equal(x, [[0, 0.3, -1, 0]] * 2)


def test_body_offset_moves_the_site():
    env = make(2)
    moved, _ = env.reset(options={"conditions": [{"body_offset": {"goal": [0.1, -0.2, 0.3]}}, {}]})
    where = env.state_layout["site_position:tip-goal"]
    np.testing.assert_allclose(moved[0, where] - moved[1, where], [-0.1, 0.2, -0.3], atol=1e-12)


def test_body_mass_changes_the_dynamics_as_a_recompiled_model_would():
    env = make(1, mjcf=ARM)
    actions = actions_for(env, 40)
    heavy = rollout(env, actions, condition={"body_mass": {"upper": 3}})
    state = list(env.state_layout)
    recompiled = make(1, mjcf=ARM.replace('mass="1"/>\n      <body', 'mass="3"/>\n      <body'), state=state)
    assert recompiled.model.body("upper").mass[0] == 3
    np.testing.assert_allclose(heavy, rollout(recompiled, actions), atol=1e-8)
    assert np.abs(heavy - rollout(env, actions)).max() > 0.01


def test_any_model_field_of_a_named_object():
    env = make(3, mjcf=ARM, state=["qpos", "qvel"])
    fields = [{"dof_damping": {"elbow": 5.0}}, {"geom_size": {"upper": [0.04, 0.2, 0]}}, {}]
    x, _ = env.reset(options={"conditions": [{"model": f, "qvel": {"elbow": 2}} for f in fields]})
    x, *_ = env.step(np.zeros((3, 3)))
    assert abs(x[0, 3]) < abs(x[2, 3])
    assert env.snapshot(1)[0].geom("upper").size[0] == 0.04


def test_what_a_condition_changed_is_restored_bit_for_bit():
    env = make(2)
    nobody = {"reset_mask": np.zeros(2, dtype=bool)}
    actions = actions_for(env, 30)
    before = rollout(env, actions)
    changed = {"body_mass": {"upper": 3}, "body_offset": {"upper": [0, 0, 1]}, "qpos": {"elbow": 1},
               "model": {"geom_friction": {"box": [0.1, 0, 0]}, "jnt_stiffness": {"elbow": 1}}}  # fmt: skip
    assert np.abs(rollout(env, actions, condition=changed) - before).max() > 0.1
    env.reset(options=nobody)
    np.testing.assert_array_equal(rollout(env, actions), before)


def test_a_mask_resets_only_some():
    env = make(3, mjcf=ARM, max_episode_steps=4)
    rollout(env, actions_for(env, 3))
    going_on = env.step(np.zeros((3, 3)))
    assert going_on[3].all()
    x, _ = env.reset(options={"reset_mask": np.array([True, False, False])})
    np.testing.assert_array_equal(x[1:], going_on[0][1:])
    assert (x[0] != going_on[0][0]).any()
    np.testing.assert_array_equal(env.step(np.zeros((3, 3)))[3], [False, True, True])


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"body_ofset": {}}, r"condition: unknown key 'body_ofset'; did you mean 'body_offset'"),
        ({"body_offset": {"gaol": [0, 0, 0]}}, r"body_offset: body 'gaol' is unknown; did you mean 'goal'"),
        ({"body_offset": {"goal": [0, 0]}}, r"body_offset of 'goal': expected 3 numbers"),
        ({"body_mass": {"upper": -1}}, r"body_mass of 'upper': must be positive"),
        ({"body_mass": {"goal": 1}}, r"body_mass of 'goal': must be positive"),
        ({"qpos": {"elbw": 0}}, r"qpos: joint 'elbw' is unknown; did you mean 'elbow'"),
        ({"qpos": [0, 0, 0]}, r"qpos: expected 9 numbers"),
        ({"qvel": {"elbow": np.nan}}, r"qvel of joint 'elbow': .* is not finite"),
        ({"qvel": {"elbow": "fast"}}, r"qvel of joint 'elbow': expected numbers"),
        ({"model": {"body_mas": {"upper": 1}}}, r"model: unknown field 'body_mas'; did you mean 'body_mass'"),
        (
            {"model": {"geom_friction": {"flor": 1}}},
            r"geom_friction: geom 'flor' is unknown; did you mean 'floor'",
        ),
        ({"model": {"geom_type": {"floor": 1}}}, r"unknown field 'geom_type'"),
        ([0, 1], r"condition: must be a mapping"),
        ({"qpos": {"elbow": [[0.0]]}}, r"qpos of joint 'elbow': expected one number"),
        ({"body_mass": 3}, r"body_mass: must be a mapping"),
        ({"model": {"body_mass": 3}}, r"body_mass: must be a mapping"),
    ],
)
def test_a_wrong_condition_is_named_and_changes_nothing(condition, message):
    env = make(2)
    x, _ = env.reset()
    with pytest.raises(ValueError, match=message):
        env.reset(options={"condition": condition})
    np.testing.assert_array_equal(env.reset(options={"reset_mask": np.zeros(2, dtype=bool)})[0], x)


def test_wrong_options():
    env = make(2)
    with pytest.raises(ValueError, match="unknown reset option 'conditon'; did you mean 'condition'"):
        env.reset(options={"conditon": {}})
    with pytest.raises(ValueError, match="2 'conditions'"):
        env.reset(options={"conditions": [{}]})
    with pytest.raises(ValueError, match="condition 1: unknown key"):
        env.reset(options={"conditions": [{}, {"x": 1}]})
    with pytest.raises(ValueError, match="2 booleans"):
        env.reset(options={"reset_mask": [0, 1]})


# -- stepping, limits ------------------------------------------------------------------------------------


def test_actions_are_clipped_and_reported():
    env = make(1, mjcf=ARM)
    env.reset()
    clipped, *_, info = env.step([[9.0, 9.0, -9.0]])
    np.testing.assert_array_equal(info["applied_action"], [[1.0, 9.0, -0.5]])
    env.reset()
    np.testing.assert_array_equal(env.step([[1.0, 9.0, -0.5]])[0], clipped)


def test_truncation_and_its_count():
    env = make(2, max_episode_steps=3)
    for _ in range(2):
        env.reset()
        assert [env.step(np.zeros((2, 3)))[3].all() for _ in range(4)] == [False, False, True, True]


def test_success_must_be_held():
    class Held(MujocoEnv):
        hold = 0.06  # three steps

        def at_goal(self, states):
            return states[:, 0] > 0.1

    env = Held(2, mjcf=ARM, state=["qpos", "qvel"], frame_skip=5)
    env.reset(options={"conditions": [{"qpos": {"shoulder": 0.5}}, {}]})
    success = [env.step(np.zeros((2, 3)))[4]["success"].tolist() for _ in range(4)]
    assert [s[0] for s in success[:3]] == [False, True, True]


def test_without_a_goal_nothing_is_told_of_success():
    env = make(2)
    assert "success" not in env.reset()[1]
    assert "success" not in env.step(np.zeros((2, 3)))[4]

    class Judged(MujocoEnv):
        def success(self):
            return np.array([True, False])

    env = Judged(2, mjcf=ARM, state=["qpos", "qvel"])
    env.reset()
    assert env.step(np.full((2, 3), np.nan))[4]["success"].tolist() == [False, False]  # they diverged
    env.reset()
    assert env.step(np.zeros((2, 3)))[4]["success"].tolist() == [True, False]


def test_misuse_is_refused():
    env = make(2)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros((2, 3)))
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(2, 3\), got \(3,\)"):
        env.step(np.zeros(3))
    env.close()
    env.close()
    with pytest.raises(gymnasium.error.ClosedEnvironmentError):
        env.reset()


def threads():
    """The ids of this process's threads, other libraries' too: they come and go when they like."""
    return {int(task.name) for task in Path("/proc/self/task").iterdir()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="lists threads as Linux does")
def test_closing_ends_the_threads():
    before = threads()
    env = gymnasium.make_vec("gps/PegInsertion-v0", num_envs=4, threads=4).unwrapped
    env.reset(options={"condition": {"slot": [0.1, 0]}})
    env.step(np.zeros((4, 7)))
    started = threads() - before
    assert len(started) >= 3  # the calling thread is the fourth
    env.close()
    end = time.monotonic() + 10  # Linux lists a thread a moment longer than joining it takes
    while started & threads() and time.monotonic() < end:
        time.sleep(0.001)
    assert not started & threads()


# -- divergence ------------------------------------------------------------------------------------------


def nan_action(env, actions):
    actions[1] = np.nan


def enormous_velocity(env, actions):
    env.batch.bind("qvel")[1] = 1e12


def nan_velocity(env, actions):
    env.batch.bind("qvel")[1, -1] = np.nan


def mujoco_error(env, actions):
    step = env.batch.step

    def failing(ids=None, **options):
        step([0, 2], **options)
        object.__delattr__(env.batch, "step")
        raise SimulationError(np.array([1]), "made up")

    object.__setattr__(env.batch, "step", failing)


@pytest.mark.parametrize("harm", [nan_action, enormous_velocity, nan_velocity, mujoco_error])
def test_a_diverged_simulation_stops_alone(harm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings to a file there
    env, healthy = make(3), make(3)
    actions = actions_for(env, 30)
    expected = rollout(healthy, actions)
    env.reset()
    for t, action in enumerate(actions):
        if t == 5:
            harm(env, action)
        x, rewards, terminated, _, info = env.step(action)
        diverged = [False, t >= 5, False]
        np.testing.assert_array_equal(info["diverged"], diverged)
        np.testing.assert_array_equal(terminated, diverged)
        np.testing.assert_array_equal(x[[0, 2]], expected[t + 1, [0, 2]])
        np.testing.assert_array_equal(x[1], expected[min(t + 1, 5), 1])
        assert np.isfinite(x).all() and np.isfinite(rewards).all()
    np.testing.assert_array_equal(rollout(env, actions_for(env, 30)), expected)


def test_a_diverged_simulation_shows_its_last_finite_state():
    env = make(2)
    last = rollout(env, actions_for(env, 10))[-1]
    env.step([[np.nan] * 3, [0] * 3])
    np.testing.assert_array_equal(env.snapshot(0)[1].qpos, last[0, :9])


def test_what_is_far_away_goes_on():
    """Numbers whose squares are too large together, and of which none is too large by itself."""
    mjcf = """<mujoco><option gravity="0 0 0"/><worldbody><body><joint name="rail" type="slide"/>
        <geom size="0.1"/></body></worldbody><actuator><motor joint="rail"/></actuator></mujoco>"""
    env = make(3, mjcf, ["qpos", "qvel"])
    x = env.reset(options={"condition": {"qpos": {"rail": 8e9}, "qvel": {"rail": 1e3}}})[0]
    for _ in range(3):
        last, (x, _, _, _, info) = x, env.step(np.zeros((3, 1)))
        assert (x[:, 0] > last[:, 0]).all() and not info["diverged"].any()


# -- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("qpso", "state: part 'qpso' is unknown; did you mean 'qpos'"),
        ("qpos:elbwo", "joint 'elbwo' is unknown; did you mean 'elbow'"),
        ("site_position:tp", "site 'tp' is unknown; did you mean 'tip'"),
        ("site_position:tip-gaol", "site 'gaol' is unknown; did you mean 'goal'"),
        ("site_velocity:tp", "site 'tp' is unknown; did you mean 'tip'"),
        ("sensor:elbow_angel", "sensor 'elbow_angel' is unknown; did you mean 'elbow_angle'"),
    ],
)
def test_an_unknown_part_comes_with_the_nearest(part, message):
    with pytest.raises(ValueError, match=message):
        make(state=["qpos", part])


def test_a_model_that_cannot_be_read_names_file_and_cause(tmp_path):
    path = tmp_path / "arm.xml"
    with pytest.raises(ValueError, match=r"arm\.xml: no such MJCF file"):
        make(mjcf=path)
    path.write_text("<mujoco><worldbody><geom sise='1'/></worldbody></mujoco>")
    with pytest.raises(ValueError, match=r"(?s)arm\.xml: .*sise"):
        make(mjcf=path)
    path.write_text(MJCF)
    assert make(mjcf=str(path)).model.nbody == 5


def test_a_state_must_be_something_listed_once():
    with pytest.raises(ValueError, match="empty"):
        make(state=[])
    with pytest.raises(ValueError, match="'qpos' is listed twice"):
        make(state=["qpos", "qpos"])
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        make(0)


# -- what is switched off --------------------------------------------------------------------------------


def test_idle_stages_are_switched_off_and_change_no_bit():
    """Of an arm of one tree that touches nothing; with a box beside it there may be contacts and several islands."""
    flags = mujoco.mjtDisableBit
    idle = flags.mjDSBL_ISLAND.value | flags.mjDSBL_CONTACT.value
    apart = ARM.replace("<geom ", '<geom contype="0" ').replace(
        "<joint name", '<joint limited="true" range="-30 30" name'
    )
    env = make(1, mjcf=apart, state=["qpos", "qvel"], frame_skip=2)
    assert env.model.opt.disableflags & idle == idle
    assert make().model.opt.disableflags & idle == 0
    model = env.batch.get_model(0)
    model.opt.disableflags &= ~idle
    data = mujoco.MjData(model)
    actions = actions_for(env, 100)
    states = rollout(env, actions)
    for t, action in enumerate(actions[:, 0]):
        data.ctrl[:] = np.clip(action, env.single_action_space.low, env.single_action_space.high)
        mujoco.mj_step(model, data, nstep=2)
        np.testing.assert_array_equal(states[t + 1, 0], [*data.qpos, *data.qvel])
    assert data.nefc > 0  # a joint has come to its limit


# -- observations ----------------------------------------------------------------------------------------


SEEN = ["site_velocity:mid-way", "qvel:elbow", "site_position:tip-goal"]


def test_observations_are_parts_like_those_of_the_state_and_change_no_bit():
    both, plain, seen = make(2, observation=SEEN), make(2), make(2, state=SEEN)
    assert plain.observation_layout is None and both.observation_layout == seen.state_layout
    x, info = both.reset()
    o, none = seen.reset()
    assert "observation" not in none
    np.testing.assert_array_equal(x, plain.reset()[0])
    np.testing.assert_array_equal(info["observation"], o)
    for action in actions_for(both, 20):
        x, *_, info = both.step(action)
        np.testing.assert_array_equal(x, plain.step(action)[0])
        np.testing.assert_array_equal(info["observation"], seen.step(action)[0])


def test_observations_are_left_out_until_the_next_reset():
    env = make(1, observation=["qpos"])
    assert "observation" not in env.reset(options={"observe": False})[1]
    assert "observation" not in env.step(np.zeros((1, 3)))[4]
    assert "observation" in env.reset()[1]


def test_a_diverged_simulation_shows_its_last_finite_observation():
    env = make(2, observation=SEEN)
    env.reset()
    for action in actions_for(env, 10):
        before = env.step(action)[4]["observation"]
    for _ in range(3):
        after = env.step([[np.nan] * 3, [0] * 3])[4]["observation"]
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[1] != before[1]).any()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["qpso"], "^observation: part 'qpso' is unknown; did you mean 'qpos'"),
        (["site_velocity:tp"], "observation: part 'site_velocity:tp': site 'tp' is unknown"),
        (["qpos", "qpos"], "observation: part 'qpos' is listed twice"),
        ([], "the observation is empty"),
    ],
)
def test_what_is_wrong_with_an_observation_is_said_of_the_observation(parts, message):
    with pytest.raises(ValueError, match=message):
        make(observation=parts)


# -- some entries of a part --------------------------------------------------------------------------------


def test_some_entries_of_a_part_are_those_of_the_whole():
    chosen = ["qvel:elbow", "site_position:tip-goal[zx]", "site_velocity:mid-way[y]", "qpos[8,0]"]
    chosen += ["sensor:elbow_angle[0]"]
    whole = ["qvel:elbow", "site_position:tip-goal", "site_velocity:mid-way", "qpos", "sensor:elbow_angle"]
    some, all_of_it = make(2, state=chosen, observation=chosen[::-1]), make(2, state=whole)
    assert some.state_layout["site_position:tip-goal[zx]"] == slice(1, 3)
    picked = np.r_[0, 1 + 2, 1 + 0, 4 + 1, 7 + 8, 7 + 0, -1]
    x, info = some.reset()
    np.testing.assert_array_equal(x, all_of_it.reset()[0][:, picked])
    for action in actions_for(some, 10):
        x, *_, info = some.step(action)
        np.testing.assert_array_equal(x, all_of_it.step(action)[0][:, picked])
        np.testing.assert_array_equal(info["observation"], x[:, [6, 4, 5, 3, 1, 2, 0]])


def test_a_name_in_the_model_may_look_like_entries():
    mjcf = ARM.replace('name="elbow"', 'name="elbow[0]"').replace('joint="elbow"', 'joint="elbow[0]"')
    env = make(1, mjcf=mjcf, state=["qpos:elbow[0]", "qpos:elbow[0][0]"])
    assert list(env.state_layout) == ["qpos:elbow[0]", "qpos:elbow[0][0]"]


@pytest.mark.parametrize("part", ["qvel:elbow[1]", "site_position:tip[1,3]", "qvel:elbow[y]"])
def test_entries_that_are_not_there_are_named(part):
    with pytest.raises(ValueError, match=r"^state: part .* has [13] entr"):
        make(state=[part])
