"""MC-PILCO: learning on a linear system, the same bits by any threads, trouble in words, runs that resume."""

import dataclasses
from contextlib import closing

import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.experiments import digest, write
from helpers.global_models import AffineLearner, AffineModel
from helpers.linear_system import (
    DU,
    DX,
    PROBLEM,
    STARTS,
    A,
    B,
    M,
    T,
    advance,
    cost_without_noise,
    optimum,
)

import gps
from gps.algorithms.through_models.mc_pilco import MCPILCO, Optimisation
from gps.algorithms.through_models.particles import Particles
from gps.backend import jax
from gps.config import load
from gps.errors import ConfigError
from gps.experiment import Experiment
from gps.linear_gaussian.initial import zero
from gps.models.ensemble_learner import EnsembleLearner
from gps.models.linear import LinearLearner
from gps.models.members import EnsembleOptions
from gps.models.residual import ResidualLearner
from gps.networks import Affine, RadialBasis
from gps.planning.sources import ILQRPlanning
from gps.players import Player
from gps.policies.observed import Observed
from gps.records import ModelRecord
from gps.status import PolicyStatus, Status
from gps.storage.serialization import flatten, unflatten

FIRST = zero(M, T, DX, DU, 0.5)
STILL = zero(M, T, DX, DU, 0.0)
FREE = (-np.inf,) * DU, (np.inf,) * DU
SMALL = Optimisation(method="lbfgs", rounds=2, iterations=30, first_starts=1, threads=1)


def make_affine(seed, seen):
    return Affine.create(DX, *FREE, jax.random.key(seed), squash="none")


def make_radial(seed, seen):
    return RadialBasis.create(DX, (-5.0,) * DU, (5.0,) * DU, jax.random.key(seed), 10, squash="tanh", seen=seen)


def make(learner=None, network=make_affine, particles=Particles(count=8, spread=0.0, noise=False), **settings):  # noqa: B008
    settings = {"optimisation": SMALL, **settings}
    learner = AffineLearner() if learner is None else learner
    return MCPILCO(
        PROBLEM,
        model=learner,
        draw_network=network,
        observed=Observed(tuple(range(DX))),
        particles=particles,
        **settings,
    )


def learn(algorithm, iterations, samples=3):
    state, records = algorithm.begin(FIRST, STARTS), []
    for i in range(iterations):
        state, record = advance(algorithm, state, seed=i, samples=samples)
        records.append(record)
    return state, records


@pytest.fixture(scope="module")
def learned():
    made = make()
    return made, *learn(made, 3)


def test_an_affine_policy_of_a_linear_system_comes_near_the_optimum(learned):
    made, state, records = learned
    best = jax.tree.map(lambda array: np.tile(array, (M, *(1,) * array.ndim)), optimum())
    first, least, reached = (cost_without_noise(policy).sum() for policy in (STILL, best, made.learned(state)))
    assert reached - least < 0.15 * (first - least)  # the optimum depends on time, and this policy does not
    assert [record.player for record in records] == [Player.FIRST, Player.POLICY, Player.POLICY]
    for i, record in enumerate(records):
        assert record.statuses == [Status.LEARNED] * M and record.troubles == []
        assert record.optimisation.existed == (i > 0) and record.optimisation.trained
        assert record.optimisation.losses[-1] < record.optimisation.losses[0] or i > 0
        assert record.model.name == "affine"


def test_the_forecast_comes_true_in_a_model_that_is_right(learned):
    _, _, records = learned
    assert records[0].planner is None
    for record in records[1:]:
        np.testing.assert_allclose(record.planner.predicted, record.planner.actual, rtol=0.02)
        np.testing.assert_allclose(record.planner.planned_states, record.rollouts.states[:, 0], atol=0.05)


def test_neither_seeds_nor_threads_change_bits(learned):
    _, state, records = learned
    again, repeated = learn(make(optimisation=dataclasses.replace(SMALL, threads=2)), 3)
    assert_same_bits(again, state)
    assert_same_bits(repeated[-1], records[-1])


@pytest.mark.parametrize(
    "learner",
    [
        AffineLearner(),
        EnsembleLearner(DX, EnsembleOptions(members=2, hidden=(8,), steps=100, warm_steps=50), max_points=1000),
    ],
    ids=["affine", "ensemble"],
)
def test_any_model_that_can_be_drawn_from_will_do(learner):
    state, records = learn(make(learner, make_radial, Particles(count=4, noise=True, dropout=0.2)), 1)
    assert state.trained and records[0].optimisation.status.ok
    assert np.isfinite(state.forecast.costs).all()


def test_the_first_policy_begins_as_the_feedback_of_the_first_controllers():
    made = make(optimisation=dataclasses.replace(SMALL, first_starts=0, iterations=1, rounds=1))
    feedback = np.tile(-0.2 * np.eye(DU, DX), (M, T, 1, 1))
    noisy, quiet = (dataclasses.replace(controller, feedback=feedback) for controller in (FIRST, STILL))
    _, record = advance(made, made.begin(noisy, STARTS), seed=0, samples=3)
    (losses,) = [record.optimisation.losses]
    assert losses[0] == pytest.approx(cost_without_noise(quiet).sum() / M, rel=0.02)
    _, record = advance(made, made.begin(FIRST, STARTS), seed=0, samples=3)
    assert record.optimisation.trained  # without feedback, and with no other start, it begins at random


def test_a_planner_explores_and_the_policy_begins_as_its_imitation():
    made = make(
        planner=ILQRPlanning(horizon=T, guesses=0),
        planned_iterations=1,
        optimisation=dataclasses.replace(SMALL, first_starts=0, iterations=1, rounds=1),
    )
    _, records = learn(made, 3)
    assert [record.player for record in records] == [Player.FIRST, Player.PLANNER, Player.POLICY]
    assert records[0].optimisation is None and records[1].optimisation.trained
    costs = [record.mean_cost.sum() for record in records]
    assert costs[2] < 0.5 * costs[0]  # by its first step: it imitates the plan


@dataclasses.dataclass(frozen=True)
class Given:
    """A learner whose model is always the same; None for none."""

    model: AffineModel | None

    def refit(self, transitions, seed):
        return self

    def make_record(self):
        return ModelRecord(name="given")


def give(value=0.0, factor=1.0):
    noise, covariances = np.full(DX, 1e-3), np.zeros((DX, DX + DU, DX + DU))
    model = AffineModel(factor * np.hstack([A, B]), np.full(DX, value), np.zeros(DX + DU), noise, noise, covariances)
    return Given(model)


def test_without_a_model_the_first_controllers_go_on():
    state, records = learn(make(Given(None)), 2)
    assert [record.player for record in records] == [Player.FIRST] * 2
    assert all(record.statuses == [Status.NO_MODEL] * M and record.optimisation is None for record in records)
    assert not state.trained


def test_a_state_whose_model_is_made_of_two_is_read_back():
    made = make(ResidualLearner(LinearLearner(DX, DU), LinearLearner(DX, DU)))
    state = made.begin(FIRST, STARTS)
    assert_same_bits(unflatten(made.state_type, flatten(state)), state)


def test_a_model_that_is_not_finite_keeps_the_last_policy_and_says_so():
    _, (record,) = learn(make(give(np.nan)), 1)
    assert record.optimisation.status is PolicyStatus.MOST_LOST and not record.optimisation.trained
    assert "imagined episodes were lost" in record.optimisation.message
    good = make(give())
    state, _ = learn(good, 1)
    broken = make(give(np.nan))
    after, record = advance(broken, dataclasses.replace(state, model=give(np.nan)), seed=5, samples=2)
    assert not record.optimisation.status.ok and record.troubles
    assert_same_bits(after.policy, state.policy)


def test_particles_that_explode_are_counted_and_the_policy_stays_finite():
    state, (record,) = learn(make(give(factor=30.0)), 1)
    assert record.optimisation.status is PolicyStatus.MOST_LOST and not record.optimisation.trained
    assert record.troubles and "imagined episodes were lost" in record.optimisation.message
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.policy))


CART = {
    "environment": {
        "id": "gps/PointMass-v0", "horizon": 12, "threads": 1,
        "noise": {"state": {"qpos": 0.003}, "filter": "difference"},
    },
    "algorithm": {
        "name": "mc_pilco", "iterations": 3, "policy": {"features": 5}, "particles": {"count": 4, "dropout": 0.1},
        "model": {"name": "gp", "restarts": 1, "iterations": 20},
        "optimiser": {"steps": 6},
    },
    "cost": [{"name": "quadratic", "on": "qpos", "target": [1.0, 0.0]}, {"name": "quadratic", "weight": 0.01}],
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mc_pilco")
    return gps.run(write(folder / "point", CART), out=folder / "runs")


def test_a_run_with_a_filter_and_dropout_resumes_bit_for_bit(run, tmp_path):
    assert [record.player for record in run.iterations] == [Player.FIRST, Player.POLICY, Player.POLICY]
    assert all(record.optimisation.trained for record in run.iterations)
    part = gps.run(write(tmp_path / "point", CART), out=tmp_path / "runs", iterations=1)
    assert digest(gps.resume(part.path, iterations=2)) == digest(run)
    final = run.evaluation()
    assert final.player is Player.POLICY and np.isfinite(final.costs).all()


def test_the_model_learns_from_smoothed_motions(run):
    """The speeds that the model has learned from are nearer to the truth than what the filter says."""
    rollouts = run.iterations[0].rollouts
    with closing(Experiment(load(run.path), run.path)) as built:
        algorithm, state = built.algorithm, built.restore(run, 2)
        assert algorithm.problem.filter is not None
    learned = state.model.data
    truth = np.concatenate([record.rollouts.truth[0, 0, :-1] for record in run.iterations])
    filtered = np.concatenate([record.rollouts.states[0, 0, :-1] for record in run.iterations])
    assert len(learned.states) == len(truth) and rollouts.truth is not None
    error, rough = (np.abs(states - truth)[:, 2:].mean() for states in (learned.states, filtered))
    assert error < 0.7 * rough


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": {"network": "affine"}, "particles": {"dropout": 0.1}}, "dropout"),
        ({"planned_iterations": 1}, "no planner"),
        ({"optimiser": {"first_starts": 0}}, "without a planner"),
    ],
)
def test_settings_that_contradict_each_other_are_errors(changes, message, tmp_path):
    settings = {**CART, "algorithm": {**CART["algorithm"], **changes}}
    with pytest.raises(ConfigError, match=message):
        load(write(tmp_path / "point", settings))


def draw_problem(rng, kind):
    """A small learning problem of one kind: transitions that a robot might give."""
    n = int(rng.integers(2, 25))
    z = rng.normal(size=(n, DX + DU)) * 10.0 ** rng.uniform(-2, 2, DX + DU)
    if kind == "two points":
        z = z[:2]
    if kind == "duplicates":
        z = z[rng.integers(0, 2, n)]
    after = z @ np.hstack([A, B]).T
    if kind == "noisy":
        after = after + rng.normal(size=after.shape)
    if kind == "still":
        z, after = np.ones_like(z), np.ones_like(after)
    if kind == "absurd":
        after = after * 10.0 ** rng.uniform(0, 150, after.shape)
    return z, after


@pytest.mark.slow
def test_fifty_seeds_of_poor_data_raise_nothing():
    from gps.dynamics.prior import Transitions
    from gps.models.gaussian_process_learner import GaussianProcessLearner

    kinds = ["two points", "duplicates", "noise-free", "noisy", "still", "absurd"]
    for seed in range(50):
        rng = np.random.default_rng(seed)
        z, after = draw_problem(rng, kinds[seed % len(kinds)])
        points = np.concatenate([z, after], axis=1)[None, None]
        learner = GaussianProcessLearner(DX, restarts=1, iterations=10)
        learner = learner.refit(Transitions(points, np.ones((1, 1, len(z)), bool)), seed)
        made = make(Given(learner.model), make_radial, Particles(count=4, spread=1.0))
        state, records = learn(made, 2, samples=1)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.policy)), seed
        for record in records:
            side = record.optimisation
            assert side is None or side.status.ok or side.message, seed
