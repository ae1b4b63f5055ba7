"""Whole experiments, tiny ones: runs, resumes, and everything that may go wrong on the way."""

import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import SLIDER, digest, full_thrust, write_rewarded_slider, write_slider
from helpers.processes import gps_command, python, wait_until

import gps
from gps import cli
from gps.callbacks import Callback
from gps.commands._interruption import Interruption
from gps.errors import ConfigError, CostFault, EnvironmentFault, GpsError
from gps.experiment import Experiment
from gps.runs import load_run
from gps.status import Status


def started(slider: Path, **options):
    return gps.run(slider, out=slider.parent / "runs", **options)


def with_task(slider: Path, code: str) -> Path:
    """Add the cost `cost` of this code."""
    return write_slider(slider, code, cost=[*SLIDER["cost"], {"name": "task"}])


def test_it_learns(slider):
    run = started(slider, overrides=["algorithm.step_multiplier.max=1"])
    costs = run.evaluation().costs
    assert (costs.sum(axis=(1, 2)) < 1.05 * full_thrust()).all()
    assert all((record.local.kl <= record.local.kl_bound * (1 + 1e-9)).all() for record in run.iterations)


def test_it_learns_from_rewards_alone(tmp_path):
    run = started(write_rewarded_slider(tmp_path / "slider"))
    rollouts, costs = run.evaluation().rollouts, run.evaluation().costs
    np.testing.assert_array_equal(costs, -rollouts.rewards)
    assert (costs.sum(axis=(1, 2)) < 1.05 * full_thrust(after_the_step=True)).all()


def test_with_rewards_too_run_four_is_run_two_and_resume_two(tmp_path):
    rewarded = write_rewarded_slider(tmp_path / "slider")
    whole = started(rewarded, iterations=4)
    part = started(rewarded, iterations=2)
    assert digest(whole) == digest(gps.resume(part.path, iterations=2))


def test_run_six_is_run_three_and_resume_three(slider):
    whole = started(slider, iterations=6)
    part = started(slider, iterations=3)
    resumed = gps.resume(part.path, iterations=3)
    assert digest(whole) == digest(resumed)
    np.testing.assert_array_equal(whole.evaluation().costs, resumed.evaluation().costs)


class Stages(Callback):
    """Remembers the stages, and what the run said to others in each."""

    def __init__(self):
        self.seen, self.told = [], []

    def on_start(self, run, config, total):
        self.run = run

    def on_stage(self, iteration, stage):
        self.seen.append((iteration, stage))
        self.told.append(load_run(self.run.path).stage)


def test_every_stage_is_announced_to_callbacks_and_to_other_processes(slider):
    watch, later = Stages(), Stages()
    run = started(slider, iterations=2, callbacks=[watch])
    iterations = [(k, stage) for k in (0, 1) for stage in ("sample", "fit", "improve")]
    assert watch.seen == [(0, "begin"), *iterations, (2, "evaluate")]
    assert watch.told[:2] == ["preparing the first episodes", "iteration 0 of 2: sampling"]
    assert watch.told[-2:] == ["iteration 1 of 2: improving what is learned", "evaluating what was learned"]
    assert run.stage == ""
    gps.resume(run.path, iterations=1, callbacks=[later])
    assert later.seen[0] == (2, "sample") and later.seen[-1] == (3, "evaluate")


def test_an_interrupt_before_the_first_episode_is_noticed_before_the_practice(slider, monkeypatch):
    interruption = Interruption()
    with pytest.raises(KeyboardInterrupt):
        interruption.interrupt(KeyboardInterrupt())  # somewhere it was swallowed
    monkeypatch.setattr(Experiment, "begin", None)  # calling it would fail
    with pytest.raises(KeyboardInterrupt):
        started(slider, callbacks=[interruption])


def test_resume_from_an_earlier_iteration_repeats_it_bit_for_bit(slider):
    run = started(slider)
    before = digest(run)
    assert digest(gps.resume(run.path, start=2)) == before
    assert digest(gps.resume(run.path, start=0)) == before


def test_a_resumed_run_keeps_its_settings_whatever_became_of_the_experiment(slider):
    with_task(slider, "def cost(x, u, t):\n    return 0.1 * x[1]**2\n")
    whole, part = started(slider, iterations=3), started(slider, iterations=2)
    settings = (slider / "experiment.toml").read_text()
    (slider / "experiment.toml").write_text(settings.replace("[algorithm]", "[algorithm]\nkl_step = 0.1"))
    (slider / "task.py").write_text("def cost(x, u, t):\n    return 5.0 * u[0]**2\n")
    assert digest(gps.resume(part.path, iterations=1)) == digest(whole)
    assert digest(started(slider, iterations=3)) != digest(whole)  # a new run takes the new ones


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("experiment.toml", "put it back: a run keeps the settings that it began with, and others need a new one"),
        ("source/task.py", "put it back, or start the experiment anew"),
    ],
)
def test_an_edited_copy_is_refused_in_one_line_and_nothing_is_lost(slider, capsys, name, advice):
    with_task(slider, "def cost(x, u, t):\n    return 0.1 * x[1]**2\n")
    run = started(slider, iterations=1)
    before, file = digest(run), run.path / name
    original = file.read_text()
    file.write_text(original.replace("0.1", "0.2") + "\n")
    for arguments in (["resume", str(run.path)], ["resume", str(run.path), "--from", "0"]):
        assert cli.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"gps: error: {file}: does not match its checksum: altered or truncated; {advice}")
        assert digest(run) == before
    file.write_text(original)
    assert len(gps.resume(run.path, iterations=1).iterations) == 2


def test_the_seed_decides_and_threads_do_not(slider):
    one = started(slider, seed=1, iterations=2, overrides=["environment.threads=1"])
    two = started(slider, seed=1, iterations=2, overrides=["environment.threads=2"])
    other = started(slider, seed=2, iterations=2)
    assert digest(one) == digest(two)
    assert digest(one) != digest(other)


def test_the_evaluation_is_of_the_final_controllers(slider):
    run = started(slider, iterations=2)
    rollouts = run.evaluation().rollouts
    final = run.iterations[-1].local.improved
    for m in range(2):
        first = final[m].act(rollouts.states[m, 0, 0], 0)
        np.testing.assert_allclose(np.clip(first, -1, 1), rollouts.actions[m, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    "override",
    [
        "algorithm.controller.execute=open_loop",
        "algorithm.controller.execute=feedback",
        "algorithm.controller.execute=fixed_noise",
        "algorithm.dynamics.fit=least_squares",
        "algorithm.dynamics.prior.name=none",
        "algorithm.constraint=per_step",
        "algorithm.solver=gradient",
        "algorithm.controller.smoothing=1.5",
        "algorithm.controller.initial.name=pd",
        "algorithm.controller.initial.name=zero",
    ],
)
def test_every_version_of_the_lecture_runs_and_stays_finite(slider, override):
    run = started(slider, iterations=3, overrides=[override])
    record = run.iterations[-1]
    assert np.isfinite(record.local.improved.feedback).all()
    assert np.isfinite(record.mean_cost).all()


def test_controllers_of_an_earlier_run_are_a_start(slider):
    run = started(slider, iterations=2)
    override = ["algorithm.controller.initial.name=file", f"algorithm.controller.initial.path={run.path.resolve()}"]
    again = started(slider, iterations=1, overrides=override)
    np.testing.assert_array_equal(
        again.iterations[0].local.controllers.feedback, run.iterations[-1].local.improved.feedback
    )


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("horizon", [2, 5])
def test_few_samples_and_few_steps(slider, samples, horizon):
    overrides = [f"algorithm.samples={samples}", f"environment.horizon={horizon}"]
    run = started(slider, iterations=3, overrides=overrides)
    for record in run.iterations:
        assert np.isfinite(record.local.improved.feedforward).all()
        assert np.isfinite(record.local.search.kl).all()


def test_one_state_and_one_action(slider):
    overrides = ['environment.state=["qvel"]', "algorithm.controller.initial.name=zero", "cost.0.on=qvel"]
    run = started(slider, iterations=2, overrides=overrides)
    assert run.iterations[-1].local.improved.feedback.shape == (2, 12, 1, 1)


# -- trouble -----------------------------------------------------------------------------------------------------------


def test_a_cost_of_nan_is_named_and_what_was_learned_stays(slider):
    code = "import jax.numpy as jnp\ndef cost(x, u, t):\n    return jnp.where(t == 7, jnp.sqrt(-1.0 - x[0]**2), 0.0)\n"
    with pytest.raises(CostFault, match=r"value of the cost is not finite at condition 0, sample 0, step 7"):
        started(with_task(slider, code))


def test_an_indefinite_cost_still_learns(slider):
    code = "def cost(x, u, t):\n    return -0.3 * x[1]**2 + 0.1 * x[0] * x[1]\n"
    run = started(with_task(slider, code), iterations=3)
    for record in run.iterations:
        assert np.isfinite(record.local.improved.covariance).all()
        assert (np.linalg.eigvalsh(record.local.improved.covariance) > 0).all()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def cost(x, u, t):\n    return x\n", "expected a real scalar"),
        ("def cost(x, u, t):\n    return x[17] + undefined\n", "NameError"),
        ("def wrong(x, u, t):\n    return 0.0\n", "no 'cost'"),
        ("def cost(:\n", "SyntaxError"),
    ],
)
def test_a_task_that_does_not_fit(slider, code, message):
    with pytest.raises(ConfigError, match=message) as caught:
        started(with_task(slider, code))
    assert "task.py" in str(caught.value)


ENVIRONMENT = """
import numpy as np
from pathlib import Path
from gps.environments.mujoco import MujocoEnv

class Slider(MujocoEnv):
    calls = 0
    def __init__(self, num_envs, **options):
        super().__init__(num_envs, mjcf=Path(__file__).with_name("slider.xml"), state=["qpos", "qvel"], **options)
    def step(self, actions):
        result = super().step(actions)
        type(self).calls += 1
        {trouble}
        return result
"""


def with_environment(slider: Path, trouble: str) -> Path:
    code = ENVIRONMENT.replace("{trouble}", trouble)
    return write_slider(slider, code, environment={"mjcf": None, "id": "task:Slider"})


def test_an_environment_that_raises_in_the_third_iteration(slider):
    trouble = "if self.calls > 30: raise OSError('the motor is hot')"
    with pytest.raises(EnvironmentFault, match="step 6: OSError: the motor is hot"):
        started(with_environment(slider, trouble))
    left = gps.load_run(slider.parent / "runs")
    assert len(left.iterations) == 2
    assert np.isfinite(left.iterations[1].local.improved.feedback).all()


def test_an_environment_that_returns_nan(slider):
    trouble = "result[0][1, 0] = np.nan if self.calls == 5 else result[0][1, 0]"
    with pytest.raises(EnvironmentFault, match="not finite: condition 0, sample 1, step 5, entry 0"):
        started(with_environment(slider, trouble))


def test_samples_that_diverge_are_left_out_and_said(slider):
    trouble = "result[2][1] |= self.calls % 12 == 6; result[4]['diverged'][1] |= self.calls % 12 == 6"
    run = started(with_environment(slider, trouble), iterations=2)
    record = run.iterations[0]
    assert record.statuses[0] is Status.SAMPLES_DROPPED
    assert "1 of 4" in record.messages[0]
    assert not record.rollouts.mask[0, 1, 5:].any()
    assert record.rollouts.mask[0, [0, 2, 3]].all()
    assert np.isfinite(record.local.improved.feedback).all()


def test_a_condition_without_a_usable_sample_keeps_its_controller(slider):
    trouble = "result[2][:4] = True; result[4]['diverged'][:4] = True"
    run = started(with_environment(slider, trouble), iterations=2)
    for record in run.iterations:
        assert record.statuses[0] is Status.NO_VALID_SAMPLES
        np.testing.assert_array_equal(record.local.improved.feedback[0], record.local.controllers.feedback[0])
        assert np.isfinite(record.local.improved.feedback[1]).all()
        assert (record.local.improved.feedback[1] != record.local.controllers.feedback[1]).any()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("environment.conditions=[{qpso=[0.0]}]", "did you mean 'qpos'"),
        ('environment.state=["qpos", "qvle"]', "did you mean 'qvel'"),
        ("environment.mjcf=nowhere.xml", "nowhere.xml"),
        ("cost.0.on=qpoz", "did you mean 'qpos'"),
        ("cost.0.target=[1.0, 2.0]", "expected one number or 1, got 2"),
        ('environment.state=["qpos"]', 'name = "hold"'),
        ("algorithm.controller.initial.gain=[1.0, 2.0]", "expected one number or 1, got 2"),
    ],
)
def test_what_cannot_be_built_is_one_clear_sentence(slider, override, message):
    with pytest.raises(GpsError) as caught:
        started(slider, overrides=[override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gps/PegInsertoin-v0", "CartPole-v1", "no.such.module:Env-v0"])
def test_an_environment_that_is_none_of_ours(slider, name):
    write_slider(slider, environment={"mjcf": None, "frame_skip": None, "id": name})
    with pytest.raises(ConfigError, match="environment"):
        started(slider)


def test_check_tells_what_it_found(slider):
    lines = str(gps.check(slider))
    assert "2 conditions, T = 12, dx = 2, du = 1, dt = 0.05 s" in lines
    assert "qpos [0:1], qvel [1:2]" in lines


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not(slider, kill):
    """Killed or interrupted in the middle, then resumed: the same bits as a run that was left alone."""
    out = slider.parent / "stopped"
    output = subprocess.PIPE
    with gps_command("run", slider, "--out", out, "--iterations", 400, stdout=output, stderr=subprocess.STDOUT) as run:
        wait_until(lambda: list(out.glob("slider/*/iterations/003")) or run.poll() is not None)
        assert run.poll() is None
        run.send_signal(kill)
        said, _ = run.communicate(timeout=60)
    stopped = gps.load_run(out)
    if kill != signal.SIGKILL:
        how, code = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("ended by SIGTERM", 143)}[kill]
        assert run.returncode == code
        iterations = f"{len(stopped.iterations)} complete iterations on disk"
        *_, line, last = said.splitlines()
        assert line == f"gps: {how}; {iterations}; to continue: gps resume {stopped.path}"
        assert last == str(stopped.path)
    done = len(stopped.iterations)
    assert 4 <= done < 400
    resumed = gps.resume(stopped.path, iterations=2)
    assert digest(resumed) == digest(started(slider, iterations=done + 2))


def test_the_last_line_is_the_run_directory(slider):
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with gps_command("run", slider, "--out", slider.parent / "runs", "--iterations", 2, **output) as process:
        out, err = process.communicate()
    assert process.returncode == 0
    assert gps.load_run(out.splitlines()[-1]).seed == 0
    assert err == ""


def test_ctrl_c_after_the_end_says_nothing():
    program = (
        "import gps.cli, signal, os\n"
        "gps.cli.main = lambda: 130\n"
        "code = gps.cli.script()\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('never')"
    )
    with python("-c", program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        said = process.communicate()
    assert (process.returncode, said) == (-signal.SIGINT, ("", ""))
