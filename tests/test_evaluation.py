"""`gps evaluate`: a run's controllers on fresh episodes."""

import dataclasses
import json

import gymnasium
import numpy as np
import pytest
from helpers.experiments import write
from helpers.records import config
from helpers.records import rollouts as make_rollouts

import gps
from gps import cli
from gps.errors import ConfigError, RunError
from gps.evaluation import evaluate, prepare, restore
from gps.records import Abort
from gps.runs.creating import create_run


def test_without_noise_one_episode_says_all(tiny_run):
    result = evaluate(tiny_run)
    stored = tiny_run.evaluation()
    rollouts, costs = stored.rollouts, stored.costs
    np.testing.assert_array_equal(result.rollouts.states, rollouts.states)
    np.testing.assert_array_equal(result.costs, costs)
    assert result.repeated
    assert [score.condition for score in result.scores] == [0, 1, None]
    assert [score.episodes for score in result.scores] == [1, 1, 2]
    assert result.scores[0].cost.value == pytest.approx(costs[0].sum())
    assert result.scores[0].cost.low == result.scores[0].cost.high
    assert result.scores[2].returns.value == pytest.approx(rollouts.rewards.sum(axis=2).mean())


def test_noise_of_the_controllers_own(tiny_run):
    one, two, other = (evaluate(tiny_run, episodes=6, noise="policy", seed=seed) for seed in (1, 1, 2))
    assert not one.repeated
    assert one.rollouts.states.shape == (2, 6, 12, 4)
    np.testing.assert_array_equal(one.rollouts.states, two.rollouts.states)
    assert (one.rollouts.actions != other.rollouts.actions).any()
    assert len(np.unique(one.costs.sum(axis=2)[0])) == 6
    score = one.scores[0]
    assert score.cost.low < score.cost.value < score.cost.high
    assert score.cost.value == pytest.approx(one.costs[0].sum(axis=1).mean())
    assert one.scores[2].episodes == 12


def test_the_noise_has_the_covariance_of_the_controllers(tiny_run):
    with restore(tiny_run) as (built, state):
        policy, draws = prepare(built, state, "policy", 4000, 0)
    improved = tiny_run.iterations[-1].local.improved
    np.testing.assert_array_equal(policy.controllers.feedback, improved.feedback)
    np.testing.assert_allclose(
        np.cov(draws[1, :, 3].T), improved.covariance[1, 3], rtol=0.1, atol=6e-3
    )  # four standard errors


def test_white_noise_has_the_given_deviation(tiny_run):
    with restore(tiny_run) as (built, state):
        _, draws = prepare(built, state, 0.3, 500, 0)
    assert draws.std() == pytest.approx(0.3, rel=0.02)
    result = evaluate(tiny_run, episodes=3, noise=0.3)
    np.testing.assert_array_equal(result.rollouts.noise.shape, (2, 3, 12, 2))
    assert not result.repeated


def test_an_earlier_iteration(tiny_run):
    first = evaluate(tiny_run, 0)
    assert first.iteration == 0
    assert (first.costs != evaluate(tiny_run, 1).costs).any()
    np.testing.assert_array_equal(first.costs, evaluate(tiny_run, -2).costs)
    with pytest.raises(RunError, match="there is no iteration 2; it has 0 to 1"):
        evaluate(tiny_run, 2)


def test_an_empty_run(tmp_path):
    run = create_run(tmp_path, "e", 0, config(), tmp_path, "")
    with pytest.raises(RunError, match="no iteration was finished, so nothing was learned"):
        evaluate(run)


def test_what_a_run_has_not_cannot_be_evaluated(tiny_run):
    with pytest.raises(RunError, match="there is no global policy"):
        evaluate(tiny_run, player="policy")
    with pytest.raises(ConfigError, match=r"environment\.test_conditions: the experiment has none"):
        evaluate(tiny_run, starts="unseen")
    np.testing.assert_array_equal(evaluate(tiny_run, player="local").costs, evaluate(tiny_run).costs)


SHAKY = '''
import gymnasium
import numpy as np

from gps.environments.contract import BatchEnvironment


class Shaky(gymnasium.vector.VectorEnv, BatchEnvironment):
    """A point that starts anywhere, whatever the seed: without noise of ours, episodes still differ."""

    dt = 0.1

    def __init__(self, num_envs):
        self.num_envs = num_envs
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), float)
        self.single_action_space = gymnasium.spaces.Box(-1, 1, (1,), float)
        self.state_layout = {"x": slice(0, 1)}

    def reset(self, *, seed=None, options=None):
        self._x = np.random.default_rng().normal(size=(self.num_envs, 1))
        return self._x.copy(), {}

    def step(self, actions):
        self._x = self._x + 0.1 * np.clip(actions, -1, 1)
        no = np.zeros(self.num_envs, dtype=bool)
        return self._x.copy(), -np.abs(self._x[:, 0]), no, no, {"success": np.abs(self._x[:, 0]) < 0.5}
'''


def test_an_environment_that_is_random_itself(tmp_path, capsys):
    experiment = {
        "environment": {"id": "task:Shaky", "horizon": 3},
        "algorithm": {"iterations": 1, "samples": 3, "controller": {"initial": {"name": "zero"}}},
        "cost": [{"name": "quadratic", "on": "x"}],
    }
    run = gps.run(write(tmp_path / "shaky", experiment, SHAKY), out=tmp_path / "runs")
    result = evaluate(run, episodes=7)
    assert not result.repeated
    assert len(np.unique(result.rollouts.states[0, :, 0])) == 7
    assert cli.main(["render", str(run.path), "-o", str(tmp_path / "a.webp")]) == 2
    assert "this environment cannot be drawn: it is no MuJoCo simulation" in capsys.readouterr().err


def test_regrouped_rollouts():
    rollouts = dataclasses.replace(make_rollouts(np.random.default_rng(0), M=2, N=6), aborts=(Abort(1, 4, 3, "hot"),))
    regrouped = rollouts.regroup(4)
    np.testing.assert_array_equal(regrouped.states[3, 1], rollouts.states[1, 4])
    assert regrouped.aborts == (Abort(3, 1, 3, "hot"),)
    np.testing.assert_allclose(regrouped.saturated, np.repeat(rollouts.saturated, 2))


def test_fresh_starts(tmp_path, tiny_run, capsys):
    experiment = {
        "environment": {"id": "Pendulum-v1", "horizon": 10, "threads": 1},
        "algorithm": {"iterations": 1, "samples": 2},
    }
    run = gps.run(write(tmp_path / "pendulum", experiment), out=tmp_path / "runs")
    assert evaluate(run, episodes=5).repeated
    result = evaluate(run, episodes=5, seed=3, fresh=True)
    starts = [gymnasium.make("Pendulum-v1").reset(seed=3 + e)[0] for e in range(5)]
    np.testing.assert_array_equal(result.rollouts.states[0, :, 0], np.array(starts, float))
    assert cli.main(["evaluate", str(tiny_run.path), "--fresh"]) == 2
    assert "they have no seed to change" in capsys.readouterr().err


def test_the_command(tiny_run, capsys):
    path = str(tiny_run.path)
    assert cli.main(["evaluate", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [path, "controllers after iteration 1, without noise, seed 0"]
    assert lines[2].split("  ")[0] == "condition"
    assert [line.split()[:2] for line in lines[3:6]] == [["0", "1"], ["1", "1"], ["all", "2"]]
    assert "all episodes of a condition are the same here" in lines[6]
    assert cli.main(["evaluate", path, "--noise", "0.2", "--episodes", "4", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert "white noise of standard deviation 0.2 on the actions, seed 3" in out
    assert "are the same here" not in out
    assert " % [" in out
    assert cli.main(["evaluate", path, "--noise", "policy", "--episodes", "4", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["noise"] == "policy" and not shown["deterministic"]
    assert [score["episodes"] for score in shown["scores"]] == [4, 4, 8]
    assert shown["scores"][0]["cost"]["low"] < shown["scores"][0]["cost"]["high"]


@pytest.mark.parametrize("noise", ["some", "-1", "inf", "nan"])
def test_wrong_noise(tiny_run, noise, capsys):
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(tiny_run.path), f"--noise={noise}"])
    assert f"expected none, policy or a standard deviation >= 0, got '{noise}'" in capsys.readouterr().err
