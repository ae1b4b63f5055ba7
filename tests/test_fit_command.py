"""`gps fit`: a model from recorded episodes, judged on others beside predictions that know nothing."""

import numpy as np
import pytest

from gps import cli
from gps.builders.modelled import Modelled
from gps.builders.models import find_transforms, make_model
from gps.config.model import FitConfig, LinearModelConfig, MixtureModelConfig, PhysicsModelConfig
from gps.config.reading import validate
from gps.environments.contract import Entry
from gps.environments.mujoco import MujocoEnv
from gps.errors import ConfigError, RecordingError, StoredModelError
from gps.fitting import fit_model, write_model
from gps.inspect.model_report import judge_coverage
from gps.models.linear import LinearLearner
from gps.models.stored import read_model
from gps.recordings import Recording

ENTRIES = (Entry("angle", "rad"), Entry("speed", "rad/s"), Entry("still", "m"))


def swing(E=10, T=60, noise=0.02, seed=0):
    """Pendulums that turn over, whose angle is wrapped, beside an entry that never varies."""
    rng = np.random.default_rng(seed)
    x, u = np.zeros((E, T, 3)), rng.normal(size=(E, T, 1))
    x[:, 0, :2], x[..., 2] = rng.normal(size=(E, 2)) * [1, 3], 7.0
    for t in range(T - 1):
        speed = x[:, t, 1] + 0.05 * (4 * u[:, t, 0] - 9 * np.sin(x[:, t, 0])) + noise * rng.normal(size=E)
        x[:, t + 1, :2] = np.stack([x[:, t, 0] + 0.05 * speed, speed], axis=-1)
    x[..., 0] = (x[..., 0] + np.pi) % (2 * np.pi) - np.pi
    return Recording(x, u, np.ones((E, T), bool), ENTRIES, (Entry("torque", "N m"),), 0.05)


def save(path, recording):
    names = {"state_names": [e.name for e in ENTRIES], "state_units": [e.unit for e in ENTRIES]}
    np.savez(path, states=recording.states, actions=recording.actions, dt=recording.dt, **names)


def test_the_model_is_judged_beside_stays_and_goes_on():
    recording = swing()
    report = fit_model(LinearModelConfig(), recording, horizon=5)
    assert (len(report.learned), len(report.held_out)) == (8, 2)
    assert not set(report.learned) & set(report.held_out)
    assert report.angles == (0,) and report.record.points == 8 * 59
    np.testing.assert_allclose(report.model.one_step_error, [0.001, 0.02, 0], rtol=0.2, atol=1e-12)
    x = recording.take(report.held_out).states[..., 1]
    np.testing.assert_allclose(
        report.stays.one_step_error[1], np.sqrt(np.mean((x[:, 2:] - x[:, 1:-1]) ** 2)), rtol=1e-9
    )
    goes_on = 2 * x[:, 1:-1] - x[:, :-2]
    np.testing.assert_allclose(report.goes_on.one_step_error[1], np.sqrt(np.mean((x[:, 2:] - goes_on) ** 2)), rtol=1e-9)
    ahead = 3 * x[:, 1:-2] - 2 * x[:, :-3]
    np.testing.assert_allclose(report.goes_on.horizon_error[1, 1], np.sqrt(np.mean((x[:, 3:] - ahead) ** 2)), rtol=1e-9)


def test_the_seed_decides_which_episodes_are_held_out():
    one, same, other = (fit_model(LinearModelConfig(), swing(), seed=seed, horizon=2) for seed in (3, 3, 4))
    assert one.held_out.tolist() == same.held_out.tolist() != other.held_out.tolist()
    assert np.array_equal(one.learner.model.weights, same.learner.model.weights)


def test_one_episode_is_judged_by_itself_and_two_steps_have_no_before():
    lone = fit_model(LinearModelConfig(), swing(E=1), horizon=3)
    assert lone.is_judged_by_its_own_data and np.isfinite(lone.goes_on.one_step_error).all()
    short = fit_model(LinearModelConfig(), swing(E=30, T=2), horizon=3)
    assert np.isfinite(short.model.one_step_error).all() and np.isnan(short.goes_on.one_step_error).all()


def test_too_little_is_an_error_with_the_reason():
    with pytest.raises(RecordingError, match=r"no model was learned from 20 transitions\. A cluster needs 40"):
        fit_model(MixtureModelConfig(), swing(E=1, T=21))


@pytest.mark.parametrize(
    ("kind", "module", "settings"),
    [
        ("gp", "gps.models.gaussian_process_learner", ["model.restarts=1", "model.likelihood_points=60"]),
        ("neural", "gps.models.ensemble_learner", ["model.members=2", "model.hidden=[16]", "model.steps=100"]),
        ("recurrent", "gps.models.recurrent_learner", ["model.members=1", "model.units=8", "model.steps=100"]),
    ],
)
def test_other_kinds_are_fitted_and_stored(tmp_path, kind, module, settings):
    pytest.importorskip(module)
    config = validate(FitConfig, {"model": {"name": kind}}, "gps fit", settings).model
    report = fit_model(config, swing(E=6, T=30), horizon=2)
    assert (report.model.one_step_error[:2] < report.stays.one_step_error[:2]).all()
    write_model(report, tmp_path / "model.npz")
    stored = read_model(tmp_path / "model.npz")
    at = np.array([0.3, 1.0, 7.0]), np.array([0.2])
    assert stored.kind == kind
    np.testing.assert_allclose(stored.model.mean(*at), report.learner.model.mean(*at), rtol=1e-9)


# -- the transforms of the state ---------------------------------------------------------------------------------------

BODY = Modelled(
    (Entry("hinge", "rad", 2 * np.pi), Entry("elbow", "rad", 2.0), *(Entry(f"q[{i}]") for i in range(4))),
    (Entry("u"),),
    {"qpos": slice(0, 2), "q": slice(2, 6)},
)


@pytest.mark.parametrize(
    ("settings", "angles", "quaternions"),
    [
        ({}, (0,), ()),
        ({"angles": "none"}, (), ()),
        ({"angles": ("elbow",), "quaternions": ("q",)}, (1,), (2,)),
        ({"angles": ("qpos",)}, (0, 1), ()),
    ],
)
def test_angles_and_quaternions_are_found_by_name(settings, angles, quaternions):
    assert find_transforms(LinearModelConfig(**settings), BODY, "model") == (angles, quaternions, ())


FREE_AND_BALL = """<mujoco><worldbody>
<body><freejoint name="box"/><geom size=".1"/></body>
<body pos="1 0 0"><joint name="hinge" axis="0 1 0"/><geom size=".1"/>
<body pos="0 0 1"><joint type="ball"/><geom size=".1"/></body></body>
</worldbody><actuator><motor joint="hinge"/></actuator></mujoco>"""


@pytest.mark.parametrize(
    ("parts", "angles", "quaternions"),
    [
        (["qpos", "qvel"], (7,), (3, 8)),  # the box's place and rotation, the hinge, the ball without a name
        (["qvel", "qpos:box", "qpos:hinge"], (17,), (13,)),
        (["qpos:box[0,1,2,4]", "qvel:box"], (), ()),
    ],
)
def test_the_quaternions_of_free_and_ball_joints_are_found(parts, angles, quaternions):
    environment = MujocoEnv(1, mjcf=FREE_AND_BALL, state=parts)
    modelled = Modelled(environment.state_entries, environment.action_entries, environment.state_layout)
    assert find_transforms(LinearModelConfig(), modelled, "model") == (angles, quaternions, ())
    assert find_transforms(LinearModelConfig(quaternions="none"), modelled, "model").quaternions == ()
    unknown = modelled._replace(state_entries=tuple(Entry(entry.name) for entry in environment.state_entries))
    assert find_transforms(LinearModelConfig(), unknown, "model").quaternions == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"angles": ("hnge",)}, "model.angles: unknown entry 'hnge' of the state; did you mean 'hinge'"),
        ({"quaternions": ("qpos",)}, "model.quaternions: 'qpos' has 2 entries; expected four"),
        ({"ignore": ("q[1]",), "quaternions": ("q",)}, r"'q\[0\]' begins a quaternion; name all of it or nothing"),
        ({"angles": ("q[1]",), "quaternions": ("q",)}, r"'q\[1\]' is in both angles and quaternions"),
    ],
)
def test_wrong_names_are_explained(settings, message):
    with pytest.raises(ConfigError, match=message):
        find_transforms(LinearModelConfig(**settings), BODY, "model")


def test_a_kind_that_needs_a_simulator_says_so():
    pytest.importorskip("gps.models.physics.learner")
    with pytest.raises(ConfigError, match="a physics model needs the experiment's simulator"):
        make_model(PhysicsModelConfig(), BODY)


def test_a_path_alone_is_a_stored_model():
    assert validate(FitConfig, {}, "gps fit", ["model.path=m.npz"]).model.name == "stored"
    assert validate(FitConfig, {}, "gps fit").model.name == FitConfig().model.name


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_a_report_and_writes_a_model(tmp_path, capsys):
    save(tmp_path / "swing.npz", swing())
    model = tmp_path / "model.npz"
    code = cli.main(
        [
            "fit",
            str(tmp_path / "swing.npz"),
            "-o",
            str(model),
            "--model",
            "linear",
            "--set",
            "model.ridge=1e-3",
            "--horizon",
            "5",
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert code == 0 and lines[-1] == str(model)
    text = "\n".join(lines)
    assert "swing.npz: 10 episodes, 590 transitions of 3 state entries and 1 action, 0.05 s a step" in text
    assert "linear: fitted to 472 transitions of 8 episodes" in text and "Ridge 0.001 by the settings." in text
    assert "on 2 episodes that the model has not seen" in text and "constant: still" in text
    assert any(line.split()[:2] == ["speed", "rad/s"] for line in lines)
    assert "Coverage: " in text and max(map(len, lines[:-1])) <= 120
    stored = read_model(model)
    assert isinstance(stored.learner, LinearLearner) and stored.system.state_names == ("angle", "speed", "still")
    assert stored.system.dt == 0.05

    more = ["fit", str(tmp_path / "swing.npz"), "-o", str(tmp_path / "more.npz"), "--set", f"model.path={model}"]
    assert cli.main([*more, "--held-out", "0"]) == 0
    assert "fitted to 1,062 transitions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "linaer"], "did you mean 'linear'"),
        (["--set", "model.membrs=1"], "unknown key; did you mean 'members'"),
        (["--set", "model.path=data.csv"], "not a model of gps"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.csv").write_text("episode,t,x:a,u:b\n0,0,1,1\n0,1,2,2\n")
    assert cli.main(["fit", "data.csv", "-o", "m.npz", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "m.npz").exists()


def test_a_model_of_other_states_is_refused(tmp_path):
    save(tmp_path / "swing.npz", swing())
    assert cli.main(["fit", str(tmp_path / "swing.npz"), "-o", str(tmp_path / "m.npz"), "--horizon", "2"]) == 0
    config = validate(FitConfig, {}, "gps fit", [f"model.path={tmp_path / 'm.npz'}"]).model
    with pytest.raises(StoredModelError, match="a model of 3 states, and this experiment has 6"):
        make_model(config, BODY)


def test_the_verdict_follows_the_coverage():
    assert judge_coverage(np.array([0.68, 0.95])) == "the model knows its own error"
    assert judge_coverage(np.array([0.3, 0.6])) == "the model is far too sure of itself"
    assert judge_coverage(np.array([0.5, 0.9])) == "the model is too sure of itself"
    assert judge_coverage(np.array([0.99, 1.0])) == "the model claims larger errors than it makes"
