"""The default first controllers, built from experiments without settings: they hold, feed back and excite."""

from contextlib import closing

import numpy as np
import pytest
from helpers.experiments import changed, write
from helpers.robots import ARM_EXPERIMENT, HEATER, HEATER_EXPERIMENT, POLE, POLE_EXPERIMENT, make_arm, play, write_robot

from gps.config import load
from gps.config.controller import HoldInitialConfig
from gps.errors import ConfigError
from gps.experiment import Experiment
from gps.policies.played import LocalControllers

ARMS = ("motor", "millimotor", "position", "velocity")
SPREAD = HoldInitialConfig().spread


def build(folder, mjcf, base=ARM_EXPERIMENT, **initial):
    """The experiment with these settings of its first controllers, to be closed."""
    settings = {"controller": {"initial": {"name": "hold", **initial}}} if initial else {}
    write_robot(folder, mjcf, changed(base, algorithm=settings))
    return closing(Experiment(load(folder), folder))


def sample(experiment, N=20):
    """Rollouts of the first controllers with their noise."""
    experiment.samples = N
    return experiment.sample(LocalControllers(experiment.first.controllers), np.random.default_rng(0), 0)


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """Drive -> (first controllers, samples, spans of the positions, states without noise)."""
    found = {}
    for drive in ARMS:
        with build(tmp_path_factory.mktemp(drive), make_arm(drive)) as arm:
            spans = np.array([entry.span for entry in arm.problem.state_entries])[:2]
            still = play(arm.environment, arm.first.controllers, arm.conditions)[0]
            found[drive] = arm.first, sample(arm), spans, still, arm.problem
    return found


@pytest.mark.parametrize("drive", ARMS)
def test_without_noise_they_hold_the_start(arms, drive):
    still = arms[drive][3][:, :2]
    assert np.abs(still - still[0]).max() < 0.03  # rad, in one second


@pytest.mark.parametrize("drive", ARMS)
def test_the_noise_spreads_the_positions_by_the_share_that_is_wanted(arms, drive):
    _, rollouts, spans, *_ = arms[drive]
    spread = rollouts.states[0, :, :, :2].std(axis=0).max(axis=0) / spans
    assert SPREAD / 3 < np.exp(np.log(spread).mean()) < 3 * SPREAD


@pytest.mark.parametrize("drive", ARMS)
def test_few_actions_saturate(arms, drive):
    assert arms[drive][1].saturated.max() < 0.05


def test_the_unit_of_the_action_does_not_matter(arms):
    """The same motors in N m and in mN m: the same controllers in other units."""
    (one, *_), (two, *_) = arms["motor"], arms["millimotor"]
    unit = np.array([1e4, 4e3])
    np.testing.assert_allclose(two.hold / unit, one.hold, rtol=1e-6)
    np.testing.assert_allclose(two.noise / unit, one.noise, rtol=1e-4)
    scale = np.abs(one.controllers.feedback).max()
    np.testing.assert_allclose(two.controllers.feedback / unit[:, None], one.controllers.feedback, atol=1e-4 * scale)
    assert (two.steps, two.episodes) == (one.steps, one.episodes)


@pytest.mark.parametrize("drive", ARMS)
def test_the_probe_is_short(arms, drive):
    first, _, _, _, problem = arms[drive]
    assert 0 < first.steps < 5 * problem.horizon  # less than an iteration of five samples
    assert first.growth[1] <= max(first.growth[0], 1.0) + 1e-9


def test_the_parts_that_nothing_else_needs_are_not_fed_back(arms):
    """The tool's place follows from the positions: it is no part of the model."""
    for first, *_ in arms.values():
        assert not first.controllers.feedback[..., 4:].any()


# -- a start that does not hold itself ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_an_unstable_pole_is_held(tmp_path, seed):
    """In the linearisation of the simulator itself, by finite differences."""
    with build(tmp_path, POLE, changed(POLE_EXPERIMENT, seed=seed)) as pole:
        first, environment = pole.first, pole.environment
        step = 1e-5
        hold = first.hold[0]
        columns = []
        for i in range(5):
            ends = []
            for sign in (1, -1):
                z = sign * step * (np.arange(5) == i)
                condition = {"qpos": list(z[:2]), "qvel": list(z[2:4])}
                environment.reset(options={"conditions": [condition] * environment.num_envs})
                states, *_ = environment.step(np.tile(hold + z[4:], (environment.num_envs, 1)))
                ends.append(states[0])
            columns.append((ends[0] - ends[1]) / (2 * step))
        F = np.stack(columns, axis=1)
        A, B = F[:, :4], F[:, 4:]
        assert np.abs(np.linalg.eigvals(A)).max() > 1.1
        for m in range(2):
            assert np.abs(np.linalg.eigvals(A + B @ first.controllers.feedback[m, 0])).max() < 1
        states = sample(pole, 5).states
        assert np.abs(states[..., 1]).max() < 0.5  # rad: no sample falls


# -- what is told ---------------------------------------------------------------------------------------------


def test_what_is_told_counts(tmp_path):
    with build(tmp_path, make_arm("motor"), hold=[-0.1, 0.2], noise=[0.05, 0.02], feedback=False) as arm:
        first = arm.first
    assert not first.controllers.feedback.any()
    np.testing.assert_array_equal(first.controllers.feedforward[0], np.tile([-0.1, 0.2], (50, 1)))
    np.testing.assert_allclose(first.controllers.covariance[0, 7], np.diag([0.05**2, 0.02**2]))
    assert (first.steps, first.episodes) == (0, 0)  # nothing is left to be found


def test_a_hold_beyond_the_limits_is_the_limit(tmp_path):
    with build(tmp_path, make_arm("motor"), hold=[-3.0, 0.2], noise=0.1, feedback=False) as arm:
        np.testing.assert_array_equal(arm.first.hold, [[-1.0, 0.2]])


def test_feedback_without_noise_of_its_own_keeps_the_given_noise(tmp_path):
    with build(tmp_path, make_arm("motor"), noise=0.03) as arm:
        first = arm.first
    assert first.controllers.feedback.any() and first.steps > 0
    np.testing.assert_allclose(first.noise, 0.03)


def test_more_spread_is_more_noise(tmp_path):
    noise = []
    for spread in (0.01, 0.04):
        with build(tmp_path, make_arm("motor"), spread=spread) as arm:
            noise.append(arm.first.noise)
    assert (noise[1] > 1.5 * noise[0]).all()


@pytest.mark.parametrize(
    ("initial", "message"),
    [
        ({"hold": [0.1]}, r"initial\.hold: expected one number or 2, got 1"),
        ({"hold": [0.1, 0.2, 0.3]}, r"initial\.hold: expected one number or 2, got 3"),
        ({"noise": [0.1, 0.2, 0.3]}, r"initial\.noise: expected one number or 2, got 3"),
    ],
)
def test_a_wrong_number_of_values_is_named(tmp_path, initial, message):
    with build(tmp_path, make_arm("motor"), **initial) as arm, pytest.raises(ConfigError, match=message):
        _ = arm.first


@pytest.mark.parametrize("initial", [{"spread": 0.0}, {"spread": -1}, {"noise": -0.1}, {"noise": [0.1, -0.2]},
                                     {"noise": 0.0}])  # fmt: skip
def test_a_value_that_cannot_be_is_refused(tmp_path, initial):
    with pytest.raises(ConfigError, match=r"initial"), build(tmp_path, make_arm("motor"), **initial) as arm:
        _ = arm.first


# -- any environment ------------------------------------------------------------------------------------------


def test_a_range_without_zero_is_excited_around_its_middle(tmp_path):
    write(tmp_path, HEATER_EXPERIMENT, HEATER)
    with closing(Experiment(load(tmp_path), tmp_path)) as heater:
        rollouts = sample(heater)
        np.testing.assert_array_equal(heater.first.hold, [[20.0]])
        assert heater.first.steps == 0
    assert rollouts.saturated.max() < 0.1
    assert 1.0 < rollouts.actions.std() < 4.0


SHORT = """
import numpy as np

from gps.environments.mujoco import MujocoEnv


class Short(MujocoEnv):
    def __init__(self, num_envs, **options):
        super().__init__(num_envs, mjcf="robot.xml", **options)

    def terminated(self, states):
        return np.ones(self.num_envs, dtype=bool)
"""


def test_episodes_that_end_at_once_say_nothing_and_break_nothing(tmp_path):
    (tmp_path / "task.py").write_text(SHORT)
    environment = {"mjcf": None, "id": "task:Short", "success": None, "keyframe": None}
    write_robot(tmp_path, make_arm("motor"), changed(ARM_EXPERIMENT, environment=environment))
    with closing(Experiment(load(tmp_path), tmp_path)) as arm:
        first = arm.first
    assert first.steps == first.episodes > 0
    assert not first.controllers.feedback.any()
    np.testing.assert_allclose(first.noise, 0.5)  # a quarter of each range


# -- bits -------------------------------------------------------------------------------------------------------


def test_threads_do_not_change_the_bits(tmp_path):
    found = []
    for threads in (1, 2):
        write_robot(tmp_path, make_arm("motor"), changed(ARM_EXPERIMENT, environment={"threads": threads}))
        with closing(Experiment(load(tmp_path), tmp_path)) as arm:
            found.append(arm.first)
    one, two = found
    for a, b in zip((one.controllers.feedback, one.controllers.feedforward, one.noise, one.drift),
                    (two.controllers.feedback, two.controllers.feedforward, two.noise, two.drift), strict=True):  # fmt: skip  # noqa: E501
        np.testing.assert_array_equal(a, b)
