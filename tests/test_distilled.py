"""Whole experiments of distillation, tiny ones: each kind of expert, run and resume, every view, bad input."""

import re
from contextlib import closing

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, changed, digest, toml, write

import gps
from gps import cli
from gps.config import parse
from gps.errors import ConfigError, ExpertFault, GpsError, RunError
from gps.evaluation import evaluate
from gps.experiment import Experiment
from gps.exporting import export
from gps.players import Player
from gps.status import PolicyStatus

EXPERIMENT = changed(
    POINT_MASS,
    environment={"test_conditions": [{"qpos": [0.3, 0.1]}, {"qpos": [0.1, 0.3]}]},
    algorithm={
        "name": "dagger",
        "iterations": 4,
        "samples": 3,
        "memory": 3,
        "expert": {"name": "task"},
        "policy": {
            "hidden": [8],
            "steps": 200,
            "learning_rate": 1e-2,
            "prior": {"name": "gmm", "clusters": 2, "memory": 1},
        },
    },
)

TASK = """
import numpy as np

GAINS = np.array([[2.0, 0.0, 1.0, 0.0], [0.0, 2.0, 0.0, 1.0]])


def act(states, t):
    return (np.array([1.0, 0.0, 0.0, 0.0]) - states) @ GAINS.T


class Firm:
    def __init__(self, precision=10.0):
        self.precision = precision

    def act(self, states, t):
        return act(states, t)

    def advise(self, states, t):
        return act(states, t), np.tile(self.precision * np.eye(2), (len(states), 1, 1))


class Dumb:
    pass


def broken(states, t):
    raise RuntimeError("no idea")


number = 3
"""

PLANNER = ["algorithm.expert.name=planner", "algorithm.expert.horizon=6", "algorithm.expert.dynamics.clusters=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("distilled") / "points", EXPERIMENT, TASK)


def start(folder, *overrides, **options):
    return gps.run(folder, out=folder.parent / "runs", overrides=overrides, **options)


def costs_of(run):
    return {what: np.mean([item.cost for item in run.evaluation_rows(what)]) for what in ("final", "unseen", "expert")}


@pytest.fixture(scope="module")
def run(folder):
    """A finished run, to read and not to write."""
    return start(folder)


def test_the_policy_learns_what_the_expert_does_and_carries_over(run):
    costs = costs_of(run)
    assert costs["final"] == pytest.approx(costs["expert"], rel=0.1)
    assert [len(run.evaluation_rows(what)) for what in ("final", "unseen", "expert")] == [2, 2, 2]
    first = run.iterations[0].mean_cost.mean()
    assert costs["unseen"] < first
    assert [record.player for record in run.iterations] == [Player.EXPERT, *[Player.BOTH] * 3]
    assert all(record.local is None for record in run.iterations)


@pytest.mark.parametrize("overrides", [[], ["algorithm.name=plato"], PLANNER, ["algorithm.name=plato", *PLANNER]])
def test_run_four_is_run_two_and_resume_two(folder, overrides):
    whole = start(folder, *overrides)
    part = start(folder, *overrides, iterations=2)
    resumed = gps.resume(part.path, iterations=2)
    assert digest(whole) == digest(resumed)
    for what in ("final", "unseen", "expert"):
        np.testing.assert_array_equal(whole.evaluation(what).costs, resumed.evaluation(what).costs)


def test_a_planner_learns_the_dynamics_and_teaches(folder):
    run = start(folder, *PLANNER)
    first, last = run.iterations[0], run.iterations[-1]
    assert first.player is Player.FIRST
    assert (last.mean_cost < first.mean_cost).all()
    assert [status.name for status in last.statuses] == ["TAUGHT"] * 2
    costs = costs_of(run)
    assert costs["expert"] < 0.9 * first.mean_cost.mean()
    assert costs["final"] == pytest.approx(costs["expert"], rel=0.15)


def test_before_a_planner_knows_enough_the_first_controllers_are_sampled(folder):
    overrides = ["algorithm.expert.dynamics.points_per_cluster=100", "algorithm.on_trouble=stop"]
    run = start(folder, *PLANNER, *overrides, iterations=3)
    names = [[status.name for status in record.statuses] for record in run.iterations]
    assert names == [["NO_EXPERT"] * 2] + [["TAUGHT"] * 2] * 2
    assert [record.policy.mean_status for record in run.iterations][:2] == [PolicyStatus.WARM_UP, PolicyStatus.OK]
    assert [record.player for record in run.iterations] == ["first", "first", "both"]
    assert [record.troubles for record in run.iterations] == [[]] * 3
    with closing(Experiment(run.config, folder)) as experiment:
        first = experiment.begin().first
    for record in run.iterations[:2]:
        actions = np.clip(first.means(record.rollouts.states) + record.rollouts.noise, -1.0, 1.0)
        np.testing.assert_allclose(record.rollouts.actions, actions, atol=1e-12)


def test_the_policy_of_a_run_teaches_one_that_observes_less(folder, run):
    taught = start(
        folder, "algorithm.expert.name=run", f"algorithm.expert.path={run.path}", "environment.observation=['qpos']"
    )
    assert taught.kept.origins == {"algorithm.expert.path": str(run.path)}
    assert costs_of(taught)["expert"] == pytest.approx(costs_of(run)["final"], rel=1e-6)
    assert taught.policy(3).input_mean.shape == (2,)


def test_the_controllers_of_a_run_teach_a_policy(folder, tmp_path):
    local = start(folder, "algorithm.name=trajopt", iterations=3)
    taught = start(folder, "algorithm.expert.name=run", f"algorithm.expert.path={local.path}")
    np.testing.assert_allclose(taught.evaluation("expert").costs, local.evaluation("final").costs, rtol=1e-9)
    assert costs_of(taught)["final"] < taught.iterations[0].mean_cost.mean() * 1.2


def test_a_class_may_report_precisions(folder):
    made = start(folder, "algorithm.expert.function=Firm", "algorithm.expert.options={precision=25}", iterations=1)
    np.testing.assert_allclose(made.iterations[0].policy.deviation, 0.2, rtol=1e-6)


def test_an_expert_needs_no_formula_of_the_cost(folder):
    made = start(folder, "cost=reward", iterations=1)
    record = made.iterations[0]
    np.testing.assert_allclose(record.costs, -record.rollouts.rewards)
    assert costs_of(made)["expert"] < record.mean_cost.mean()


def test_a_run_is_shown_evaluated_and_exported(run, tmp_path, capsys):
    assert cli.main(["show", str(run.path)]) == 0
    out = capsys.readouterr().out
    assert "the policy, without noise, from the starts that were trained on:" in out
    assert "the expert, without noise" in out and "KL to the expert, nats a step" in out
    assert cli.main(["show", str(run.path), "--iteration", "2"]) == 0
    out += (shown := capsys.readouterr().out)
    assert "The expert labelled every step of the samples" in shown
    assert "samples     those of expert and policy together" in shown
    assert cli.main(["list", str(run.path)]) == 0
    out += (shown := capsys.readouterr().out)
    assert shown.splitlines()[0].split()[-4:] == ["expert", "started", "(UTC)", "state"]
    assert cli.main(["evaluate", str(run.path), "--controller", "expert", "--starts", "all"]) == 0
    out += (shown := capsys.readouterr().out)
    assert shown.splitlines()[1].startswith("expert after iteration 3")
    assert cli.main(["compare", str(run.path), "-o", str(tmp_path / "compare.html")]) == 0
    out += capsys.readouterr().out.replace("of the final policy or controllers", "")  # the definition of the final cost
    assert cli.main(["report", str(run.path), "-o", str(tmp_path / "report.html")]) == 0
    out += capsys.readouterr().out
    assert not re.search("local|controllers", out)
    assert cli.main(["evaluate", str(run.path), "--controller", "local"]) == 2
    assert "there is no 'local'; there is policy and expert" in capsys.readouterr().err
    np.testing.assert_array_equal(evaluate(run, player="expert").costs, run.evaluation("expert").costs)
    np.testing.assert_array_equal(evaluate(run).costs, run.evaluation().costs)
    assert evaluate(run, episodes=2, noise="policy").costs.shape == (2, 2, 12)
    assert export(run, tmp_path / "policy.npz")[1].startswith("a neural policy")


def test_it_can_be_checked(folder, capsys):
    assert gps.check(folder).ok
    assert gps.check(folder, PLANNER).ok


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm.expert.name=plan"], 'algorithm.expert.name: expected "planner", "task" or "run", got "plan"'),
        (["algorithm.expert.function=at"], "no 'at', which algorithm.expert.function refers to; did you mean 'act'?"),
        (["algorithm.expert.function=Dumb"], "Dumb of"),
        (["algorithm.expert.function=number"], "has no act(states, t)"),
        (["algorithm.expert.options={a=1}"], "algorithm.expert.options: act is no class, so that it takes none"),
        (["algorithm.expert.function=Firm", "algorithm.expert.options={a=1}"], "Firm: TypeError"),
        (["algorithm.kl_step=2"], '"dagger" has no such key; it is one of'),
        (["algorithm.decay=2"], "algorithm.decay: expected a number >= 0 and <= 1, got 2"),
        (["algorithm.name=plato", "algorithm.adaptation=-1"], "algorithm.adaptation: expected a number >= 0, got -1"),
        (["algorithm.expert.name=planner", "cost=reward"], "a planner needs the cost of any action"),
        (["algorithm.expert.name=run", "algorithm.expert.path=no"], "there is no such run directory"),
    ],
)
def test_a_mistake_gives_a_message_of_one_line(folder, overrides, message):
    with pytest.raises(GpsError) as error:
        start(folder, *overrides)
    assert "\n" not in str(error.value)
    assert message in str(error.value)
    assert isinstance(error.value, ConfigError | RunError)


def test_a_run_that_does_not_fit_is_refused(folder, run):
    path = ["algorithm.expert.name=run", f"algorithm.expert.path={run.path}"]
    with pytest.raises(ConfigError, match="a policy of 4 observations and 2 actions, and this experiment has 2 and 2"):
        start(folder, *path, "environment.state=['qpos']", "algorithm.controller.initial={name='zero'}")
    local = start(folder, "algorithm.name=trajopt", iterations=1)
    path = ["algorithm.expert.name=run", f"algorithm.expert.path={local.path}"]
    with pytest.raises(ConfigError, match="and this experiment needs"):
        start(folder, *path, "environment.horizon=10")
    with pytest.raises(ConfigError, match="controllers for other conditions"):
        start(folder, *path, "environment.conditions=[{}, {qpos=[0.5, 0.2]}]")


def test_an_expert_that_raises_ends_the_run_in_one_line(folder, capsys):
    with pytest.raises(ExpertFault, match="the expert raised at step 0: RuntimeError: no idea"):
        start(folder, "algorithm.expert.function=broken")


def test_the_resolved_configuration_reads_back_the_same(folder):
    config = parse(toml(EXPERIMENT), "experiment.toml", [*PLANNER, "algorithm.name=plato", "algorithm.adaptation=3.0"])
    assert parse(config.to_toml()) == config
    assert config.algorithm.expert.dynamics.clusters == 2
