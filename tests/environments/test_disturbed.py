"""Noise, delay, rate limits and random models around any environment: sizes, times, draws and refusals."""

from pathlib import Path

import numpy as np
import pytest
from helpers.problems import LinearEnv

from gps.builders.environments import make_environment
from gps.config.environment import EnvironmentConfig
from gps.environments.contract import list_missing_members
from gps.environments.disturbed import Disturbance, Disturbed
from gps.environments.guard import Guarded
from gps.environments.mujoco.env import MujocoEnv
from gps.errors import ConfigError
from gps.linear_gaussian.initial import zero
from gps.policies.played import LocalControllers
from gps.sampling import collect, draw_noise, read_starts

A, B = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]])
CONDITIONS = [{"start": [1.0, 0.0]}, {"start": [-1.0, 0.5]}]

ARM = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <body name="arm"><joint name="shoulder" axis="0 1 0" damping="0.5"/>
      <geom name="bone" type="capsule" fromto="0 0 0 0.4 0 0" size="0.04" mass="1"/><site name="tip" pos="0.4 0 0"/>
    </body>
    <body name="cup" pos="2 0 0"><freejoint/><geom size="0.1" mass="0.5"/></body>
    <site name="goal" pos="0 0 0.4"/>
    <camera name="side" pos="0 -2 0" xyaxes="1 0 0 0 0 1"/>
  </worldbody>
  <actuator>
    <motor name="lift" joint="shoulder" gear="5" ctrllimited="true" ctrlrange="-1 1"/>
    <motor name="turn" joint="shoulder" ctrllimited="true" ctrlrange="-4 4"/>
  </actuator>
  <keyframe><key name="start" qpos="0 2 0 0 1 0 0 0" ctrl="0.5 -2"/></keyframe>
</mujoco>
"""


def linear(simulations=6, limit=np.inf, **sizes):
    size = {"state": np.zeros(2), "action": np.zeros(1), "rate": np.full(1, np.inf), **sizes}
    return Disturbed(LinearEnv(simulations, A, B, limit=limit), Disturbance(**size))


def rolled(environment, samples=3, steps=8, stream=(0, 0), seed=0, deviation=1.0):
    few = LocalControllers(zero(2, steps, environment.single_observation_space.shape[0], 1, deviation))
    noise = draw_noise(few, samples, 0.0, np.random.default_rng(0))
    return collect(environment, few, CONDITIONS, noise, seed, stream=stream)


def make(settings, simulations=2, folder=Path("."), **keys):
    (folder / "arm.xml").write_text(ARM)
    config = {"mjcf": "arm.xml", "horizon": 10, "state": ["qpos", "qvel"], **settings, **keys}
    return make_environment(EnvironmentConfig.model_validate(config), folder, simulations)


def push(environment, actions):
    """Send actions (T, du) to each simulation; return the states (T, B, dx) and the infos."""
    steps = [environment.step(np.tile(action, (environment.num_envs, 1))) for action in actions]
    return np.array([step[0] for step in steps]), [step[-1] for step in steps]


def test_the_sensor_noise_is_declared_in_the_order_of_the_state():
    environment = linear(state=np.array([0.3, 0.02]))
    np.testing.assert_array_equal(environment.sensor_noise, [0.3, 0.02])
    size = Disturbance(state=np.array([0.3, 0.02]), action=np.zeros(1), rate=np.full(1, np.inf), delay=2)
    parts = ["last_action", *environment.env.state_layout]
    remembers = Disturbed(environment.env, size, state=parts)
    np.testing.assert_array_equal(remembers.sensor_noise, [0.0, 0.0, 0.3, 0.02])
    np.testing.assert_array_equal(Disturbed(environment, size).sensor_noise, np.hypot([0.3, 0.02], [0.3, 0.02]))


# -- sizes -------------------------------------------------------------------------------------------------------------


def test_sensor_noise_has_its_deviation_and_leaves_the_system_alone():
    sizes = np.array([0.3, 0.02])
    noisy, clean = rolled(linear(state=sizes), 500), rolled(linear(), 500)
    errors = (noisy.states - noisy.truth).reshape(-1, 2)
    n = len(errors)
    assert (np.abs(errors.mean(axis=0)) < 4 * sizes / np.sqrt(n)).all()
    assert (np.abs(errors.std(axis=0) - sizes) < 4 * sizes / np.sqrt(2 * n)).all()
    correlation = (errors[:-1] / sizes * (errors[1:] / sizes)).mean(axis=0)
    assert (np.abs(correlation) < 4 / np.sqrt(n)).all()
    np.testing.assert_array_equal(noisy.truth, clean.states)  # open-loop actions: the truth has no noise
    assert clean.truth is None


def test_action_noise_has_its_deviation_and_is_not_recorded():
    environment = linear(action=np.full(1, 0.2))
    rollouts = rolled(environment, 800)
    np.testing.assert_array_equal(rollouts.actions, rollouts.noise)
    implied = (rollouts.states[:, :, 1:, 1] - rollouts.states[:, :, :-1, 1]) / 0.1  # v' = v + 0.1 u
    errors = (implied - rollouts.actions[:, :, :-1, 0]).ravel()
    assert abs(errors.std() - 0.2) < 4 * 0.2 / np.sqrt(2 * errors.size)
    assert abs(errors.mean()) < 4 * 0.2 / np.sqrt(errors.size)
    assert rollouts.truth is None  # the states are the truth


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_an_action_comes_exactly_as_late_as_the_delay(delay):
    environment = linear(2, delay=delay)
    environment.reset(options={"conditions": [{"start": [0.0, 0.0]}] * 2})
    states, infos = push(environment, np.eye(1, 6)[0][:, None])  # an impulse at step 0
    assert np.flatnonzero(states[:, 0, 1])[0] == delay
    np.testing.assert_allclose(states[delay:, 0, 1], 0.1)
    np.testing.assert_array_equal([info["applied_action"][0, 0] for info in infos], np.eye(1, 6)[0])  # commands


def test_a_rate_limit_bounds_each_change_and_is_recorded():
    environment = linear(rate=np.full(1, 0.25))
    rollouts = rolled(environment, deviation=3.0, steps=30)
    changes = np.diff(np.concatenate([np.zeros((2, 3, 1)), rollouts.actions[..., 0]], axis=-1))
    assert np.abs(changes).max() <= 0.25 + 1e-12
    assert (np.abs(changes) > 0.25 - 1e-12).mean() > 0.5  # it binds
    follows = np.clip(rollouts.noise[..., 0], *(np.cumsum(changes, axis=-1) - changes + d for d in (-0.25, 0.25)))
    np.testing.assert_allclose(rollouts.actions[..., 0], follows, atol=1e-12)
    implied = (rollouts.states[:, :, 1:, 1] - rollouts.states[:, :, :-1, 1]) / 0.1
    np.testing.assert_allclose(implied, rollouts.actions[:, :, :-1, 0], atol=1e-12)


def test_commands_that_are_sent_again_are_the_same(tmp_path):
    """A video replays recorded commands."""
    one, two = (linear(delay=2, rate=np.full(1, 0.3), action=np.full(1, 0.1), state=np.ones(2)) for _ in range(2))
    rollouts = rolled(one)
    two.reset(seed=0, options={"conditions": [c for c in CONDITIONS for _ in range(3)],
                               "episodes": [(0, 0, m, n) for m in range(2) for n in range(3)]})  # fmt: skip
    for t in range(7):
        states, *_, info = two.step(rollouts.actions[:, :, t].reshape(6, 1))
        np.testing.assert_array_equal(info["applied_action"].reshape(2, 3, 1), rollouts.actions[:, :, t])
        np.testing.assert_array_equal(states.reshape(2, 3, 2), rollouts.states[:, :, t + 1])


# -- draws -------------------------------------------------------------------------------------------------------------


def everything(simulations=6):
    return linear(simulations, state=np.ones(2), action=np.full(1, 0.5), delay=1, rate=np.full(1, 0.5))


def test_an_episode_has_the_same_noise_in_any_batch():
    whole = rolled(everything())
    for simulations in (1, 4, 9):
        other = rolled(everything(simulations))
        np.testing.assert_allclose(whole.states, other.states, atol=1e-12)  # BLAS rounds by the size of the batch
        np.testing.assert_allclose(whole.truth, other.truth, atol=1e-12)
    fewer = rolled(everything(), 2)
    errors, of_fewer = whole.states - whole.truth, fewer.states - fewer.truth
    np.testing.assert_allclose(errors[:, :2], of_fewer, atol=1e-12)  # nor on the number of samples


def test_seed_stream_condition_and_sample_each_change_the_noise():
    errors = [
        rollouts.states - rollouts.truth
        for rollouts in (
            rolled(everything(), stream=(0, 0)),
            rolled(everything(), stream=(0, 1)),
            rolled(everything(), stream=(1, 0)),
            rolled(everything(), seed=1),
        )
    ]
    episodes = np.concatenate([error.reshape(6, -1) for error in errors])
    assert len(np.unique(episodes, axis=0)) == 24
    np.testing.assert_array_equal(errors[0], (again := rolled(everything())).states - again.truth)


def test_one_kind_of_noise_does_not_change_the_draws_of_another():
    only = rolled(linear(state=np.ones(2)))
    both = rolled(linear(state=np.ones(2), action=np.full(1, 0.5)))
    np.testing.assert_allclose(only.states - only.truth, both.states - both.truth, atol=1e-12)


def test_without_a_stream_there_is_no_noise_and_the_starts_are_true():
    environment = everything()
    rollouts = rolled(environment, stream=None)
    assert rollouts.truth is None
    np.testing.assert_array_equal(read_starts(environment, CONDITIONS).states, [c["start"] for c in CONDITIONS])


# -- the last action ---------------------------------------------------------------------------------------------------


def test_the_last_action_is_a_part_without_noise(tmp_path):
    noise = {"state": 0.1, "action": 0.1, "delay": 2}
    parts = ["qvel:shoulder", "last_action", "qpos:shoulder"]
    environment = make({"noise": noise, "state": parts}, folder=tmp_path)
    assert list(environment.state_layout) == parts
    where = environment.state_layout["last_action"]
    assert [entry.name for entry in environment.state_entries] == [
        "qvel:shoulder", "last_action:lift", "last_action:turn", "last_action:lift[t-2]", "last_action:turn[t-2]",
        "qpos:shoulder",
    ]  # fmt: skip
    first, _ = environment.reset(seed=0, options={"conditions": [{}] * 2, "episodes": [(0,), (1,)]})
    np.testing.assert_array_equal(first[:, where], [[0.5, -2.0] * 2] * 2)  # the keyframe's controls
    actions = np.random.default_rng(0).uniform(-1, 1, (4, 2))
    states, infos = push(environment, actions)
    for t in range(1, 4):
        np.testing.assert_array_equal(states[t, 0, where], [*actions[t], *actions[t - 1]])
    np.testing.assert_array_equal(infos[-1]["state"][:, where], states[-1][:, where])
    assert (infos[-1]["state"][:, 0] != states[-1][:, 0]).all()


def test_the_last_action_alone_follows_the_state_of_the_environment(tmp_path):
    settings = {"id": "Pendulum-v1", "mjcf": None, "threads": 1, "state": ["last_action"]}
    environment = make(settings, folder=tmp_path)
    assert list(environment.state_layout) == ["observation", "last_action"]
    environment.reset(options={"conditions": [{}] * 2})
    states, _ = push(environment, [[0.75]])
    np.testing.assert_array_equal(states[0][:, 3], 0.75)


def test_a_delayed_system_is_linear_in_its_state_and_action_with_the_last_action():
    """Regression of the next state on [x; u] leaves no residual with `last_action`, and a large one without."""
    inner = LinearEnv(200, A, B)
    size = Disturbance(np.zeros(2), np.zeros(1), np.full(1, np.inf), delay=2)
    environment = Disturbed(inner, size, state=["x", "last_action"])
    rollouts = rolled(environment, 100)
    z = np.concatenate([rollouts.states, rollouts.actions], axis=-1)[:, :, :-1].reshape(-1, 5)
    following = rollouts.states[:, :, 1:].reshape(-1, 4)
    assert np.abs(following - z @ np.linalg.lstsq(z, following, rcond=None)[0]).max() < 1e-12
    short = z[:, [0, 1, 4]]
    assert np.abs(following - short @ np.linalg.lstsq(short, following, rcond=None)[0]).max() > 0.1


# -- around the environments of each kind ------------------------------------------------------------------------------

NOISE = {"state": 0.1, "action": 0.03, "delay": 1, "rate_limit": 0.5}


def test_a_wrapped_environment_keeps_its_members(tmp_path):
    observation = ["qpos:shoulder", "image:side", "site_position:tip"]
    settings = {"state": ["qpos:shoulder", "qvel:shoulder", "site_position:tip-goal"], "observation": observation}
    settings |= {"image_size": [8, 6]}
    plain = make(settings, folder=tmp_path)
    environment = make(settings, folder=tmp_path, noise=NOISE, action_limits=[-0.5, 0.5])
    assert isinstance(environment, Guarded) and isinstance(environment.env, Disturbed)
    assert not list_missing_members(environment) and environment.noisy and not plain.noisy
    for name in ("state_layout", "observation_layout", "observation_shapes", "observation_pictures", "state_entries",
                 "action_entries", "dt", "max_episode_steps", "observation_dtype", "mechanics"):  # fmt: skip
        assert getattr(environment, name) == getattr(plain, name), name
    model, _ = environment.snapshot(1)
    assert model.body("cup").id == 2


def test_the_mechanics_move_with_their_parts(tmp_path):
    settings = {"id": "gps/CartPoleSwingUp-v0", "mjcf": None, "noise": NOISE}
    environment = make(settings, folder=tmp_path, state=["last_action", "qpos", "qvel"])
    mechanics = environment.mechanics
    assert (mechanics.position, mechanics.velocity) == (slice(1, 3), slice(3, 5))


def test_the_observation_shows_the_noise_of_the_state(tmp_path):
    settings = {"state": ["qpos:shoulder", "qvel:shoulder"], "observation": ["qvel:shoulder", "site_position:tip"]}
    environment = make(settings, folder=tmp_path, noise={"state": 0.1, "observation": {"site_position:tip[x]": 0.2}})
    states, info = environment.reset(seed=0, options={"conditions": [{}] * 2, "episodes": [(0,), (1,)]})
    np.testing.assert_array_equal(info["observation"][:, 0], states[:, 1])
    assert (info["observation"][:, 1] != 0.4).all() and (states[:, 1] != 0).all()
    np.testing.assert_allclose(info["observation"][:, 2:], 0.0, atol=1e-12)


def test_what_only_the_policy_sees_has_the_noise_that_all_numbers_have(tmp_path):
    settings = {"state": ["qpos:shoulder"], "observation": ["qpos[1,2]", "qpos:shoulder"], "noise": {"state": 0.1}}
    states, info = make(settings, folder=tmp_path).reset(
        seed=0, options={"conditions": [{}] * 2, "episodes": [(0,), (1,)]}
    )
    np.testing.assert_array_equal(info["observation"][:, 2], states[:, 0])
    assert (info["observation"][:, :2] != [2.0, 0.0]).all()


def test_pictures_have_no_noise(tmp_path):
    settings = {"observation": ["image:side", "qpos:shoulder"], "image_size": [8, 6]}
    try:
        _, plain = make(settings, folder=tmp_path).reset(options={"conditions": [{}] * 2})
    except Exception as error:
        pytest.skip(f"nothing draws here: {error}")
    environment = make(settings, folder=tmp_path, noise={"state": 0.1})
    _, info = environment.reset(seed=0, options={"conditions": [{}] * 2, "episodes": [(0,), (1,)]})
    np.testing.assert_array_equal(info["observation"][:, :144], plain["observation"][:, :144])
    assert (info["observation"][:, 144] != plain["observation"][:, 144]).all()


def test_action_noise_is_relative_to_half_the_range(tmp_path):
    environment = make({"noise": {"action": 0.1, "rate_limit": [0.5, 0.25]}}, folder=tmp_path)
    np.testing.assert_allclose(environment._disturbance.action, [0.1, 0.4])
    np.testing.assert_allclose(environment._disturbance.rate, [0.5, 1.0])
    pendulum = {"id": "Pendulum-v1", "mjcf": None, "state": None, "threads": 1, "noise": {"action": 0.1}}
    np.testing.assert_allclose(make(pendulum, folder=tmp_path)._disturbance.action, [0.2])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_plain_environment_in_processes_has_the_same_noise(threads, tmp_path):
    settings = {"id": "Pendulum-v1", "mjcf": None, "threads": threads, "state": ["observation"], "noise": NOISE}
    environment = make(settings, folder=tmp_path)
    states, _ = environment.reset(seed=3, options={"conditions": [{"seed": 1}] * 2, "episodes": [(0, 0), (0, 1)]})
    draws = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(0, 1))).standard_normal(4)
    true, _ = environment.reset(seed=3, options={"conditions": [{"seed": 1}] * 2})
    np.testing.assert_array_equal(states[1], true[1] + 0.1 * draws[1:])
    environment.close()


# -- random models -----------------------------------------------------------------------------------------------------

RANGES = {
    "body_mass": {"cup": [0.5, 2.0]},
    "dof_damping": {"*": [0.8, 1.2]},
    "geom_friction": {"*": [0.9, 1.1], "bone": [2.0, 3.0]},
}


def test_random_models_stay_in_their_ranges_and_are_restored(tmp_path):
    environment = make({"randomise": RANGES}, 40, folder=tmp_path)
    own = environment.snapshot(0)[0]
    conditions = {"conditions": [{}] * 40}
    environment.reset(seed=0, options={**conditions, "episodes": [(0, n) for n in range(40)]})
    models = [environment.snapshot(i)[0] for i in range(40)]
    mass = np.array([model.body_mass / own.body_mass.clip(1e-9) for model in models])
    cup = own.body("cup").id
    assert 0.5 <= mass[:, cup].min() < 0.65 and 1.7 < mass[:, cup].max() <= 2.0
    np.testing.assert_array_equal(mass[:, 1], 1.0)  # the arm was not named
    for model in models:
        factor = model.body_mass[cup] / own.body_mass[cup]
        np.testing.assert_allclose(model.body_inertia[cup], factor * own.body_inertia[cup])
        assert model.body_subtreemass[0] == pytest.approx(model.body_mass.sum())  # derived constants follow
    friction = np.array([model.geom_friction / own.geom_friction for model in models])
    np.testing.assert_allclose(friction, friction[:, :, :1] * np.ones(3))  # one factor for a geom
    bone = own.geom("bone").id
    assert friction[:, bone].min() >= 2.0 and friction[:, bone].max() <= 3.0
    assert friction[:, 1].min() >= 0.9 and friction[:, 1].max() <= 1.1 and np.ptp(friction[:, 1]) > 0.1
    damping = np.array([model.dof_damping[0] / own.dof_damping[0] for model in models])
    assert 0.8 <= damping.min() < damping.max() <= 1.2
    assert abs(np.corrcoef(damping, mass[:, cup])[0, 1]) < 4 / np.sqrt(40)  # drawn apart
    environment.reset(options=conditions)
    for i in range(40):
        after = environment.snapshot(i)[0]
        for name in ("body_mass", "body_inertia", "body_subtreemass", "geom_friction", "dof_damping"):
            np.testing.assert_array_equal(getattr(after, name), getattr(own, name))


def test_a_random_factor_comes_on_top_of_a_condition(tmp_path):
    environment = make({"randomise": {"body_mass": {"cup": [1.5, 1.5]}}}, folder=tmp_path)
    conditions = [{"body_mass": {"cup": 2.0}}, {"scale": {"body_mass": {"*": 2.0, "cup": 3.0}}}]
    environment.reset(seed=0, options={"conditions": conditions, "episodes": [(0,), (1,)]})
    one, two = (environment.snapshot(i)[0] for i in range(2))
    assert one.body("cup").mass[0] == pytest.approx(3.0)
    assert two.body("cup").mass[0] == pytest.approx(0.5 * 3.0 * 1.5)
    assert two.body("arm").mass[0] == pytest.approx(2.0)
    np.testing.assert_allclose(two.body("cup").inertia / one.body("cup").inertia, 2.25 / 3.0)


def test_a_random_model_of_gymnasiums_own_environments(tmp_path):
    settings = {"id": "InvertedPendulum-v5", "mjcf": None, "state": None}
    environment = make(settings, folder=tmp_path, randomise={"body_mass": {"pole": [0.5, 0.6]}})
    environment.reset(seed=0, options={"conditions": [{"seed": 0}] * 2, "episodes": [(0,), (1,)]})
    own = environment.env.model.body("pole").mass[0]
    masses = [environment.snapshot(i)[0].body("pole").mass[0] / own for i in range(2)]
    assert masses[0] != masses[1] and all(0.5 <= mass <= 0.6 for mass in masses)


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": {"delay": 10}}, "environment.noise.delay: 10 steps are as long as an episode of 10 steps"),
        ({"noise": {"delay": 10**6}}, "environment.noise.delay: 1000000 steps"),
        ({"noise": {"state": {"qpso": 0.1}}}, "environment.noise.state: unknown part 'qpso' .* did you mean 'qpos'"),
        ({"noise": {"state": {"qvel": [0.1, 0.2]}}}, "noise.state.qvel: expected one number or 7, got 2"),
        ({"noise": {"action": [0.1, 0.1, 0.1]}}, "environment.noise.action: expected one number or 2, got 3"),
        ({"noise": {"observation": 0.1}}, "noise.observation: the policy observes the state here"),
        ({"noise": {"state": {"last_action": 0.1}}, "state": ["qpos", "last_action"]}, "known exactly"),
        ({"state": ["qpos", "last_action[9]"]}, r"environment.state: part 'last_action\[9\]': .* has 2 entries"),
        ({"state": ["qpos", "last_action", "last_action"]}, "environment.state: part 'last_action' is listed twice"),
        ({"observation": ["last_action"]}, 'environment.observation: list more parts than "last_action"'),
        ({"randomise": {"body_mass": {"cupp": [1, 2]}}}, "randomise: body_mass: body 'cupp' is unknown; .* 'cup'"),
        ({"randomise": {"body_mas": {"cup": [1, 2]}}}, "randomise: model: unknown field 'body_mas'; .* 'body_mass'"),
        ({"randomise": {"dof_armature": {"*": [1, 2]}}}, "dof_armature of every object is 0 in the model"),
        ({"id": "Pendulum-v1", "mjcf": None, "state": None, "threads": 1, "randomise": {"body_mass": {"*": [1, 2]}}},
         "environment.randomise: Pendulum-v1 is no MuJoCo environment"),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_a_sentence(settings, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as error:
        make(settings, folder=tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ({"body_mass": {"cup": 0.0}}, "scale of body_mass: a factor must be positive"),
        ({"body_mass": {"*": -1.0}}, "scale of body_mass: a factor must be positive"),
        (2.0, "scale: must be a mapping, or a list of mappings, got 2.0"),
        ([2.0], "scale: must be a mapping, got 2.0"),
        ({"body_mass": 2.0}, "scale of body_mass: expected 3 numbers, got 2.0"),
        ({"body_mass": {"cup": "heavy"}}, "scale of body_mass of 'cup': expected numbers, got 'heavy'"),
        ({"geom_friction": {"bine": 1.0}}, "geom_friction: geom 'bine' is unknown; did you mean 'bone'"),
        ({"geom_type": {"bone": 1.0}}, "model: unknown field 'geom_type'"),
    ],
)
def test_a_scale_that_cannot_be(scale, message):
    environment = MujocoEnv(1, mjcf=ARM, state=["qpos"])
    with pytest.raises(ValueError, match=message):
        environment.reset(options={"condition": {"scale": scale}})
