"""Mosaics, timing and files of videos, from made-up frames."""

import subprocess

import numpy as np
import pytest
from helpers.records import rollouts as make_rollouts

from gps.errors import ConfigError, DrawingError
from gps.inspect import video
from gps.inspect.video import Timing, count_columns, film, write_video

PIL = pytest.importorskip("PIL.Image")


def test_columns():
    assert [count_columns(n) for n in range(1, 10)] == [1, 2, 3, 2, 3, 3, 4, 4, 3]
    assert count_columns(20) == 5


@pytest.mark.parametrize(
    ("dt", "horizon", "fps", "expected"),
    [
        (0.05, 3, None, Timing(20, (0, 1, 2, 3))),
        (0.01, 5, None, Timing(50, (0, 2, 4, 5))),  # no faster than anyone sees
        (0.02, 2, None, Timing(50, (0, 1, 2))),
        (0.1, 4, 5, Timing(5, (0, 2, 4))),
        (0.1, 2, 20, Timing(20, (0, 0, 1, 2, 2))),
    ],
)
def test_timing(dt, horizon, fps, expected):
    timing = Timing.of(dt, horizon, fps)
    assert timing.fps == pytest.approx(expected.fps)
    assert timing.steps == expected.steps


@pytest.mark.parametrize("fps", [None, 7.0, 24.0, 60.0])
@pytest.mark.parametrize("dt", [0.002, 0.033, 0.05, 0.2])
def test_real_time(dt, fps):
    """A frame is never further from its moment than a frame lasts, and the end is there."""
    timing = Timing.of(dt, 100, fps)
    shown = np.arange(len(timing.steps)) / timing.fps
    assert np.abs(shown - dt * np.array(timing.steps)).max() <= max(dt, 1 / timing.fps) + 1e-9
    assert timing.steps[0] == 0 and timing.steps[-1] == 100
    assert list(timing.steps) == sorted(timing.steps)


class Counter:
    """An environment and what draws it: a picture is grey by condition and by step."""

    def __init__(self):
        self.actions = []

    def step(self, actions):
        self.actions.append(actions)

    def picture(self, m):
        return np.full((30, 41, 3), 40 * m + len(self.actions), dtype=np.uint8)


def test_film_plays_the_episode_again():
    rng = np.random.default_rng(0)
    recorded = make_rollouts(rng, M=3, N=1)
    recorded.mask[2, 0, 2:] = False  # an episode that ended early
    recorded.success[...] = False
    environment = Counter()
    frames = list(film(environment, environment, recorded, np.ones((3, 1, 6)), [0, 2], [0, 3, 6], 0.1, "abc"))
    np.testing.assert_array_equal(environment.actions, recorded.actions[:, 0].swapaxes(0, 1))
    bar = frames[0].shape[0] - 30
    assert frames[0].shape == (30 + bar, 86, 3)
    assert 20 < bar < 40
    first, second = ([frame[0, x, 0] for frame in frames] for x in (0, 45))
    assert first == [0, 3, 6]
    assert second == [80, 80, 80]  # it ended before the second frame
    assert (frames[0][30:, :41] != frames[1][30:, :41]).any()  # the captions tell the time


def test_a_caption_has_the_title_of_its_condition_and_cuts_one_that_is_too_long():
    recorded = make_rollouts(np.random.default_rng(0), M=2, N=1)

    class Large(Counter):
        def picture(self, m):
            return np.zeros((20, 300, 3), dtype=np.uint8)

    def caption(titles):
        """The upper lines of both conditions."""
        environment = Large()
        (frame,) = film(environment, environment, recorded, np.ones((2, 1, 6)), [0, 1], [0], 0.1, titles)
        return frame[20:37, :300], frame[20:37, -300:]

    left, right = caption(["iteration 7 · slot = 1", "iteration 7 · slot = 2"])
    assert (left != right).any() and (left != 255).any()
    short, long = caption(["x", "x" * 4000])
    assert (long != short).any() and (long[:, -4:] == 255).all() and (long[:, -60:-20] != 255).any()


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    return [np.repeat(np.repeat(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), 8, 0), 8, 1) for _ in range(7)]


@pytest.mark.parametrize("suffix", [".webp", ".gif"])
def test_loops(tmp_path, frames, suffix):
    path = tmp_path / f"a{suffix}"
    write_video(path, iter(frames), Timing(30, tuple(range(7))))
    with PIL.open(path) as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (7, (64, 48), 0)
        durations = []
        for k in range(7):
            image.seek(k)
            shown = np.asarray(image.convert("RGB")).astype(float)
            durations.append(image.info["duration"])
            assert np.abs(shown - frames[k]).mean() < 12
    assert sum(durations[:6]) == pytest.approx(200, abs=5)
    assert durations[6] == 1000


def test_mp4(tmp_path, frames):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = tmp_path / "a.mp4"
    write_video(path, frames, Timing(12.5, tuple(range(7))))
    count, seconds = ffmpeg.count_frames_and_secs(str(path))
    assert count == 7
    assert seconds == pytest.approx(7 / 12.5, abs=0.02)
    command = [ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    pixels = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)
    shown = pixels.reshape(7, 48, 64, 3).astype(float)
    assert np.abs(shown - np.array(frames)).mean() < 20
    with pytest.raises(DrawingError, match=r"no/a\.mp4: cannot be written: .*No such file"):
        write_video(tmp_path / "no/a.mp4", frames, Timing(12.5, ()))


def test_what_cannot_be_written(tmp_path, frames, monkeypatch):
    with pytest.raises(ConfigError, match=r"unknown kind of video; did you mean '\.webp'"):
        write_video(tmp_path / "a.webm", frames, Timing(10, ()))
    with pytest.raises(DrawingError, match=r"no/a\.gif: cannot be written: No such file"):
        write_video(tmp_path / "no/a.gif", frames, Timing(10, ()))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "imageio_ffmpeg" else name)
    video.require_packages(tmp_path / "a.webp")
    with pytest.raises(DrawingError, match=r'more packages: pip install "guided-policy-search\[video\]"'):
        write_video(tmp_path / "a.mp4", frames, Timing(10, ()))
