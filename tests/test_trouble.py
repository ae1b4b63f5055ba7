"""What may go wrong while a policy is taught, through whole runs: it is told, what was good is kept, and the run goes
on or stops as configured."""

import numpy as np
import pytest
from helpers.experiments import digest, write

import gps
from gps import cli
from gps.algorithms.guided import base, lessons
from gps.errors import EnvironmentFault, TroubleError
from gps.runs.learned import learned
from gps.status import PolicyStatus, Status

TASK = '''
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict


class Slider(gymnasium.Env):
    """A mass on a line, and four bytes for the policy. `trouble` is what step 3 of an episode brings."""

    action_space = Box(-5.0, 5.0, (1,))
    observation_space = Dict({"state": Box(-np.inf, np.inf, (2,)), "observation": Box(0, 255, (1, 4), np.uint8)})

    def reset(self, *, seed=None, options=None):
        self.x, self.t, self.trouble = np.zeros(2), 0, (options or {}).get("trouble")
        return self.shown(), {}

    def step(self, action):
        self.x = self.x + 0.1 * np.array([self.x[1], action[0]])
        self.t += 1
        at = self.trouble if self.t == 3 else None
        info = {"abort": "the wheel is off"} if at == "aborts" else {}
        return self.shown(at), 0.0, at in ("ends", "succeeds"), False, info | {"success": at == "succeeds"}

    def shown(self, at=None):
        x, v = self.x
        levels = np.clip(127 + 40 * np.array([x, -x, v, -v]), 0, 255).astype(np.uint8)
        shape = (4, 1) if at == "shape" else (1, 4)
        return {"state": self.x * (np.nan if at == "nan" else 1), "observation": levels.reshape(shape)}


class Seeing(Slider):
    """The same with a picture for the policy: a bright spot where the mass is."""

    observation_space = Dict({"state": Box(-np.inf, np.inf, (2,)), "observation": Box(0, 255, (16, 16, 1), np.uint8)})

    def shown(self, at=None):
        picture = np.zeros((16, 16, 1), np.uint8)
        picture[6:10, int(np.clip(4 + 4 * self.x[0], 0, 12)) :][:, :4] = 255
        return super().shown(at) | {"observation": picture[:8] if at == "shape" else picture}
'''

EXPERIMENT = {
    "environment": {"id": "task:Slider", "horizon": 12, "threads": 1, "conditions": [{}, {"trouble": "none"}]},
    "algorithm": {
        "name": "mdgps",
        "iterations": 4,
        "samples": 4,
        "kl_step": 2.0,
        "controller": {"initial": {"name": "zero"}},
        "policy": {"hidden": [8], "steps": 200, "learning_rate": 3e-3, "prior": {"name": "none"}},
        "dynamics": {"fit": "least_squares"},
    },
    "cost": [{"name": "quadratic", "on": "state", "target": [1.0, 0.0]}, {"name": "quadratic", "weight": 0.01}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("trouble") / "slider", EXPERIMENT, TASK)


def troubled(trouble):
    return [f"environment.conditions=[{{}}, {{trouble='{trouble}'}}]"]


DIVERGES = ["algorithm.policy.learning_rate=1e12"]
COLLAPSES = ["algorithm.policy.least_deviation=0.9"]


@pytest.mark.parametrize(
    ("algorithm", "trouble", "told"),
    [
        ("mdgps", "ends", ""),
        ("badmm", "ends", ""),
        ("pigps", "ends", ""),
        ("mdgps", "aborts", "Samples 0, 1, 2, 3 were aborted after step 2: the wheel is off."),
        ("mdgps", "shape", "'observation' has the shape (4, 1)"),
    ],
)
def test_a_condition_whose_episodes_all_fail_teaches_nothing_and_the_others_learn_on(
    folder, algorithm, trouble, told, capsys
):
    overrides = [*troubled(trouble), f"algorithm.name={algorithm}"]
    settings = [part for override in overrides for part in ("--set", override)]
    assert cli.main(["run", str(folder), "--out", str(folder.parent / "runs"), *settings]) == 0
    out = capsys.readouterr().out
    assert out.count("cut short") == 4
    assert out.count("condition 1: Every sample ended early; what they lack was left out of the fit.") == 4
    assert out.count("policy: Condition 1 taught it nothing.") == 4
    assert told in out
    run = gps.load_run(out.splitlines()[-1])
    for record in run.iterations[:]:
        assert record.statuses[1] == Status.NONE_WHOLE
        assert record.statuses[0].ok
        assert record.policy.status.ok
        assert not record.rollouts.mask[1, :, 3:].any()
    if algorithm != "pigps":  # which has learned little after 16 episodes
        assert run.evaluation_rows("final")[0].cost < 0.6 * run.iterations[0].mean_cost[0]
    assert cli.main(["show", str(run.path)]) == 0
    assert capsys.readouterr().out.count("Condition 1 taught it nothing.") == 4


def test_pictures_of_another_shape_end_their_episodes_and_the_others_teach(folder, tmp_path):
    overrides = [*troubled("shape"), "environment.id=task:Seeing", "algorithm.policy.steps=20"]
    run = gps.run(folder, out=tmp_path, iterations=2, overrides=overrides)
    for record in run.iterations:
        assert record.rollouts.images.shape == (2, 4, 12, 16, 16, 1)
        assert record.rollouts.mask[0].all() and not record.rollouts.mask[1].all(axis=1).any()
        assert "'observation' has the shape (8, 16, 1)" in record.messages[1]
        assert record.policy.status.ok and "Condition 1 taught it nothing." in record.policy.message
        assert np.isfinite(record.policy.kl[0]).all()


def test_what_such_a_condition_would_do_leaves_no_trace_in_the_policy(folder, monkeypatch):
    """The policy is the one that the others alone teach, but for what decides the steps."""
    seen = []
    original = base.make_samples

    def make_samples(teachers, rollouts, weights, *rest):
        samples = original(teachers, rollouts, weights, *rest)
        seen.append(samples.weights.reshape(rollouts.mask.shape))
        return samples

    monkeypatch.setattr(base, "make_samples", make_samples)
    gps.run(folder, overrides=troubled("ends"), iterations=2, out=folder.parent / "runs")
    assert seen and all((weights[1] == 0).all() and (weights[0] == 1).all() for weights in seen)


def test_an_episode_that_ends_early_with_a_success_is_no_failure(folder):
    run = gps.run(folder, overrides=troubled("succeeds"), out=folder.parent / "runs", iterations=2)
    for record in run.iterations[:]:
        assert not record.rollouts.mask[1, :, 3:].any()
        assert record.rollouts.whole[1].all() and record.statuses[1].ok
        assert record.troubles == []
        assert record.policy.message == ""


def policies(run):
    """The policy's mean actions at some observations, after each iteration."""
    observations = run.iterations[0].rollouts.observed
    return [learned(run, k).act(observations) for k in range(len(run.iterations))]


def test_a_step_of_training_that_diverges_keeps_the_last_good_policy(folder, capsys):
    settings = [part for override in DIVERGES for part in ("--set", override)]
    assert cli.main(["run", str(folder), "--out", str(folder.parent / "runs"), *settings]) == 0
    out = capsys.readouterr().out
    assert out.count("policy: The training loss exploded or was not finite; the last good policy was kept.") == 4
    assert out.count("; diverged\n") == 4
    run = gps.load_run(out.splitlines()[-1])
    first, *others = policies(run)
    assert np.isfinite(first).all()
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-6 * np.abs(first).max())


def test_a_singular_precision_keeps_the_last_good_policy(folder, monkeypatch):
    original, calls = lessons.precision, []

    def precision(controllers):
        calls.append(None)
        result = original(controllers)
        # Two calls in an iteration: for the lessons, and for the divergence.
        return np.where(len(calls) in (5, 6), np.nan, result)

    monkeypatch.setattr(lessons, "precision", precision)
    run = gps.run(folder, out=folder.parent / "runs")
    statuses = [record.policy.status for record in run.iterations[:]]
    assert statuses[2] == PolicyStatus.BAD_PRECISION
    assert all(status.ok for status in (*statuses[:2], statuses[3]))
    before, at, after = policies(run)[1:]
    np.testing.assert_array_equal(at, before)
    assert (after != before).any()
    assert run.iterations[2].troubles == [
        f"policy: {PolicyStatus.BAD_PRECISION.sentence} The precision of sample 0 is not finite."
    ]


def test_a_covariance_that_collapses_is_held_and_told(folder, capsys):
    settings = [part for override in COLLAPSES for part in ("--set", override)]
    assert cli.main(["run", str(folder), "--out", str(folder.parent / "runs"), *settings]) == 0
    out = capsys.readouterr().out
    assert out.count("policy: The covariance collapses; it was limited from below.") == 4
    run = gps.load_run(out.splitlines()[-1])
    scale = learned(run, 3).output_scale
    np.testing.assert_allclose(run.iterations[3].policy.deviation, 0.9 * scale)
    assert run.iterations[3].policy.status == PolicyStatus.COLLAPSED_COVARIANCE


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        (troubled("ends"), "condition 1: Every sample ended early"),
        (troubled("shape"), "condition 1: Every sample ended early"),
        (DIVERGES, "policy: The training loss exploded"),
        (COLLAPSES, "policy: The covariance collapses"),
    ],
    ids=["a failing condition", "images of the wrong shape", "a diverging step", "a collapsing covariance"],
)
def test_the_run_stops_where_it_should_and_goes_on_when_told(folder, overrides, where, capsys):
    settings = [part for override in (*overrides, "algorithm.on_trouble=stop") for part in ("--set", override)]
    out = folder.parent / "runs"
    assert cli.main(["run", str(folder), "--out", str(out), "--iterations", "3", *settings]) == 2
    printed = capsys.readouterr()
    path = printed.out.splitlines()[-1]
    error = next(line for line in printed.err.splitlines() if line.startswith("gps: error:"))
    assert f"iteration 0, {where}" in error
    assert 'algorithm.on_trouble = "stop" ends the run here; `gps resume --on-trouble continue` goes on' in error
    run = gps.load_run(path)
    assert len(run.iterations) == 1
    run.verify()

    with pytest.raises(TroubleError, match="iteration 1"):
        gps.resume(path)
    assert len(run.iterations) == 2
    assert cli.main(["resume", path, "--on-trouble", "continue"]) == 0
    assert len(run.iterations) == 3
    whole = gps.run(folder, overrides=overrides, iterations=3, out=out)
    assert digest(whole) == digest(run)


def test_a_run_without_trouble_does_not_stop(folder):
    run = gps.run(folder, overrides=["algorithm.on_trouble=stop"], iterations=2, out=folder.parent / "runs")
    assert len(run.iterations) == 2
    assert run.evaluation() is not None


def test_a_state_that_is_not_finite_ends_the_run_with_its_place(folder):
    with pytest.raises(EnvironmentFault, match="state that is not finite: condition 1, sample 0, step 3"):
        gps.run(folder, overrides=troubled("nan"), out=folder.parent / "runs")
