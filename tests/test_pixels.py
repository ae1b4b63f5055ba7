"""What a policy that sees is given: rows taken apart, rollouts with pictures, and what they take on disk."""

import dataclasses
import zipfile
from typing import ClassVar

import numpy as np
import pytest
from helpers.linear_system import CONDITIONS, DU, A, B, M
from helpers.problems import LinearEnv

from gps.errors import ConfigError
from gps.observations import Pixels, Sight
from gps.records import Rollouts
from gps.sampling import collect
from gps.storage.serialization import flatten, read_npz, unflatten, write_npz

N, T = 3, 6


class Screen(LinearEnv):
    """Shows a policy two pictures, of two and of one channel, and the last entry of the state between them."""

    observation_layout: ClassVar = {"left": slice(0, 12), "end": slice(12, 13), "right": slice(13, 19)}
    observation_shapes: ClassVar = {"left": (2, 3, 2), "end": (1,), "right": (2, 3, 1)}
    observation_pictures: ClassVar = ("left", "right")
    observation_dtype = np.dtype(np.float32)

    def shown(self, info):
        left = np.arange(12) + np.arange(self.num_envs)[:, None] + 20 * len(self.applied)
        row = np.concatenate([left, self.state[:, -1:], 255 - left[:, ::2]], axis=1)
        return {**info, "observation": row.astype(np.float32)}

    def reset(self, *, seed=None, options=None):
        state, info = super().reset(seed=seed, options=options)
        return state, self.shown(info)

    def step(self, actions):
        *results, info = super().step(actions)
        return *results, self.shown(info)


class Viewer:
    """Acts on the brightness of what it sees, and keeps it."""

    observes = "observation"
    abstains = ""

    def __init__(self):
        self.seen = []

    def act(self, seen, t):
        self.seen.append(Pixels(seen.image.copy(), seen.vector.copy()))
        return np.repeat(seen.image.mean(axis=(2, 3, 4))[..., None] / 255 + seen.vector, DU, axis=-1)


def rolled(policy, simulations=M * N, **options):
    return collect(Screen(simulations, A, B, **options), policy, CONDITIONS, np.zeros((M, N, T, DU)), seed=0)


def test_a_row_is_taken_apart():
    sight = Sight.of(Screen(2, A, B))
    assert sight.image_shape == (2, 3, 3)
    assert sight.width == 19
    row = np.arange(38, dtype=np.float32).reshape(2, 19)
    np.testing.assert_array_equal(sight.vector(row), row[:, 12:13])
    image = sight.image(row)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image[..., :2], row[:, :12].reshape(2, 2, 3, 2))
    np.testing.assert_array_equal(image[..., 2], row[:, 13:].reshape(2, 2, 3))


def test_without_pictures_a_row_is_numbers():
    sight = Sight.of(LinearEnv(2, A, B))
    assert sight.image_shape is None
    assert sight.width == len(sight.numbers) == len(A)


def test_pictures_of_two_sizes_are_refused():
    environment = Screen(1, A, B)
    environment.observation_shapes = {"left": (2, 3, 2), "end": (1,), "right": (3, 2, 1)}
    with pytest.raises(ConfigError, match="one height and width are needed, got left 2 x 3, right 3 x 2"):
        Sight.of(environment)


@pytest.mark.parametrize("simulations", [M * N, 1])
def test_a_policy_that_sees_is_given_pixels_and_they_are_recorded(simulations):
    policy = Viewer()
    rollouts = rolled(policy, simulations)
    assert rollouts.images.shape == (M, N, T, 2, 3, 3)
    assert rollouts.images.dtype == np.uint8
    np.testing.assert_allclose(rollouts.observations[..., 0], rollouts.states[..., -1], rtol=1e-6)
    expected = rollouts.images.mean(axis=(3, 4, 5))[..., None] / 255 + rollouts.observations
    np.testing.assert_allclose(rollouts.actions, np.repeat(expected, DU, axis=-1))
    image, vector = rollouts.observed
    assert image is rollouts.images and vector is rollouts.observations
    if simulations == M * N:
        np.testing.assert_array_equal(np.stack([one.image for one in policy.seen], axis=2), rollouts.images)
    np.testing.assert_array_equal(
        rollouts.regroup(1).images[0], rollouts.images.reshape(M * N, *rollouts.images.shape[2:])
    )


def test_no_picture_stays_after_the_end_of_an_episode():
    rollouts = rolled(Viewer(), ends=[99, 2, 99, 99, 4, 99])
    assert not rollouts.mask.all()
    assert not rollouts.images[~rollouts.mask].any()


def test_pictures_are_stored_compressed_and_come_back(tmp_path):
    rollouts = rolled(Viewer())
    whole = dataclasses.replace(rollouts, images=np.repeat(rollouts.images, 400, axis=3))
    write_npz(tmp_path / "rollouts.npz", flatten(whole))
    again = unflatten(Rollouts, read_npz(tmp_path / "rollouts.npz"))
    np.testing.assert_array_equal(again.images, whole.images)
    np.testing.assert_array_equal(again.states, whole.states)
    with zipfile.ZipFile(tmp_path / "rollouts.npz") as archive:
        sizes = {info.filename: (info.compress_size, info.file_size) for info in archive.infolist()}
    assert sizes["images.npy"][0] < sizes["images.npy"][1] / 10
    assert sizes["states.npy"][0] == sizes["states.npy"][1]


def test_rollouts_from_before_there_were_pictures_are_readable():
    plain = collect(LinearEnv(M * N, A, B), _still(), CONDITIONS, np.zeros((M, N, T, DU)), seed=0)
    arrays = {key: array for key, array in flatten(plain).items() if not key.startswith("images")}
    assert unflatten(Rollouts, arrays).images is None


def _still():
    policy = Viewer()
    policy.act = lambda seen, t: np.zeros((M, N, DU))
    return policy
