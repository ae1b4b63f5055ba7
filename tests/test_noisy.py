"""Learning, resuming and evaluating under the noise of an environment."""

import json

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, changed, digest, write

import gps
from gps import cli
from gps.algorithms.local import base
from gps.dynamics.smoothing import smooth_states
from gps.errors import ConfigError
from gps.evaluation import evaluate, restore
from gps.inspect.report.page import report

NOISE = {"state": {"qpos": 0.02, "qvel": 0.05}, "action": 0.1, "delay": 1, "rate_limit": 0.8}
NOISY = changed(
    POINT_MASS,
    environment={
        "noise": NOISE,
        "state": ["qpos", "qvel", "last_action"],
        "randomise": {"body_mass": {"*": [0.8, 1.2]}},
    },
    algorithm={"iterations": 3},
    cost=[*POINT_MASS["cost"], {"name": "rate", "weight": 0.1, "relative": True}],
)


def run(folder, name="noisy", iterations=None, **environment):
    return gps.run(write(folder / name, NOISY, environment=environment), out=folder / "runs", iterations=iterations)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    return run(tmp_path_factory.mktemp("noisy"))


def test_learning_sees_the_measured_states_and_an_evaluation_the_true_ones(noisy):
    rollouts = noisy.iterations[1].rollouts
    errors = rollouts.states - rollouts.truth
    assert (errors[..., :4] != 0).all() and not errors[..., 4:].any()
    final = noisy.evaluation()
    assert final.costs.shape == (2, gps.experiment.EPISODES_UNDER_NOISE, 12)
    with restore(noisy) as (built, _):
        np.testing.assert_array_equal(final.costs, built.problem.costs(final.rollouts.true))
        assert (final.costs != built.problem.costs(final.rollouts)).all()
    assert len(np.unique(final.costs.sum(axis=2))) == final.costs[..., 0].size  # no two episodes are alike


def test_the_model_is_fitted_to_smoothed_states(tmp_path):
    """They are nearer to the true ones than what was measured, and exact where it is."""
    source = write(tmp_path / "many", NOISY, environment={"randomise": None}, algorithm={"samples": 20})
    run = gps.run(source, out=tmp_path, iterations=1)
    with restore(run) as (built, _):
        deviation = built.problem.sensor_noise
    np.testing.assert_array_equal(deviation, [0.02, 0.02, 0.05, 0.05, 0.0, 0.0])
    rollouts = run.iterations[0].rollouts
    smoothed = smooth_states(rollouts.states, rollouts.actions, rollouts.mask, deviation)
    error = np.square(smoothed.states - rollouts.truth).mean(axis=(0, 1, 2))
    assert (error[:4] < 0.8 * deviation[:4] ** 2).all()
    np.testing.assert_allclose(error[4:], 0.0, atol=1e-5)


def test_few_samples_are_fitted_as_they_were_measured(noisy, tmp_path, monkeypatch):
    def smooth(*_):
        raise AssertionError

    monkeypatch.setattr(base, "smooth_states", smooth)
    assert digest(run(tmp_path)) == digest(noisy)  # three samples of six entries and two actions


def test_iterations_have_noise_of_their_own(noisy):
    one, two = (record.rollouts.states - record.rollouts.truth for record in (noisy.iterations[0], noisy.iterations[1]))
    assert (one[..., :4] != two[..., :4]).all()


@pytest.mark.parametrize("environment", [{"threads": 2}, {"sampling": "one_at_a_time"}])
def test_threads_and_order_do_not_matter(noisy, environment, tmp_path):
    assert digest(run(tmp_path, **environment)) == digest(noisy)


def test_a_resumed_run_is_one_that_never_stopped(noisy, tmp_path):
    resumed = gps.resume(run(tmp_path, iterations=1).path, iterations=2)
    assert digest(resumed) == digest(noisy)
    np.testing.assert_array_equal(resumed.evaluation().costs, noisy.evaluation().costs)


def test_an_evaluation_has_the_noise_of_the_experiment(noisy):
    result = evaluate(noisy, episodes=15)
    assert result.noisy and not result.repeated
    assert result.scores[0].episodes == 15 and result.scores[0].cost.low < result.scores[0].cost.high
    np.testing.assert_array_equal(result.costs[:, :10], noisy.evaluation().costs)
    other = evaluate(noisy, episodes=15, seed=1)
    assert (result.costs[..., -1] != other.costs[..., -1]).all()


def test_an_evaluation_may_have_other_noise(noisy, capsys):
    silent = ["environment.noise.state=0", "environment.noise.action=0", "environment.randomise={}"]
    quiet = evaluate(noisy, episodes=5, overrides=silent)
    assert quiet.repeated and not quiet.noisy and quiet.rollouts.truth is None
    arguments = [argument for override in silent[:2] for argument in ("--set", override)]
    assert cli.main(["evaluate", str(noisy.path), "--episodes", "3", *arguments]) == 0
    assert "without exploration under the environment's noise" in capsys.readouterr().out
    assert cli.main(["evaluate", str(noisy.path), "--episodes", "3", "--json", *arguments]) == 0
    head = json.loads(capsys.readouterr().out)
    assert head["noisy"] is True and head["set"] == silent[:2]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("environment.horizon=5", "an evaluation may set environment.noise and environment.randomise alone"),
        ("environment.noise.stat=5", "environment.noise.stat: unknown key; did you mean 'state'"),
        ("environment.noise.delay=3", r"the state would be .* last_action \[4:10\], and .* last_action \[4:6\]"),
        ("environment.randomise.body_mass.mas=[1,2]", "body 'mas' is unknown"),
    ],
)
def test_other_noise_that_cannot_be(noisy, override, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(noisy, overrides=[override])


def test_a_noisy_experiment_passes_its_check(tmp_path):
    examination = gps.check(write(tmp_path, NOISY))
    assert examination.ok, str(examination)


@pytest.mark.parametrize("noise", [{"delay": 2}, {"rate_limit": 0.1}])
def test_a_delay_without_the_last_action_is_a_finding(noise, tmp_path):
    examination = gps.check(write(tmp_path, changed(POINT_MASS, environment={"noise": noise})))
    (found,) = [finding for finding in examination.findings if not finding.ok]
    assert "the state holds the last action" in found.rule
    assert found.remedy == 'add "last_action" to environment.state'


def test_the_console_says_that_an_evaluation_was_noisy(noisy, capsys):
    assert cli.main(["show", str(noisy.path)]) == 0
    assert "final controllers, 10 episodes from each start under the environment's noise:" in capsys.readouterr().out


def test_the_report_says_that_the_evaluation_was_noisy(noisy, tmp_path):
    report(noisy, tmp_path / "report.html")
    assert "The final controllers, under the environment's noise, " in (tmp_path / "report.html").read_text()


def test_a_video_repeats_the_noisy_episode(noisy):
    with restore(noisy) as (built, state):
        rollouts, *_ = built.evaluate(built.algorithm.learned(state), np.zeros((2, 1, 12, 2)), seed=4)
        again = built.make_environment_at_start(seed=4)
        for t in range(11):
            states = again.step(rollouts.actions[:, 0, t])[0]
            np.testing.assert_array_equal(states, rollouts.states[:, 0, t + 1])
        again.close()
