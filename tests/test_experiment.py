"""Whole experiments, tiny ones: runs, resumes, and everything that may go wrong on the way."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gps
from gps.errors import ConfigError, CostFault, EnvironmentFault, GpsError
from gps.records import Status

SLIDER = """
<mujoco>
  <option timestep="0.01"/>
  <worldbody>
    <body><joint name="x" type="slide" axis="1 0 0" damping="0.1"/><geom size="0.1" mass="1"/><site name="tip"/></body>
    <site name="goal" pos="1 0 0"/>
  </worldbody>
  <actuator><motor joint="x" gear="5" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""

EXPERIMENT = """
[environment]
mjcf = "slider.xml"
frame_skip = 5
horizon = 12
conditions = [{ qpos = [0.0] }, { qpos = [-0.5] }]

[algorithm]
iterations = 6
samples = 4

[algorithm.controller]
initial = { name = "lqr", noise = 0.3 }

[[cost]]
name = "quadratic"
on = "qpos"
target = 1.0

[[cost]]
name = "quadratic"
weight = 0.01
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A 1-joint slider: dx = 2, du = 1, T = 12."""
    folder = tmp_path / "slider"
    folder.mkdir()
    (folder / "slider.xml").write_text(SLIDER)
    (folder / "experiment.toml").write_text(EXPERIMENT)
    return folder


def started(experiment: Path, **options):
    return gps.run(experiment, out=experiment.parent / "runs", **options)


def digest(run) -> dict[str, str]:
    """The checksum of every file of a run's iterations, but what tells the time."""
    files = sorted((run.path / "iterations").rglob("*.npz"))
    return {
        str(file.relative_to(run.path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.name != "timing.npz"
    }


def with_task(experiment: Path, code: str) -> Path:
    (experiment / "task.py").write_text(code)
    text = (experiment / "experiment.toml").read_text()
    (experiment / "experiment.toml").write_text(text + '\n[[cost]]\nname = "task"\n')
    return experiment


def full_thrust(after_the_step: bool = False) -> np.ndarray:
    """The cost of pushing with all force from each start: the goal is too far to be reached within T."""
    costs = []
    for x in (0.0, -0.5):
        v = cost = 0.0
        for _ in range(12):
            before = x
            for _ in range(5):
                v += 0.01 * (5.0 - 0.1 * v)
                x += 0.01 * v
            cost += 0.5 * ((x if after_the_step else before) - 1.0) ** 2 + 0.5 * 0.01
        costs.append(cost)
    return np.array(costs)


def test_it_learns(experiment):
    run = started(experiment)
    _, costs = run.evaluation
    assert (costs.sum(axis=(1, 2)) < 1.05 * full_thrust()).all()
    assert all((record.kl <= record.kl_bound * (1 + 1e-9)).all() for record in run.iterations)


REWARDED = """
from pathlib import Path
from gps.environments.mujoco import MujocoEnv

class Slider(MujocoEnv):
    def __init__(self, num_envs, **options):
        super().__init__(num_envs, mjcf=Path(__file__).with_name("slider.xml"), state=["qpos", "qvel"], **options)

    def reward(self, states, actions):
        return -0.5 * (states[:, 0] - 1.0) ** 2 - 0.005 * actions[:, 0] ** 2
"""


@pytest.fixture
def rewarded(experiment: Path) -> Path:
    """The slider, whose cost is known from its rewards alone."""
    text = EXPERIMENT.replace('mjcf = "slider.xml"', 'id = "task:Slider"').partition("[[cost]]")[0]
    (experiment / "experiment.toml").write_text('cost = "reward"\n' + text)
    code = REWARDED.replace("__file__", repr(str(experiment / "task.py")))  # the run keeps a copy, elsewhere
    (experiment / "task.py").write_text(code)
    return experiment


def test_it_learns_from_rewards_alone(rewarded):
    run = started(rewarded)
    rollouts, costs = run.evaluation
    np.testing.assert_array_equal(costs, -rollouts.rewards)
    assert (costs.sum(axis=(1, 2)) < 1.05 * full_thrust(after_the_step=True)).all()


def test_with_rewards_too_run_four_is_run_two_and_resume_two(rewarded):
    whole = started(rewarded, iterations=4)
    part = started(rewarded, iterations=2)
    assert digest(whole) == digest(gps.resume(part.path, iterations=2))


def test_run_six_is_run_three_and_resume_three(experiment):
    whole = started(experiment, iterations=6)
    part = started(experiment, iterations=3)
    resumed = gps.resume(part.path, iterations=3)
    assert digest(whole) == digest(resumed)
    np.testing.assert_array_equal(whole.evaluation[1], resumed.evaluation[1])


def test_resume_from_an_earlier_iteration_repeats_it_bit_for_bit(experiment):
    run = started(experiment)
    before = digest(run)
    assert digest(gps.resume(run.path, start=2)) == before
    assert digest(gps.resume(run.path, start=0)) == before


def test_the_seed_decides_and_threads_do_not(experiment):
    one = started(experiment, seed=1, iterations=2, overrides=["environment.threads=1"])
    two = started(experiment, seed=1, iterations=2, overrides=["environment.threads=2"])
    other = started(experiment, seed=2, iterations=2)
    assert digest(one) == digest(two)
    assert digest(one) != digest(other)


def test_the_evaluation_is_of_the_final_controllers(experiment):
    run = started(experiment, iterations=2)
    rollouts, _ = run.evaluation
    final = run.iterations[-1].improved
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
def test_every_version_of_the_lecture_runs_and_stays_finite(experiment, override):
    run = started(experiment, iterations=3, overrides=[override])
    record = run.iterations[-1]
    assert np.isfinite(record.improved.feedback).all()
    assert np.isfinite(record.mean_cost).all()


def test_controllers_of_an_earlier_run_are_a_start(experiment):
    run = started(experiment, iterations=2)
    override = ["algorithm.controller.initial.name=file", f"algorithm.controller.initial.path={run.path.resolve()}"]
    again = started(experiment, iterations=1, overrides=override)
    np.testing.assert_array_equal(again.iterations[0].controllers.feedback, run.iterations[-1].improved.feedback)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("horizon", [2, 5])
def test_few_samples_and_few_steps(experiment, samples, horizon):
    overrides = [f"algorithm.samples={samples}", f"environment.horizon={horizon}"]
    run = started(experiment, iterations=3, overrides=overrides)
    for record in run.iterations:
        assert np.isfinite(record.improved.feedforward).all()
        assert np.isfinite(record.search.kl).all()


def test_one_state_and_one_action(experiment):
    overrides = ['environment.state=["qvel"]', "algorithm.controller.initial.name=zero", "cost.0.on=qvel"]
    run = started(experiment, iterations=2, overrides=overrides)
    assert run.iterations[-1].improved.feedback.shape == (2, 12, 1, 1)


# -- trouble -----------------------------------------------------------------------------------------------------------


def test_a_cost_of_nan_is_named_and_what_was_learned_stays(experiment):
    code = "import jax.numpy as jnp\ndef cost(x, u, t):\n    return jnp.where(t == 7, jnp.sqrt(-1.0 - x[0]**2), 0.0)\n"
    with pytest.raises(CostFault, match=r"value of the cost is not finite at condition 0, sample 0, step 7"):
        started(with_task(experiment, code))


def test_an_indefinite_cost_still_learns(experiment):
    code = "def cost(x, u, t):\n    return -0.3 * x[1]**2 + 0.1 * x[0] * x[1]\n"
    run = started(with_task(experiment, code), iterations=3)
    for record in run.iterations:
        assert np.isfinite(record.improved.covariance).all()
        assert (np.linalg.eigvalsh(record.improved.covariance) > 0).all()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def cost(x, u, t):\n    return x\n", "expected a real scalar"),
        ("def cost(x, u, t):\n    return x[17] + undefined\n", "NameError"),
        ("def wrong(x, u, t):\n    return 0.0\n", "no 'cost'"),
        ("def cost(:\n", "SyntaxError"),
    ],
)
def test_a_task_that_does_not_fit(experiment, code, message):
    with pytest.raises(ConfigError, match=message) as caught:
        started(with_task(experiment, code))
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


def with_environment(experiment: Path, trouble: str) -> Path:
    (experiment / "task.py").write_text(ENVIRONMENT.replace("{trouble}", trouble))
    text = (experiment / "experiment.toml").read_text().replace('mjcf = "slider.xml"', 'id = "task:Slider"')
    (experiment / "experiment.toml").write_text(text)
    return experiment


def test_an_environment_that_raises_in_the_third_iteration(experiment):
    trouble = "if self.calls > 30: raise OSError('the motor is hot')"
    with pytest.raises(EnvironmentFault, match="step 6: OSError: the motor is hot"):
        started(with_environment(experiment, trouble))
    left = gps.load_run(experiment.parent / "runs")
    assert len(left.iterations) == 2
    assert np.isfinite(left.iterations[1].improved.feedback).all()


def test_an_environment_that_returns_nan(experiment):
    trouble = "result[0][1, 0] = np.nan if self.calls == 5 else result[0][1, 0]"
    with pytest.raises(EnvironmentFault, match="not finite: condition 0, sample 1, step 5, entry 0"):
        started(with_environment(experiment, trouble))


def test_samples_that_diverge_are_left_out_and_said(experiment):
    trouble = "result[2][1] |= self.calls % 12 == 6; result[4]['diverged'][1] |= self.calls % 12 == 6"
    run = started(with_environment(experiment, trouble), iterations=2)
    record = run.iterations[0]
    assert record.statuses[0] is Status.SAMPLES_DROPPED
    assert "1 of 4" in record.messages[0]
    assert not record.rollouts.mask[0, 1, 5:].any()
    assert record.rollouts.mask[0, [0, 2, 3]].all()
    assert np.isfinite(record.improved.feedback).all()


def test_a_condition_without_a_usable_sample_keeps_its_controller(experiment):
    trouble = "result[2][:4] = True; result[4]['diverged'][:4] = True"
    run = started(with_environment(experiment, trouble), iterations=2)
    for record in run.iterations:
        assert record.statuses[0] is Status.NO_VALID_SAMPLES
        np.testing.assert_array_equal(record.improved.feedback[0], record.controllers.feedback[0])
        assert np.isfinite(record.improved.feedback[1]).all()
        assert (record.improved.feedback[1] != record.controllers.feedback[1]).any()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("environment.conditions=[{qpso=[0.0]}]", "did you mean 'qpos'"),
        ('environment.state=["qpos", "qvle"]', "did you mean 'qvel'"),
        ("environment.mjcf=nowhere.xml", "nowhere.xml"),
        ("cost.0.on=qpoz", "did you mean 'qpos'"),
        ("cost.0.target=[1.0, 2.0]", "expected one number or 1, got 2"),
        ('environment.state=["qpos"]', 'name = "zero"'),
        ("algorithm.controller.initial.gain=[1.0, 2.0]", "expected one number or 1, got 2"),
    ],
)
def test_what_cannot_be_built_is_one_clear_sentence(experiment, override, message):
    with pytest.raises(GpsError) as caught:
        started(experiment, overrides=[override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gps/PegInsertoin-v0", "CartPole-v1", "no.such.module:Env-v0"])
def test_an_environment_that_is_none_of_ours(experiment, name):
    text = (experiment / "experiment.toml").read_text().replace('mjcf = "slider.xml"', f'id = "{name}"')
    (experiment / "experiment.toml").write_text(text.replace("frame_skip = 5\n", ""))
    with pytest.raises(ConfigError, match="environment"):
        started(experiment)


def test_check_tells_what_it_found(experiment):
    lines = str(gps.check(experiment))
    assert "2 conditions, T = 12, dx = 2, du = 1, dt = 0.05 s" in lines
    assert "qpos [0:1], qvel [1:2]" in lines


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "gps.cli", *map(str, arguments)]


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not(experiment, kill):
    """Killed or interrupted in the middle, then resumed: the same bits as a run that was left alone."""
    out = experiment.parent / "stopped"
    process = subprocess.Popen(
        command("run", experiment, "--out", out, "--iterations", 40),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(out.glob("slider/*/iterations/003")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(kill)
    output, _ = process.communicate(timeout=60)
    if kill == signal.SIGINT:
        assert process.returncode == 130
        assert "resume" in output
    stopped = gps.load_run(out)
    done = len(stopped.iterations)
    assert 4 <= done < 40
    resumed = gps.resume(stopped.path, iterations=2)
    assert digest(resumed) == digest(started(experiment, iterations=done + 2))


def test_the_last_line_is_the_run_directory(experiment):
    finished = subprocess.run(
        command("run", experiment, "--out", experiment.parent / "runs", "--iterations", 2),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert gps.load_run(finished.stdout.splitlines()[-1]).seed == 0
    assert finished.stderr == ""


def test_ctrl_c_after_the_end_says_nothing():
    program = (
        "import gps.cli, signal, os\n"
        "gps.cli.main = lambda: 130\n"
        "code = gps.cli.script()\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "print('never')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")
