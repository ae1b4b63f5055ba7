"""Planning on the true simulator and adapting within an episode, from an experiment file."""

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, REWARDED_SLIDER, SLIDER, SLIDER_MJCF, digest, write

import gps
from gps import cli
from gps.config import load
from gps.errors import ConfigError
from gps.experiment import Experiment
from gps.inspect.report.page import make_report
from gps.players import Player
from gps.status import Status

PLANNER = {"name": "icem", "samples": 24, "elites": 4, "rounds": 2, "horizon": 6}
TRUE = {
    "name": "mbrl", "version": "1.5", "iterations": 2, "samples": 1, "model": "simulator", "planner": PLANNER,
    "controller": {"initial": {"name": "zero"}},
}  # fmt: skip
ENVIRONMENT = {"id": "gps/PointMass-v0", "horizon": 10, "threads": 1, "conditions": [{}, {"qpos": [0.6, 0.2]}]}


def write_true(folder, **algorithm):
    base = {**POINT_MASS, "environment": ENVIRONMENT, "algorithm": TRUE | algorithm}
    return write(folder, base)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return write_true(tmp_path_factory.mktemp("true") / "point")


@pytest.fixture(scope="module")
def run(experiment):
    return gps.run(experiment, out=experiment.parent / "runs")


def test_nothing_is_learned_and_the_plans_are_the_planners(run):
    for record in run.iterations:
        assert record.player is Player.PLANNER and record.model is None and record.local is None
        assert (record.status == Status.OK).all() and record.messages == ("", "")
        assert (record.planner.fallbacks == 0).all()
        np.testing.assert_array_equal(record.planner.planned_states[:, 0], record.rollouts.states[:, 0, 0])
    one, two = (record.rollouts.states for record in run.iterations)
    assert not np.array_equal(one, two)  # each iteration searches anew


def test_it_resumes_bit_for_bit(experiment, run):
    part = gps.run(experiment, out=experiment.parent / "runs", iterations=1)
    assert digest(gps.resume(part.path, iterations=1)) == digest(run)


def test_views_and_checks_work(experiment, run, capsys):
    assert [str(finding) for finding in gps.check(experiment).findings if not finding.ok] == []
    assert cli.main(["show", str(run.path)]) == 0
    assert "nan" not in capsys.readouterr().out
    assert cli.main(["evaluate", str(run.path), "--episodes", "3", "--noise", "0.1"]) == 0
    assert "planner after iteration 1" in capsys.readouterr().out
    assert make_report(run).startswith("<!DOCTYPE html>")


def test_a_plan_that_is_followed_happens_bit_for_bit(experiment, tmp_path):
    """Version 1.0 follows the first plan to the end; the live simulation goes where its copies went."""
    (record,) = gps.run(experiment, out=tmp_path, iterations=1, overrides=['algorithm.version="1.0"']).iterations
    T = record.rollouts.mask.shape[2]
    np.testing.assert_array_equal(record.planner.planned_states[:, :T], record.rollouts.states[:, 0])
    np.testing.assert_allclose(record.planner.predicted, record.planner.actual, rtol=1e-12)


def test_the_reward_is_the_cost(tmp_path):
    (tmp_path / "model.xml").write_text(SLIDER_MJCF)
    task = REWARDED_SLIDER.format(mjcf=tmp_path / "model.xml")
    environment = {"id": "task:Slider", "mjcf": None, "threads": 1, "frame_skip": 5}
    folder = write(
        tmp_path / "slider", SLIDER, environment=environment, algorithm=None, cost=({"name": "reward", "weight": 2.0},)
    )
    (folder / "task.py").write_text(task)
    (record,) = gps.run(
        folder, out=tmp_path, iterations=1,
        overrides=["algorithm.name=mbrl", "algorithm.model=simulator", "algorithm.samples=1",
                   "algorithm.planner={name='icem', samples=20, elites=4, rounds=2, horizon=12}",
                   'algorithm.version="1.0"', "algorithm.controller.initial=zero"],
    ).iterations  # fmt: skip
    np.testing.assert_allclose(record.planner.predicted, record.planner.actual, rtol=1e-12)
    np.testing.assert_allclose(record.costs, -2.0 * record.rollouts.rewards)
    assert (record.rollouts.states[:, 0, -1, 0] > record.rollouts.states[:, 0, 0, 0]).all()


def test_iterative_lqr_searches_in_the_simulator_by_its_slopes(tmp_path):
    folder = write_true(tmp_path / "point", planner={"name": "ilqr", "horizon": 6})
    (record,) = gps.run(folder, out=tmp_path, iterations=1).iterations
    assert record.model is None and (record.planner.fallbacks == 0).all()
    np.testing.assert_allclose(record.planner.planned_states[:, 1], record.rollouts.states[:, 0, 1], atol=1e-9)


def test_the_copies_are_closed_with_the_experiment(experiment):
    made = Experiment(load(experiment), experiment)
    copies = made.algorithm._inner.planner.copies
    copies._find(2)
    assert copies._environments
    made.close()
    assert not copies._environments and made.environment.closed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environment": {"noise": {"delay": 1}}}, "environment.noise: copies of the simulation"),
        ({"environment": {"state": ["qpos", "qvel", "last_action"]}}, "environment.state: copies"),
        ({"environment": {"sampling": "one_at_a_time"}}, 'environment.sampling: .* needs "batch"'),
        ({"algorithm": {"planner": {"particles": 3}}}, "algorithm.planner.particles: .* leave it out"),
    ],
)
def test_what_cannot_be_copied_or_planned_is_one_clear_error(tmp_path, changes, message):
    base = {**POINT_MASS, "environment": ENVIRONMENT, "algorithm": TRUE}
    folder = write(tmp_path / "point", base, **changes)
    with pytest.raises(ConfigError, match=message) as error:
        Experiment(load(folder), folder)
    assert "\n" not in str(error.value)


def test_a_planner_that_corrects_a_model_has_nothing_to_correct(tmp_path):
    folder = write_true(tmp_path / "point", planner={"name": "adaptive"})
    with pytest.raises(ConfigError, match=r"algorithm\.planner\.name: \"adaptive\" corrects a model"):
        Experiment(load(folder), folder)


def test_an_environment_without_mujoco_is_one_clear_error(tmp_path):
    base = {
        "environment": {"id": "MountainCarContinuous-v0", "horizon": 5}, "algorithm": TRUE,
        "cost": ({"name": "quadratic"},),
    }  # fmt: skip
    folder = write(tmp_path / "car", base)
    with pytest.raises(ConfigError, match=r"algorithm\.model: MountainCarContinuous-v0 is no MuJoCo environment"):
        Experiment(load(folder), folder)
