"""`gps tune`: the halving of seeds, the search on a known function, a real search that is stopped and continued."""

import json
import math
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import write_slider

from gps import cli
from gps.config import load
from gps.errors import ConfigError
from gps.sweeps import Watch
from gps.tuning import search, tune
from gps.tuning.file import read_space
from gps.tuning.page import make_tuning_table, render_tuning
from gps.tuning.search import Trial, Tuned

STEP = '[[parameter]]\nkey = "algorithm.kl_step"\nlow = 0.01\nhigh = 100.0\nlog = true\n'
KIND = '[[parameter]]\nkey = "algorithm.samples"\nvalues = [4, 6]\n'


def write_space(folder: Path, text: str) -> Path:
    (folder / "tune.toml").write_text(text)
    return folder


@pytest.fixture
def runs(monkeypatch):
    """The runs that are asked for; their cost is known: least at kl_step = 3 samples = 6; it grows with the seed."""
    pytest.importorskip("optuna")
    asked: list[tuple[dict, tuple[int, ...]]] = []

    def run(self, trials, seeds):
        asked.extend((dict(trial.setting), tuple(seeds)) for trial in trials)
        return [Trial(t.number, t.setting, tuple(cost(t.setting) + 0.01 * seed for seed in seeds)) for t in trials]

    def cost(setting) -> float:
        if setting["algorithm.kl_step"] > 50:
            return math.inf  # as if it failed
        return math.log10(setting["algorithm.kl_step"] / 3.0) ** 2 + (setting.get("algorithm.samples", 6) == 4)

    monkeypatch.setattr(search._Runner, "run", run)
    monkeypatch.setattr(search, "replace", lambda path, text: None)
    return asked


def test_the_better_half_gets_twice_as_many_seeds(tmp_path, runs):
    folder = write_space(write_slider(tmp_path / "slider"), f'trials = 16\nseeds = "0-4"\n{STEP}{KIND}')
    tuned = tune(folder)
    counts = [len(seeds) for _, seeds in runs]
    unique = counts.count(1)
    assert 12 <= unique <= 16  # equal proposals are run once
    halves, left = [], unique
    for seeds in (2, 4, 5):
        left = -(-left // 2)
        halves.append((seeds, left))
    assert [(n, counts.count(n)) for n in (2, 4, 5)] == halves
    last = [setting for setting, seeds in runs if len(seeds) == 5]
    assert dict(tuned.best.setting) in last and len(tuned.best.scores) == 5
    assert tuned.best.score == min(trial.score for trial in tuned.trials if len(trial.scores) == 5)
    assert abs(math.log10(tuned.best.setting["algorithm.kl_step"] / 3.0)) < 0.5
    assert tuned.best.setting["algorithm.samples"] == 6
    assert len({repr(trial.setting) for trial in tuned.trials}) == unique == len(tuned.trials)


def test_the_same_search_asks_the_same(tmp_path, runs):
    folder = write_space(write_slider(tmp_path / "slider"), f"trials = 8\n{STEP}")
    tune(folder)
    first = list(runs)
    runs.clear()
    tune(folder)
    assert runs == first
    runs.clear()
    tune(folder, trials=12)  # more trials begin with the same ones
    assert runs[:8] == first[:8]


def test_the_patch_is_the_experiment_with_the_best_setting(tmp_path, runs):
    folder = write_space(write_slider(tmp_path / "slider"), f"trials = 4\n{STEP}{KIND}")
    tuned = tune(folder)
    patch = tomllib.loads(tuned.patch)
    assert patch == {"algorithm": {key.partition(".")[2]: value for key, value in tuned.best.setting.items()}}
    config = load(folder, tuned.overrides)
    assert config.algorithm.kl_step == tuned.best.setting["algorithm.kl_step"]


def test_the_page_shows_every_setting(tmp_path):
    trials = (Trial(0, {"a": 1.0, "b": "<x>"}, (2.0, 3.0)), Trial(1, {"a": 100.0, "b": "y"}, (5.0,)),
              Trial(2, {"a": 2.0, "b": "y"}, (math.inf,)))  # fmt: skip
    tuned = Tuned(tmp_path, tmp_path / "slider", trials, "return", ("a", "b"))
    assert make_tuning_table(tuned)[1:] == [
        ["1", "-2.5", "2", "1.0", "<x>"], ["2", "-5", "1", "100.0", "y"], ["3", "failed", "1", "2.0", "y"],
    ]  # fmt: skip
    text = render_tuning(tuned)
    *_, best = json.loads(re.search(r'application/json">(.*?)</script>', text)[1])["data"][0]["marker"]["color"]
    assert best == "@group-1"  # on top of the others
    assert "&lt;x&gt;" in text and "final return -2.5 over 2 seeds" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trials = 3", "parameter"),
        ('[[parameter]]\nkey = "a"\nlow = 1', "a: expected low and high, or values"),
        ('[[parameter]]\nkey = "a"\nlow = 2\nhigh = 1', "a: low must be less than high, got 2 and 1"),
        ('[[parameter]]\nkey = "a"\nlow = 0\nhigh = 1\nlog = true', "a: log needs a positive low, got 0"),
        ('[[parameter]]\nkey = "a"\nvalues = [1]', "a: expected at least two values"),
        (f"{STEP}{STEP}", "algorithm.kl_step is there twice"),
        ("trials = = 3", "tune.toml"),
    ],
)
def test_a_wrong_space_is_explained(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        read_space(write_space(tmp_path, text) / "tune.toml")
    assert message in str(caught.value)


def test_what_is_wrong_is_said_before_the_first_run(tmp_path, monkeypatch):
    folder = write_slider(tmp_path / "slider")
    with pytest.raises(ConfigError, match=r"tune\.toml: not there; gps tune needs \[\[parameter\]\] tables"):
        tune(folder)
    write_space(folder, STEP.replace("kl_step", "kl_stp"))
    with pytest.raises(ConfigError, match=r"kl_stp.*did you mean 'kl_step'"):
        tune(folder)
    write_space(folder, STEP)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r'one more package: pip install "guided-policy-search\[tuning\]"'):
        tune(folder, out=tmp_path)


@pytest.fixture
def real(tmp_path, monkeypatch):
    """An experiment of one short iteration, whose runs are made by workers."""
    pytest.importorskip("optuna")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    return write_slider(tmp_path / "slider", algorithm={"iterations": 1})


def test_a_search_of_real_runs_is_continued_after_ctrl_c(real, tmp_path, capsys):
    class CtrlC(Watch):
        """It comes when the second stage begins."""

        stages = 0

        def on_start(self, sweep, todo, jobs):
            self.stages += 1
            if self.stages == 2:
                raise KeyboardInterrupt

    def find(pattern):
        return sorted((tmp_path / "runs").rglob(pattern))

    write_space(real, f'trials = 2\nseeds = "0-1"\n{STEP}')
    with pytest.raises(KeyboardInterrupt):
        tune(real, out=tmp_path / "runs", jobs=1, watch=CtrlC())
    early = find("run.json")
    assert len(early) == 2 and not find("best.toml")
    page = tmp_path / "tune.html"
    arguments = ["tune", str(real), "--out", str(tmp_path / "runs"), "--jobs", "1", "-o", str(page)]
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["settings 1 to 2 of 2 with one seed", "1 settings with 2 seeds each"]
    (best,) = find("best.toml")
    assert lines[-2] == str(best) and lines[-1].startswith(f"gps run {real} --set algorithm.kl_step=")
    assert page.stat().st_size > 1e6
    runs = find("run.json")
    assert len(runs) == 3 and set(early) < set(runs)  # two settings with a seed each, and one with a second
    first = best.read_text()
    assert first.startswith("# final cost ") and np.isfinite(float(first.split()[3]))
    assert cli.main([*arguments, "--quiet"]) == 0
    assert find("run.json") == runs and best.read_text() == first


def test_an_invalid_setting_fails_and_the_search_goes_on(real, tmp_path):
    write_space(real, 'trials = 4\nseeds = "0-1"\n[[parameter]]\nkey = "algorithm.kl_step"\nvalues = [-1.0, 2.0]\n')
    said: list[str] = []
    tuned = tune(real, out=tmp_path / "runs", jobs=1, say=said.append)
    good, bad = tuned.trials
    assert good.setting == {"algorithm.kl_step": 2.0} and len(good.scores) == 2 and not good.failure
    assert bad.setting == {"algorithm.kl_step": -1.0} and "kl_step: expected a number" in bad.failure
    assert [line for line in said if line.startswith("kl_step=-1.0 failed: ")]
    assert [row[1] == "failed" for row in make_tuning_table(tuned)[1:]] == [False, True]
    assert "<li>2: " in render_tuning(tuned)


def test_a_key_of_which_no_value_is_valid_is_wrong(real):
    write_space(real, '[[parameter]]\nkey = "algorithm.kl_step"\nvalues = [-1.0, "x"]\n')
    with pytest.raises(ConfigError, match="kl_step: expected a number"):
        tune(real)
