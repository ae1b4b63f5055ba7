"""Weights & Biases: what is logged, to a stand-in, and a run of its own in offline mode."""

import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
from helpers.records import config, evaluation, record, rollouts

from gps import cli
from gps.errors import ConfigError
from gps.inspect.scalars import collect_evaluation_scalars, collect_scalars
from gps.inspect.wandb import WeightsAndBiases
from gps.runs import find_runs
from gps.runs.creating import create_run


class Run:
    """The run of the stand-in: it keeps what it is given."""

    def __init__(self) -> None:
        self.logged, self.summary, self.axes, self.finished = [], {}, [], False

    def define_metric(self, name, step_metric=None):
        self.axes.append((name, step_metric))

    def log(self, numbers, step):
        self.logged.append((step, numbers))

    def finish(self):
        self.finished = True


@pytest.fixture
def service(monkeypatch):
    """A stand-in for the package; `begun` has the arguments and the run of each start."""
    module = types.ModuleType("wandb")
    module.begun = []

    def init(**arguments):
        module.begun.append((arguments, Run()))
        return module.begun[-1][1]

    module.init, module.Error = init, type("Error", (Exception,), {})
    module.Settings = lambda **settings: settings
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_the_numbers_are_those_of_tensorboard(tmp_path, service):
    run = create_run(tmp_path, "e", 0, config("algorithm.kl_step=0.7"), tmp_path, "")
    callback = WeightsAndBiases()
    callback.on_start(run, run.config, 2)
    made = [record(0), record(1)]
    for item in made:
        callback.on_iteration(item)
    score = evaluation(rollouts(np.random.default_rng(0), N=1))
    callback.on_evaluation(score)
    callback.on_end(run)
    ((arguments, logged),) = service.begun
    assert arguments["project"] == "gps" and arguments["config"]["algorithm.kl_step"] == 0.7
    assert arguments["dir"] == str(run.path) and arguments["id"].startswith(run.path.name)
    assert logged.axes[-1] == ("*", "environment_steps")
    for (step, numbers), item in zip(logged.logged, made, strict=True):
        groups = collect_scalars(item)
        assert step == item.iteration and numbers["environment_steps"] == item.environment_steps
        assert numbers["cost"] == groups["all"]["cost"] and numbers["condition_1/kl"] == groups["condition_1"]["kl"]
        assert len(numbers) == sum(map(len, groups.values()))
    assert logged.summary["condition_0/evaluation_cost"] == 6.0
    assert logged.summary["evaluation_success"] == collect_evaluation_scalars(score)["all"]["evaluation_success"]
    assert logged.finished


def test_a_resumed_run_goes_on_there_and_another_one_does_not(tmp_path, service):
    run = create_run(tmp_path, "e", 0, config(), tmp_path, "")
    other = create_run(tmp_path / "other", "e", 0, config("algorithm.kl_step=0.7"), tmp_path, "")
    for item in (run, run, other):
        WeightsAndBiases().on_start(item, item.config, 2)
    first, again, apart = (arguments for arguments, _ in service.begun)
    assert first["id"] == again["id"] != apart["id"] and first["resume"] == "allow"


def test_who_is_not_logged_in_is_told_so_in_one_line(tmp_path, service):
    def init(**_):
        raise service.Error("api_key not configured\n(no-tty)")

    service.init = init
    run = create_run(tmp_path, "e", 0, config(), tmp_path, "")
    with pytest.raises(ConfigError, match=r"^Weights & Biases: api_key not configured \(no-tty\); log in by"):
        WeightsAndBiases().on_start(run, run.config, 1)


def test_without_the_package(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert cli.main(["run", "e", "--wandb"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('needs one more package: pip install "guided-policy-search[wandb]"')


def test_the_flag(monkeypatch, service):
    seen = []
    monkeypatch.setattr("gps.experiment.run", lambda *_, callbacks, **__: seen.extend(callbacks))
    monkeypatch.setattr("gps.experiment.resume", lambda *_, callbacks, **__: seen.extend(callbacks))
    for arguments in (["run", "e"], ["run", "e", "--wandb"], ["resume", "e", "--wandb"]):
        assert cli.main([*arguments, "--quiet"]) == 0
    assert sum(isinstance(callback, WeightsAndBiases) for callback in seen) == 2


@pytest.mark.filterwarnings("ignore")  # of the package itself
def test_offline(tmp_path, monkeypatch):
    """The package itself, without a network: it writes the run into the run directory."""
    pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    for name in ("CONFIG_DIR", "CACHE_DIR", "DATA_DIR", "ARTIFACT_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / name))
    run = create_run(tmp_path, "e", 0, config(), tmp_path, "")
    callback = WeightsAndBiases(quiet=True)
    callback.on_start(run, run.config, 1)
    callback.on_iteration(record(0))
    callback.on_evaluation(evaluation(rollouts(np.random.default_rng(0), N=1)))
    callback.on_end(run)
    (written,) = Path(run.path).glob("wandb/offline-run-*/*.wandb")
    names = (b"condition_1/cost", b"evaluation_cost", b"algorithm.kl_step")
    end = time.monotonic() + 120  # another process writes the file, also after `finish`
    while not all(name in written.read_bytes() for name in names):
        assert time.monotonic() < end
        time.sleep(0.1)
    run.verify()
    assert find_runs(tmp_path) == [run.path]
