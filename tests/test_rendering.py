"""`gps render`: real pixels of real simulations, where there is some OpenGL."""

import contextlib
import subprocess

import numpy as np
import pytest

from gps import cli
from gps.environments.contract import BatchEnvironment
from gps.environments.mujoco import MujocoEnv, offscreen
from gps.environments.mujoco.offscreen import MujocoPictures, make_pictures
from gps.errors import ConfigError, DrawingError, RunError
from gps.rendering import render

PIL = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def opengl():
    try:
        return offscreen.backend()
    except DrawingError as error:
        pytest.skip(str(error))


def read(path):
    with PIL.open(path) as image:
        frames = []
        for k in range(image.n_frames):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
    return frames


def test_a_video_of_both_conditions(opengl, tiny_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["render", str(tiny_run.path), "--size", "96x64", "--fps", "10"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "tiny-seed0-iter001.webp"
    frames = read("tiny-seed0-iter001.webp")
    assert len(frames) == 7  # 0.6 s, and the end
    height, width = frames[0].shape[:2]
    assert width == 2 * 96 + 4
    assert 64 + 20 < height < 64 + 40  # two lines of text
    first = [frame[:64, :96].astype(float) for frame in frames]
    assert first[0].std() > 10  # not one colour
    assert np.abs(first[0] - first[-1]).max() > 60  # the puck has moved
    right = frames[0][:64, 100:].astype(float)
    assert np.abs(first[0] - right).max() > 60  # the other condition starts elsewhere


def test_one_condition_an_iteration_and_noise(opengl, tiny_run, tmp_path):
    kinds = [{"iteration": 0}, {"iteration": 1}, {"iteration": 1, "noise": "policy"}]
    files = [
        render(tiny_run, tmp_path / f"{k}.webp", conditions=[1], size=(64, 48), fps=2, **kind)
        for k, kind in enumerate(kinds)
    ]
    starts, ends = zip(*[(frames[0], frames[-1]) for frames in map(read, files)], strict=True)
    assert np.array_equal(starts[1], starts[2])
    assert np.abs(starts[0][:48].astype(float) - starts[1][:48]).mean() < 2  # the file is lossy
    assert (starts[0][48:] != starts[1][48:]).any()  # the caption names the iteration
    assert (ends[0] != ends[1]).any()
    assert (ends[1] != ends[2]).any()


def test_the_last_episodes_are_those_on_disk(opengl, tiny_run, tmp_path, monkeypatch):
    """They look as if they were played again, and nothing is computed for them."""

    def draw(name):
        return read(render(tiny_run, tmp_path / name, size=(64, 48), fps=5))

    with monkeypatch.context() as without:
        without.setattr(type(tiny_run), "evaluation", lambda self: None)
        played = draw("played.webp")
    monkeypatch.setattr("gps.rendering.prepare", lambda *_: pytest.fail("the policy was prepared to act"))
    for one, two in zip(played, draw("recorded.webp"), strict=True):
        np.testing.assert_array_equal(one, two)


CAMERAS = """
<mujoco>
  <worldbody>
    <light pos="0 0 4"/>
    <geom type="plane" size="30 30 0.1"/>
    <body pos="5 0 1"><joint name="x" type="slide" axis="1 0 0"/><geom size="0.1" rgba="1 0 0 1"/>
      <site name="tip"/>{inside}
    </body>
    {outside}
  </worldbody>
  <actuator><motor joint="x"/></actuator>
</mujoco>
"""


def drawn(inside="", outside="", camera=None):
    environment = MujocoEnv(1, mjcf=CAMERAS.format(inside=inside, outside=outside), state=["qpos"])
    environment.reset()
    with contextlib.closing(environment), contextlib.closing(make_pictures(environment, (64, 48), camera)) as drawing:
        return drawing.picture(0).astype(int)


def redness(picture):
    """Share of the pixels that are red."""
    return ((picture[..., 0] > 60) & (picture[..., 1] < picture[..., 0] / 2)).mean()


def test_a_model_without_a_camera_is_framed(opengl):
    """A ball of 0.1 m on a floor of 60 m, 5 m off its middle."""
    assert 0.1 < redness(drawn()) < 0.6
    assert 0.1 < redness(drawn(inside='<camera name="grip" pos="0 0 0.3" euler="180 0 0"/>')) < 0.6


def test_cameras(opengl):
    far, near = '<camera name="far" pos="5 -4 1" euler="90 0 0"/>', '<camera name="near" pos="5 -1 1" euler="90 0 0"/>'
    assert 0 < redness(drawn(outside=far)) < 0.005
    assert redness(drawn(outside=far + near)) < 0.005  # the first
    assert redness(drawn(outside=far + near.replace("near", "view"))) > 0.02
    assert redness(drawn(outside=far + near, camera="near")) > 0.02
    with pytest.raises(ConfigError, match="--camera ner: no camera of the model; did you mean 'near'"):
        drawn(outside=far + near, camera="ner")


def test_wrong_arguments(tiny_run, tmp_path, capsys):
    with pytest.raises(RunError, match="there is no condition 2; the run has 0 to 1"):
        render(tiny_run, tmp_path / "a.webp", conditions=[2])
    with pytest.raises(ConfigError, match="unknown kind of video"):
        render(tiny_run, tmp_path / "a.avi")
    for arguments, message in [(["--size", "9"], "expected WIDTHxHEIGHT"), (["--fps", "0"], "frames per second")]:
        with pytest.raises(SystemExit):
            cli.main(["render", str(tiny_run.path), *arguments])
        assert message in capsys.readouterr().err


class Undrawn(BatchEnvironment):
    """An environment without pictures."""


class Drawn(BatchEnvironment):
    """A plain environment that draws itself."""

    render_mode = "rgb_array"

    def render(self):
        return [np.full((10, 20, 3), 7 * i, dtype=np.uint8) for i in range(2)]


def test_an_environment_that_draws_itself():
    drawing = make_pictures(Drawn(), (40, 30))
    np.testing.assert_array_equal(drawing.picture(1), np.full((30, 40, 3), 7))
    with pytest.raises(ConfigError, match="--camera c: this environment draws itself"):
        make_pictures(Drawn(), (40, 30), "c")
    with pytest.raises(DrawingError, match="this environment cannot be drawn"):
        make_pictures(Undrawn(), (40, 30))


@pytest.fixture
def fresh():
    """`backend` as in a new process."""
    offscreen.backend.cache_clear()
    yield
    offscreen.backend.cache_clear()


def test_the_choice_of_opengl(fresh, monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    tried = []
    monkeypatch.setattr(offscreen, "_works", lambda name: tried.append(name) or name == "osmesa")
    assert offscreen.backend() == "osmesa"
    assert tried == ["egl", "osmesa"]
    offscreen.backend.cache_clear()
    monkeypatch.setenv("MUJOCO_GL", "EGL")
    assert offscreen.backend() == "egl"
    assert len(tried) == 2


def test_no_opengl_at_all(fresh, monkeypatch, tiny_run, tmp_path, capsys):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1))
    assert cli.main(["render", str(tiny_run.path), "-o", str(tmp_path / "a.webp")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(word in line for word in ("libegl1", "libosmesa6", "MUJOCO_GL"))


def test_opengl_that_fails_says_so(fresh, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(offscreen, "import_module", lambda name: (_ for _ in ()).throw(ImportError("no such\nlibrary")))
    environment = MujocoEnv(1, mjcf=CAMERAS.format(inside="", outside=""), state=["qpos"])
    environment.reset()
    with contextlib.closing(environment), pytest.raises(DrawingError, match="OpenGL by osmesa fails: no such library"):
        MujocoPictures(environment, (64, 48))
