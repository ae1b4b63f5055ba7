"""The table of the algorithms of guided policy search: a short run, a run that fails, and what is said of several."""

import numpy as np
import pytest

from benchmarks import guided
from gps.config import load

SHORT = (
    "algorithm.iterations=1",
    "algorithm.warm_up=0",
    "algorithm.samples=2",
    "environment.horizon=8",
    "environment.conditions=[{slot=[0.0,0.0]}]",
    "environment.test_conditions=[{slot=[0.1,0.0]}]",
    "algorithm.policy.steps=100",
)


@pytest.mark.parametrize("name", guided.ALGORITHMS)
def test_each_algorithm_has_540_episodes(name):
    algorithm = guided.ALGORITHMS[name]
    runs = [algorithm.overrides] + ([algorithm.demonstrations] if algorithm.demonstrations else [])
    configs = [load(guided.EXPERIMENT, overrides) for overrides in runs]
    places = {len(config.environment.conditions) for config in configs}
    assert places == {9}
    assert 9 * sum(config.algorithm.samples * config.algorithm.iterations for config in configs) == 540


def test_a_short_run_makes_a_row():
    result = guided.train(guided.Algorithm("Short", SHORT), 3, None)
    cells = guided.make_row("Short", [result], seeds=1)
    assert cells[:5] == ("Short", "1", "0/1, 0 %", "0/1, 0 %", "0/1, 0 %")
    assert cells[6] == "2 (16)"
    assert len(cells) == len(guided.COLUMNS)
    assert "policy, trained 0/1; policy, unseen 0/1; local controllers 0/1;" in guided.describe_result(
        "short", 3, result
    )


def test_demonstrations_come_first_and_count():
    without_policy = [one for one in SHORT if not one.startswith(("algorithm.warm_up", "algorithm.policy"))]
    short = guided.Algorithm(
        "Shown",
        (*SHORT, "algorithm.name=pigps"),
        (*without_policy, "algorithm.name=trajopt", "algorithm.samples=3"),
    )
    result = guided.train(short, 3, None)
    assert result.effort == (2 + 3, 16 + 24)
    assert result.demonstrated == [False]
    assert "local controllers 0/1; demonstrations 0/1;" in guided.describe_result("shown", 3, result)
    told = guided.describe_settings(short, [result, result])
    assert told.startswith("- Shown: `--set algorithm.iterations=1`, ")
    assert told.endswith("`--set algorithm.samples=3`, whose controllers insert 0/2")


def test_a_run_that_fails_is_a_row_and_not_the_end(monkeypatch, capsys):
    broken = guided.Algorithm("Broken", ("algorithm.kl_step=-1",))
    monkeypatch.setattr(guided, "ALGORITHMS", {"broken": broken})
    assert guided.main(["--seeds", "3"]) == 1
    printed = capsys.readouterr()
    head, rule, none, failed, *_ = printed.out.splitlines()
    assert head.count("|") == rule.count("|") == none.count("|") == failed.count("|")
    assert none.startswith("| Broken | 0 of 1 | - |")
    assert failed.startswith("| Broken | seed 3 | failed: ConfigError: --set algorithm.kl_step=-1")
    assert "broken, seed 3: failed: ConfigError" in printed.err
    assert "- Broken: `--set algorithm.kl_step=-1`" in printed.out


def test_a_row_says_what_several_seeds_say():
    def result(trained, unseen, seconds):
        succeeded = {"final": trained, "unseen": unseen, "local": trained}
        return guided.RunResult(succeeded, {part: 2.0 for part in guided.PARTS}, (540, 54000), seconds)

    results = [result([True, True], [True, False], 10.0), result([True, True], [False, False], 30.0)]
    cells = guided.make_row("It", results, seeds=3)
    assert cells[:3] == ("It", "2 of 3", "4/4, 100 %")
    assert cells[3] == "1/4, 25 [0, 50] %"
    assert cells[5:] == ("2.00; 2.00; 2.00", "540 (54,000)", "20")
    assert np.isfinite(results[0].seconds)
