"""Gymnasium's MuJoCo environments against the originals, bit for bit."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest

from gps.environments.gymnasium_mujoco import IDS, find_batch_class

pytest.importorskip(
    "gymnasium.envs.mujoco", reason="the originals need the extra gymnasium[mujoco]", exc_type=ImportError
)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning:gymnasium")

RENDERING = {"default_camera_config"}

ARM = """
<mujoco>
  <option timestep="0.005" integrator="RK4"/>
  <default><joint armature="1"/></default>
  <worldbody>
    <site name="home" pos=".2 0 0"/>
    <body><joint name="shoulder" axis="0 0 1" damping="1"/><geom type="capsule" fromto="0 0 0 .1 0 0" size=".01"/>
      <body name="fingertip" pos=".1 0 0"><joint name="elbow" axis="0 0 1" damping="1" limited="true" range="-2 2"/>
        <geom size=".01"/><site name="tip"/></body></body>
    <body name="target"><joint type="slide" axis="1 0 0"/><joint type="slide" axis="0 1 0"/>
      <geom size=".01" contype="0" conaffinity="0"/></body>
  </worldbody>
  <actuator>
    <motor joint="shoulder" gear="99" ctrllimited="true" ctrlrange="-1 1"/>
    <motor joint="elbow" gear="99" ctrllimited="true" ctrlrange="-1 1"/>
  </actuator>
  <sensor><accelerometer name="shake" site="tip"/></sensor>
</mujoco>"""
ENDS = ("Hopper", "Walker2d", "InvertedPendulum", "InvertedDoublePendulum", "Humanoid-")  # within a few steps


def original(id, **options):
    return gymnasium.make(id, **options)


def actions_for(id, steps, n, dtype=np.float32, seed=0):
    """Random actions, half as large again as the limits."""
    space = find_batch_class(id)(1).single_action_space
    return (
        np.random.default_rng(seed).uniform(1.5 * space.low, 1.5 * space.high, (steps, n, *space.shape)).astype(dtype)
    )


def assert_step(ours, theirs, where):
    """A step of the batch against those of the originals: observations, rewards, ends, truncations and infos."""
    for i, name in enumerate(("observation", "reward", "terminated", "truncated")):
        np.testing.assert_array_equal(ours[i], np.array([step[i] for step in theirs]), err_msg=f"{name} {where}")
    assert_info(ours[4], [step[4] for step in theirs], where)


def assert_info(info, others, where):
    for key in others[0]:
        if key != "TimeLimit.truncated":
            np.testing.assert_array_equal(
                info[key], np.array([other[key] for other in others]), err_msg=f"{key} {where}"
            )


def compare(id, steps, dtype=np.float32, n=3, **options):
    """Play the same episodes, with a reset of some simulations in the middle; return how many steps ended one."""
    env, others = find_batch_class(id)(n, **options), [original(id, **options) for _ in range(n)]
    some = np.arange(n) != 1
    observations, info = env.reset(seed=5)
    starts = [other.reset(seed=5 + i) for i, other in enumerate(others)]
    np.testing.assert_array_equal(observations, [start[0] for start in starts])
    assert_info(info, [start[1] for start in starts], "at the start")
    ended = 0
    for t, action in enumerate(actions_for(id, steps, n, dtype)):
        ours = env.step(action)
        theirs = [other.step(a) for other, a in zip(others, action, strict=True)]
        assert_step(ours, theirs, f"at step {t}")
        ended += int(ours[2].sum())
        if t == steps // 2:
            observations, _ = env.reset(options={"reset_mask": some})
            np.testing.assert_array_equal(
                observations[some], [others[i].reset()[0] for i in np.flatnonzero(some)], err_msg="the second start"
            )
    env.close()
    for other in others:
        other.close()
    return ended


# -- the same bits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", IDS)
def test_episodes_are_the_originals(id):
    assert compare(id, 40) or not id.startswith(ENDS)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("id", IDS)
def test_long_episodes_are_the_originals(id, dtype):
    compare(id, gymnasium.spec(id).max_episode_steps, dtype)


@pytest.mark.parametrize("id", ["Ant-v5", "Reacher-v5"])
def test_actions_of_double_precision(id):
    compare(id, 10, np.float64)


@pytest.mark.parametrize(
    ("id", "options"),
    [
        ("Hopper-v5", {"healthy_reward": 3, "terminate_when_unhealthy": False, "frame_skip": 2,
                       "healthy_z_range": [1, 2]}),
        ("HalfCheetah-v5", {"ctrl_cost_weight": 0.5, "exclude_current_positions_from_observation": False,
                            "forward_reward_weight": 2.0, "reset_noise_scale": 0.3}),
        ("Ant-v5", {"include_cfrc_ext_in_observation": False, "contact_force_range": (-5, 5), "main_body": "aux_1"}),
        ("Ant-v4", {"use_contact_forces": True}),
        ("Humanoid-v5", {"include_cinert_in_observation": False, "contact_cost_range": (0, 1)}),
        ("Reacher-v5", {"reward_dist_weight": 3, "xml_file": "./arm.xml"}),
        ("Pusher-v5", {"reward_near_weight": 3.0, "reward_control_weight": 0}),
        ("Walker2d-v4", {"terminate_when_unhealthy": False}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_options_are_the_originals(id, options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "arm.xml").write_text(ARM)
    compare(id, 25, **options)


def test_defaults_are_the_originals():
    for id in IDS:
        module, name = gymnasium.spec(id).entry_point.split(":")
        signature = inspect.signature(getattr(importlib.import_module(module), name).__init__)
        theirs = {
            name: parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.default is not inspect.Parameter.empty and name not in RENDERING
        }
        ours = find_batch_class(id).defaults
        assert theirs.items() <= ours.items(), id
        if id.endswith("v5"):
            assert theirs.keys() == ours.keys(), id


def test_spaces_and_limits_are_the_originals():
    for id in IDS:
        env, other = find_batch_class(id)(2), original(id)
        assert isinstance(env, gymnasium.vector.VectorEnv)
        assert env.single_observation_space == other.observation_space
        assert env.single_action_space.shape == other.action_space.shape
        np.testing.assert_array_equal(env.single_action_space.low.astype(np.float32), other.action_space.low)
        assert env.max_episode_steps == gymnasium.spec(id).max_episode_steps
        assert env.state_layout == {"observation": slice(0, other.observation_space.shape[0])}
        assert env.dt == other.unwrapped.dt
        env.close()


@pytest.mark.parametrize("id", ["Ant-v5", "Hopper-v5", "Pusher-v5"])
def test_one_and_two_threads_give_the_same_bits(id):
    one, two = find_batch_class(id)(5, threads=1), find_batch_class(id)(5, threads=2)
    np.testing.assert_array_equal(one.reset(seed=1)[0], two.reset(seed=1)[0])
    for action in actions_for(id, 30, 5):
        for mine, others in zip(one.step(action)[:4], two.step(action)[:4], strict=True):
            np.testing.assert_array_equal(mine, others)


# -- starts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["Reacher-v5", "Pusher-v5", "HalfCheetah-v5", "InvertedDoublePendulum-v5", "Swimmer-v5"])
def test_a_condition_is_a_seed(id):
    env, other = find_batch_class(id)(3), original(id)
    for _ in range(2):
        observations, _ = env.reset(seed=9, options={"conditions": [{"seed": 3}, {}, {"seed": 3}]})
        np.testing.assert_array_equal(observations, [other.reset(seed=seed)[0] for seed in (3, 0, 3)])
        for action in actions_for(id, 5, 3):
            env.step(action)


def test_unseeded_resets_go_on_with_each_simulations_own_numbers():
    env, others = find_batch_class("Hopper-v5")(2), [original("Hopper-v5") for _ in range(2)]
    env.reset(seed=4)
    for i, other in enumerate(others):
        other.reset(seed=4 + i)
    for _ in range(3):
        np.testing.assert_array_equal(env.reset()[0], [other.reset()[0] for other in others])
    first, second = (find_batch_class("Hopper-v5")(1).reset()[0] for _ in range(2))
    assert (first != second).any()


def test_a_condition_changes_what_the_seed_has_drawn():
    env = find_batch_class("InvertedPendulum-v5")(3)
    conditions = [{"seed": 3}, {"seed": 3, "qpos": {"hinge": 0.1}, "body_mass": {"pole": 9}}, {"qvel": [1, 2]}]
    start, _ = env.reset(options={"conditions": conditions})
    np.testing.assert_array_equal(start[1], [start[0, 0], 0.1, *start[0, 2:]])
    np.testing.assert_array_equal(start[2, 2:], [1, 2])
    np.testing.assert_array_equal(start[2, :2], env.reset(options={"condition": {}})[0][0, :2])
    assert env.batch.expanded("body_mass")[:, -1].tolist().count(9) == 0  # and the last reset has put it back


def test_the_centre_of_mass_follows_the_masses_of_a_condition():
    env, other = find_batch_class("Humanoid-v5")(2), original("Humanoid-v5")
    env.reset(options={"conditions": [{"seed": 2}, {"seed": 2, "body_mass": {"torso": 20.0}}]})
    other.reset(seed=2)
    model = other.unwrapped.model
    torso = model.body("torso")
    torso.inertia *= 20.0 / torso.mass
    torso.mass = 20.0
    mujoco.mj_setConst(model, mujoco.MjData(model))
    mujoco.mj_forward(model, other.unwrapped.data)
    for action in actions_for("Humanoid-v5", 5, 2):
        _, rewards, *_ = env.step(action)
        theirs = other.step(action[1])[1]
    assert rewards[1] == pytest.approx(theirs, abs=1e-6)
    assert abs(rewards[0] - theirs) > 1e-3


@pytest.mark.parametrize("seed", [-1, 1.5, True, "3"])
def test_a_wrong_seed_is_named(seed):
    with pytest.raises(ValueError, match=r"condition 1: seed: must be a whole number, 0 or more, got"):
        find_batch_class("Reacher-v5")(2).reset(options={"conditions": [{}, {"seed": seed}]})


# -- another state -----------------------------------------------------------------------------------------

PARTS = ("qpos", "qvel", "site_position:tip-home", "sensor:shake", "observation")


@pytest.mark.parametrize("parts", [PARTS[:2], PARTS[:3], PARTS])
def test_another_state_leaves_the_physics_and_the_rewards_alone(parts, tmp_path):
    (tmp_path / "arm.xml").write_text(ARM)
    options = {"xml_file": str(tmp_path / "arm.xml")}
    env, plain = (find_batch_class("Reacher-v5")(2, **options, **more) for more in ({"state": parts}, {}))
    states, observations = env.reset(seed=2)[0], plain.reset(seed=2)[0]
    for action in actions_for("Reacher-v5", 60, 2):
        if "observation" in parts:
            np.testing.assert_array_equal(states[:, env.state_layout["observation"]], observations)
        if "site_position:tip-home" in parts:  # current, unlike what the original observes
            data = mujoco.MjData(env.model)
            data.qpos[:] = states[0, :4]
            mujoco.mj_kinematics(env.model, data)
            tip = data.site("tip").xpos - data.site("home").xpos
            np.testing.assert_allclose(states[0, env.state_layout["site_position:tip-home"]], tip, atol=1e-12)
        (states, rewards, *_), (observations, expected, *_) = env.step(action), plain.step(action)
        np.testing.assert_array_equal(states[:, 2:4], observations[:, 4:6])
        np.testing.assert_array_equal(states[:, 4:6], observations[:, 6:8])
        np.testing.assert_array_equal(rewards, expected)


def test_mechanics_are_there_with_positions_and_velocities():
    assert find_batch_class("HalfCheetah-v5")().mechanics is None
    mechanics = find_batch_class("HalfCheetah-v5")(state=["qvel", "qpos"]).mechanics
    assert (mechanics.position, mechanics.velocity, mechanics.dt) == (slice(9, 18), slice(0, 9), 0.05)


# -- trouble -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["Ant-v5", "Hopper-v5", "Reacher-v5"])
def test_a_diverged_simulation_ends_alone(id):
    env, sound = find_batch_class(id)(3), find_batch_class(id)(3)
    last, _ = env.reset(seed=0)
    sound.reset(seed=0)
    for t, action in enumerate(actions_for(id, 8, 3)):
        expected = sound.step(action)
        if t == 3:
            action[1] = np.nan
        states, rewards, terminated, _, info = env.step(action)
        assert info["diverged"].tolist() == [False, t >= 3, False]
        assert terminated[1] == (t >= 3) and np.isfinite(rewards).all() and rewards[1] * (t >= 3) == 0
        assert all(np.isfinite(values).all() for key, values in info.items() if key != "applied_action")
        np.testing.assert_array_equal(states[[0, 2]], expected[0][[0, 2]])
        np.testing.assert_array_equal(rewards[[0, 2]], expected[1][[0, 2]])
        last = last if t >= 3 else states
        np.testing.assert_array_equal(states[1], last[1])
    env.reset(seed=0)
    sound.reset(seed=0)
    for action in actions_for(id, 3, 3):
        np.testing.assert_array_equal(env.step(action)[0], sound.step(action)[0])


def test_unknown_options_come_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"Hopper-v5: unknown option 'helthy_reward'; did you mean 'healthy_reward'\?"):
        find_batch_class("Hopper-v5")(helthy_reward=2)
    with pytest.raises(ValueError, match=r"unknown key 'sed'; did you mean 'seed'"):
        find_batch_class("Hopper-v5")().reset(options={"condition": {"sed": 2}})
    with pytest.raises(ValueError, match=r"nowhere\.xml: no such MJCF file"):
        find_batch_class("Hopper-v5")(xml_file="./nowhere.xml")
    (tmp_path / "arm.xml").write_text(ARM.replace("fingertip", "finger_tip"))
    with pytest.raises(
        ValueError, match=r"Reacher-v5 needs .*body.* 'fingertip' is unknown; did you mean 'finger_tip'"
    ):
        find_batch_class("Reacher-v5")(xml_file=str(tmp_path / "arm.xml"))
    with pytest.raises(ValueError, match="no body 99, only 0 to 13"):
        find_batch_class("Ant-v5")(main_body=99)


def test_other_ids_have_no_class_and_load_no_physics():
    script = (
        "import sys; from gps.environments.gymnasium_mujoco import find_batch_class; "
        "print(find_batch_class('CartPole-v1'), 'mujoco' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"None False\s*", out)


def test_an_experiment_names_the_id(tmp_path):
    from gps import builders
    from gps.config.environment import EnvironmentConfig

    config = EnvironmentConfig(id="HalfCheetah-v5", frame_skip=2, options={"ctrl_cost_weight": 0.0})
    env = builders.make_environment(config, tmp_path, 2)
    assert isinstance(env, find_batch_class("HalfCheetah-v5"))
    assert (env.dt, env.options.ctrl_cost_weight, builders.find_horizon(config, env)) == (0.02, 0.0, 1000)


@pytest.mark.parametrize(
    "chosen",
    [
        {"state": ["observation[8,9]"]},
        {"observation": ["observation[8,9]", "observation[0]"]},
        {"state": ["observation[10]"]},
        {"state": ["observation", "observation[3,99]"]},
        {"observation": ["observation[0]", "observation[0]"]},
    ],
)
def test_entries_are_chosen_as_from_the_plain_environment(chosen):
    """The batch and the adapter agree, in what is seen as in what is said of entries that are not there."""
    from gps import builders
    from gps.config.environment import EnvironmentConfig
    from gps.environments.plain.adapter import GymnasiumBatch
    from gps.environments.plain.recipe import Recipe, find_spec
    from gps.errors import ConfigError

    def fast():
        settings = {"id": "Reacher-v5", "conditions": [{}], **chosen}
        return builders.make_environment(EnvironmentConfig.model_validate(settings), Path("."), 1)

    def plain():
        return GymnasiumBatch(1, Recipe("Reacher-v5", find_spec("Reacher-v5")), threads=1, **chosen)

    seen = []
    for make in (fast, plain):
        try:
            environment = make()
        except ConfigError as error:
            seen.append(str(error))
            continue
        state, info = environment.reset(options={"conditions": [{"seed": 3}]})
        seen.append((environment.state_layout, state.tolist(), np.asarray(info.get("observation", [])).tolist()))
        environment.close()
    assert seen[0] == seen[1]
