"""Planning in a learned model: the three versions, what they do without a model or with a broken one, and resuming."""

import dataclasses

import numpy as np
import pytest
from helpers.experiments import TO_THE_RIGHT, digest, write, write_slider
from helpers.global_models import AffineModel
from helpers.linear_system import CONDITIONS, PROBLEM, STARTS, A, B, M
from helpers.problems import LinearEnv

import gps
from gps import cli
from gps.algorithms.through_models.mbrl import MBRL, BestEpisodes, make_planner_record
from gps.errors import ConfigError
from gps.linear_gaussian.initial import zero
from gps.models.linear import LinearLearner
from gps.planning.adaptive import Adaptation
from gps.planning.icem import ICEM
from gps.planning.sources import AdaptivePlanning, ILQRPlanning, SequencePlanning
from gps.players import FINAL, Player
from gps.records import ModelRecord
from gps.sampling import collect
from gps.status import ModelStatus, Status

DX, DU, T = PROBLEM.dx, PROBLEM.du, PROBLEM.horizon
PLANNERS = {
    "sequences": SequencePlanning(
        optimiser=ICEM(samples=20, elites=4, rounds=2), horizon=5, particles=1, propagation="mean"
    ),
    "ilqr": ILQRPlanning(horizon=5),
    "adaptive": AdaptivePlanning(adaptation=Adaptation(horizon=5)),
}
POINT = {
    "environment": {
        "id": "gps/PointMass-v0", "horizon": 25, "threads": 1,
        "conditions": [{"qpos": [0.5, -0.3]}, {"qpos": [0.6, 0.2]}],
    },
    "algorithm": {
        "name": "mbrl", "iterations": 3, "samples": 2, "model": "linear",
        "planner": {"name": "ilqr", "horizon": 25, "guesses": 0},
        "controller": {"initial": {"name": "zero", "noise": 0.5}},
    },
    "cost": TO_THE_RIGHT,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Given:
    """A learner that learns nothing: its model is given."""

    model: AffineModel | None
    seen: int = 0

    def refit(self, transitions, seed):
        return dataclasses.replace(self, seen=self.seen + int(np.size(transitions.points) > 0))

    def make_record(self) -> ModelRecord | None:
        return None


def give(value=0.0) -> Given:
    noise, doubt, covariances = np.full(DX, 1e-3), np.full(DX, 1e-4), np.tile(1e-8 * np.eye(DX + DU), (DX, 1, 1))
    return Given(AffineModel(np.hstack([A, B]), np.full(DX, value), np.zeros(DX + DU), noise, doubt, covariances))


def iterate(algorithm, iterations=1):
    """The records of the algorithm on the linear system."""
    environment, records = LinearEnv(M, A, B), []
    state = algorithm.begin(zero(M, T, DX, DU, 0.1), STARTS)
    for _ in range(iterations):
        policy = algorithm.policy(state)
        noise = np.random.default_rng(state.iteration).normal(0, 0.1, (M, 1, T, DU)) * np.sqrt(
            np.diagonal(policy.covariance, axis1=2, axis2=3)[:, None]
        )
        rollouts = collect(environment, policy, CONDITIONS, noise, 0)
        state, record = algorithm.improve(state, policy, rollouts, algorithm.fit(state, rollouts, 0))
        records.append(record)
    return state, records


@pytest.mark.parametrize("kind", PLANNERS)
def test_every_planner_plans_in_the_given_model_and_its_record_says_what_it_foresaw(kind):
    _, (record,) = iterate(MBRL(PROBLEM, learner=give(), planner=PLANNERS[kind], base_iterations=0))
    assert record.player is Player.PLANNER and (record.status == Status.LEARNED).all()
    assert record.planner is not None and (record.planner.fallbacks == 0).all()
    np.testing.assert_allclose(record.planner.planned_states[:, 0], record.rollouts.states[:, 0, 0])
    assert np.isfinite(record.planner.predicted).all() and record.seconds.plan > 0
    assert record.planner.steps == 5  # of an episode of T; the costs are of these
    np.testing.assert_allclose(record.planner.actual, record.costs[:, :, :5].sum(axis=2).mean(axis=1))


def test_each_iteration_searches_anew_even_in_a_model_that_stays():
    _, records = iterate(MBRL(PROBLEM, learner=give(), planner=PLANNERS["sequences"], base_iterations=0), 2)
    one, two = (record.rollouts.actions for record in records)
    assert (one[:, :, 0] != two[:, :, 0]).any()
    np.testing.assert_allclose(records[0].rollouts.states[:, :, 0], records[1].rollouts.states[:, :, 0])


def test_the_best_episode_of_the_planner_is_remembered_and_tried_again():
    planning = ILQRPlanning(horizon=T, guesses=0, first_rounds=1, rounds=1)
    algorithm = MBRL(PROBLEM, learner=give(), planner=planning, base_iterations=1)
    first, records = iterate(algorithm, 1)
    assert first.best is None and records[0].planner is None  # the base policy's are no plans
    state, records = iterate(algorithm, 3)
    costs = np.array([record.costs.sum(axis=2)[:, 0] for record in records[1:]])
    np.testing.assert_allclose(state.best.costs, costs.min(axis=0))
    assert state.best.attempts == 2
    planned = records[1 + int(costs[:, 0].argmin())]
    np.testing.assert_array_equal(state.best.actions[0], planned.rollouts.actions[0, 0])
    tried = algorithm.make_planner(state).planner.tried
    np.testing.assert_array_equal(tried, state.best.actions)


def test_an_episode_that_ended_early_is_not_the_best():
    _, (record,) = iterate(MBRL(PROBLEM, learner=give(), planner=PLANNERS["ilqr"], base_iterations=0))
    rollouts, costs = record.rollouts, record.costs
    early = rollouts.mask.copy()
    early[0, :, T // 2 :] = False
    best = BestEpisodes.none(rollouts.actions.shape[:1] + rollouts.actions.shape[2:])
    best = best.update(dataclasses.replace(rollouts, mask=early), costs)
    assert np.isinf(best.costs[0]) and not best.actions[0].any() and np.isfinite(best.costs[1:]).all()
    worse = best.update(rollouts, costs + 1.0)
    np.testing.assert_array_equal(worse.costs[1:], best.costs[1:])
    assert np.isfinite(worse.costs[0])


@pytest.mark.parametrize("kind", ["sequences", "ilqr"])
def test_a_plan_is_followed_until_the_next_one_is_due(kind):
    planner = dataclasses.replace(PLANNERS[kind], every=3)
    _, (record,) = iterate(MBRL(PROBLEM, learner=give(), planner=planner, base_iterations=0))
    planned = np.isfinite(record.planner.effective_samples)
    np.testing.assert_array_equal(planned, np.broadcast_to(np.arange(T) % 3 == 0, planned.shape))


@pytest.mark.parametrize("kind", PLANNERS)
def test_a_model_that_is_not_finite_leaves_the_fallback_and_a_sentence(kind):
    _, (record,) = iterate(MBRL(PROBLEM, learner=give(np.nan), planner=PLANNERS[kind], base_iterations=0))
    assert (record.rollouts.actions == 0).all() and (record.planner.fallbacks == T).all()
    assert all("without a finite cost in the model" in message for message in record.messages)


@pytest.mark.parametrize("kind", PLANNERS)
def test_without_a_model_the_base_policy_goes_on(kind):
    state, records = iterate(MBRL(PROBLEM, learner=Given(None), planner=PLANNERS[kind]), 2)
    assert [record.player for record in records] == [Player.FIRST] * 2
    assert all((record.status == Status.NO_MODEL).all() and record.planner is None for record in records)
    assert all(np.isnan(record.seconds.plan) for record in records) and state.learner.seen > 0


def test_too_little_data_is_no_model_yet():
    learner = LinearLearner(dx=DX, du=DU)
    assert learner.model is None
    algorithm = MBRL(PROBLEM, learner=learner, planner=PLANNERS["ilqr"], base_iterations=0)
    _, records = iterate(algorithm, 2)
    assert records[0].player is Player.FIRST and records[1].player is Player.PLANNER
    assert records[1].model.status in (ModelStatus.OK, ModelStatus.STOPPED_EARLY)


def test_noise_is_relative_to_the_range_of_the_actions():
    algorithm = MBRL(PROBLEM, learner=give(), planner=PLANNERS["ilqr"], base_iterations=0, noise=0.5)
    covariance = algorithm.policy(algorithm.begin(zero(M, T, DX, DU, 0.1), STARTS)).covariance
    assert covariance.shape == (M, T, DU, DU)
    low, high = np.broadcast_to(PROBLEM.limits.low, DU), np.broadcast_to(PROBLEM.limits.high, DU)
    unit = 0.5 * (high - low) if np.isfinite(low).all() else 2 * np.asarray(give().model.deviations)[-DU:]
    np.testing.assert_allclose(covariance[0, 0], np.diag((0.5 * unit) ** 2))
    assert not algorithm.learned(algorithm.begin(zero(M, T, DX, DU, 0.1), STARTS)).covariance.any()


def test_a_policy_that_does_not_plan_has_no_record_of_plans():
    algorithm = MBRL(PROBLEM, learner=Given(None), planner=PLANNERS["ilqr"])
    base = algorithm.policy(algorithm.begin(zero(M, T, DX, DU, 0.1), STARTS))
    assert make_planner_record(base, np.zeros((M, 1, T))) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("mbrl") / "point", POINT)


@pytest.fixture(scope="module")
def runs(folder):
    """A run of each version."""
    return {
        version: gps.run(folder, out=folder.parent / "runs", overrides=[f"algorithm.version={version}"])
        for version in ("0.5", "1.0", "1.5")
    }


@pytest.mark.parametrize("version", ["0.5", "1.0", "1.5"])
def test_each_version_solves_a_linear_task(runs, version):
    run = runs[version]
    players = [record.player for record in run.iterations]
    assert players == [Player.FIRST] * 3 if version == "0.5" else [Player.FIRST, Player.PLANNER, Player.PLANNER]
    final = run.evaluation(FINAL)
    assert final.player is Player.PLANNER
    assert final.costs.sum(axis=2).mean() < 0.7 * run.iterations[0].mean_cost.mean()
    for record in run.iterations[1:]:
        assert (record.model.one_step_error < 1e-2).all()


def test_replanning_from_what_came_is_no_worse_than_following_the_plan(runs):
    cost = {version: run.evaluation(FINAL).costs.sum(axis=2).mean() for version, run in runs.items()}
    assert cost["1.5"] <= cost["1.0"] * 1.01


def test_a_run_resumes_bit_for_bit(folder, runs):
    part = gps.run(folder, out=folder.parent / "runs", iterations=1, overrides=['algorithm.version="1.5"'])
    assert digest(gps.resume(part.path, iterations=2)) == digest(runs["1.5"])


@pytest.mark.parametrize(
    "planner",
    [
        {"name": "cem", "samples": 60, "elites": 8, "rounds": 4, "horizon": 8},
        {"name": "mppi", "samples": 60, "rounds": 2, "horizon": 8, "propagation": "moment"},
    ],
    ids=lambda planner: planner["name"],
)
def test_any_search_plans_in_networks_that_learn_again_and_again(tmp_path, planner):
    model = {"name": "neural", "members": 2, "hidden": [16], "linear": False, "steps": 300, "warm_steps": 1}
    algorithm = {"name": "mbrl", "iterations": 3, "samples": 4, "model": model, "planner": planner, "noise": 0.1,
                 "controller": {"initial": {"name": "zero", "noise": 0.5}}}  # fmt: skip
    run = gps.run(write_slider(tmp_path / "slider", algorithm=algorithm), out=tmp_path)
    assert [record.player for record in run.iterations] == [Player.FIRST, Player.PLANNER, Player.PLANNER]
    assert [record.model.points for record in run.iterations] == [
        88,
        176,
        264,
    ]  # 2 conditions, 4 samples, 11 transitions
    for record in run.iterations[1:]:
        assert (record.planner.fallbacks == 0).all()
        assert (record.model.one_step_error < 0.2 * np.std(record.rollouts.states, axis=(0, 1, 2))).all()
        assert record.mean_cost.mean() < 0.9 * run.iterations[0].mean_cost.mean()


def test_a_stored_model_controls_the_first_episode_as_it_is_or_adapted(folder, tmp_path, capsys):
    recorded = gps.run(folder, out=tmp_path / "runs", iterations=1, overrides=["algorithm.samples=4"])
    model = tmp_path / "linear.npz"
    assert cli.main(["fit", str(recorded.path), "-o", str(model), "--set", "model.name=linear"]) == 0
    capsys.readouterr()
    one = ["algorithm.base_iterations=0", f'algorithm.model={{path="{model}"}}', "algorithm.samples=1"]
    for planner in ([], ["algorithm.planner=adaptive"]):
        run = gps.run(folder, out=tmp_path / "runs", iterations=1, overrides=[*one, *planner])
        (record,) = run.iterations
        assert record.player is Player.PLANNER and record.planner is not None
        assert record.mean_cost.mean() < 0.7 * recorded.iterations[0].mean_cost.mean()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("algorithm.noise=0.1", "algorithm.noise: the planner that adapts"),
        ('algorithm.version="1.0"', "algorithm.version"),
    ],
)
def test_what_the_planner_that_adapts_cannot_do_is_an_error(folder, tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        gps.run(folder, out=tmp_path, overrides=["algorithm.planner=adaptive", override])
