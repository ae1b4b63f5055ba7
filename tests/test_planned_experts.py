"""A policy is distilled from the planner of an earlier run: its lessons, its practice in the model, and bad input."""

import json
import re
import shutil
from contextlib import closing

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, changed, digest, write

import gps
from gps import cli
from gps.algorithms.distilled.practice import Practice
from gps.errors import ConfigError, GpsError
from gps.evaluation import evaluate
from gps.experiment import Experiment
from gps.experts.planning import PlanningExpert
from gps.exporting import export
from gps.metrics import EvaluationRow, parse_csv
from gps.players import Player
from gps.policies.observed import Observed
from gps.runs import load_run

PLANNED = changed(
    POINT_MASS,
    algorithm={
        "name": "mbrl", "iterations": 3, "samples": 2, "controller": None, "model": {"name": "linear"},
        "planner": {"name": "cem", "samples": 48, "rounds": 3, "horizon": 8, "propagation": "mean"},
    },
)  # fmt: skip
TAUGHT = changed(
    POINT_MASS,
    algorithm={
        "name": "dagger", "iterations": 2, "samples": 1,
        "policy": {"hidden": [16], "steps": 300, "learning_rate": 1e-2},
        "expert": {"name": "run", "path": "../planned"},
    },
)  # fmt: skip
PRACTICE = ["algorithm.imagined=1", "algorithm.imagined_samples=4", "algorithm.imagined_steps=5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An experiment that is taught by the planner of a run beside it."""
    place = tmp_path_factory.mktemp("planned")
    run = gps.run(write(place / "e", PLANNED), out=place / "runs")
    run.path.rename(place / "planned")
    return write(place / "taught", TAUGHT)


def start(folder, *overrides, **options):
    return gps.run(folder, out=folder.parent / "runs", overrides=overrides, **options)


@pytest.fixture(scope="module")
def run(folder):
    """A finished run, to read and not to write."""
    return start(folder, *PRACTICE)


def total(run, what="final"):
    return np.mean([row.cost for row in run.evaluation_rows(what)])


def test_the_policy_does_what_the_planner_does(folder, run):
    teacher = load_run(folder.parent / "planned")
    np.testing.assert_allclose(run.evaluation("expert").costs, teacher.evaluation().costs, rtol=1e-6)
    assert total(run) < 1.15 * total(run, "expert")
    assert [record.player for record in run.iterations] == [Player.BOTH] * 2, "the first lessons took no step"
    assert run.iterations[-1].environment_steps == 2 * 2 * 12
    export(run, folder.parent / "policy.npz")


def test_policy_and_planner_are_shown_side_by_side(run, tmp_path, capsys):
    assert cli.main(["show", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (at,) = (k for k, line in enumerate(lines) if line.endswith("time of an action"))
    policy, expert = lines[at + 1 : at + 3]
    assert re.fullmatch(r"policy +[\d.]+ +-[\d.]+ +[\d.]+ µs", policy)
    assert re.fullmatch(r"expert +[\d.]+ +-[\d.]+ +[\d.]+ (µs|ms), [\d.,]+ times as long", expert)
    assert cli.main(["evaluate", str(run.path), "--controller", "all", "--episodes", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("policy and expert after iteration 1")
    assert [line.split()[0] for line in lines[2:9]] == ["controller", *["policy"] * 3, *["expert"] * 3]
    assert re.match(r"time of an action: policy [\d.]+ µs; expert [\d.]+ (µs|ms), [\d.,]+ times as long", lines[-1])
    assert cli.main(["evaluate", str(run.path), "--controller", "all", "--episodes", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["controller"] == "all" and {"policy", "expert"} == found["seconds"].keys()
    assert [score["player"] for score in found["scores"]] == ["policy"] * 3 + ["expert"] * 3
    assert cli.main(["report", str(run.path), "-o", str(tmp_path / "report.html")]) == 0
    assert re.search(
        r"An action takes the policy .{3,16} and the expert .{3,16}, \S+ times as long\.",
        (tmp_path / "report.html").read_text(),
    )


def test_the_time_of_an_action_is_stored_beside_the_episodes(run):
    teacher, policy = run.evaluation("expert"), run.evaluation()
    assert 0 < policy.seconds < 1 and teacher.seconds > 0
    assert {row.seconds for row in run.evaluation_rows("expert")} == {teacher.seconds}
    text = (run.path / "evaluation" / "metrics.csv").read_text()
    older = "\n".join(line.rpartition(",")[0] for line in text.splitlines()) + "\n"
    assert {row.seconds for row in parse_csv(older, EvaluationRow)} == {None}
    assert not any("seconds" in name for name in np.load(run.path / "evaluation" / "rollouts.npz"))


@pytest.mark.parametrize(("overrides", "again"), [([], 0), ([*PRACTICE, "algorithm.name=plato"], 1)])
def test_a_run_goes_on_after_the_planners_run_is_gone(folder, tmp_path, overrides, again):
    shutil.copytree(folder, tmp_path / "taught")
    shutil.copytree(folder.parent / "planned", tmp_path / "planned")
    whole = start(tmp_path / "taught", *overrides)
    evaluated = evaluate(whole, player="expert", episodes=2).costs
    shutil.rmtree(tmp_path / "planned")
    shutil.rmtree(tmp_path / "taught")
    before, run = digest(whole), load_run(whole.path.rename(tmp_path / "moved"))
    np.testing.assert_array_equal(evaluate(run, player="expert", episodes=2).costs, evaluated)
    assert digest(gps.resume(run.path, start=again)) == before


def test_the_first_lessons_are_the_episodes_that_the_planner_acted_in(folder):
    for lessons, points in ((10, 96), (2, 96), (1, 48), (0, 0)):
        with closing(Experiment(load(folder, lessons), folder)) as built:
            state = built.begin()
        assert sum(len(lesson.actions) for lesson in state.lessons) == points
        assert state.trained == (lessons > 0)


def load(folder, lessons):
    return gps.config.load(folder, [f"algorithm.expert.lessons={lessons}"])


def test_practice_starts_where_the_samples_were_and_follows_the_model(folder):
    with closing(Experiment(load(folder, 10), folder)) as built:
        state, problem, model = built.begin(), built.problem, built.algorithm._inner.expert.model
        visited = built.sample(built.algorithm.policy(state), np.random.default_rng(0), 0)
    practice, policy = Practice(1, 6, 5, Observed(tuple(range(4)))), state.training.policy
    rollouts, begin = practice.imagine(problem, model, policy, visited, [3, 0])
    assert rollouts.states.shape == (1, 6, 5, 4) and 0 <= begin <= 7
    firsts = visited.states[:, :, begin].reshape(-1, 4)
    for state in rollouts.states[0, :, 0]:
        assert (firsts == state).all(axis=1).any()
    for x, u, after in zip(rollouts.states[0, 0], rollouts.actions[0, 0], rollouts.states[0, 0, 1:], strict=False):
        np.testing.assert_allclose(model.mean(x, u), after, atol=6 * np.asarray(model.deviation(x, u)).max())
    wanted = policy.act(rollouts.states) + rollouts.noise
    np.testing.assert_allclose(rollouts.actions, np.clip(wanted, -1, 1), atol=1e-12)
    again, _ = practice.imagine(problem, model, policy, visited, [3, 0])
    np.testing.assert_array_equal(rollouts.states, again.states)


def test_what_explodes_in_the_model_teaches_nothing(folder):
    class Exploding:
        def sample(self, x, u, key):
            return 1e8 * (x + 1.0)

    with closing(Experiment(load(folder, 10), folder)) as built:
        state, problem = built.begin(), built.problem
        visited = built.sample(built.algorithm.policy(state), np.random.default_rng(0), 0)
    practice = Practice(1, 3, 5, Observed(tuple(range(4))))
    rollouts, _ = practice.imagine(problem, Exploding(), state.training.policy, visited, [0, 0])
    assert rollouts.mask[:, :, 0].all() and not rollouts.mask[:, :, -1].any()
    assert np.isfinite(rollouts.states).all()


class Counting:
    """A policy that plans nothing and counts since when it remembers."""

    covariance, planned = np.zeros((1, 9, 1, 1)), None

    def __init__(self):
        self.seen = []

    def act(self, seen, t):
        self.seen.append(t)
        return np.full((*seen.shape[:2], 1), len(self.seen))

    def replan(self):
        return type(self)()


def test_a_planner_forgets_its_plans_where_other_episodes_begin():
    expert = PlanningExpert(Counting())
    answers = [float(expert.advise(np.zeros((2, 3)), t).actions[0, 0]) for t in (0, 1, 2, 0, 1, 5, 6, 6, 0)]
    assert answers == [1, 2, 3, 1, 2, 1, 2, 1, 1]


def test_the_planner_plans_for_the_cost_of_this_experiment(folder):
    to_the_left = "cost=[{name='quadratic', on='qpos', target=[-2.0, 0.0]}, {name='quadratic', weight=0.01}]"
    run = start(folder, to_the_left, "algorithm.expert.lessons=0", iterations=1)
    x = run.evaluation("expert").rollouts.states[:, 0, :, 0]
    assert (x[:, -1] < x[:, 0] - 0.1).all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm.expert={name='planner'}", "algorithm.imagined=2"], "this expert has no model to practise in"),
        (["environment.state=['qpos']", "algorithm.controller.initial={name='zero'}"], "plans for 4 states"),
        (["environment.observation=['site_position:mass']"], "algorithm.expert.lessons = 0"),
    ],
)
def test_what_does_not_fit_is_said(folder, overrides, message):
    with pytest.raises(ConfigError, match=message) as error:
        start(folder, *overrides)
    assert "\n" not in str(error.value)


def test_a_run_that_planned_in_the_simulator_has_no_model(tmp_path):
    planned = changed(PLANNED, algorithm={"model": {"name": "simulator"}, "iterations": 1, "samples": 1})
    planned["algorithm"]["planner"] = {"name": "shooting", "samples": 2, "horizon": 1}
    gps.run(write(tmp_path / "e", planned), out=tmp_path / "planned")
    with pytest.raises(GpsError, match="neither a policy nor a model to plan in"):
        start(write(tmp_path / "taught", TAUGHT))
