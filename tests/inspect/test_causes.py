"""Runs that are made to fail in one way each, and the cause that the report names."""

import dataclasses
import re

import numpy as np
import pytest
from helpers.records import evaluation, record
from helpers.report import overview_of
from helpers.runs import make_run

from gps.environments.contract import Entry
from gps.inspect.report.causes import find_failed
from gps.inspect.report.measures import measure_loop
from gps.linear_gaussian.types import Controller, LinearDynamics
from gps.policies.interface import Interface
from gps.runs import Run

T = 40
LIMITED = Interface((Entry("x"),) * 4, (), (Entry("u"),) * 2, (-2.0, -2.0), (2.0, 2.0), 0.05, T)


def fail(item, growth=0.9, cost=1.0, saturated=0.0, noise=1.0, success=False):
    """The same in which no sample succeeds, the loop is stable, and nothing else is remarkable.

    Args:
        growth: of a deviation of the state in a step.
        cost: of an episode, of each sample.
        saturated: share of the actions.
        noise: factor on the differences between the samples' actions.
    """
    made, local = item.rollouts, item.local
    mean = made.actions.mean(axis=1, keepdims=True)
    rollouts = dataclasses.replace(
        made,
        actions=mean + noise * (made.actions - mean),
        success=np.full(made.mask.shape, success),
        saturated=np.full(len(made.mask), saturated),
    )
    matrix = np.zeros_like(local.dynamics.matrix)
    matrix[..., :4] = growth * np.eye(4)
    controllers = dataclasses.replace(local.controllers, feedback=np.zeros_like(local.controllers.feedback))
    local = dataclasses.replace(
        local,
        controllers=controllers,
        dynamics=dataclasses.replace(local.dynamics, matrix=matrix),
        entropy=np.ones(len(made.mask)),
        last=local.last._replace(predicted=np.zeros(len(made.mask))),
    )
    return dataclasses.replace(item, rollouts=rollouts, local=local, costs=np.full(made.mask.shape, cost / T))


def causes_of(run: Run) -> dict[str, tuple]:
    return {found.kind: found for found in overview_of(run).findings if found.kind != "model"}


def make_failing(folder, iterations=3, **how) -> Run:
    return make_run(folder, iterations, change=lambda item: fail(item, **how), interface=LIMITED, clusters=0, T=T)


def test_a_failure_without_a_cause_has_none(tmp_path):
    run = make_failing(tmp_path)
    assert causes_of(run) == {}
    assert "Conditions 0, 1 failed; none of the usual causes is there." in overview_of(run).summary


def test_no_excitation(tmp_path):
    (found,) = causes_of(run := make_failing(tmp_path, noise=1e-5)).values()
    assert (found.kind, found.first, found.last, set(found.conditions)) == ("excitation", 0, 2, {0, 1})
    assert re.search(r"their actions vary by 0\.00\d+ % of half their range at most", found.text)
    assert "algorithm.controller.initial.noise" in found.remedy
    assert "Conditions 0, 1 failed; the likely cause: no excitation (see below)." in overview_of(run).summary


def test_the_loop_in_a_model_of_samples_that_hardly_differ_is_no_cause(tmp_path):
    assert set(causes_of(make_failing(tmp_path, noise=1e-5, growth=1.25))) == {"excitation"}


def test_equal_actions_are_no_excitation_without_limits_too(tmp_path):
    run = make_run(tmp_path, change=lambda item: fail(item, noise=0.0), clusters=0, T=T)
    assert set(causes_of(run)) == {"excitation"}
    run = make_run(tmp_path, change=lambda item: fail(item, noise=1e-5), clusters=0, T=T)
    assert causes_of(run) == {}


def test_an_unstable_loop_and_its_spectral_radius(tmp_path):
    (found,) = causes_of(run := make_failing(tmp_path, growth=1.25)).values()
    assert (found.kind, found.first, found.last, found.severity) == ("unstable", 0, 2, "warning")
    assert "by a factor of 1.250 in a step" in found.text and "by 10^4 to its end" in found.text
    assert "algorithm.kl_step" in found.remedy and 'initial = "hold"' in found.remedy
    assert "the likely cause: an unstable loop (see below)." in " ".join(overview_of(run).summary)


def test_a_loop_that_was_unstable_only_at_first_explains_nothing(tmp_path):
    run = make_run(
        tmp_path, change=lambda item: fail(item, growth=0.9 if item.iteration else 1.5), interface=LIMITED, T=T
    )
    assert "unstable" not in causes_of(run)


def test_saturation(tmp_path):
    (found,) = causes_of(run := make_failing(tmp_path, saturated=0.6)).values()
    assert (found.kind, found.first, found.last) == ("saturated", 0, 2)
    assert "changed 60 % of the actions" in found.text and "limits of the actuators" in found.remedy
    assert "the likely cause: saturated actions (see below)." in " ".join(overview_of(run).summary)


def test_a_better_iteration_is_named_with_the_way_back(tmp_path):
    costs = [5.0, 4.0, 2.0, 8.0]
    run = make_run(tmp_path, 4, change=lambda item: fail(item, cost=costs[item.iteration]), clusters=0, T=T)
    found = causes_of(run)["return"]
    assert (found.worst, found.conditions) == (2, ())
    assert found.text == "its mean cost of 2.00 rose again, to 8.00 in the last iteration."
    assert found.remedy.startswith(f"Return to iteration 2: `gps evaluate {run.path} --iteration 1`")
    assert f"`gps resume {run.path} --from 2`" in found.remedy and f'path = "{run.path}", iteration = 1' in found.remedy
    assert "a better iteration that was lost" in " ".join(overview_of(run).summary)


def test_nobody_returns_to_the_first_controllers(tmp_path):
    run = make_run(tmp_path, change=lambda item: fail(item, cost=1.0 + item.iteration), clusters=0, T=T)
    assert causes_of(run)["return"].remedy.startswith("No update improved on the first controllers")


def test_a_cost_that_still_falls_needs_more_iterations(tmp_path):
    run = make_run(tmp_path, change=lambda item: fail(item, cost=9.0 - 3 * item.iteration), clusters=0, T=T)
    (found,) = causes_of(run).values()
    assert (found.kind, found.severity) == ("unfinished", "note")
    assert f"`gps resume {run.path} --iterations 3`" in found.remedy


def test_a_run_that_succeeds_or_goes_on_has_no_causes(tmp_path):
    assert causes_of(make_failing(tmp_path, growth=1.25, noise=0.0, success=True)) == {}
    run = make_failing(tmp_path, growth=1.25)
    with run:
        assert causes_of(Run.open(run.path)) == {}


def test_a_condition_that_the_evaluation_solves_has_not_failed(tmp_path):
    run = make_failing(tmp_path, growth=1.25)
    rollouts = fail(record(0, N=1, T=T)).rollouts
    rollouts.success[1] = True
    run.write_evaluation(evaluation(rollouts))
    assert causes_of(run)["unstable"].conditions == (0,)
    shown = overview_of(run)
    assert find_failed(shown.facts, shown.pieces) == [0]
    assert "Condition 0 failed;" in " ".join(shown.summary)


# -- the loop --------------------------------------------------------------------------------------------------------


def loop(matrices: np.ndarray) -> float:
    """The measure of a loop without feedback; the matrices are (steps, dx, dx)."""
    steps, dx, _ = matrices.shape
    rng = np.random.default_rng(0)
    F = np.concatenate([matrices, rng.normal(size=(steps, dx, 1))], axis=-1)
    dynamics = LinearDynamics(F, np.zeros((steps, dx)), np.zeros((steps, dx, dx)), np.zeros(dx), np.zeros((dx, dx)))
    controller = Controller(np.zeros((steps + 1, 1, dx)), np.zeros((steps + 1, 1)), np.zeros((steps + 1, 1, 1)))
    batch = [type(one)(*(np.asarray(field)[None] for field in vars(one).values())) for one in (controller, dynamics)]
    return float(measure_loop(*batch)[0])


@pytest.mark.parametrize("steps", [1, 7, 3000])
def test_the_measure_of_a_constant_loop_is_its_spectral_radius(steps):
    A = np.random.default_rng(1).normal(size=(4, 4))
    assert loop(np.tile(A, (steps, 1, 1))) == pytest.approx(np.abs(np.linalg.eigvals(A)).max(), rel=1e-6)


def test_the_measure_of_a_loop_has_no_units():
    A = np.random.default_rng(2).normal(size=(9, 3, 3))
    units = np.diag([1.0, 1e-3, 1e3])
    assert loop(units @ A @ np.linalg.inv(units)) == pytest.approx(loop(A), rel=1e-6)


def test_feedback_closes_the_loop():
    made = record(1).local
    A, B = np.split(made.dynamics.matrix, [4], axis=-1)
    product = np.eye(4)
    for t in range(5):
        product = (A[0, t] + B[0, t] @ made.controllers.feedback[0, t]) @ product
    expected = np.abs(np.linalg.eigvals(product)).max() ** (1 / 5)
    assert measure_loop(made.controllers, made.dynamics)[0] == pytest.approx(expected)


def test_a_loop_that_is_not_finite_has_no_measure():
    A = np.tile(np.eye(2), (3, 1, 1))
    A[1, 0, 0] = np.nan
    assert np.isnan(loop(A))
