"""`gps export`: a run's controllers or its policy as a file, from the command line."""

import json

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, write
from helpers.policies import vector_policy
from helpers.records import config, record, state

import gps
from gps import cli
from gps.policies.export import read_loader
from gps.runs import Run
from gps.runs.creating import create_run


@pytest.fixture
def load(capsys):
    """`load` of the program that the command prints."""
    assert cli.main(["export", "--loader"]) == 0
    printed = capsys.readouterr().out
    assert printed == read_loader()
    namespace = {}
    exec(compile(printed, "load_policy.py", "exec"), namespace)
    return namespace["load"]


def test_controllers_of_a_run_act_the_same(tiny_run, load, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", str(tiny_run.path)]) == 0
    what, file = capsys.readouterr().out.splitlines()
    assert what == "controllers of 2 conditions, 12 steps, 4 states -> 2 actions, after iteration 1"
    assert file == "tiny-seed0-iter001.npz"
    act, x = load(file), np.arange(4.0)
    improved = tiny_run.iterations[1].local.improved
    for m in range(2):
        for t in range(12):
            np.testing.assert_allclose(act(x, t, m), np.clip(improved[m].act(x, t), -1.0, 1.0), atol=1e-12)


def test_an_export_says_what_its_numbers_are_and_where_it_is_from(tiny_run, load, tmp_path):
    for options, starts in ([], [{}, {"qpos": [0.6, 0.2]}]), (["--condition", "1"], [{"qpos": [0.6, 0.2]}]):
        assert cli.main(["export", str(tiny_run.path), "-o", str(tmp_path / "c.npz"), *options]) == 0
        act = load(tmp_path / "c.npz")
        assert len(act.about["state_names"]) == len(act.about["state_units"]) == 4
        assert act.about["action_units"] == [entry.unit for entry in tiny_run.interface.action]
        assert act.about["low"] == [-1.0, -1.0] and act.about["high"] == [1.0, 1.0]
        assert act.about["horizon"] == 12 and act.about["dt"] > 0
        assert [json.loads(start) for start in act.about["conditions"]] == starts
        origin = json.loads(act.about["provenance"])
        assert (origin["experiment"], origin["seed"], origin["iteration"]) == ("tiny", 0, 1)
        assert origin["versions"]["mujoco"] == tiny_run.versions["mujoco"]
    expected = tiny_run.iterations[1].local.improved[1].act(np.zeros(4), 2)
    np.testing.assert_allclose(act(np.zeros(4), 2), np.clip(expected, -1.0, 1.0), atol=1e-12)


def test_what_an_iteration_made(tiny_run, load, tmp_path):
    for k, name in ((0, "0"), (-2, "-2")):
        assert cli.main(["export", str(tiny_run.path), "-o", str(tmp_path / "c.npz"), "--iteration", name]) == 0
        expected = np.clip(tiny_run.iterations[k].local.improved[0].act(np.ones(4), 3), -1.0, 1.0)
        np.testing.assert_allclose(load(tmp_path / "c.npz")(np.ones(4), 3), expected, atol=1e-12)


def run_of(folder, policy, *overrides) -> Run:
    """A run of one iteration that learned this policy."""
    (folder / "e").mkdir()
    run = create_run(folder / "runs", "e", 1, config(*overrides), folder / "e", "gps run e")
    run.write(record(0), state(0), policy)
    return run


@pytest.mark.parametrize("suffix", [".npz", ".onnx"])
def test_the_policy_of_a_run_comes_before_its_controllers(tmp_path, load, capsys, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnx")
    policy = vector_policy()
    run = run_of(tmp_path, policy)
    path = tmp_path / f"policy{suffix}"
    assert cli.main(["export", str(run.path), "-o", str(path)]) == 0
    assert "5 observations -> 33 -> 17 tanh -> 3 actions" in capsys.readouterr().out
    if suffix == ".npz":
        np.testing.assert_allclose(load(path)(np.ones(5)), policy.act(np.ones(5)), atol=1e-12)


def test_open_loop_actions_are_exported_as_they_run(tmp_path, load):
    open_loop = {"iterations": 1, "controller": {"execute": "open_loop"}}
    run = gps.run(write(tmp_path / "e", POINT_MASS, algorithm=open_loop), out=tmp_path / "runs")
    assert cli.main(["export", str(run.path), "-o", str(tmp_path / "c.npz")]) == 0
    act, episodes = load(tmp_path / "c.npz"), run.evaluation().rollouts
    for m, t in ((0, 0), (1, 3), (1, 11)):
        applied = np.clip(act(np.full(4, 9.0), t, condition=m), -1.0, 1.0)
        np.testing.assert_allclose(applied, episodes.actions[m, 0, t], atol=1e-12)


def test_what_cannot_be_stored_cannot_be_exported(tmp_path, capsys):
    run = run_of(tmp_path, None)
    assert cli.main(["export", str(run.path), "-o", str(tmp_path / "c.npz")]) == 2
    assert "iteration 0 learned nothing that can be stored" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "c.txt"], "expected a file that ends in .npz or .onnx"),
        (["-o", "c.onnx"], "export it as .npz"),
        (["-o", "nowhere/c.npz"], "cannot be written: No such file"),
        (["--iteration", "7"], "there is no iteration 7; it has 0 to 1"),
        (["--condition", "2"], "there is no condition 2; the run has 0 to 1"),
    ],
)
def test_what_cannot_be_done_is_one_line(tiny_run, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", str(tiny_run.path), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gps: error: ") and error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())


def test_a_run_without_iterations_has_nothing_to_export(tmp_path, capsys):
    (tmp_path / "e").mkdir()
    run = create_run(tmp_path / "runs", "e", 1, config(), tmp_path / "e", "gps run e")
    assert cli.main(["export", str(run.path)]) == 2
    assert "nothing was learned" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["export"])
