"""An environment whose velocities are estimates: what a policy sees, what is declared, and refusals."""

import numpy as np
import pytest

from gps.builders.environments import make_environment
from gps.config.environment import EnvironmentConfig
from gps.environments.contract import list_missing_members
from gps.errors import ConfigError
from gps.linear_gaussian.initial import zero
from gps.policies.played import LocalControllers
from gps.sampling import collect, draw_noise

SMOOTHING = 0.3


def make(count=4, **noise):
    noise = {"state": {"qpos": 0.003}, "filter": {"name": "difference", "smoothing": SMOOTHING}, **noise}
    settings = {"id": "gps/McPilcoCartPole-v0", "noise": noise, "threads": 1}
    return make_environment(EnvironmentConfig.model_validate(settings), ".", count)


def roll(environment, samples=2, T=15, stream=(0, 0)):
    policy = LocalControllers(zero(1, T, 4, 1, 0.5))
    noise = draw_noise(policy, samples, 0.0, np.random.default_rng(0))
    return collect(environment, policy, [{}], noise, 0, stream=stream)


def test_the_velocities_are_filtered_differences_of_the_measured_positions():
    environment = make()
    rollouts = roll(environment)
    states, truth = rollouts.states, rollouts.truth
    error = (states - truth)[..., :2]
    assert 0.001 < error.std() < 0.006
    velocity = np.zeros((1, 2, 2))
    for t in range(1, states.shape[2]):
        difference = (states[:, :, t, :2] - states[:, :, t - 1, :2]) / environment.dt
        velocity = SMOOTHING * velocity + (1 - SMOOTHING) * difference
        np.testing.assert_allclose(states[:, :, t, 2:], velocity, atol=1e-10)
    environment.close()


def test_it_declares_itself_and_an_episode_does_not_depend_on_the_batch():
    one, many = make(1), make(4)
    assert list_missing_members(many) == [] and many.noisy
    np.testing.assert_allclose(many.sensor_noise[:2], 0.003)
    assert (many.sensor_noise[2:] > 0.003 / many.dt * 0.5).all()
    np.testing.assert_array_equal(roll(one).states, roll(many).states)
    for environment in (one, many):
        environment.close()


def test_a_kalman_filter_smooths_the_positions_too():
    environment = make(filter={"name": "kalman", "acceleration": [20.0, 50.0]})
    rollouts = roll(environment)
    recovered = environment.filter.recover(rollouts.states)
    assert (recovered[..., 1:, :2] != rollouts.states[..., 1:, :2]).all()
    assert np.abs(recovered - rollouts.truth)[..., :2].max() < 0.003 * 5
    environment.close()


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ({"state": 0.0}, "positions are exact"),
        ({"filter": {"name": "kalman", "acceleration": [1.0, 2.0, 3.0]}}, "expected one number or 2"),
    ],
)
def test_a_filter_without_noise_or_of_another_width_is_an_error(noise, message):
    with pytest.raises(ConfigError, match=message):
        make(**noise)


def test_a_state_without_known_mechanics_is_an_error():
    settings = {
        "id": "gps/McPilcoCartPole-v0",
        "state": ["qvel"],
        "noise": {"state": 0.1, "filter": "difference"},
    }
    with pytest.raises(ConfigError, match="which velocity belongs to which position"):
        make_environment(EnvironmentConfig.model_validate(settings), ".", 1)
