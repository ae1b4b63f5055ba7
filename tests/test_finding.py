"""Experiments and runs by their names, and the wheel that carries the experiments."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.experiments import POINT_MASS, write

import gps
from gps import cli
from gps.config import find_experiment, list_experiments
from gps.errors import ConfigError, RunError

ROOT = Path(__file__).parents[1]


def test_a_name_is_the_experiment_that_comes_with_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_experiment("pendulum_swingup") == ROOT / "experiments" / "pendulum_swingup"
    assert list(list_experiments()) == sorted(file.parent.name for file in ROOT.glob("experiments/*/experiment.toml"))


def test_a_path_on_disk_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "pendulum_swingup", POINT_MASS)
    assert find_experiment("pendulum_swingup") == Path("pendulum_swingup")
    file = Path("pendulum_swingup/experiment.toml")
    assert find_experiment(file) == file


def test_an_unknown_name_lists_all_names_the_nearest_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        find_experiment("pendulum_swngup")
    names = str(caught.value).partition("nearest first: ")[2].split(", ")
    assert names[0] == "pendulum_swingup" and sorted(names) == list(list_experiments())
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"no such experiment; did you mean 'reacher'\?"):
        find_experiment("experiments/reacher")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "suite_pendulm"], 2),
        (["check", "suite_pendulm"], 2),
        (["sweep", "suite_pendulm"], 2),
        (["ladder", "suite_pendulm"], 2),
        (["ladder", "ladder_cartpole", "--plan"], 0),
    ],
)
def test_commands_take_a_name(tmp_path, monkeypatch, capsys, arguments, code):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == code
    if code:
        assert "suite_pendulm: no such experiment; these come with gps" in capsys.readouterr().err


def test_a_run_of_a_name_lands_in_runs_and_has_a_short_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = gps.run("pendulum_swingup", iterations=1, overrides=["algorithm.samples=1"])
    assert run.path.parent == Path("runs/pendulum_swingup")
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[0] == f"pendulum_swingup/{run.path.name}"
    for name in ("pendulum_swingup", f"pendulum_swingup/{run.path.name}", str(run.path)):
        assert gps.load_run(name).path == run.path
    write(tmp_path / "pendulum_swingup", POINT_MASS)  # an experiment's directory is no run
    assert gps.load_run("pendulum_swingup").path == run.path
    with pytest.raises(RunError, match=r"pendulm: there is no such run directory; did you mean 'pendulum_swingup'\?"):
        gps.load_run("pendulm")


def test_the_shipped_experiments_are_listed_with_what_they_are(capsys):
    assert cli.main(["list", "--experiments"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(list_experiments())
    assert all(len(line.split()) > 1 for line in lines)


def test_the_wheel_carries_the_experiments(tmp_path):
    """What `pip wheel` puts into the package, built from a copy, and what an installed command finds."""
    pytest.importorskip("setuptools")
    source, library = tmp_path / "source", tmp_path / "library"
    for name in ("gps", "experiments"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(library)]
    done = subprocess.run(build, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    same = filecmp.dircmp(ROOT / "experiments", library / "gps" / "experiments", ignore=["__pycache__", "runs"])
    assert same.left_only == same.right_only == []
    listed = [sys.executable, "-m", "gps.cli", "list", "--experiments"]
    environment = os.environ | {"PYTHONPATH": str(library)}
    done = subprocess.run(listed, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(list_experiments())
