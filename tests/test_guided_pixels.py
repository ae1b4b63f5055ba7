"""A tiny guided policy search from pictures: it runs, resumes, is exported, and refuses what does not fit."""

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
from gps.exporting import export
from gps.observations import Pixels, Sight
from gps.players import Player
from gps.policies import MLP, Convolutional
from gps.policies.export import read_loader
from gps.problem import Problem
from gps.runs import learned
from gps.storage.serialization import read_npz

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


def test_the_policy_observes_the_picture_and_the_numbers(run):
    policy = learned(run, 2)
    assert policy.network.description == "images of 20 x 24 x 3 and 4 observations -> 6 points -> 2 actions"
    rollouts = run.iterations[1].rollouts
    assert rollouts.images.shape == (2, 3, 6, 20, 24, 3)
    np.testing.assert_allclose(rollouts.observations, rollouts.states[..., :4], atol=1e-6)
    after_first = learned(run, 0)
    np.testing.assert_allclose(rollouts.actions, np.clip(after_first.act(rollouts.observed) + rollouts.noise, -1, 1))
    assert [len(run.evaluation_rows(what)) for what in ("final", "unseen", "local")] == [2, 1, 2]


@pytest.mark.parametrize("sampling", ["on_policy", "off_policy"])
def test_run_three_is_run_one_and_resume_two(folder, run, sampling):
    override = [f"algorithm.sampling={sampling}"]
    whole = run if sampling == "on_policy" else gps.run(folder, out=folder.parent / "runs", overrides=override)
    part = gps.run(folder, out=folder.parent / "runs", overrides=override, iterations=1)
    resumed = gps.resume(part.path, iterations=2)
    assert digest(whole) == digest(resumed)
    for what in ("final", "unseen"):
        assert whole.evaluation(what).rollouts.actions.tobytes() == resumed.evaluation(what).rollouts.actions.tobytes()
    assert whole.iterations[2].player is (Player.POLICY if sampling == "on_policy" else Player.LOCAL)


def test_evaluate_runs_the_learned_policy(run):
    np.testing.assert_array_equal(evaluate(run).costs, run.evaluation().costs)


def test_render_draws_it(run, tmp_path):
    pytest.importorskip("PIL")
    assert cli.main(["render", str(run.path), "-o", str(tmp_path / "video.webp"), "--size", "64x48"]) == 0
    assert (tmp_path / "video.webp").stat().st_size > 1000


@pytest.mark.parametrize("suffix", [".npz", ".onnx"])
def test_an_exported_policy_acts_the_same(run, tmp_path, suffix):
    rollouts = run.evaluation().rollouts
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


def make_network(config, sight):
    """The network of the configured policy, which observes `sight`."""
    problem = Problem(cost=lambda x, u, t: 0.0, dx=4, du=2, horizon=6, observation=sight)
    return builders.make_learner(config.algorithm.policy, problem, config.seed).training.policy.network


def network(*overrides, image=(64, 64, 3)):
    config = parse(toml(EXPERIMENT), "experiment.toml", overrides)
    pictures = () if image is None else (slice(4, 4 + int(np.prod(image))),)
    sight = Sight(np.arange(4), pictures, image)
    return make_network(config, sight)


def test_the_network_fits_the_observation():
    seeing = network("algorithm.policy.network.channels=[3, 5]")
    assert isinstance(seeing, Convolutional)
    assert seeing.kernels[0].shape == (3, 3, 3, 3)
    assert (seeing.vector_size, seeing.action_size) == (4, 2)
    plain = toml(EXPERIMENT, algorithm={"policy": {"network": None}})
    for image, kind in (((64, 64, 3), Convolutional), (None, MLP)):
        config = parse(plain, "experiment.toml", [])
        sight = Sight(np.arange(4), (), image)
        assert type(make_network(config, sight)) is kind
    assert isinstance(network("algorithm.policy.network.name=mlp", image=None), MLP)


@pytest.mark.parametrize(
    ("overrides", "image", "message"),
    [
        (["algorithm.policy.network.name=mlp"], (64, 64, 3), '"mlp" takes numbers, and there are pictures'),
        ([], None, '"convolutional" takes pictures, and there is none in environment.observation'),
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
def test_a_network_that_does_not_fit_gives_a_message_of_one_line(overrides, image, message):
    with pytest.raises(ConfigError) as error:
        network(*overrides, image=image)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_pictures_that_do_not_fit_into_a_run_are_refused_at_the_start(folder):
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


# -- without pictures, and with an expert -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["trajopt", "pi2", "pilqr"])
def test_without_a_policy_nothing_is_drawn(folder, monkeypatch, name):
    def none():
        raise DrawingError("no OpenGL")

    monkeypatch.setattr(offscreen, "backend", none)
    overrides = [f"algorithm.name={name}", "environment.image_size=[1024, 1024]", "algorithm.samples=30"]
    made = gps.run(folder, out=folder.parent / "plain", overrides=overrides, iterations=1)
    for rollouts in (made.iterations[0].rollouts, made.evaluation().rollouts):
        assert rollouts.images is None and rollouts.observations is None
    assert gps.check(folder, overrides).ok


def test_the_local_controllers_are_evaluated_without_pictures(run):
    assert run.evaluation("local").rollouts.images is None
    assert run.evaluation().rollouts.images.shape == (2, 1, 6, 20, 24, 3)


EXPERT = """
import numpy as np


def act(states, t):
    return -2.0 * states[:, 4:6] - 0.5 * states[:, 2:4]
"""


@pytest.mark.parametrize("name", ["dagger", "plato"])
def test_an_expert_teaches_a_policy_from_pictures(folder, opengl, tmp_path, name):
    (folder / "task.py").write_text(EXPERT)
    overrides = [f"algorithm.name={name}", "algorithm.expert={name='task', function='act'}", "algorithm.memory=2"]
    overrides += ["algorithm.policy.network={channels=[4, 6], kernels=[3, 3], strides=[2, 1]}"]
    overrides += ["algorithm.policy.steps=20", "algorithm.policy.check_every=10", "algorithm.policy.hidden=[8]"]
    whole = gps.run(folder, out=tmp_path, overrides=overrides, iterations=4)
    last = whole.iterations[3]
    assert last.troubles == [] and last.player is Player.BOTH
    assert last.rollouts.images.shape == (2, 3, 6, 20, 24, 3) and np.ptp(last.rollouts.images) > 50
    images = read_npz(whole.path / "iterations" / "003" / "state.npz")["lessons.1.images"]
    np.testing.assert_array_equal(images, last.rollouts.images.reshape(-1, 20, 24, 3))
    policy = learned(whole, 3)
    assert policy.network.description == "images of 20 x 24 x 3 and 4 observations -> 6 points -> 2 actions"
    part = gps.run(folder, out=tmp_path, overrides=overrides, iterations=2)
    assert digest(whole) == digest(gps.resume(part.path, iterations=2))
    np.testing.assert_array_equal(evaluate(whole).costs, whole.evaluation().costs)
    assert [len(whole.evaluation_rows(what)) for what in ("final", "unseen", "expert")] == [2, 1, 2]


def test_the_pictures_in_memory_count_too(folder):
    (folder / "task.py").write_text(EXPERT)
    overrides = ["algorithm.name=dagger", "algorithm.expert={name='task', function='act'}", "algorithm.memory=100"]
    with pytest.raises(ConfigError, match=r"600 episodes of 6 steps, would take 2,700 MiB"):
        gps.run(folder, out=folder.parent / "none", overrides=[*overrides, "environment.image_size=[512, 512]"])
