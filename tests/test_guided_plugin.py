"""A guided algorithm of another package, the one of docs/plugins.md: no line of this library knows it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import TO_THE_RIGHT, digest, write
from helpers.packages import install

import gps
from gps import cli
from gps.errors import AlgorithmFault, ConfigError
from gps.players import Player
from gps.policies import NeuralPolicy

GUIDE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
(SELECTIVE,) = re.findall(r"```python\n# selective\.py\n(.*?)```", GUIDE, re.S)

EXPERIMENT = {
    "environment": {
        "id": "gps/PointMass-v0",
        "horizon": 10,
        "threads": 1,
        "conditions": [{}, {"qpos": [0.6, 0.2]}],
        "test_conditions": [{"qpos": [0.2, 0.1]}],
    },
    "algorithm": {
        "name": "selective",
        "sharpness": 2.0,
        "iterations": 3,
        "samples": 3,
        "warm_up": 1,
        "dynamics": {"fit": "least_squares"},
        "policy": {"hidden": [8], "steps": 100, "prior": {"name": "none"}},
    },
    "cost": TO_THE_RIGHT,
}

ENTRY_POINTS = {"gps.algorithms": {"selective": "selective:make_selective", "careless": "careless:make_careless"}}

CARELESS = """
import dataclasses
from selective import Selective, make_selective


class Careless(Selective):
    def improve(self, state, sampled, rollouts, model):
        after, record = super().improve(state, sampled, rollouts, model)
        return after, dataclasses.replace(record, messages=record.messages[0])


def make_careless(problem, config):
    made = make_selective(problem, config)
    return Careless(made.local, made.learner)
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guided")
    with pytest.MonkeyPatch.context() as patch:
        install(patch, folder / "site", {"selective": SELECTIVE, "careless": CARELESS}, ENTRY_POINTS)
        yield write(folder / "point", EXPERIMENT)


@pytest.fixture(scope="module")
def run(experiment):
    return gps.run(experiment, out=experiment.parent / "runs")


def test_it_warms_up_and_trains_a_policy(run):
    first, _, third = run.iterations
    assert [record.player for record in run.iterations] == [Player.LOCAL] * 3
    assert [record.policy.trained for record in run.iterations] == [False, True, True]
    assert all(record.policy.status.ok for record in run.iterations)
    assert third.policy.loss[1] < third.policy.loss[0]
    assert (third.mean_cost < first.mean_cost).all()
    assert isinstance(gps.learned(run), NeuralPolicy)
    found = {what: run.evaluation(what).player for what in ("final", "unseen", "local")}
    assert found == {"final": Player.POLICY, "unseen": Player.POLICY, "local": Player.LOCAL}
    assert np.isfinite(run.evaluation().costs).all()


def test_its_key_weighs_the_conditions(experiment, run):
    """Another sharpness changes the policy and leaves the local controllers as they are."""
    other = gps.run(experiment, overrides=["algorithm.sharpness=0.0"], iterations=2, out=experiment.parent / "runs")
    one, two = (made.iterations[1] for made in (run, other))
    np.testing.assert_array_equal(one.local.improved.feedback, two.local.improved.feedback)
    assert (one.policy.kl != two.policy.kl).any()


def test_it_is_resumed_bit_for_bit(experiment, run):
    part = gps.run(experiment, iterations=2, out=experiment.parent / "runs")
    assert digest(gps.resume(part.path, iterations=1)) == digest(run)


def test_it_is_checked_exported_and_shown(experiment, run, tmp_path, capsys):
    assert cli.main(["check", str(experiment)]) == 0
    assert "\nFAIL" not in capsys.readouterr().out
    assert cli.main(["export", str(run.path), "-o", str(tmp_path / "policy.npz")]) == 0
    assert "a neural policy, 4 observations -> 8 relu -> 2 actions, after iteration 2" in capsys.readouterr().out
    assert cli.main(["report", str(run.path), "-o", str(tmp_path / "report.html")]) == 0
    assert (tmp_path / "report.html").stat().st_size > 10_000
    capsys.readouterr()
    assert cli.main(["show", str(run.path), "--iteration", "-1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["conditions"]
    assert [one["policy"]["teacher"] for one in shown] == ["local", "local"]


def test_what_is_wrong_with_it_is_one_line(experiment):
    with pytest.raises(ConfigError, match=r"^algorithm: selective: TypeError: .*'sharpnes'") as caught:
        gps.run(experiment, overrides=["algorithm.sharpnes=1.0"], out=experiment.parent / "runs")
    assert "\n" not in str(caught.value)
    with pytest.raises(
        AlgorithmFault, match=r"^algorithm.improve: record.messages: got .*; expected a tuple of 2 strings$"
    ):
        gps.run(experiment, overrides=["algorithm.name=careless"], out=experiment.parent / "runs")
