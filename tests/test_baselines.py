"""`gps baseline`: an agent gets the experiment's task and budget, and its score stands beside the runs."""

import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import REWARDED_SLIDER, write_rewarded_slider, write_slider

import gps
from gps import cli
from gps.baselines.baseline import baseline
from gps.baselines.episodes import AgentEpisodes, EpisodeSum, scale_actions
from gps.baselines.score import average_rounds
from gps.builders import make_environment
from gps.config import load
from gps.errors import ConfigError, RunError
from gps.experiment import Experiment
from gps.inspect.comparison import compare
from gps.players import Player


class Fixed:
    """A policy that acts by a formula of its observation: a `gps.sampling.policy.Policy`."""

    player, observes, abstains, carries_over, parameters = Player.POLICY, "observation", "", True, None

    def act(self, seen, t):
        return 0.3 * np.sin(3.0 * np.asarray(seen, dtype=np.float32)[..., :1] + t).astype(float)


def play(folder: Path, objective: str) -> tuple[Experiment, list[EpisodeSum], list[float]]:
    """Play an episode from each condition by the formula; also the rewards that the agent gets."""
    config = load(folder)
    with closing(Experiment(config, folder)) as built, closing(make_environment(config.environment, folder, 1)) as one:
        episodes = AgentEpisodes(one, built.problem, built.conditions, 0, objective, built.problem.cost)
        gained, t = [], 0
        observation, _ = episodes.reset()
        while len(episodes.finished) < len(built.conditions):
            action = Fixed().act(observation, t)  # the limits are ±1, so that the scale is 1
            observation, reward, terminated, truncated, _ = episodes.step(action)
            gained.append(reward)
            t += 1
            if terminated or truncated:
                observation, _ = episodes.reset()
                t = 0
        played = built.evaluate(Fixed())
        return played, episodes.finished, gained


def test_an_agent_pays_what_a_policy_pays(tmp_path):
    """The same actions cost the same in the agent's environment as in an evaluation of gps."""
    played, finished, gained = play(write_slider(tmp_path / "slider"), "cost")
    np.testing.assert_allclose([episode.cost for episode in finished], played.costs.sum(axis=2)[:, 0], rtol=1e-6)
    np.testing.assert_allclose(-np.array(gained).reshape(2, 12), played.costs[:, 0], rtol=1e-5, atol=1e-9)
    assert [episode.steps for episode in finished] == [12, 24]


def test_a_reward_is_a_cost_or_the_objective(tmp_path):
    assert REWARDED_SLIDER
    folder = write_rewarded_slider(tmp_path / "slider")
    played, finished, gained = play(folder, "reward")
    np.testing.assert_allclose([episode.reward for episode in finished], played.rollouts.rewards.sum(axis=2)[:, 0])
    np.testing.assert_allclose([episode.cost for episode in finished], played.costs.sum(axis=2)[:, 0], rtol=1e-6)
    np.testing.assert_allclose(np.array(gained).reshape(2, 12), played.rollouts.rewards[:, 0])
    assert play(folder, "cost")[2] == pytest.approx(gained)


def test_actions_fill_their_limits(tmp_path):
    with closing(Experiment(load(write_slider(tmp_path / "slider")), tmp_path / "slider")) as built:
        low, high = built.problem.limits
        np.testing.assert_array_equal(scale_actions(np.array([-1.0]), built.problem), low)
        np.testing.assert_array_equal(scale_actions(np.array([1.0]), built.problem), high)


def test_rounds_are_means_of_their_episodes():
    some = [EpisodeSum(3 * k, float(k), 10.0 * k, k > 2) for k in (1, 2, 3, 4, 5)]
    some[1] = EpisodeSum(6, np.nan, 20.0, False)
    means = average_rounds(some, 2)
    np.testing.assert_array_equal(means["steps"], [6, 12])  # the fifth episode begins a round
    np.testing.assert_array_equal(means["cost"], [1.0, 3.5])
    np.testing.assert_array_equal(means["success"], [0.0, 1.0])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """PPO on the slider, two seeds, beside a run of gps; with the paths of the scores."""
    pytest.importorskip("stable_baselines3")
    folder = tmp_path_factory.mktemp("baselines")
    experiment = write_slider(folder / "slider", algorithm={"iterations": 2})
    paths = baseline(experiment, "ppo", seeds="0-1", out=folder / "runs")
    gps.run(experiment, out=folder / "runs")
    return experiment, folder, paths


def test_the_same_budget_and_a_row_beside_the_runs(trained):
    _, folder, _ = trained
    comparison = compare([folder / "runs"])
    assert [group.label for group in comparison.groups] == ["slider", "ppo"]
    ours, theirs = comparison.groups
    assert [member.seed for member in theirs.members] == [0, 1]
    assert {member.steps for group in comparison.groups for member in group.members} == {2 * 2 * 4 * 12}
    assert theirs.final_cost is not None and ours.beats(theirs, comparison.scale) is not None
    assert any(note.startswith("ppo: PPO of Stable-Baselines3") and "on the cost" in note for note in comparison.notes)


def test_equal_seeds_give_equal_bytes_and_others_do_not(trained, tmp_path):
    experiment, _, paths = trained
    (again,) = baseline(experiment, "ppo", seeds=[0], out=tmp_path)
    assert again.read_bytes() == paths[0].read_bytes() != paths[1].read_bytes()


def test_what_is_there_is_kept_unless_it_was_made_otherwise(trained, tmp_path):
    experiment, _, _ = trained
    said: list[str] = []
    for steps in (48, 48, 96):
        (path,) = baseline(experiment, "ppo", seeds=[0], steps=steps, out=tmp_path, say=said.append)
    assert [line.partition(": ")[2].split()[0] for line in said] == ["48", "kept", "96"]
    assert path.name == "seed0.npz"


def test_another_task_is_refused(trained, tmp_path):
    _, folder, paths = trained
    other = gps.run(write_slider(tmp_path / "slider", environment={"horizon": 7}), out=tmp_path, iterations=1)
    with pytest.raises(RunError, match=r"of different tasks: environment\.horizon is 7 and 12; .* --anyway"):
        compare([other.path, paths[0].parent])
    assert len(compare([other.path, paths[0].parent], anyway=True).groups) == 2
    assert folder.is_dir()


def test_the_command(trained, tmp_path, capsys):
    experiment, _, _ = trained
    arguments = ["baseline", str(experiment), "--with", "ppo", "--steps", "48", "--out", str(tmp_path)]
    assert cli.main([*arguments, "--option", "n_epochs=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ppo seed 0: 48 steps, final cost ")
    assert lines[-1] == f"gps compare {tmp_path / 'slider'}"
    assert cli.main([*arguments, "--option", "n_epoch=1"]) == 2
    assert "--option n_epoch: PPO has none of this name; did you mean 'n_epochs'?" in capsys.readouterr().err
    assert cli.main([*arguments, "--option", "n_epochs"]) == 2
    assert "--option n_epochs: expected NAME=VALUE" in capsys.readouterr().err
    assert cli.main([*arguments, "--steps", "11"]) == 2
    assert "--steps 11: fewer than an episode, which has 12" in capsys.readouterr().err
    assert cli.main(["baseline", str(experiment), "--with", "pp"]) == 2
    assert "--with pp: expected sac, ppo or td3; did you mean 'ppo'?" in capsys.readouterr().err


def test_pictures_and_a_missing_package_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(ConfigError, match=r'one more package: pip install "guided-policy-search\[baselines\]"'):
        baseline(write_slider(tmp_path / "slider"))
