"""A new family of algorithms in a package of its own, without local controllers and without a policy."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import TO_THE_RIGHT, digest, write
from helpers.packages import install

import gps
from gps import cli
from gps.errors import RunError
from gps.exporting import export
from gps.inspect.report.page import make_report
from gps.players import FINAL, Player

SHOOTING = (Path(__file__).parent / "helpers" / "shooting.py").read_text(encoding="utf-8")

EXPERIMENT = {
    "environment": {
        "id": "gps/PointMass-v0",
        "horizon": 12,
        "threads": 1,
        "conditions": [{}, {"qpos": [0.6, 0.2]}],
        "test_conditions": [{"qpos": [0.2, 0.1]}],
    },
    "algorithm": {"name": "shooting", "lookahead": 12, "iterations": 3, "samples": 3, "controller": {"noise": 0.3}},
    "cost": TO_THE_RIGHT,
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planner")
    with pytest.MonkeyPatch.context() as patch:
        entry_points = {"gps.algorithms": {"shooting": "random_shooting:make_shooting"}}
        install(patch, folder / "site", {"random_shooting": SHOOTING}, entry_points)
        yield write(folder / "point", EXPERIMENT)


@pytest.fixture(scope="module")
def run(experiment):
    return gps.run(experiment, out=experiment.parent / "runs")


def test_it_learns_a_model_and_plans_with_it(run):
    first, *_, last = run.iterations
    assert all(record.player is Player.PLANNER for record in run.iterations)
    assert (last.mean_cost < first.mean_cost).all()
    assert (last.model.one_step_error < 1e-3).all()
    np.testing.assert_allclose(last.planner.predicted, last.planner.actual, rtol=0.05)


def test_its_record_has_only_its_sides(run):
    for record in run.iterations:
        assert record.local is None and record.policy is None
        assert record.model is not None and record.planner is not None
    evaluation = run.evaluation(FINAL)
    assert evaluation.player is Player.PLANNER
    assert (evaluation.costs.sum(axis=2).mean(axis=1) < run.iterations[0].mean_cost).all()


def test_gps_check_finds_nothing_wrong(experiment):
    assert [str(finding) for finding in gps.check(experiment).findings if not finding.ok] == []


def test_it_resumes_bit_for_bit(experiment, run):
    part = gps.run(experiment, out=experiment.parent / "runs", iterations=1)
    assert digest(gps.resume(part.path, iterations=2)) == digest(run)


def test_views_draw_the_sides_that_are_there(run, capsys):
    assert cli.main(["show", str(run.path)]) == 0
    shown = capsys.readouterr().out
    assert "KL" not in shown and "nan" not in shown
    assert "the planner, without noise, from the starts that were trained on:" in shown
    assert cli.main(["show", str(run.path), "--iteration", "-1"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"one step +error", shown) and re.search(r"cost .* planned, .* actual", shown)
    assert cli.main(["evaluate", str(run.path), "--episodes", "2"]) == 0
    assert "planner after iteration 2" in capsys.readouterr().out
    page = make_report(run)
    assert page.startswith("<!DOCTYPE html>") and "planner" in page


def test_a_planner_is_not_exported(run, tmp_path):
    with pytest.raises(RunError, match="iteration 2 learned nothing that can be stored, such as a planner"):
        export(run, tmp_path / "planner.npz")
