"""PI² as a whole: a bandit whose solution is known, a linear system, what may go wrong, and a slider that learns."""

from functools import partial

import numpy as np
import pytest
from helpers import linear_system
from helpers.bits import assert_same_bits
from helpers.experiments import SLIDER, digest, full_thrust, toml, write_rewarded_slider, write_slider
from helpers.linear_system import DU, DX, STARTS, M, advance, finite, improve, lose_second, steep
from helpers.problems import spd

import gps
from gps.algorithms.local.pi2 import PI2, PI2State
from gps.backend import jax, jnp
from gps.config import parse
from gps.errors import ConfigError
from gps.linear_gaussian.initial import zero
from gps.linear_gaussian.types import Controller
from gps.problem import Problem
from gps.records import Rollouts
from gps.status import Status
from gps.storage.serialization import flatten, unflatten

N, T = 30, 8
FIRST = zero(M, T, DX, DU, 0.7)
learn = partial(linear_system.learn, samples=N, first=FIRST)
make_problem = partial(linear_system.make_problem, horizon=T)


def cost(x, u, t):
    return jnp.sum(x**2) + 0.1 * jnp.sum(u**2)


# -- the bandit ------------------------------------------------------------------------------------------------------


def bandit(mean, covariance, n, seed):
    """One step, one state that is always 1, and n actions N(K x + k, Σ) = N(mean, Σ), as rollouts."""
    rng = np.random.default_rng(seed)
    shape = (1, n, 1)
    noise = rng.multivariate_normal(np.zeros(len(mean)), covariance, shape[:2])[:, :, None]
    return Rollouts(
        np.ones((*shape, 1)), mean + noise, noise, np.zeros(shape), np.zeros(shape, bool), np.ones(shape, bool),
        np.zeros(1),
    )  # fmt: skip


def test_the_quadratic_bandit_has_its_analytic_solution():
    """N(k, Σ) exp(−½ (u − a)ᵀ H (u − a) / η), normalised, is N(P (Σ⁻¹ k + H a / η), P), P = (Σ⁻¹ + H / η)⁻¹."""
    rng = np.random.default_rng(0)
    H, a, covariance = spd(rng, 2), np.array([1.0, -2.0]), 0.5 * spd(rng, 2)
    gain, k = np.array([[0.3], [-0.2]]), np.array([0.1, 0.4])
    mean = gain[:, 0] + k
    controller = Controller(gain[None, None], k[None, None], covariance[None, None])
    problem = Problem(cost=lambda x, u, t: 0.5 * (u - a) @ H @ (u - a), dx=1, du=2, horizon=1)
    algorithm = PI2(problem, kl_step=0.5, covariance_damping=0.0)
    rollouts = bandit(mean, covariance, 200_000, seed=1)
    state = algorithm.begin(controller, np.ones((1, 1)))
    after, record = improve(algorithm, state, rollouts)

    P = np.linalg.inv(np.linalg.inv(covariance) + H / record.local.search.eta[0, 0])
    expected = P @ (np.linalg.solve(covariance, mean) + H @ a / record.local.search.eta[0, 0])
    np.testing.assert_allclose(gain[:, 0] + after.controllers.feedforward[0, 0], expected, atol=0.02)
    np.testing.assert_allclose(after.controllers.covariance[0, 0], P, atol=0.02)
    np.testing.assert_array_equal(after.controllers.feedback, controller.feedback)
    assert record.local.kl[0] == pytest.approx(0.5, rel=1e-5)
    before, better = (0.5 * ((m - a) @ H @ (m - a) + np.trace(H @ S)) for m, S in ((mean, covariance), (expected, P)))
    assert after.predicted[0] == pytest.approx(better - before, rel=0.02)


def test_damping_and_floor_of_the_covariance():
    rollouts = bandit(np.zeros(1), np.eye(1), 500, seed=0)
    controller = Controller(np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1)), np.ones((1, 1, 1, 1)))
    found = {}
    for damping in (0.0, 0.5, 1.0):
        problem = Problem(cost=lambda x, u, t: (u[0] - 0.3) ** 2, dx=1, du=1, horizon=1)
        algorithm = PI2(problem, kl_step=2.0, covariance_damping=damping, covariance_floor=0.4)
        state = algorithm.begin(controller, np.ones((1, 1)))
        after, _ = improve(algorithm, state, rollouts)
        found[damping] = after.controllers.covariance.item()
    assert found[0.0] == pytest.approx(0.16)
    assert found[1.0] == pytest.approx(1.0)
    assert 0.5 < found[0.5] < 0.53  # the weighed samples are within 0.1 of the best


# -- a linear system -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [cost, steep], ids=["smooth", "steps"])
def test_it_lowers_the_cost_within_its_bound(function):
    _, records = learn(PI2(make_problem(function), kl_step=0.8), 12)
    costs = np.array([record.mean_cost for record in records])
    assert (costs[-1] < 0.75 * costs[0]).all()
    for record in records:
        assert record.statuses == [Status.OK] * M
        assert record.local.dynamics is None
        assert (record.local.search.kl <= record.local.search.bound[:, None]).all()
        np.testing.assert_allclose(
            record.local.search.kl, np.repeat(record.local.search.bound[:, None], T, axis=1), rtol=1e-5
        )
    for record in records[1:]:
        assert (record.local.last.predicted < 0).all()


def test_a_constant_in_the_cost_changes_nothing():
    one, _ = learn(PI2(make_problem(cost), kl_step=0.5), 1)
    other, _ = learn(PI2(make_problem(lambda x, u, t: cost(x, u, t) + 100.0), kl_step=0.5), 1)
    for a, b in zip(jax.tree.leaves(one.controllers), jax.tree.leaves(other.controllers), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_without_feedback_the_first_actions_at_the_start_are_the_same():
    rng = np.random.default_rng(0)
    first = Controller(rng.random((M, T, DU, DX)), rng.random((M, T, DU)), spd(rng, M, T, DU))
    state = PI2(make_problem(cost), feedback="zero").begin(first, STARTS)
    assert not state.controllers.feedback.any()
    expected = np.stack([first.act(STARTS[:, None], t)[:, 0] for t in range(T)], axis=1)
    np.testing.assert_allclose(state.controllers.feedforward, expected)
    np.testing.assert_array_equal(state.controllers.covariance, first.covariance)


# -- trouble ---------------------------------------------------------------------------------------------------------


def test_one_sample_has_nothing_to_compare():
    state, records = learn(PI2(make_problem(cost)), 2, samples=1)
    assert records[-1].statuses == [Status.NO_PREFERENCE] * M
    assert "there is but one" in records[-1].messages[0]
    np.testing.assert_array_equal(state.controllers.feedforward, 0.0)
    assert not records[-1].local.kl.any()


def test_two_samples_are_enough_to_go_on():
    state, records = learn(PI2(make_problem(cost)), 6, samples=2)
    assert finite(state.controllers)
    assert (np.linalg.eigvalsh(state.controllers.covariance) > 0).all()
    assert {status for record in records for status in record.statuses} <= {Status.OK, Status.BOUND_INACTIVE}


def test_equal_costs_leave_the_controller():
    state, records = learn(PI2(make_problem(lambda x, u, t: 2.5 + 0.0 * u[0])), 1)
    assert records[0].statuses == [Status.NO_PREFERENCE] * M
    np.testing.assert_array_equal(state.controllers.covariance, records[0].local.controllers.covariance)
    assert finite((record := records[0]).local.search.eta)
    assert finite(record.local.search.kl)


def test_a_step_whose_samples_cost_the_same_keeps_its_controller():
    state, records = learn(PI2(make_problem(lambda x, u, t: jnp.where(t < 4, jnp.sum((u - 1.0) ** 2), 1.0))), 1)
    assert records[0].statuses == [Status.OK] * M
    assert (state.controllers.feedforward[:, :4] != 0).all()
    np.testing.assert_array_equal(state.controllers.feedforward[:, 4:], 0.0)


def test_episodes_that_end_early_are_reported_and_steps_without_samples_change_nothing():
    ends = [99] * (M * N)
    ends[0], ends[3] = 2, 5
    state, records = learn(PI2(make_problem(cost)), 1, ends=ends)
    assert records[0].statuses[0] is Status.SAMPLES_DROPPED
    assert "2 of 30 ended early" in records[0].messages[0]
    assert finite(state.controllers)
    state, records = learn(PI2(make_problem(cost)), 2, ends=[4] * (M * N))
    assert finite(state.controllers)
    np.testing.assert_array_equal(state.controllers.feedforward[:, 4:], 0.0)
    assert (state.controllers.feedforward[:, :3] != 0).all()


def test_a_condition_without_samples_keeps_its_controller_and_leaves_the_other_alone():
    algorithm = PI2(make_problem(cost))
    state = algorithm.begin(FIRST, STARTS)
    after, record = advance(algorithm, state, lose_second, samples=N)
    whole, _ = advance(algorithm, state, samples=N)
    assert record.statuses == [Status.OK, Status.NO_VALID_SAMPLES]
    np.testing.assert_array_equal(after.controllers.feedforward[1], 0.0)
    np.testing.assert_array_equal(after.controllers.feedforward[0], whole.controllers.feedforward[0])


def test_the_state_is_stored_and_read():
    state, _ = learn(PI2(make_problem(cost)), 1)
    back = unflatten(PI2State, flatten(state))
    assert_same_bits(state, back)


# -- through an experiment -------------------------------------------------------------------------------------------

SETTINGS = ["algorithm.name=pi2", "algorithm.samples=20", "algorithm.controller.smoothing=3", "algorithm.iterations=12"]


def start(slider, *overrides, **options):
    return gps.run(slider, out=slider.parent / "runs", overrides=[*SETTINGS, *overrides], **options)


def test_it_learns_to_slide(slider):
    run = start(slider)
    costs = run.evaluation().costs
    assert (costs.sum(axis=(1, 2)) < 1.1 * full_thrust()).all()


def test_it_learns_from_rewards_alone_and_resumes_to_the_bit(tmp_path):
    slider = write_rewarded_slider(tmp_path / "slider")
    whole = start(slider)
    evaluation = whole.evaluation()
    costs = evaluation.costs
    np.testing.assert_array_equal(costs, -evaluation.rollouts.rewards)
    assert (costs.sum(axis=(1, 2)) < 1.1 * full_thrust(after_the_step=True)).all()
    part = start(slider, iterations=5)
    assert digest(gps.resume(part.path, iterations=7)) == digest(whole)


def test_gps_check_examines_no_derivatives(tmp_path):
    task = "import jax.numpy as jnp\ndef cost(x, u, t):\n    return jnp.round(4 * x[0])\n"
    slider = write_slider(tmp_path / "slider", task, cost=[*SLIDER["cost"], {"name": "task"}])
    found = gps.check(slider, ["algorithm.name=pi2", "algorithm.samples=4"])
    assert not any("differences" in finding.rule for finding in found.findings)
    assert found.ok


# -- its configuration -----------------------------------------------------------------------------------------------


def test_naming_it_keeps_the_keys_of_all_algorithms_and_drops_the_others():
    text = toml(SLIDER, algorithm={"constraint": "per_step", "dynamics": {"center": "sample"}})
    found = parse(text, overrides=["algorithm.name=pi2"]).algorithm
    assert (found.name, found.samples, found.controller.initial.noise) == ("pi2", 4, 0.3)
    assert not hasattr(found, "constraint")
    back = parse(text, overrides=["algorithm.name=pilqr"]).algorithm
    assert (back.constraint, back.dynamics.center) == ("per_step", "sample")
    assert parse(parse(text, overrides=["algorithm.name=pi2"]).to_toml()).algorithm == found


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algorithm.name=pi2", "algorithm.solver=gradient"], 'algorithm.solver: "pi2" has no such key; it is one of '
         '"trajopt", "pilqr"'),
        (["algorithm.entropy=0.1", "algorithm.name=pi2"], 'algorithm.entropy: "pi2" has no such key'),
        (["algorithm.temperature=0.1"], 'algorithm.temperature: "trajopt" has no such key; it is one of "pi2"'),
        (["algorithm.name=pi2", "algorithm.temperatur=1"], "unknown key; did you mean 'temperature'?"),
        (["algorithm.name=pi2", "algorithm.temperature=0"], "algorithm.temperature: expected a number > 0, got 0"),
        (["algorithm.name=pi3"], 'got "pi3"; did you mean \'pi2\'?'),
        (["algorithm.name=pi2", "algorithm.controller.execute=feedback"], "pi2 learns from noise, and "
         'controller.execute = "feedback" has none'),
        (["algorithm.name=pilqr", "algorithm.residual_share=1"], "expected a number >= 0 and <= 0.99, got 1"),
    ],
)  # fmt: skip
def test_a_key_that_does_not_apply_is_refused(overrides, message):
    with pytest.raises(ConfigError) as caught:
        parse(toml(SLIDER), overrides=overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
