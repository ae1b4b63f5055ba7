"""Pictures as observations: they show what is there, change no bit of the physics, and are drawn only when wanted."""

import numpy as np
import pytest

from gps.environments.mujoco import offscreen
from gps.environments.tasks.reacher import Reacher
from gps.errors import DrawingError
from gps.linear_gaussian.initial import zero
from gps.policies.played import LocalControllers
from gps.sampling import collect

TOP = ["qpos", "image:top"]
NEAR, FAR = {"target": [0.1, 0.1]}, {"target": [-0.1, -0.15]}


@pytest.fixture(scope="module", autouse=True)
def opengl():
    try:
        return offscreen.backend()
    except DrawingError as error:
        pytest.skip(str(error))


def image(env, observation, i=0):
    part = env.observation_layout["image:top"]
    return observation[i, part].reshape(env.observation_shapes["image:top"])


def place(picture, colour):
    """The middle of the pixels in which one of red, green and blue stands out, in metres."""
    others = np.delete(picture.astype(float), colour, axis=2).max(axis=2)
    row, column = np.argwhere(picture[..., colour] - others > 40).mean(axis=0)
    scale = 2 * 0.7 * np.tan(np.radians(21)) / len(picture)
    return np.array([column + 0.5 - picture.shape[1] / 2, len(picture) / 2 - row - 0.5]) * scale


def test_the_camera_shows_where_the_target_is():
    env = Reacher(2, observation=TOP)
    _, info = env.reset(options={"conditions": [NEAR, FAR]})
    assert env.observation_dtype == info["observation"].dtype == np.float32
    assert env.observation_shapes == {"qpos": (2,), "image:top": (64, 64, 3)}
    for i, condition in enumerate((NEAR, FAR)):
        picture = image(env, info["observation"], i)
        assert picture.min() >= 0 and picture.max() <= 255 and (picture == picture.round()).all()
        np.testing.assert_allclose(place(picture, 1), condition["target"], atol=0.012)
    _, info = env.reset(options={"conditions": [FAR, FAR], "reset_mask": np.array([True, False])})
    np.testing.assert_array_equal(*(image(env, info["observation"], i) for i in range(2)))
    env.close()


def test_rollouts_hold_bytes_where_there_are_pictures_alone_and_the_physics_has_the_same_bits():
    noise = np.random.default_rng(0).standard_normal((2, 2, 4, 2))
    results = []
    for options in ({"observation": ["image:top"], "image_size": [80, 64]}, {"observation": ["image:top"]}, {}):
        env = Reacher(4, **options)
        results.append(collect(env, LocalControllers(zero(2, 4, 10, 2, 1.0)), [NEAR, FAR], noise, seed=0))
        env.close()
    wide, square, plain = results
    assert wide.images.shape == (2, 2, 4, 64, 80, 3)
    assert wide.observations.shape == (2, 2, 4, 0)
    assert square.images.dtype == np.uint8
    for other in (square, plain):
        np.testing.assert_array_equal(wide.states, other.states)
    np.testing.assert_array_equal(square.images[:, 0, 0], square.images[:, 1, 0])  # the same start
    assert (square.images[:, 0, -1] != square.images[:, 1, -1]).any()


def test_nothing_is_drawn_that_nobody_wants(monkeypatch):
    monkeypatch.setattr(offscreen.MujocoPictures, "picture", None)
    env, still = Reacher(2, observation=TOP), LocalControllers(zero(1, 3, 10, 2, 1.0))
    rollouts = collect(env, still, [NEAR], np.zeros((1, 2, 3, 2)), seed=0, observe=False)
    assert rollouts.observations is None and rollouts.images is None
    env.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation": ["image:tpo"]}, "observation: part 'image:tpo': camera 'tpo' is unknown; did you mean 'top'"),
        ({"state": ["qpos", "image:top"]}, "state: part 'image:top': a picture may be in the observation, not in the"),
        ({"observation": TOP, "image_size": [64]}, "image_size must be a width and a height in pixels, 1 to 1024, got"),
    ],
)
def test_what_is_wrong_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        Reacher(1, **options)
