"""The trajectory optimiser as a whole: the known optimum of a linear system, and the promises of its records."""

from contextlib import closing

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, changed, toml, write
from helpers.linear_system import FIRST, PROBLEM, STARTS, M, N, advance, cost_without_noise, learn, lose_second, optimum

import gps
from gps.algorithms.local.trajopt import TrajOpt
from gps.backend import jax
from gps.callbacks import Callback
from gps.config import parse
from gps.dynamics.mixture import MixturePrior
from gps.experiment import Experiment
from gps.status import Status


def test_a_linear_system_is_solved_by_one_iteration_without_a_bound(best):
    state, records = learn(TrajOpt(PROBLEM, kl_step=1e4), 1)
    assert records[0].statuses == [Status.BOUND_INACTIVE] * M
    np.testing.assert_allclose(cost_without_noise(state.controllers), best, rtol=1e-4)
    expected = optimum().feedback
    for m in range(M):  # from step 2 on, the noise of two actions has moved all three states
        np.testing.assert_allclose(state.controllers.feedback[m, 2:], expected[2:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("prior", [None, MixturePrior(clusters=2)], ids=["least squares", "mixture"])
def test_a_linear_system_reaches_its_optimum_in_a_few_iterations_of_bounded_steps(best, prior):
    state, records = learn(TrajOpt(PROBLEM, prior=prior, kl_step=2.0), 8)
    np.testing.assert_allclose(cost_without_noise(state.controllers), best, rtol=1e-2)
    for record in records:
        assert (record.local.kl <= record.local.kl_bound).all()
        assert all(status.ok for status in record.statuses)
        assert record.messages == ("",) * M


def test_on_a_linear_system_the_model_predicts_its_improvement():
    _, records = learn(TrajOpt(PROBLEM, kl_step=0.5), 3, samples=200)
    for record in records[1:]:
        np.testing.assert_allclose(record.local.last.actual, record.local.last.predicted, rtol=0.1)
        assert (record.local.last.predicted < 0).all()


@pytest.mark.parametrize("constraint", ["total", "per_step"])
@pytest.mark.parametrize("solver", ["secant", "gradient"])
def test_no_update_leaves_its_trust_region(constraint, solver):
    algorithm = TrajOpt(PROBLEM, kl_step=0.3, constraint=constraint, solver=solver)
    _, records = learn(algorithm, 3)
    for record in records:
        assert (record.local.kl <= record.local.kl_bound).all()
        assert (record.local.kl > 0).all()
        if constraint == "per_step":
            assert (record.local.search.kl <= record.local.search.bound[:, None]).all()


def test_entropy_does_not_collapse_once_the_task_is_solved():
    """With a bound that is inactive and no weight on entropy, eta and the covariance would fall to zero."""
    _, records = learn(TrajOpt(PROBLEM, kl_step=5.0, entropy=1e-2), 12)
    entropies = np.array([record.local.entropy for record in records])
    assert np.abs(entropies[-1] - entropies[-4]).max() < 0.2
    assert records[-1].statuses == [Status.BOUND_INACTIVE] * M


def test_conditions_do_not_touch_each_other():
    algorithm = TrajOpt(PROBLEM, kl_step=0.3)
    state = algorithm.begin(FIRST, STARTS)
    after, record = advance(algorithm, state, lose_second)
    assert record.statuses == [Status.OK, Status.NO_VALID_SAMPLES]
    np.testing.assert_array_equal(after.controllers.feedback[1], state.controllers.feedback[1])
    np.testing.assert_array_equal(after.controllers.covariance[1], state.controllers.covariance[1])
    assert record.local.kl[1] == 0
    whole, _ = advance(algorithm, state)
    # The ridge follows the spread of all samples; the other condition has no other effect.
    costs = [cost_without_noise(each.controllers)[0] for each in (after, whole)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-4)


def test_episodes_that_end_early_are_reported_and_the_update_stays_finite():
    ends = [99] * (M * N)
    ends[0], ends[3] = 4, 7
    state, records = learn(TrajOpt(PROBLEM, kl_step=0.3), 1, ends=ends)
    assert records[0].statuses == [Status.SAMPLES_DROPPED, Status.OK]
    assert "2 of 12 ended early" in records[0].messages[0]
    for leaf in jax.tree.leaves(state.controllers):
        assert np.isfinite(leaf).all()


# -- through an experiment -------------------------------------------------------------------------------------------

EXPERIMENT = changed(
    POINT_MASS,
    environment={"conditions": [{}, {"qpos": [-1.0, 0.2]}]},
    algorithm={
        "iterations": 3,
        "samples": 4,
        "kl_step": 2.0,
        "dynamics": {"prior": {"points_per_cluster": 20}},
    },
    cost=[POINT_MASS["cost"][0], {"name": "quadratic", "on": "action", "weight": 0.01}],
)


def iterated(tmp_path, threads, global_seed, count=2):
    np.random.seed(global_seed)
    before = np.random.get_state()[1].copy()
    config = parse(toml(EXPERIMENT), "experiment.toml", [f"environment.threads={threads}"])
    with closing(Experiment(config, tmp_path)) as experiment:
        state = experiment.begin()
        for _ in range(count):
            state, record = experiment.iterate(state, Callback())
    assert (np.random.get_state()[1] == before).all()
    return record


def test_an_iteration_has_the_same_bits_with_other_threads_and_another_global_seed(tmp_path):
    """Nothing is drawn from NumPy's global generator."""
    one, other = iterated(tmp_path, 1, 0), iterated(tmp_path, 2, 123)
    for a, b in zip(jax.tree.leaves(one.local.improved), jax.tree.leaves(other.local.improved), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.rollouts.states, other.rollouts.states)


@pytest.mark.parametrize("execute", ["max_entropy", "open_loop"])
def test_the_evaluation_is_of_the_last_controllers_and_not_of_the_best(tmp_path, execute):
    """The best cost on the way is a running maximum of noise, and not what the final controllers do."""
    source = write(tmp_path / "task", EXPERIMENT)
    run = gps.run(source, out=tmp_path / "runs", overrides=[f"algorithm.controller.execute={execute}"])
    evaluation = run.evaluation()
    rollouts, costs = evaluation.rollouts, evaluation.costs
    with closing(Experiment(run.config, source)) as experiment:
        state = run.state(len(run.iterations) - 1, experiment.algorithm.state_type)
        expected, expected_costs, _ = experiment.evaluate(experiment.algorithm.learned(state))
    last = run.iterations[-1]
    np.testing.assert_array_equal(last.local.improved.feedback, state.controllers.feedback)
    np.testing.assert_array_equal(rollouts.states, expected.states)
    np.testing.assert_array_equal(costs, expected_costs)
    assert costs.shape == (2, 1, 12)
    for t in range(12):
        if execute == "max_entropy":
            mean = last.local.improved.act(rollouts.states[:, :, t], t)
            np.testing.assert_array_equal(rollouts.actions[:, :, t], np.clip(mean, -1.0, 1.0))
    assert not rollouts.noise.any()
