"""Guided policy search from pictures, a tiny one: it runs, resumes, is exported, and what does not fit is one line."""

import numpy as np
import pytest
from helpers.experiments import digest, toml, write
from helpers.onnx_file import run_onnx

import gps
from gps import builders, cli
from gps.config import parse
from gps.environments.mujoco import offscreen
from gps.errors import ConfigError, DrawingError
from gps.evaluation import evaluate
from gps.exporting import export, learned
from gps.observations import Pixels, Sight
from gps.policies import MLP, Convolutional
from gps.policies.export import read_loader

EXPERIMENT = {
    "environment": {
        "id": "gps/Reacher-v0",
        "state": ["qpos", "qvel", "site_position:fingertip-target"],
        "observation": ["qpos", "image:top", "qvel"],
        "image_size": [24, 20],
        "horizon": 6,
        "conditions": [{}, {"target": [0.0, 0.2]}],
        "test_conditions": [{"target": [0.1, 0.15]}],
    },
    "algorithm": {
        "name": "mdgps",
        "iterations": 3,
        "samples": 3,
        "policy": {
            "network": {"channels": [4, 6], "kernels": [3, 3], "strides": [2, 1]},
            "hidden": [8],
            "steps": 20,
            "check_every": 10,
            "prior": {"name": "none"},
        },
        "dynamics": {"prior": {"name": "none"}},
    },
    "cost": [{"name": "distance"}],
}


@pytest.fixture(scope="module")
def opengl():
    try:
        return offscreen.backend()
    except DrawingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("pixels") / "reacher", EXPERIMENT)


@pytest.fixture(scope="module")
def run(folder, opengl):
    return gps.run(folder, out=folder.parent / "runs")


def test_the_policy_sees_the_picture_and_the_numbers(run):
    policy = learned(run, 2)
    assert policy.network.description == "images of 20 x 24 x 3 and 4 observations -> 6 points -> 2 actions"
    rollouts = run.iterations[1].rollouts
    assert rollouts.images.shape == (2, 3, 6, 20, 24, 3)
    np.testing.assert_allclose(rollouts.observations, rollouts.states[..., :4], atol=1e-6)
    after_first = learned(run, 0)
    np.testing.assert_allclose(rollouts.actions, np.clip(after_first.act(rollouts.observed) + rollouts.noise, -1, 1))
    assert [len(run.evaluated_summary(what)) for what in ("final", "unseen", "local")] == [2, 1, 2]


@pytest.mark.parametrize("sampling", ["on_policy", "off_policy"])
def test_run_three_is_run_one_and_resume_two(folder, run, sampling):
    override = [f"algorithm.sampling={sampling}"]
    whole = run if sampling == "on_policy" else gps.run(folder, out=folder.parent / "runs", overrides=override)
    part = gps.run(folder, out=folder.parent / "runs", overrides=override, iterations=1)
    resumed = gps.resume(part.path, iterations=2)
    assert digest(whole) == digest(resumed)
    for what in ("final", "unseen"):
        assert whole.evaluated(what)[0].actions.tobytes() == resumed.evaluated(what)[0].actions.tobytes()
    assert whole.iterations[2].policy.sampled == (sampling == "on_policy")


def test_evaluate_plays_what_was_learned(run):
    np.testing.assert_array_equal(evaluate(run).costs, run.evaluation[1])


def test_render_draws_it(run, tmp_path):
    pytest.importorskip("PIL")
    assert cli.main(["render", str(run.path), "-o", str(tmp_path / "video.webp"), "--size", "64x48"]) == 0
    assert (tmp_path / "video.webp").stat().st_size > 1000


@pytest.mark.parametrize("suffix", [".npz", ".onnx"])
def test_what_is_exported_acts_the_same(run, tmp_path, suffix):
    rollouts, _ = run.evaluation
    image, vector = (array.reshape(-1, *array.shape[3:])[::3] for array in rollouts.observed)
    expected = learned(run, 2).act(Pixels(image, vector))
    assert np.ptp(expected, axis=0).min() > 1e-4
    if suffix == ".onnx":
        pytest.importorskip("onnx")
    path, said = export(run, tmp_path / f"policy{suffix}")
    assert "images of 20 x 24 x 3" in said
    if suffix == ".onnx":
        actions = run_onnx(path, image=image, observation=vector)
    else:
        namespace = {}
        exec(compile(read_loader(), "load_policy.py", "exec"), namespace)
        act = namespace["load"](path)
        actions = [act(v, image=i) for i, v in zip(image, vector, strict=True)]
    np.testing.assert_allclose(actions, expected, atol=1e-6)


def network(*overrides, image=(64, 64, 3)):
    config = parse(toml(EXPERIMENT), "experiment.toml", overrides)
    pictures = () if image is None else (slice(4, 4 + int(np.prod(image))),)
    sight = Sight(np.arange(4), pictures, image)
    return builders.algorithm(config, lambda x, u, t: 0.0, sight, 2).training.policy.network


def test_the_network_is_the_one_that_fits():
    seeing = network("algorithm.policy.network.channels=[3, 5]")
    assert isinstance(seeing, Convolutional)
    assert seeing.kernels[0].shape == (3, 3, 3, 3)
    assert (seeing.vector_size, seeing.action_size) == (4, 2)
    plain = toml(EXPERIMENT, algorithm={"policy": {"network": None}})
    for image, kind in (((64, 64, 3), Convolutional), (None, MLP)):
        config = parse(plain, "experiment.toml", [])
        sight = Sight(np.arange(4), (), image)
        built = builders.algorithm(config, lambda x, u, t: 0.0, sight, 2)
        assert type(built.training.policy.network) is kind
    assert isinstance(network("algorithm.policy.network.name=mlp", image=None), MLP)


@pytest.mark.parametrize(
    ("overrides", "image", "message"),
    [
        (["algorithm.policy.network.name=mlp"], (64, 64, 3), '"mlp" takes numbers, and there are pictures'),
        ([], None, '"convolutional" sees, and there is no picture in environment.observation'),
        ([], (20, 4, 3), "the convolutions leave 7 x 0 of images of 20 x 4 pixels, and a position needs 2 x 2"),
        (["algorithm.policy.network.strides=[1]"], (64, 64, 3), "expected one of each for every convolution, got 2, 2"),
        (["algorithm.policy.network.name=conv"], None, "algorithm.policy.network.name: expected"),
        (
            ["algorithm.policy.network.kernel=[3, 3]"],
            None,
            "algorithm.policy.network.kernel: unknown key; did you mean",
        ),
        (["environment.image_size=[0, 64]"], None, "image_size: expected [width, height], each 1 to 1024"),
    ],
)
def test_what_does_not_fit_is_one_line(overrides, image, message):
    with pytest.raises(ConfigError) as error:
        network(*overrides, image=image)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_pictures_that_no_run_can_store_are_refused_beforehand(folder):
    overrides = ["environment.image_size=[1024, 1024]", "algorithm.samples=100"]
    with pytest.raises(ConfigError, match=r"200 episodes of 6 steps, would take 3,600 MiB"):
        gps.run(folder, out=folder.parent / "none", overrides=overrides)


def test_without_a_renderer_a_run_ends_in_one_line(folder, monkeypatch, capsys):
    def none():
        raise DrawingError("no OpenGL without a screen: neither EGL nor OSMesa works here")

    monkeypatch.setattr(offscreen, "backend", none)
    assert cli.main(["run", str(folder), "--out", str(folder.parent / "dark")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gps: error: no OpenGL without a screen")
    assert "Traceback" not in error
    assert error.count("gps: error") == 1


# -- who needs no picture, and who is taught by an expert --------------------------------------------------------------


@pytest.mark.parametrize("name", ["trajopt", "pi2", "pilqr"])
def test_without_a_policy_nothing_is_drawn(folder, monkeypatch, name):
    def none():
        raise DrawingError("no OpenGL")

    monkeypatch.setattr(offscreen, "backend", none)
    overrides = [f"algorithm.name={name}", "environment.image_size=[1024, 1024]", "algorithm.samples=30"]
    made = gps.run(folder, out=folder.parent / "plain", overrides=overrides, iterations=1)
    for rollouts in (made.iterations[0].rollouts, made.evaluation[0]):
        assert rollouts.images is None and rollouts.observations is None
    assert gps.check(folder, overrides).ok


def test_what_does_not_see_is_evaluated_without_pictures(run):
    assert run.evaluated("local")[0].images is None
    assert run.evaluation[0].images.shape == (2, 1, 6, 20, 24, 3)


EXPERT = """
import numpy as np


def act(states, t):
    return -2.0 * states[:, 4:6] - 0.5 * states[:, 2:4]
"""


@pytest.mark.parametrize("name", ["dagger", "plato"])
def test_an_expert_teaches_a_policy_that_sees(folder, opengl, tmp_path, name):
    (folder / "task.py").write_text(EXPERT)
    overrides = [f"algorithm.name={name}", "algorithm.expert={name='task', function='act'}", "algorithm.memory=2"]
    overrides += ["algorithm.policy.network={channels=[4, 6], kernels=[3, 3], strides=[2, 1]}"]
    overrides += ["algorithm.policy.steps=20", "algorithm.policy.check_every=10", "algorithm.policy.hidden=[8]"]
    whole = gps.run(folder, out=tmp_path, overrides=overrides, iterations=4)
    last = whole.iterations[3]
    assert last.troubles == [] and last.policy.player == "both"
    assert last.rollouts.images.shape == (2, 3, 6, 20, 24, 3) and np.ptp(last.rollouts.images) > 50
    images = whole.state_arrays(3, "lessons.1.images")[""]
    np.testing.assert_array_equal(images, last.rollouts.images.reshape(-1, 20, 24, 3))
    policy = learned(whole, 3)
    assert policy.network.description == "images of 20 x 24 x 3 and 4 observations -> 6 points -> 2 actions"
    part = gps.run(folder, out=tmp_path, overrides=overrides, iterations=2)
    assert digest(whole) == digest(gps.resume(part.path, iterations=2))
    np.testing.assert_array_equal(evaluate(whole).costs, whole.evaluation[1])
    assert [len(whole.evaluated_summary(what)) for what in ("final", "unseen", "expert")] == [2, 1, 2]


def test_the_pictures_that_are_remembered_count_too(folder):
    (folder / "task.py").write_text(EXPERT)
    overrides = ["algorithm.name=dagger", "algorithm.expert={name='task', function='act'}", "algorithm.memory=100"]
    with pytest.raises(ConfigError, match=r"600 episodes of 6 steps, would take 2,700 MiB"):
        gps.run(folder, out=folder.parent / "none", overrides=[*overrides, "environment.image_size=[512, 512]"])
