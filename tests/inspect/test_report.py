"""What a report shows is what the record holds, for runs of every shape; and the page loads nothing."""

import base64
import dataclasses
import io
import json
import math
import os
import re

import numpy as np
import pytest
from helpers.records import evaluation, record, untold, with_policy, without_dynamics
from helpers.report import FACTS, facts_of
from helpers.runs import INTERFACE, LAYOUT, cut_short, make_policy_run, make_run, with_mixture

from gps import cli
from gps.environments.contract import Entry
from gps.errors import RunError
from gps.inspect.iteration import describe_iteration, export_iteration
from gps.inspect.report import names, page
from gps.inspect.report.detail import make_detail, read_detail, read_ends
from gps.inspect.report.findings import collect_findings
from gps.inspect.report.forms import LocalPiece, Piece, PolicyFacts, PolicyPiece, StartScore
from gps.inspect.report.measures import compute_one_step_error, measure_spread
from gps.inspect.report.overview import collect_facts, make_piece
from gps.inspect.report.packing import pack, unpack
from gps.inspect.report.page import make_report, to_json
from gps.inspect.report.places import Places, locate_starts
from gps.inspect.report.summary import summarize
from gps.inspect.report.thinning import choose_iterations, choose_samples, choose_steps
from gps.inspect.report.words import describe_condition, describe_global_model
from gps.inspect.tables import describe_model, format_models
from gps.linear_gaussian.types import LinearDynamics, Marginals
from gps.players import Player
from gps.records import Change, ModelRecord, PlannerRecord
from gps.runs import Run
from gps.status import ModelStatus, PolicyStatus, Status

# -- packing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 16])
def test_packed_arrays_are_right_to_half_a_step_of_each_feature(bits):
    array = np.random.default_rng(0).normal(size=(3, 5, 4)) * [1e-6, 1.0, 1e6, 0.0]
    packed = json.loads(json.dumps(pack(array, bits)))
    spread = np.ptp(array, axis=(0, 1))
    assert np.all(np.abs(unpack(packed) - array) <= 0.51 * spread / (2**bits - 2) + 1e-8 * np.abs(array))


def test_packing_keeps_what_is_not_finite_apart():
    array = np.array([[1.0, np.nan], [np.inf, np.nan], [3.0, np.nan]])
    assert np.array_equal(np.isnan(unpack(pack(array))), [[False, True], [True, True], [False, True]])
    assert unpack(pack(array))[:, 0][[0, 2]] == pytest.approx([1, 3])
    assert unpack(pack(np.zeros((0, 2)))).shape == (0, 2)


def test_large_runs_are_thinned_evenly():
    assert choose_steps(100).tolist() == list(range(100))
    steps = choose_steps(1000)
    assert len(steps) == 200 and steps[0] == 0 and steps[-1] == 999 and np.ptp(np.diff(steps)) <= 1
    assert len(choose_samples(64)) == 10
    assert choose_iterations(20, 1000, [3]) == list(range(20))
    kept = choose_iterations(100, 1 << 20, [37, 38])  # eight of them fit
    assert {0, 37, 38, 99} <= set(kept) and len(kept) == 8


# -- the figures' data against the record ----------------------------------------------------------------------------


def close(packed, expected):
    levels = 254 if packed["bits"] == 8 else 65534
    spread = np.nanmax(expected, axis=tuple(range(expected.ndim - 1))) - np.nanmin(
        expected, axis=tuple(range(expected.ndim - 1))
    )
    return np.all(np.abs(unpack(packed) - expected) <= spread / levels)


def test_the_tube_is_that_of_the_marginals_and_the_controller():
    made = record(1)
    tube = make_detail(made, None).ran.tube
    assert close(tube.state_mean, made.local.marginals.mean)
    assert close(tube.state_std, np.sqrt(np.diagonal(made.local.marginals.covariance, axis1=-2, axis2=-1)))
    mean, covariance = made.local.marginals.joint(made.local.controllers)
    dx = made.local.marginals.mean.shape[-1]
    assert close(tube.action_mean, np.asarray(mean)[..., dx:])
    assert close(tube.action_std, np.sqrt(np.diagonal(np.asarray(covariance)[..., dx:, dx:], axis1=-2, axis2=-1)))


def test_samples_and_controller_are_those_of_the_record():
    made = record(1)
    shown = make_detail(made, None)
    samples, controller, controllers = shown.samples, shown.ran.controller, made.local.controllers
    assert close(samples.states, made.rollouts.states)
    assert close(samples.actions, made.rollouts.actions)
    assert samples.succeeded == made.rollouts.succeeded.astype(int).tolist()
    assert close(controller.feedback, controllers.feedback)
    variance = np.diagonal(controllers.covariance, axis1=-2, axis2=-1)
    assert close(controller.noise_std, np.sqrt(variance))
    excitation = measure_spread(made.rollouts.actions, made.rollouts.mask)
    assert np.allclose(make_piece(made, None).excitation, excitation, rtol=1e-5)
    spread = np.sqrt(made.rollouts.states.var(axis=1, ddof=1).mean(axis=1))
    assert np.allclose(samples.spread, spread, rtol=1e-5)
    whole = controllers.covariance[:, controller.noise.at]
    assert close(controller.noise.covariance, whole.reshape(*whole.shape[:2], -1))


def test_the_spread_follows_the_units_of_each_entry_and_leaves_out_what_did_not_happen():
    made, scale = record(1).rollouts, np.array([1.0, 1e-3, 1e3, 7.0])
    scaled = measure_spread(made.states * scale, made.mask)
    np.testing.assert_allclose(scaled, measure_spread(made.states, made.mask) * scale)
    lone = record(1, N=1).rollouts
    np.testing.assert_allclose(measure_spread(lone.states, lone.mask), lone.states[:, 0].std(axis=1, ddof=1))
    short, after = cut_short(record(1)).rollouts, cut_short(record(1)).rollouts
    after.states[~after.mask] = 1e9
    np.testing.assert_array_equal(measure_spread(short.states, short.mask), measure_spread(after.states, after.mask))


def test_a_tube_that_explodes_leaves_the_digits_to_the_rest():
    made = record(1)
    mean, covariance = made.local.marginals.mean.copy(), made.local.marginals.covariance.copy()
    mean[0, 3:], covariance[0, 3:] = 1e12, 1e12 * np.eye(4)
    local = dataclasses.replace(made.local, marginals=Marginals(mean, covariance))
    tube = make_detail(dataclasses.replace(made, local=local), None).ran.tube
    np.testing.assert_allclose(unpack(tube.state_mean)[0, :3], mean[0, :3], atol=0.01)
    deviation = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    np.testing.assert_allclose(unpack(tube.state_std)[1], deviation[1], atol=0.01)
    assert (unpack(tube.state_mean)[0, 3:] > made.rollouts.states.max()).all()


def test_steps_after_the_end_of_an_episode_are_not_shown():
    made = cut_short(record(1))
    states = unpack(make_detail(made, None).samples.states)
    assert np.array_equal(np.isfinite(states[..., 0]), made.rollouts.mask)
    shown = make_piece(made, record(0))
    assert shown.costs[0][0] is None and shown.costs[0][1] is not None
    assert shown.short == [1, 1]


def test_a_piece_holds_what_the_metrics_say():
    before, made = record(0), record(1, status=Status.NOT_FINITE)
    shown = make_piece(made, before)
    assert np.allclose(shown.cost, made.mean_cost, rtol=1e-5)
    assert np.allclose(np.mean(shown.costs, axis=1), made.mean_cost, rtol=1e-5)
    assert shown.status == ["OK", "NOT_FINITE"]
    local, search = shown.local, made.local.search
    assert np.allclose(local.expected, before.mean_cost + made.local.last.predicted, rtol=1e-5)
    assert np.allclose(local.kl, made.local.kl, rtol=1e-5)
    assert np.allclose(local.bound, made.local.kl_bound, rtol=1e-5)
    trace = np.stack([np.exp(search.trace_log_eta[0, :3]), search.trace_kl[0, :3]], axis=1)
    assert np.allclose(local.trace[0], trace, rtol=1e-5)
    assert close(local.kl_steps, search.kl[..., None])
    error = compute_one_step_error(before.local.dynamics, made.rollouts).overall
    assert local.fitted and np.allclose(local.model_error, error, rtol=1e-5)
    assert not local.per_step and make_piece(record(1, per_step=True), before).local.per_step
    assert make_piece(before, None).local.expected == [None, None]


def test_an_algorithm_without_dynamics_has_controllers_and_tubes_but_no_model():
    """As PI2: its tubes are those of the samples."""
    made, following = without_dynamics(record(1)), without_dynamics(record(2))
    shown = make_piece(following, made)
    assert not shown.local.fitted and shown.local.model_error == [None, None]
    assert np.allclose(shown.local.kl, following.local.kl, rtol=1e-5)
    arrays = make_detail(made, following)
    assert arrays.model is None and arrays.mixture is None
    assert close(arrays.ran.tube.state_mean, made.local.marginals.mean)
    text = " ".join(describe_condition(shown, make_piece(made, None), 0))
    assert "model" not in text and "nats of KL" in text


def test_beside_a_sampled_policy_without_dynamics_are_controllers_without_a_tube():
    made = with_policy(without_dynamics(record(1)))
    shown = make_detail(made, None).beside
    assert shown.tube is None and close(shown.controller.feedback, made.local.improved.feedback)


@pytest.mark.parametrize("sampled", [False, True])
def test_an_algorithm_without_a_local_side_has_samples_alone(sampled):
    """As DAgger, whose policy learns from an expert."""
    before, made = (with_policy(record(k), sampled=sampled, teacher=Player.EXPERT) for k in range(2))
    shown = make_piece(made, before)
    assert shown.local is None and shown.policy is not None
    assert shown.player is (Player.BOTH if sampled else Player.EXPERT)
    arrays = make_detail(made, with_policy(record(2), teacher=Player.EXPERT))
    assert arrays.ran is arrays.beside is arrays.model is None
    assert close(arrays.samples.states, made.rollouts.states)
    text = " ".join(describe_condition(shown, make_piece(before, None), 0))
    assert shown.player.acted in text
    assert not re.search("nats of KL|forecast|local controller|model", text)
    found = collect_findings(FACTS, [make_piece(before, None), shown])
    assert {finding.kind for finding in found} <= {"policy", "saturated"}


def test_a_model_and_a_planner_are_described():
    """As an algorithm that plans in a global model: it has neither local controllers nor a policy."""
    model = ModelRecord(
        training_loss=np.array([3.0, np.nan]), held_out_loss=np.array([4.0, 3.0, 2.0]), one_step_error=np.full(4, 0.1)
    )
    planner = PlannerRecord(predicted=np.array([1.5, np.nan]), actual=np.array([2.5, 3.5]))
    made = dataclasses.replace(record(1), player=Player.PLANNER, local=None, model=model, planner=planner)
    shown = make_piece(made, None)
    assert not shown.model.mixture and shown.model.training == [3.0, None] and shown.model.horizon is None
    assert (shown.planner.predicted, shown.planner.actual) == ([1.5, None], [2.5, 3.5])
    assert "The planner expected a cost of 1.50; the episodes cost 2.50." in describe_condition(shown, None, 0)
    assert "expected" not in " ".join(describe_condition(shown, None, 1))
    short = make_piece(dataclasses.replace(made, planner=dataclasses.replace(planner, steps=8)), None)
    said = "The planner expected a cost of 1.50 for the first 8 steps; with the plans that followed they cost 2.50."
    assert said in describe_condition(short, None, 0)


def test_the_model_error_of_a_true_model_is_its_noise_and_of_none_is_the_spread():
    rng = np.random.default_rng(3)
    M, N, T, dx, du = 2, 400, 12, 3, 1
    F, c = 0.3 * rng.normal(size=(M, T - 1, dx, dx + du)), rng.normal(size=(M, T - 1, dx))
    u = rng.normal(size=(M, N, T, du))
    x = np.zeros((M, N, T, dx))
    x[:, :, 0] = rng.normal(size=(M, N, dx))
    noise = 0.1
    for t in range(T - 1):
        z = np.concatenate([x[:, :, t], u[:, :, t]], axis=-1)
        x[:, :, t + 1] = np.einsum("mij,mnj->mni", F[:, t], z) + c[:, None, t] + noise * rng.normal(size=(M, N, dx))
    made = record(0, M=M, N=N, T=T, dx=dx, du=du).rollouts
    data = dataclasses.replace(made, states=x, actions=u)
    shell = (np.zeros((M, T - 1, dx, dx)), np.zeros((M, dx)), np.zeros((M, dx, dx)))

    true = compute_one_step_error(LinearDynamics(F, c, *shell), data)
    within = np.sqrt(x[:, :, 1:].var(axis=1, ddof=1).mean(axis=1))
    assert np.allclose(true.by_entry, noise / within, rtol=0.05)
    means = compute_one_step_error(LinearDynamics(np.zeros_like(F), x[:, :, 1:].mean(axis=1), *shell), data)
    assert np.allclose(means.overall, 1.0, atol=0.02)


def test_what_cannot_be_compared_has_no_model_error():
    lone = record(1, N=1)
    assert np.isnan(compute_one_step_error(record(0, N=1).local.dynamics, lone.rollouts).overall).all()
    made = record(1)
    states = made.rollouts.states.copy()
    states[..., 0] = 0.1
    still = dataclasses.replace(made.rollouts, states=states)
    error = compute_one_step_error(record(0).local.dynamics, still)
    assert np.isnan(error.by_entry[:, 0]).all() and np.isfinite(error.by_entry[:, 1:]).all()
    assert np.isfinite(error.overall).all()


def test_the_mixture_is_that_of_the_record(tmp_path):
    made = make_run(tmp_path).iterations[1]
    mixture = made.model.mixture
    shown = make_detail(made, None).mixture
    center, scale = np.array(shown.center), np.array(shown.scale)
    assert np.allclose(unpack(shown.means) * scale + center, mixture.means[:, :6], atol=1e-3)
    covariances = unpack(shown.covariances) * np.outer(scale, scale)
    assert np.allclose(covariances, mixture.covariances[:, :6, :6], atol=1e-2)
    axes = np.array(shown.axes)
    assert np.allclose(axes @ axes.T, np.eye(2), atol=1e-4)
    points = np.concatenate([made.rollouts.states, made.rollouts.actions], axis=-1).reshape(-1, 6)
    along = ((points - center) / scale) @ axes.T
    assert np.allclose(along.var(axis=0) / 6, shown.explained, rtol=1e-3)
    assert make_detail(with_mixture(record(1), clusters=0), None).mixture is None


def test_names():
    layout = {"qpos": slice(0, 2), "site_position:tip-goal": slice(2, 5), "sensor:touch": slice(5, 6)}
    assert names.label_entries(layout, 6) == [
        "qpos 0",
        "qpos 1",
        "tip-goal x",
        "tip-goal y",
        "tip-goal z",
        "sensor:touch",
    ]
    assert names.label_entries(None, 2) == ["x0", "x1"]
    joints = [Entry("qpos:knee", "rad"), Entry("qpos:root[2]", "m"), *map(Entry, "xyz"), Entry("sensor:touch", "N")]
    assert names.label_entries(layout, 6, joints) == [
        "knee angle",
        "root position 2",
        "tip-goal x",
        "tip-goal y",
        "tip-goal z",
        "sensor:touch",
    ]
    speeds = [Entry("qvel:knee", "rad/s"), Entry("qvel:rail", "m/s"), Entry("qpos:ball[0]"), Entry("qpos[3]", "rad")]
    layout_of_speeds = {"qvel": slice(0, 2), "qpos": slice(2, 4)}
    assert names.label_entries(layout_of_speeds, 4, speeds) == ["knee speed", "rail speed", "qpos 0", "qpos 1"]
    assert names.label_actions(3) == ["u0", "u1", "u2"]
    assert names.label_actions(3, [Entry("hip", "N m"), Entry("action[1]"), Entry("[2]")]) == ["hip", "u1", "u2"]
    assert [group.name for group in names.group_entries(layout, 6)] == ["all", *layout]
    assert names.find_points(layout, 6) == [names.SpatialPoint("tip-goal", [2, 3, 4], relative=True)]
    long = names.group_entries(None, 40)
    assert [len(g.indices) for g in long] == [12, 12, 12, 4]
    assert [i for g in long for i in g.indices] == list(range(40))
    assert long[1].name == "state, 12 to 23"


# -- the global policy -----------------------------------------------------------------------------------------------


def test_a_piece_holds_the_policy():
    made = with_policy(record(1))
    shown = make_piece(made, record(0))
    assert shown.player is Player.POLICY
    shown = shown.policy
    assert shown.existed and shown.trained
    assert np.allclose(shown.kl, made.policy.kl.mean(axis=1), rtol=1e-5)
    assert close(shown.kl_steps, made.policy.kl[..., None])
    assert shown.loss == (3.0, 2.0)
    assert np.allclose(shown.held_out, made.policy.held_out_loss, rtol=1e-5)
    assert np.allclose(shown.deviation, made.policy.deviation, rtol=1e-5)
    assert make_piece(record(1), None).policy is None


def test_a_policy_that_was_not_trained_yet_is_not_there():
    made = with_policy(record(0), sampled=False)
    assert make_piece(made, None).policy.existed
    first = with_policy(record(0), sampled=False, existed=False)
    assert not make_piece(first, None).policy.existed
    assert make_detail(first, None).beside is None
    assert "There was no policy yet." in describe_condition(make_piece(first, None), None, 0)


def test_what_was_not_sampled_stands_beside_what_was():
    made = with_policy(record(1), sampled=False)
    shown = make_detail(made, None)
    assert close(shown.ran.tube.state_mean, made.local.marginals.mean)
    assert close(shown.beside.tube.state_mean, made.policy.marginals.mean)
    assert close(shown.beside.controller.feedback, made.policy.linearised.feedback)
    assert make_detail(record(1), None).beside is None


def test_beside_a_sampled_policy_are_the_new_local_controllers_in_the_fitted_model():
    made = with_policy(record(1), sampled=True)
    tame = dataclasses.replace(made.local.dynamics, matrix=0.1 * made.local.dynamics.matrix)
    local = dataclasses.replace(made.local, dynamics=tame)
    shown = make_detail(dataclasses.replace(made, local=local), None).beside
    assert close(shown.controller.feedback, local.improved.feedback)
    means, deviations = np.zeros((2, 6, 4)), np.zeros((2, 6, 4))
    for m in range(2):
        dynamics, (K, k, S) = local.dynamics[m], vars(local.improved[m]).values()
        mean, P = dynamics.initial_mean, dynamics.initial_covariance
        for t in range(6):
            means[m, t], deviations[m, t] = mean, np.sqrt(np.diag(P))
            if t < 5:
                A, B = np.split(dynamics.matrix[t], [4], axis=-1)
                closed = A + B @ K[t]
                mean = closed @ mean + B @ k[t] + dynamics.offset[t]
                P = closed @ P @ closed.T + B @ S[t] @ B.T + dynamics.covariance[t]
    assert close(shown.tube.state_mean, means)
    assert close(shown.tube.state_std, deviations)


def test_what_explodes_leaves_the_digits_to_the_rest():
    made = with_policy(record(1), sampled=False)
    mean = made.policy.marginals.mean.copy()
    mean[0, 3:] = 1e12
    marginals = dataclasses.replace(made.policy.marginals, mean=mean)
    made = dataclasses.replace(made, policy=dataclasses.replace(made.policy, marginals=marginals))
    shown = unpack(make_detail(made, None).beside.tube.state_mean)
    np.testing.assert_allclose(shown[0, :3], mean[0, :3], atol=0.01)
    np.testing.assert_allclose(shown[1], mean[1], atol=0.01)
    assert (shown[0, 3:] > made.local.marginals.mean.max()).all()


def test_the_episodes_without_noise_are_those_of_the_evaluations(tmp_path):
    run = make_policy_run(tmp_path)
    ends = read_ends(run)
    for shown, what, count in ((ends.final, "final", 2), (ends.unseen, "unseen", 3), (ends.taught, "local", 2)):
        rollouts = run.evaluation(what).rollouts
        assert shown.starts == list(range(count))
        assert close(shown.states, rollouts.states[:, 0])
        assert close(shown.actions, rollouts.actions[:, 0])
    known = collect_facts(run, run.iterations[0]).policy
    assert known.teacher is Player.LOCAL
    assert [score.cost for score in known.unseen] == [12.0] * 3
    assert [score.cost for score in known.taught] == [18.0] * 2
    assert read_ends(make_run(tmp_path)) is None
    assert collect_facts(make_run(tmp_path), record(0)).policy is None
    assert read_ends(make_policy_run(tmp_path, evaluated=False)) is None


def test_starts_have_places_where_one_or_two_numbers_tell_them_apart():
    trained = [{"slot": [0.1, 0.2], "body": {"size": 1}}, {"slot": [0.1, 0.3], "body": {"size": 1}}]
    unseen = [{"slot": [0.1, 0.5], "body": {"size": 2}}]
    assert locate_starts(trained, unseen) == Places(["slot[1]", "body.size"], [[0.2, 1.0], [0.3, 1.0]], [[0.5, 2.0]])
    assert locate_starts([{"seed": 3}, {"seed": 4}], []) == Places(["seed"], [[3.0], [4.0]], [])
    assert locate_starts([{"slot": [0.1, 0.2]}, {}], []) is None
    assert locate_starts([{"name": "a"}, {"name": "b"}], []) is None
    assert locate_starts([{"q": [1, 2, 3]}, {"q": [4, 5, 6]}], []) is None
    assert locate_starts([{}, {}], []) is None


def test_the_policy_in_words(tmp_path):
    run = make_policy_run(tmp_path, change=lambda item: with_policy(item, sampled=True, message="It exploded."))
    shown = data_of(page.make_report(run))["overview"]
    text = " ".join(shown["summary"])
    assert re.search(r"the policy solves \d of 2 training starts and \d of 3 unseen starts", text)
    assert re.search(r"the local controllers that taught it solve \d of these 2", text)
    assert re.search(
        r"the loss of the policy went from 3.00 to 2.00, and its KL to the local controllers is 0.\d+ nats a step", text
    )
    (finding,) = [finding for finding in shown["findings"] if finding["kind"] == "policy"]
    assert (finding["first"], finding["last"], finding["conditions"], finding["severity"]) == (0, 2, [], "error")
    assert finding["text"] == "the training of the policy: It exploded."
    assert finding["remedy"] == PolicyStatus.DIVERGED.remedy
    words = " ".join(shown["pieces"][1]["words"][1])
    assert "The policy was sampled. The new local controller was made around it." in words
    assert PolicyStatus.DIVERGED.remedy in words and "It took 400 steps on all conditions" in words
    assert "The training of the policy: it exploded." in words
    assert [item["policy"]["status"] for item in shown["pieces"]] == ["DIVERGED"] * 3


def test_how_the_training_of_the_policy_ended_is_told_as_that_of_an_update_is(tmp_path):
    shown = data_of(page.make_report(make_policy_run(tmp_path)))["overview"]
    sentence = "All steps were done; the policy of the lowest held-out loss was kept."
    for item in shown["pieces"]:
        assert (item["policy"]["status"], item["policy"]["sentence"], item["policy"]["ok"]) == ("OK", sentence, True)
        assert item["ok"] == [True, True]
        assert f"The training of the policy: {sentence[0].lower()}{sentence[1:]}" in item["words"][0]
    assert not [finding for finding in shown["findings"] if finding["kind"] == "policy"]


def test_a_training_that_went_wrong_is_found_without_a_message():
    calm, told = pieces_of({}, {"policy": policy_piece(PolicyStatus.COLLAPSED_COVARIANCE)})
    (finding,) = [finding for finding in collect_findings(FACTS, [calm, told]) if finding.kind == "policy"]
    assert finding.text == f"the training of the policy: {PolicyStatus.COLLAPSED_COVARIANCE.sentence}"
    assert (finding.severity, finding.remedy) == ("warning", PolicyStatus.COLLAPSED_COVARIANCE.remedy)


def test_a_training_that_ended_well_but_lacked_a_teacher_is_a_warning():
    pieces = pieces_of({}, {"policy": policy_piece(PolicyStatus.OK, "Condition 1 taught it nothing.")})
    (finding,) = [finding for finding in collect_findings(FACTS, pieces) if finding.kind == "policy"]
    assert finding.severity == "warning" and "Condition 1 taught it nothing." in finding.text


def test_an_expert_is_called_one_in_words(tmp_path):
    run = make_policy_run(tmp_path, teacher=Player.EXPERT)
    shown = data_of(page.make_report(run))["overview"]
    text = " ".join([*shown["summary"], *(" ".join(item["words"][0]) for item in shown["pieces"])])
    assert re.search(r"the expert that taught it solves \d of these 2", text)
    assert "and its KL to the expert is" in text
    assert "The expert was sampled." in text and "Expert and policy were sampled together." in text
    assert "controller" not in text
    assert shown["facts"]["policy"]["teacher"] == "expert" and len(shown["facts"]["policy"]["taught"]) == 2
    assert shown["facts"]["players"]["expert"]["one"] == "expert"


def test_what_a_condition_has_said_of_the_policy_is_not_said_again():
    calm, told = pieces_of(
        {}, {"policy": policy_piece(PolicyStatus.DIVERGED, "It exploded."), "message": ["It exploded.", ""]}
    )
    assert not [finding for finding in collect_findings(FACTS, [calm, told]) if finding.kind == "policy"]


def test_where_the_local_controller_succeeds_and_the_policy_does_not():
    won, lost = StartScore(Player.POLICY, 2.0, 1, 1, None), StartScore(Player.POLICY, 4.0, 0, 1, None)
    policy = PolicyFacts(Player.LOCAL, [won, lost], [won, won, lost], [], None)
    text = " ".join(summarize(facts_of([won, lost, lost], policy), pieces_of({}, {}), []))
    assert "the policy solves 1 of 3 training starts and 1 of 2 unseen starts" in text
    assert "solve 2 of these 3. The local controller succeeds where the policy does not in condition 1." in text
    won, lost = (dataclasses.replace(score, successes=None) for score in (won, lost))
    policy = PolicyFacts(Player.LOCAL, [won, lost], [won, won, lost], [], None)
    text = " ".join(summarize(facts_of([won, lost, lost], policy), pieces_of({}, {}), []))
    assert "the policy costs 3.33 from the starts that it was trained on, 3.00 from unseen starts" in text
    assert "solve" not in text


# -- an environment that does not tell of success --------------------------------------------------------------------


def test_nothing_is_said_of_success_where_the_environment_does_not_tell(tmp_path):
    run = make_run(tmp_path, change=lambda item: dataclasses.replace(item, rollouts=untold(item.rollouts)))
    made = run.iterations[0].rollouts
    run.write_evaluation(evaluation(made))
    shown = data_of(page.make_report(run))
    assert all(item["successes"] is None for item in shown["overview"]["pieces"])
    assert not np.any(shown["iteration-0"]["samples"]["succeeded"])
    said = " ".join(
        [*shown["overview"]["summary"], *(" ".join(words) for words in shown["overview"]["pieces"][1]["words"])]
    )
    assert not re.search("succeed|solve", said)
    assert "The final controllers, under the environment's noise, cost 6.00 on average." in said


# -- words -----------------------------------------------------------------------------------------------------------


def pieces_of(*changes: dict) -> list[Piece]:
    """Pieces of two conditions where nothing is remarkable but what `changes` say of each iteration.

    `rise` is by how much the cost rose since the iteration before; it falls a little where nothing is said.
    """
    local = LocalPiece(
        expected=[9.0, 9.0], predicted=[-1.0, -1.0], kl=[5.0, 5.0], bound=[6.0, 6.0], per_step=False,
        kl_steps=pack(np.zeros((2, 20, 1))), eta=[0.1, 0.1], trace=[[[1.0, 2.0]], [[1.0, 2.0]]], entropy=[1.0, 1.0],
        trust=[0.01, 0.01], multiplier=[1.0, 1.0], fitted=True, model_error=[0.2, 0.2], radius=[0.9, 0.9],
    )  # fmt: skip
    calm = Piece(
        iteration=0, steps=1000, episodes=10, player=Player.LOCAL, costs=[[10.0] * 5] * 2, succeeded=[[0] * 5, [1] * 5],
        cost=[10.0, 10.0], cost_error=[0.01, 0.01], successes=[0, 5], samples=5, short=[0, 0], saturated=[0.0, 0.0],
        status=["OK", "OK"], ok=[True, True], message=["", ""], seconds=[1.0, 1.0, 1.0], horizon=20,
        local=local,
    )  # fmt: skip
    pieces, cost = [], [10.9, 10.9]
    for k, change in enumerate(changes):
        cost = [a + b for a, b in zip(cost, change.get("rise", [-0.9, -0.9]), strict=True)]
        of_local = {name: value for name, value in change.items() if hasattr(local, name)}
        of_core = {name: value for name, value in change.items() if hasattr(calm, name)}
        assert set(change) <= {"rise", *of_local, *of_core}
        shared = {"iteration": k, "cost": cost, "local": dataclasses.replace(local, **of_local)}
        pieces.append(dataclasses.replace(calm, **shared | of_core))
    return pieces


def policy_piece(status: PolicyStatus, message: str = "") -> PolicyPiece:
    """The side of a policy whose training ended in this way."""
    made = make_piece(with_policy(record(1)), None).policy
    about = {"status": status.name, "sentence": status.sentence, "remedy": status.remedy, "ok": status.ok}
    return dataclasses.replace(made, message=message, **about)


def test_a_run_in_which_all_went_well_says_so():
    pieces = pieces_of({}, {}, {})
    assert collect_findings(FACTS, pieces) == []
    text = " ".join(summarize(facts_of([]), pieces, []))
    assert "No update failed" in text
    assert "In the last iteration 5 of 10 samples succeeded." in text


@pytest.mark.parametrize(
    ("change", "kind", "severity", "said"),
    [
        ({"status": ["OK", "NO_FEASIBLE_ETA"]}, "NO_FEASIBLE_ETA", "error", "No eta gave a positive definite Quu"),
        ({"status": ["OK", "NOT_FINITE"], "message": ["", "At t = 7."]}, "NOT_FINITE", "error", "At t = 7."),
        ({"status": ["OK", "SAMPLES_DROPPED"]}, "SAMPLES_DROPPED", "warning", "ended early"),
        ({"saturated": [0.2, 0.34]}, "saturated", "warning", "changed 34 % of the actions"),
        ({"rise": [-0.9, 2.5]}, "worse", "warning", "it rose by 2.50 to 11.60"),
        ({"rise": [-0.9, -0.05]}, "unfulfilled", "note", "the cost fell only by 0.050"),
        ({"model_error": [0.2, 2.0]}, "model", "note", "2.0 times the samples' own spread"),
        ({"entropy": [1.0, 1.0 + 2 * math.log(0.01)]}, "collapse", "note", "its noise is 1.0 % of the first"),
    ],
)
def test_what_went_wrong_is_said_with_its_place(change, kind, severity, said):
    (finding,) = collect_findings(FACTS, pieces_of({}, {}, change))
    assert (finding.kind, finding.severity, finding.worst, finding.conditions) == (kind, severity, 2, (1,))
    assert said in finding.text
    assert finding.remedy and (not kind.isupper() or finding.remedy == Status[kind].remedy)


def test_changes_within_the_noise_are_not_spoken_of():
    assert collect_findings(FACTS, pieces_of({}, {"rise": [0.5, -0.05], "cost_error": [0.6, 0.6]})) == []
    unknown = {"predicted": [None, None], "cost": [None, None]}
    assert collect_findings(FACTS, pieces_of(unknown, unknown)) == []


def test_findings_in_a_row_and_of_several_conditions_are_one():
    worse = {"rise": [3.0, 4.0]}
    found = collect_findings(FACTS, pieces_of({}, worse, {"rise": [5.0, 6.0]}, {}, worse))
    assert [(f.first, f.last, f.worst, f.conditions) for f in found] == [(1, 2, 2, (1, 0)), (4, 4, 4, (1, 0))]


def test_an_iteration_in_words():
    before, item = pieces_of({}, {"cost": [12.0, None], "short": [0, 5], "status": ["OK", "NO_VALID_SAMPLES"]})
    text = " ".join(describe_condition(item, before, 0))
    assert text.startswith(Status.OK.sentence)
    assert "rose from 10.00 to 12.00; the forecast was a fall of 1.00." in text
    assert "0 of 5 samples succeeded." in text
    assert "5.00 of 6.00 nats of KL at η = 0.100" in text
    text = " ".join(describe_condition(item, before, 1))
    assert text.startswith(Status.NO_VALID_SAMPLES.sentence)
    assert Status.NO_VALID_SAMPLES.remedy in text
    assert "No episode was complete" in text


# -- the page --------------------------------------------------------------------------------------------------------


def data_of(text: str) -> dict[str, dict]:
    blocks = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', text, re.S)
    return {name: json.loads(content) for name, content in blocks}


def test_a_run_without_dynamics_and_one_without_controllers(tmp_path):
    data = data_of(page.make_report(make_run(tmp_path, change=without_dynamics)))
    assert not any(item["local"]["fitted"] for item in data["overview"]["pieces"])
    assert data["iteration-0"]["ran"] is not None and data["iteration-0"]["model"] is None
    data = data_of(page.make_report(make_policy_run(tmp_path, teacher=Player.EXPERT)))
    assert all(item["local"] is None for item in data["overview"]["pieces"])
    assert data["iteration-0"]["ran"] is data["iteration-0"]["beside"] is data["iteration-0"]["model"] is None
    assert data["iteration-0"]["samples"]["states"]["shape"][0] == 2
    assert data["ends"]["taught"]["starts"] == [0, 1]


@pytest.mark.parametrize(
    "sizes",
    [
        {"iterations": 1},
        {"iterations": 2, "M": 1, "N": 1, "T": 2, "dx": 1, "du": 1, "layout": None},
        {"iterations": 2, "dx": 40, "du": 14, "layout": {"qpos": slice(0, 40)}},
        {"iterations": 3, "M": 16, "clusters": 0},
        {"iterations": 2, "T": 500, "N": 20},
        {"iterations": 2, "change": cut_short},
    ],
    ids=["one iteration", "one of each", "many dimensions", "many conditions", "long", "cut short"],
)
def test_runs_of_every_shape(tmp_path, sizes):
    data = data_of(page.make_report(make_run(tmp_path, **sizes)))
    shown = data["overview"]
    assert len(shown["pieces"]) == sizes["iterations"]
    assert [f"iteration-{k}" for k in shown["kept"]] == [name for name in data if name.startswith("iteration")]
    M = sizes.get("M", 2)
    assert all(len(item["words"]) == M and len(item["cost"]) == M for item in shown["pieces"])
    assert data["iteration-0"]["ran"]["tube"]["state_mean"]["shape"][0] == M
    assert (data["iteration-0"]["mixture"] is None) == (sizes.get("clusters") == 0)


def test_a_record_that_is_not_finite_is_shown_as_far_as_it_is(tmp_path):
    def broken(item):
        old, nan = item.local, np.full(2, np.nan)
        local = dataclasses.replace(
            old,
            marginals=dataclasses.replace(old.marginals, mean=np.full_like(old.marginals.mean, np.nan)),
            controllers=dataclasses.replace(old.controllers, covariance=np.zeros_like(old.controllers.covariance)),
            last=Change(nan, nan),
            predicted=nan,
            entropy=np.full(2, -np.inf),
        )
        return dataclasses.replace(item, local=local, status=np.array([Status.OK, Status.NOT_FINITE]))

    data = data_of(page.make_report(make_run(tmp_path, change=broken)))
    assert np.isnan(unpack(data["iteration-1"]["ran"]["tube"]["state_mean"])).all()
    (finding,) = [f for f in data["overview"]["findings"] if f["kind"] == "NOT_FINITE"]
    assert (finding["first"], finding["last"], finding["severity"]) == (0, 2, "error")


def test_the_page_loads_nothing(tmp_path):
    text = page.make_report(make_run(tmp_path))
    own = text.replace(page._read_plotly(), "").replace(json.dumps(page._read_plotly()), "")
    assert not re.search(r"https?://|//[\w.-]+\.\w+/|@import|url\(", own)
    assert not re.search(r"<(?:link|img|iframe|script[^>]*\ssrc)\b", own)
    assert "default-src 'none'" in own and "connect-src 'none'" in own
    assert "A \\u003cmade-up> run." in own  # text of the user's own ends no element
    assert text.count("plotly.js v") == page._read_plotly().count("plotly.js v")


def test_the_state_layout_is_stored_with_the_run(tmp_path):
    run = Run.open(make_run(tmp_path).path)
    assert run.state_layout == LAYOUT
    known = collect_facts(run, run.iterations[0]).axes
    assert known.entries == ["qpos", "tip-goal x", "tip-goal y", "tip-goal z"]
    assert (known.units, known.action_units, known.low, known.dt) == ([""] * 4, [""] * 2, [None] * 2, None)
    without = Run.open(make_run(tmp_path, layout=None).path)
    assert without.state_layout is None
    assert collect_facts(without, without.iterations[0]).axes.entries == ["x0", "x1", "x2", "x3"]


def test_the_axes_have_names_units_limits_and_the_period(tmp_path):
    axes = data_of(page.make_report(make_run(tmp_path, interface=INTERFACE)))["overview"]["facts"]["axes"]
    assert axes["entries"] == ["knee angle", "tip-goal x", "tip-goal y", "tip-goal z"]
    assert axes["units"] == ["rad", "m", "m", "m"]
    assert (axes["actions"], axes["action_units"]) == (["hip", "u1"], ["N m", ""])
    assert (axes["low"], axes["high"], axes["dt"]) == ([-2.0, None], [2.0, 0.5], 0.05)


# -- files within the page -------------------------------------------------------------------------------------------


def test_the_last_controllers_can_be_downloaded_bit_for_bit(tmp_path):
    run = make_run(tmp_path)
    files = data_of(page.make_report(run))["files"]
    assert files["controllers"]["name"] == "e-seed1-iter002-controllers.npz"
    arrays, improved = (
        np.load(io.BytesIO(base64.b64decode(files["controllers"]["data"]))),
        run.iterations[2].local.improved,
    )
    np.testing.assert_array_equal(arrays["K"], improved.feedback)
    np.testing.assert_array_equal(arrays["k"], improved.feedforward)
    np.testing.assert_array_equal(arrays["covariance"], improved.covariance)
    assert "K (2, 6, 2, 4), k (2, 6, 2), covariance (2, 6, 2, 2)" in files["about"] and files["videos"] == []
    expert = data_of(page.make_report(make_policy_run(tmp_path, teacher=Player.EXPERT)))["files"]
    assert expert["controllers"] is None and expert["about"] == ""


def test_videos_in_the_run_directory_are_in_its_page(tmp_path, monkeypatch):
    run = make_run(tmp_path)
    for k, name in enumerate(["first.webp", "last.MP4", "notes.txt"]):
        (run.path / name).write_bytes(bytes([k]) * 10)
        os.utime(run.path / name, (k, k))
    videos = data_of(page.make_report(run))["files"]["videos"]
    assert [(video["name"], video["kind"]) for video in videos] == [
        ("last.MP4", "video/mp4"), ("first.webp", "image/webp"),
    ]  # fmt: skip
    assert base64.b64decode(videos[0]["data"]) == bytes([1]) * 10
    monkeypatch.setattr("gps.inspect.report.files.MOST_VIDEO_BYTES", 15)
    assert [video["name"] for video in data_of(page.make_report(run))["files"]["videos"]] == ["last.MP4"]


# -- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_the_page(tmp_path, capsys):
    run = make_run(tmp_path)
    assert cli.main(["report", str(run.path)]) == 0
    assert capsys.readouterr().out.strip() == str(run.path / "report.html")
    out = tmp_path / "deep/page.html"
    assert cli.main(["report", str(run.path), "-o", str(out)]) == 0
    assert out.read_bytes() == (run.path / "report.html").read_bytes()
    Run.open(run.path).verify()


def test_a_run_that_is_being_written_is_reported_as_such(tmp_path):
    run = make_run(tmp_path)
    with run:
        shown = data_of(page.make_report(Run.open(run.path)))["overview"]
    assert shown["facts"]["state"] == "running"
    assert "It is running: 3 of 4 iterations" in " ".join(shown["summary"])
    assert data_of(page.make_report(run))["overview"]["facts"]["state"] == "stopped"


def test_what_cannot_be_reported_is_said_in_a_line(tmp_path, capsys):
    empty = make_run(tmp_path, iterations=0)
    assert cli.main(["report", str(empty.path)]) == 2
    assert "no iteration has been written yet" in capsys.readouterr().err
    run = make_run(tmp_path)
    assert cli.main(["report", str(run.path), "-o", "/proc/no/such.html"]) == 2
    assert "cannot be written" in capsys.readouterr().err
    (run.path / "iterations/001/rollouts.npz").write_bytes(b"")
    with pytest.raises(RunError, match=r"rollouts\.npz"):
        page.make_report(run)


# -- global models and planners --------------------------------------------------------------------------------------


def with_model(item, **changed):
    model = ModelRecord(
        name="linear", points=1200, one_step_error=np.full(4, 0.1), coverage=np.array([0.66, 0.94]), **changed
    )
    return dataclasses.replace(item, player=Player.PLANNER, local=None, model=model)


def test_a_model_is_described_with_its_status_and_what_it_knows_of_its_error():
    said = " ".join(describe_global_model(make_piece(with_model(record(1)), None).model))
    assert said.startswith("Global model: linear, fitted to 1,200 transitions.")
    assert "66 % of the new states were within one deviation" in said and said.endswith(
        "the model knows its own error."
    )
    for message in ("body_mass:cup 2 ± 0.1", "Two points are left out."):  # estimates, or a sentence
        found = " ".join(describe_global_model(make_piece(with_model(record(1), message=message), None).model))
        assert f"transitions. {message.rstrip('.')}. 66 %" in found
    prior = dataclasses.replace(record(1), model=ModelRecord())
    assert describe_global_model(make_piece(prior, None).model) == describe_global_model(None) == []


def test_a_model_that_was_not_fitted_is_a_finding_and_a_trouble():
    item = with_model(record(1), status=ModelStatus.NOT_FINITE, message="Too large.")
    assert "model: Too large." in item.troubles
    (finding,) = [found for found in collect_findings(FACTS, [make_piece(item, None)]) if found.kind == "global model"]
    assert (finding.severity, finding.text, finding.remedy) == (
        "error", "the global model: Too large.", ModelStatus.NOT_FINITE.remedy,
    )  # fmt: skip
    warned = with_model(record(1), status=ModelStatus.NOT_IDENTIFIABLE)
    assert not any(trouble.startswith("model") for trouble in warned.troubles)
    assert any(found.kind == "global model" for found in collect_findings(FACTS, [make_piece(warned, None)]))


def test_a_model_far_too_sure_of_itself_and_missing_plans_are_found():
    item = with_model(record(1))
    model = dataclasses.replace(item.model, coverage=np.array([0.3, 0.5]))
    planner = PlannerRecord(np.ones(2), np.ones(2), fallbacks=np.array([0, 3]))
    found = collect_findings(FACTS, [make_piece(dataclasses.replace(item, model=model, planner=planner), None)])
    texts = {finding.kind: (finding.text, finding.conditions) for finding in found}
    assert "only 50 % of the new states" in texts["coverage"][0]
    assert texts["fallback"] == (
        "3 actions had no plan in time, or none that was finite; the fallback acted.", (1,),
    )  # fmt: skip


def test_the_distance_of_a_plan_to_the_data_is_that_to_the_nearest_state():
    rng = np.random.default_rng(0)
    item = with_model(record(3))
    seen = rng.normal(size=(300, 4)) * [1.0, 10.0, 0.1, 0.0] + [0.0, 0.0, 0.0, 5.0]
    planned = item.rollouts.states[:, 0].copy()
    planned[0, 2] = np.nan
    planner = PlannerRecord(np.ones(2), np.ones(2), planned_states=planned)
    arrays = make_detail(dataclasses.replace(item, planner=planner), None, [seen[:100], seen[100:]]).plan
    scale = seen.std(axis=0)[:3]
    far = ((planned[:, :, None, :3] - seen[:, :3]) / scale) ** 2
    expected = np.sqrt(far.mean(axis=-1).min(axis=-1))
    np.testing.assert_allclose(unpack(arrays.planned)[..., 0], expected, atol=1e-3 * np.nanmax(expected))
    np.testing.assert_allclose(unpack(arrays.states), planned, atol=1e-3)
    first = make_detail(dataclasses.replace(item, planner=planner), None).plan
    assert first.planned is None and first.actual is None
    bare = dataclasses.replace(item, planner=PlannerRecord(np.ones(2), np.ones(2)))
    assert make_detail(bare, None).plan is None


def test_a_page_and_a_single_iteration_show_the_same_plan(tmp_path):
    def change(item):
        planner = PlannerRecord(np.ones(2), np.ones(2), planned_states=item.rollouts.states[:, 0] + 1.0)
        return dataclasses.replace(with_model(item), planner=planner)

    run = make_run(tmp_path, change=change)
    text = to_json(read_detail(run, 1))
    assert f'id="iteration-1">{text}<' in make_report(run)


def test_the_model_in_the_console_and_in_one_iteration():
    item = with_model(record(1), status=ModelStatus.DIVERGED)
    lines = describe_model(item.model)
    assert "model: linear; 1,200 transitions; one-step error 0.100 to 0.100; 66 % and 94 % within" in lines[0]
    assert lines[1].strip() == f"model: {ModelStatus.DIVERGED.sentence}"
    assert describe_model(ModelRecord()) == describe_model(None) == []
    entries = [Entry("a", "rad"), Entry("b", "m"), Entry("c"), Entry("d", "m/s")]
    text = describe_iteration(item, [0], entries)
    assert "a 0.100 rad, b 0.100 m, c 0.100, d 0.100 m/s" in text and ModelStatus.DIVERGED.remedy in text
    assert "in units of the state" in describe_iteration(item, [0])
    table = format_models([(0, item.model), (1, item.model)])
    assert table[0] == "global model, linear:" and len(table) == 4 and "66 % and 94 %" in table[2]
    plain = export_iteration(item, [1])[0]
    assert plain["model"]["status"] == "DIVERGED" and plain["model"]["coverage"] == [0.66, 0.94]
