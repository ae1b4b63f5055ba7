"""Whole experiments of guided policy search, tiny ones: run, resume, show, evaluate, export."""

import json
import re
import shutil

import numpy as np
import pytest
from helpers.experiments import POINT_MASS, changed, digest, toml, write

import gps
from gps import cli
from gps.config import parse
from gps.errors import ConfigError, RunError
from gps.evaluation import evaluate
from gps.exporting import export
from gps.storage.folders import SUMS, write_sums
from gps.storage.serialization import read_npz, write_npz

EXPERIMENT = changed(
    POINT_MASS,
    environment={"test_conditions": [{"qpos": [0.3, 0.1]}, {"qpos": [0.1, 0.3]}, {"qpos": [0.5, 0.0]}]},
    algorithm={
        "name": "mdgps",
        "iterations": 4,
        "samples": 4,
        "kl_step": 3.0,
        "policy": {
            "hidden": [16],
            "steps": 300,
            "learning_rate": 3e-3,
            "prior": {"name": "gmm", "clusters": 2, "memory": 1},
        },
        "dynamics": {"prior": {"name": "gmm", "clusters": 2}},
    },
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("guided") / "points", EXPERIMENT)


def start(folder, **options):
    return gps.run(folder, out=folder.parent / "runs", **options)


@pytest.fixture(scope="module")
def run(folder):
    """A finished run, to read and not to write."""
    return start(folder)


def test_the_learned_policy_acts_as_it_was_evaluated(run):
    rollouts = run.evaluation().rollouts
    last, earlier, same = (gps.learned(run, k).act(rollouts.observed) for k in (None, 2, -2))
    np.testing.assert_allclose(np.clip(last, -1, 1), rollouts.actions, atol=1e-9)
    np.testing.assert_array_equal(earlier, same)
    assert not np.array_equal(earlier, last)
    with pytest.raises(RunError, match="there is no iteration 4; it has 0 to 3"):
        gps.learned(run, 4)


def test_it_learns_and_carries_over(run):
    first, last = run.iterations[0].mean_cost, run.iterations[-1].mean_cost
    assert (last < first).all()
    summaries = {what: run.evaluation_rows(what) for what in ("final", "unseen", "local")}
    assert [len(items) for items in summaries.values()] == [2, 3, 2]
    costs = {what: np.mean([item.cost for item in items]) for what, items in summaries.items()}
    assert costs["final"] < first.mean()
    assert costs["unseen"] < first.mean()
    np.testing.assert_array_equal(
        run.evaluation("unseen").rollouts.states[:, 0, 0, :2], [[0.3, 0.1], [0.1, 0.3], [0.5, 0.0]]
    )


@pytest.mark.parametrize(
    "override", ["sampling=on_policy", "sampling=off_policy", "name=badmm", "name=pigps", "name=pilqrgps"]
)
def test_run_four_is_run_two_and_resume_two(folder, override, tmp_path):
    overrides = [f"algorithm.{override}"]
    whole = start(folder, overrides=overrides)
    part = start(folder, overrides=overrides, iterations=2)
    resumed = gps.resume(part.path, iterations=2)
    assert digest(whole) == digest(resumed)
    for what in ("final", "unseen", "local"):
        np.testing.assert_array_equal(whole.evaluation(what).costs, resumed.evaluation(what).costs)
    assert export(whole, tmp_path / "policy.npz")[1].startswith("a neural policy")


def test_show_prints_policy_and_evaluations(run, capsys):
    assert cli.main(["show", str(run.path)]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    head, *table = lines[lines.index("global policy:") + 1 :][:5]
    assert (
        head == "iter  sampled  loss before → after  steps  KL to the controllers, nats a step  noise std       status"
    )
    assert [line.split()[1] for line in table] == ["local", "policy", "policy", "policy"]
    assert "the policy, without noise, from the starts that were trained on:" in out
    assert "the same from starts that were not trained on:" in out
    assert "the local controllers, without noise" in out
    assert re.fullmatch(r"solved ./2 conditions; unseen ./3 .*; local controllers ./2 conditions", lines[-1])
    assert cli.main(["show", str(run.path), "--condition", "1", "--json"]) == 0
    assert '"evaluation_unseen"' in capsys.readouterr().out


def test_evaluate_plays_the_policy(run):
    result = evaluate(run)
    np.testing.assert_array_equal(result.costs, run.evaluation().costs)
    noisy = evaluate(run, episodes=3, noise="policy")
    assert noisy.costs.shape == (2, 3, 12)
    assert len(np.unique(noisy.costs.sum(axis=2))) == 6
    policy = run.iterations[-1].policy
    assert noisy.rollouts.noise.std() == pytest.approx(policy.deviation.mean(), rel=0.4)


def test_evaluate_from_other_starts_and_by_other_controllers(run, capsys):
    unseen = evaluate(run, starts="unseen")
    np.testing.assert_array_equal(unseen.costs, run.evaluation("unseen").costs)
    assert {score.starts for score in unseen.scores} == {"unseen"} and unseen.player == "policy"
    local = evaluate(run, player="local")
    np.testing.assert_array_equal(local.costs, run.evaluation("local").costs)
    assert local.player == "local"
    noisy = evaluate(run, starts="unseen", noise="policy", episodes=200)
    deviation = run.iterations[-1].policy.deviation
    np.testing.assert_allclose(noisy.rollouts.noise.std(axis=(0, 1, 2)), deviation, rtol=0.1)
    assert noisy.costs.shape == (3, 200, 12)
    noise = evaluate(run, player="local", noise="policy", episodes=200).rollouts.noise
    covariance = run.iterations[-1].local.improved.covariance
    np.testing.assert_allclose(noise.var(axis=1), np.diagonal(covariance, axis1=-2, axis2=-1), rtol=0.5)
    with pytest.raises(ConfigError, match="a local controller knows its own start alone"):
        evaluate(run, starts="unseen", player="local", fresh=True)
    assert cli.main(["evaluate", str(run.path), "--starts", "all"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("policy after iteration 3, without noise")
    assert [line.split()[:2] for line in lines[3:10]] == [
        *(["trained", m] for m in ("0", "1", "all")),
        *(["unseen", m] for m in ("0", "1", "2", "all")),
    ]
    assert cli.main(["evaluate", str(run.path), "--controller", "local", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["controller"], shown["starts"], len(shown["scores"])) == ("local", "trained", 3)


def test_the_policy_plays_with_its_own_noise_also_where_it_is_not_sampled(folder):
    run = start(folder, overrides=["algorithm.sampling=off_policy"], iterations=1)
    noise = evaluate(run, noise="policy", episodes=200).rollouts.noise
    np.testing.assert_allclose(noise.std(axis=(0, 1, 2)), run.iterations[-1].policy.deviation, rtol=0.1)


@pytest.mark.parametrize("name", ["mdgps", "pigps"])
def test_before_there_is_a_policy_the_controllers_are_exported_as_they_run(folder, tmp_path, name):
    overrides = [f"algorithm.name={name}", "algorithm.warm_up=2", "algorithm.controller.execute=fixed_noise"]
    run = start(folder, overrides=overrides, iterations=1)
    path, described = export(run, tmp_path / "controllers.npz")
    assert described == "controllers of 2 conditions, 12 steps, 4 states -> 2 actions, after iteration 0"
    with np.load(path) as arrays:
        np.testing.assert_array_equal(arrays["feedback"], run.iterations[0].local.improved.feedback)
        np.testing.assert_array_equal(arrays["covariance"], 0.0)


def test_the_policy_is_what_is_exported(run, tmp_path):
    path, described = export(run, tmp_path / "policy.npz")
    assert path.exists()
    assert described.startswith("a neural policy")
    assert described.endswith("after iteration 3")


def test_the_training_of_the_policy_is_read_alone(run, folder):
    np.testing.assert_array_equal(run.policy_record(2).kl, run.iterations[2].policy.kl)
    alone = start(folder, overrides=["algorithm.name=trajopt"], iterations=1)
    assert alone.policy_record(0) is None and alone.iterations[0].policy is None


def test_a_policy_may_observe_less_than_the_controllers(folder):
    run = start(folder, overrides=["environment.observation=['qpos']"], iterations=2)
    assert run.policy(1).input_mean.shape == (2,)
    assert run.iterations[1].policy.linearised.feedback.shape == (2, 12, 2, 4)
    assert run.iterations[1].rollouts.observations.shape == (2, 4, 12, 2)


def test_training_that_diverges_does_not_end_a_run(folder, capsys):
    assert cli.main(["run", str(folder), "--out", str(folder.parent / "wild"), "--iterations", "2",
                     "--set", "algorithm.policy.learning_rate=1e12"]) == 0  # fmt: skip
    out = capsys.readouterr().out
    assert out.count("policy: The training loss exploded or was not finite; the last good policy was kept.") == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("algorithm.policy.hiden=[3]", "algorithm.policy.hiden: unknown key; did you mean 'hidden'?"),
        ("algorithm.policy.hidden=[0]", "algorithm.policy.hidden.0: expected an integer >= 1 and <= 10000, got 0"),
        ("algorithm.policy.held_out=1.0", "algorithm.policy.held_out: expected a number >= 0 and <= 0.9, got 1.0"),
        ("algorithm.sampling=onpolicy", 'algorithm.sampling: expected "on_policy" or "off_policy", got "onpolicy"'),
        ("algorithm.step_rule=local", 'algorithm.step_rule: expected "classic" or "global", got "local"'),
    ],
)
def test_a_mistake_gives_a_message_of_one_line(override, message):
    with pytest.raises(ConfigError) as error:
        parse(toml(EXPERIMENT), "experiment.toml", [override])
    assert "\n" not in str(error.value)
    assert message in str(error.value)


def test_a_finished_run_that_is_resumed_still_has_the_policy(run, tmp_path, capsys):
    copied = tmp_path / "run"
    shutil.copytree(run.path, copied)
    assert cli.main(["resume", str(copied)]) == 0
    out = capsys.readouterr().out
    assert "the policy, without noise, from the starts that were trained on:" in out and "final controllers" not in out


def test_before_the_policy_is_trained_the_controllers_are_shown_and_exported(folder, tmp_path, capsys):
    assert (
        cli.main(["run", str(folder), "--out", str(tmp_path), "--iterations", "1", "--set", "algorithm.warm_up=1"]) == 0
    )
    assert cli.main(["show", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert out.count("final controllers, without noise:") == 2 and "the policy, without noise" not in out
    assert cli.main(["export", str(tmp_path), "-o", str(tmp_path / "made.npz")]) == 0
    assert "controllers of 2 conditions" in capsys.readouterr().out


# -- files that were changed -------------------------------------------------------------------------------------------


def tamper(run, folder, change):
    """A copy of the run whose last policy was changed in both files, checksums and all."""
    shutil.copytree(run.path, folder)
    last = folder / "iterations" / "003"
    for file, prefix in (("state.npz", "training.policy."), ("policy.npz", "")):
        arrays = read_npz(last / file)
        change(arrays, prefix)
        (last / file).unlink()
        write_npz(last / file, arrays)
    (last / SUMS).unlink()
    write_sums(last)
    return folder


def replace(key, change):
    return lambda arrays, prefix: arrays.update({prefix + key: change(arrays[prefix + key])})


def scale(key, factor):
    return replace(key, lambda array: factor * array)


WEIGHTS = "network.weights.0"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (replace(WEIGHTS, lambda array: array[:, :1]), "its arrays do not fit together"),
        (scale(WEIGHTS, np.nan), "its numbers are not all finite"),
        (scale(WEIGHTS, 1j), "its arrays are not all of real numbers"),
        (scale("covariance", -1.0), "its covariance is not positive definite"),
    ],
)
def test_a_changed_policy_is_reported_in_one_line_and_can_be_made_anew(run, tmp_path, capsys, change, why):
    folder = tamper(run, tmp_path / "run", change)
    expected = (
        f"gps: error: {folder}: the policy after iteration 3 cannot be used: {why}; `gps resume {folder} --from 3`"
    )
    commands = (["resume", "--iterations", "1"], ["export", "-o", str(tmp_path / "x.npz")], ["evaluate"])
    for name, *options in commands:
        assert cli.main([name, str(folder), *options]) == 2
        assert capsys.readouterr().err.startswith(expected)
    assert not (tmp_path / "x.npz").exists()
    gps.resume(folder, start=3)
    assert digest(gps.load_run(folder)) == digest(run)


def test_a_policy_with_a_part_missing_is_damage(run, tmp_path, capsys):
    folder = tamper(run, tmp_path / "run", lambda arrays, prefix: arrays.pop(prefix + WEIGHTS))
    for command in (["resume", str(folder), "--iterations", "1"], ["evaluate", str(folder)], ["export", str(folder)]):
        assert cli.main(command) == 2
        error = capsys.readouterr().err
        assert "is missing; the last whole iteration is 2: `gps resume" in error and "--from 3` goes on" in error
