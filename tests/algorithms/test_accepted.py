"""An update that made the cost rise much is taken back; and no update of a model that is wrong is ok."""

import dataclasses

import numpy as np
import pytest
from helpers.bits import assert_same_bits
from helpers.experiments import digest
from helpers.linear_system import FIRST, PROBLEM, STARTS, M, advance, learn, roll_out
from helpers.robots import ARM_EXPERIMENT, make_arm, write_robot

import gps
from gps import cli
from gps.algorithms.local.accepted import RETURNS, RISE, find_rise
from gps.algorithms.local.trajopt import TrajOpt, UpdateProblem
from gps.inspect.console import Progress
from gps.inspect.report.page import report
from gps.status import Status

ALGORITHM = TrajOpt(PROBLEM, kl_step=1.0)


@pytest.fixture(scope="module")
def settled():
    """The state after two iterations that went well."""
    return learn(ALGORITHM, 2)[0]


def pretend(state, rise, rises=0):
    """The state whose accepted controllers, sampled next, will seem to have cost less, by shares of their cost.

    Args:
        rise: per condition.
        rises: in a row until now.
    """
    _, record = advance(ALGORITHM, state)
    cost = record.costs.sum(axis=2).mean(axis=1) - np.asarray(rise) * state.accepted.size
    accepted = dataclasses.replace(state.accepted, cost=cost, rises=np.full(M, rises))
    return dataclasses.replace(state, accepted=accepted, cost=cost)


def test_after_updates_that_went_well_the_last_samples_are_accepted(settled):
    np.testing.assert_array_equal(settled.accepted.iteration, [1, 1])
    np.testing.assert_array_equal(settled.accepted.rises, [0, 0])


def test_a_small_rise_is_taken_for_chance(settled):
    state = pretend(settled, [0.8 * RISE, -1.0])
    after, record = advance(ALGORITHM, state)
    assert all(status.ok for status in record.statuses)
    assert record.messages == ("",) * M
    np.testing.assert_array_equal(after.accepted.iteration, [2, 2])
    np.testing.assert_array_equal(after.accepted.controllers.feedback, state.controllers.feedback)


def test_a_large_rise_shortens_the_step_from_the_accepted_controllers(settled):
    state = pretend(settled, [2 * RISE, -1.0])
    after, record = advance(ALGORITHM, state)
    assert record.statuses[0] is Status.SHORTENED and record.statuses[1].ok
    assert record.messages[0] == f"{Status.SHORTENED.sentence} It is that of iteration 1."
    assert record.messages[1] == ""
    assert record.local.multiplier[0] < 0.6 * state.multiplier[0]
    # the same problem as two iterations before, within the smaller bound
    base, bound = state.accepted, record.local.search.bound
    model = ALGORITHM.fit(state, roll_out(ALGORITHM.policy(state)), 0)
    problem = UpdateProblem(model._replace(dynamics=base.dynamics, cost=base.expansion), base.controllers, bound,
                            base.alpha)  # fmt: skip
    expected = ALGORITHM.solve(problem, state.eta)
    np.testing.assert_array_equal(after.controllers.feedback[0], expected.controller.feedback[0])
    assert (record.local.kl <= record.local.kl_bound).all()
    np.testing.assert_array_equal(after.accepted.iteration, [1, 2])
    np.testing.assert_array_equal(after.accepted.rises, [1, 0])
    assert after.cost[0] == base.cost[0]  # what the next change is measured against


def test_a_second_rise_returns_to_the_accepted_controllers(settled):
    state = pretend(settled, [2 * RISE, 0.0], rises=1)
    after, record = advance(ALGORITHM, state)
    assert record.statuses[0] is Status.RETURNED and record.statuses[1].ok
    back = "It is that of iteration 1; to go back to it: `gps resume RUN --from 1`"
    assert record.messages[0] == f"{Status.RETURNED.sentence} {back}"
    np.testing.assert_array_equal(after.controllers.feedback[0], state.accepted.controllers.feedback[0])
    np.testing.assert_array_equal(after.controllers.covariance[0], state.accepted.controllers.covariance[0])
    np.testing.assert_array_equal(after.planned[0], state.accepted.planned[0])
    assert np.isnan(after.predicted[0]) and np.isfinite(after.predicted[1])
    assert after.accepted.rises[0] == RETURNS


def test_fresh_samples_of_the_accepted_controllers_are_believed(settled):
    state = pretend(settled, [2 * RISE, 2 * RISE], rises=RETURNS)
    after, record = advance(ALGORITHM, state)
    assert all(status.ok for status in record.statuses)
    np.testing.assert_array_equal(after.accepted.iteration, [2, 2])
    np.testing.assert_array_equal(after.accepted.rises, [0, 0])


def test_what_a_rise_is(settled):
    accepted = dataclasses.replace(settled.accepted, cost=np.array([10.0, -10.0]), size=np.array([10.0, 10.0]))
    limit = 10 * RISE
    for rises, above, field in ((0, True, "shorten"), (1, True, "back"), (2, False, "any"), (0, False, "any")):
        state = dataclasses.replace(accepted, rises=np.full(M, rises))
        rise = find_rise(state, accepted.cost + limit * (1.01 if above else 0.99) + (100 if rises == 2 else 0))
        np.testing.assert_array_equal(getattr(rise, field), above)
        assert not (rise.shorten & rise.back).any()
    assert not find_rise(None, np.ones(M)).any.any()
    assert not find_rise(accepted, np.full(M, np.nan)).any.any()


def test_a_run_with_updates_taken_back_is_resumed_bit_for_bit(tmp_path, capsys):
    """Steps without a sensible bound, from too few samples."""
    algorithm = {"kl_step": 30.0, "samples": 2, "iterations": 4, "dynamics": {"prior": {"name": "none"}}}
    source = write_robot(tmp_path / "arm", make_arm("motor"), ARM_EXPERIMENT, algorithm=algorithm)
    with Progress() as progress:
        whole = gps.run(source, out=tmp_path / "whole", callbacks=[progress])
    assert whole.iterations[2].statuses == [Status.RETURNED]  # so the iteration before it was taken back, too
    command = f"`gps resume {whole.path} --from 0`"
    assert command in capsys.readouterr().out
    for view in ([], ["--iteration", "2"]):
        assert cli.main(["show", str(whole.path), *view]) == 0
        assert command in capsys.readouterr().out
    report(whole, tmp_path / "report.html")
    assert command in (tmp_path / "report.html").read_text()
    part = gps.run(source, out=tmp_path / "part", iterations=2)
    gps.resume(part.path, iterations=2)
    assert digest(gps.load_run(part.path)) == digest(whole)


# -- a model that is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2.0, 3.0, 10.0, 1e3, 1e20, 1e80])
@pytest.mark.parametrize("constraint", ["total", "per_step"])
def test_an_update_in_a_model_that_explodes_is_never_ok(factor, constraint):
    algorithm = TrajOpt(PROBLEM, kl_step=1.0, constraint=constraint)
    state = algorithm.begin(FIRST, STARTS)
    rollouts = roll_out(algorithm.policy(state))
    model = algorithm.fit(state, rollouts, 0)
    wrong = model._replace(dynamics=dataclasses.replace(model.dynamics, matrix=factor * model.dynamics.matrix))
    after, record = algorithm.improve(state, algorithm.policy(state), rollouts, wrong)
    assert not any(status.ok for status in record.statuses)
    assert all(record.messages)
    assert np.isfinite(after.controllers.feedback).all()


def test_a_model_that_does_not_reproduce_its_samples_says_so():
    state = ALGORITHM.begin(FIRST, STARTS)
    rollouts = roll_out(ALGORITHM.policy(state))
    model = ALGORITHM.fit(state, rollouts, 0)
    wrong = dataclasses.replace(model.dynamics, matrix=np.array(model.dynamics.matrix))
    wrong.matrix[1] *= 2.0
    _, record = ALGORITHM.improve(state, ALGORITHM.policy(state), rollouts, model._replace(dynamics=wrong))
    assert record.statuses[0].ok and record.statuses[1] is Status.UNTRUSTED
    assert record.local.trust[0] < 0.01 and record.local.trust[1] > 1
    assert record.messages[1].startswith(Status.UNTRUSTED.sentence)


def test_the_trust_is_the_relative_error_of_the_replayed_cost():
    state = ALGORITHM.begin(FIRST, STARTS)
    rollouts = roll_out(ALGORITHM.policy(state))
    model = ALGORITHM.fit(state, rollouts, 0)
    dearer = dataclasses.replace(model.cost, constant=model.cost.constant + 0.3)
    _, record = ALGORITHM.improve(state, ALGORITHM.policy(state), rollouts, model._replace(cost=dearer))
    whole = model.sample_costs.sum(axis=2).mean(axis=1)
    horizon = model.sample_costs.shape[2]
    np.testing.assert_allclose(record.local.trust, 0.3 * horizon / whole, rtol=0.02)


def test_an_iteration_is_the_same_bits_whenever_it_is_done(settled):
    one, two = (advance(ALGORITHM, pretend(settled, [2 * RISE, 0.0]))[0] for _ in range(2))
    assert_same_bits(one, two)
