"""A robot in another process, behind a socket, that exists once: sampled one rollout at a time."""

import json
import socket
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from helpers.experiments import write
from helpers.processes import robot

import gps
from gps.cli import main
from gps.errors import EnvironmentFault
from gps.status import Status

TASK = '''
import json
import socket
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium.spaces import Box


class Robot(gymnasium.Env):
    """Knows nothing but how to ask the server."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float64)
    action_space = Box(-1.0, 1.0, (1,), np.float64)

    def __init__(self, port_file):
        self.connection = socket.create_connection(("127.0.0.1", int(Path(port_file).read_text())), timeout=20)
        self.stream = self.connection.makefile("rw")

    def ask(self, **order):
        self.stream.write(json.dumps(order) + "\\n")
        self.stream.flush()
        line = self.stream.readline()
        if not line:
            raise ConnectionError("the robot has hung up")
        answer = json.loads(line)
        return np.array([answer["x"], answer["v"]])

    def reset(self, *, seed=None, options=None):
        return self.ask(do="reset", start=options["start"]), {}

    def step(self, action):
        return self.ask(do="step", force=float(action[0])), 0.0, False, False, {}

    def close(self):
        self.stream.close()
        self.connection.close()


class Simulated(gymnasium.Env):
    """The same without a server."""

    observation_space, action_space = Robot.observation_space, Robot.action_space

    def reset(self, *, seed=None, options=None):
        self.x, self.v = options["start"], 0.0
        return np.array([self.x, self.v]), {}

    def step(self, action):
        self.v += 0.1 * float(action[0])
        self.x += 0.1 * self.v
        return np.array([self.x, self.v]), 0.0, False, False, {}


def too_far(state, action, t):
    return "it left the table" if abs(state[0]) > 1.005 else None
'''

EXPERIMENT = {
    "environment": {
        "id": "task:Robot", "sampling": "one_at_a_time", "horizon": 8, "conditions": [{"start": 1.0}, {"start": -0.5}],
    },
    "algorithm": {"iterations": 2, "samples": 3},
    "cost": [{"name": "quadratic", "on": "observation"}, {"name": "quadratic", "weight": 0.01}],
}  # fmt: skip


@pytest.fixture
def serve(tmp_path):
    """Starts the robot; it dies in the middle of a step after `lifetime` of them."""
    with ExitStack() as stack:

        def start(lifetime="inf"):
            port_file = tmp_path / "port"
            stack.enter_context(robot(port_file, lifetime))
            return f"environment.options.port_file={str(port_file)!r}"

        yield start


@pytest.fixture
def experiment(tmp_path):
    return write(tmp_path / "robot", EXPERIMENT, TASK)


def started(experiment, *overrides, **options):
    return gps.run(experiment, out=experiment.parent / "runs", overrides=overrides, **options)


def asked(port):
    """How often the robot was asked to reset and to step."""
    port_file = port.partition("=")[2].strip("'")
    with socket.create_connection(("127.0.0.1", int(Path(port_file).read_text()))) as client:
        client.sendall(b'{"do": "count"}\n')
        counts = json.loads(client.makefile().readline())
    return counts["reset"], counts["step"]


def assert_same(run, other):
    for record, twin in zip(run.iterations, other.iterations, strict=True):
        for name in ("states", "actions", "mask"):
            np.testing.assert_array_equal(getattr(record.rollouts, name), getattr(twin.rollouts, name))
        np.testing.assert_array_equal(record.local.improved.feedforward, twin.local.improved.feedforward)
    np.testing.assert_array_equal(run.evaluation().costs, other.evaluation().costs)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_one_robot_and_its_rollouts_are_those_of_a_batch(experiment, serve, threads):
    port = serve()
    robot = started(experiment, port, f"environment.threads={threads}")
    resets, steps = asked(port)
    assert resets == 2 + 2 * 6 + 2  # the starts, two iterations, the evaluation
    assert steps == (2 * 6 + 2) * 8
    simulated = started(experiment, "environment.id=task:Simulated", "environment.sampling=batch")
    assert_same(robot, simulated)
    assert robot.iterations[1].mean_cost.sum() < robot.iterations[0].mean_cost.sum()


def test_one_that_dies_in_mid_rollout_loses_nothing(experiment, serve):
    """It dies in step 61, and that is the 5th of the second sample in the second iteration."""
    with pytest.raises(
        EnvironmentFault, match=r"condition 0, sample 1, step 4: .*ConnectionError: the robot has hung up"
    ):
        started(experiment, serve(lifetime=60))
    left = gps.load_run(experiment.parent / "runs")
    assert len(left.iterations) == 1
    serve()  # it writes its new port to the same file
    resumed = gps.resume(left.path)
    whole = started(experiment, "environment.id=task:Simulated", "environment.sampling=batch")
    assert_same(resumed, whole)


def test_an_abort_keeps_the_data_and_says_why(experiment, serve, capsys):
    overrides = ["environment.abort=too_far", "environment.action_limits=[-0.75, [0.5]]"]
    run = started(experiment, serve(), *overrides)
    record = run.iterations[0]
    assert record.statuses == [Status.SAMPLES_DROPPED, Status.OK]
    first = record.rollouts.aborts[0]
    assert (first.condition, first.reason) == (0, "it left the table")
    assert f"Sample {first.sample} was aborted after step {first.step}: it left the table." in record.messages[0]
    mask = record.rollouts.mask[first.condition, first.sample]
    assert mask.sum() == first.step + 1 < 8
    assert record.rollouts.actions.min() >= -0.75 and record.rollouts.actions.max() <= 0.5
    np.testing.assert_allclose(record.local.controllers.covariance[0, 0], [[(1.25 / 4) ** 2]])
    assert main(["show", str(run.path), "--iteration", "0"]) == 0
    assert "it left the table" in capsys.readouterr().out
    simulated = started(experiment, "environment.id=task:Simulated", "environment.sampling=batch", *overrides)
    assert_same(run, simulated)


def test_each_reset_is_asked_for(experiment, serve, monkeypatch, capsys):
    questions = []

    def confirm(question):
        questions.append(question)
        return True

    override = "environment.confirm_reset=true"
    started(experiment, serve(), override, confirm=confirm)
    assert len(questions) == 2 + 2 * 6 + 2
    assert questions[0] == "Reset the environment to {'start': 1.0}?"

    with pytest.raises(EnvironmentFault, match="declined"):
        started(experiment, serve(), override, confirm=lambda question: False)

    monkeypatch.setattr("sys.stdin", None)
    out = experiment.parent / "none"
    arguments = ["run", str(experiment), "--out", str(out), "--set", override, "--set", serve()]
    assert main(arguments) == 2
    assert "confirm_reset: there is no terminal to ask on" in capsys.readouterr().err
    assert not out.exists()


def test_a_robot_that_is_not_there(experiment, tmp_path, capsys):
    (tmp_path / "port").write_text("1")
    arguments = ["run", str(experiment), "--set", f"environment.options.port_file={str(tmp_path / 'port')!r}"]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gps: error: environment.id: 'task:Robot' cannot be made: ConnectionRefusedError")
