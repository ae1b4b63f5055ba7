"""Algorithms that learn through a model, stopped in the middle of an iteration: they go on with the same bits."""

import errno
import os
import re
import signal

import pytest
from helpers.experiments import POINT_MASS, changed, digest, write
from helpers.processes import run_python

import gps
from gps.callbacks import Callback
from gps.errors import RunError
from gps.networks import GRU

REMEMBERING = changed(
    POINT_MASS,
    algorithm={
        "name": "policy_backprop", "iterations": 3, "samples": 2, "model": "linear", "episodes": 6, "updates": 2,
        "policy": {"network": "gru", "hidden": [4]}, "optimiser": "adam",
    },
)  # fmt: skip


class At(Callback):
    """Does something when a stage of an iteration begins."""

    def __init__(self, iteration, stage, act):
        self.when, self.act = (iteration, stage), act

    def on_stage(self, iteration, stage):
        if (iteration, stage) == self.when:
            self.act()


def interrupt():
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def remembering(tmp_path_factory):
    """An experiment whose policy has a memory, and its undisturbed run, to read and not to write."""
    folder = tmp_path_factory.mktemp("remembering")
    experiment = write(folder / "point", REMEMBERING)
    return experiment, gps.run(experiment, out=folder / "runs")


def test_a_policy_with_a_memory_goes_on_after_an_interrupt(remembering, tmp_path):
    experiment, whole = remembering
    with pytest.raises(KeyboardInterrupt):
        gps.run(experiment, out=tmp_path, callbacks=[At(1, "improve", interrupt)])
    stopped = gps.load_run(tmp_path)
    assert len(stopped.iterations) == 1
    resumed = gps.resume(stopped.path)
    assert digest(resumed) == digest(whole)
    assert isinstance(gps.learned(resumed).network, GRU)
    assert [record.optimisation.trained for record in resumed.iterations] == [True] * 3


def test_a_disk_that_is_full_is_one_clear_error_and_the_run_goes_on_later(remembering, tmp_path, monkeypatch):
    experiment, whole = remembering

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        filling = At(1, "improve", lambda: patch.setattr(os, "fsync", fail))
        with pytest.raises(RunError, match=re.escape(os.strerror(errno.ENOSPC))) as error:
            gps.run(experiment, out=tmp_path, callbacks=[filling])
    stopped = gps.load_run(tmp_path)
    assert str(error.value).startswith(str(stopped.path)) and "\n" not in str(error.value)
    stopped.verify()
    assert len(stopped.iterations) == 1
    assert digest(gps.resume(stopped.path)) == digest(whole)


LINE = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box

class Line(gymnasium.Env):
    observation_space, action_space = Box(-np.inf, np.inf, (1,)), Box(-1.0, 1.0, (1,))

    def reset(self, *, seed=None, options=None):
        self.x = np.ones(1)
        return self.x.copy(), {}

    def step(self, action):
        self.x = 0.9 * self.x + 0.3 * np.sin(self.x) + 0.5 * action
        return self.x.copy(), 0.0, False, False, {}
"""

ON_LINE = {
    "environment": {"id": "task:Line", "horizon": 12, "threads": 1},
    "algorithm": {
        "name": "pilco", "iterations": 2, "policy": {"features": 3}, "model": {"restarts": 1, "iterations": 10},
        "optimiser": {"iterations": 3, "restarts": 0},
    },
    "cost": [{"name": "quadratic", "on": "observation"}, {"name": "quadratic", "weight": 0.1}],
}  # fmt: skip

KILLED = """
import os, signal, sys
import gps
from gps.algorithms.through_models import pilco
from gps.callbacks import Callback

evaluations = []

class Watch(Callback):
    def on_stage(self, iteration, stage):
        if (iteration, stage) == (1, "improve"):
            evaluate = pilco.value_and_gradient
            def evaluate_and_die(scene, policy):
                evaluations.append(evaluate(scene, policy))
                if len(evaluations) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return evaluations[-1]
            pilco.value_and_gradient = evaluate_and_die

gps.run(sys.argv[1], out=sys.argv[2], callbacks=[Watch()])
"""


def test_pilco_goes_on_after_a_kill_in_its_search(tmp_path):
    experiment = write(tmp_path / "line", ON_LINE, LINE)
    whole = gps.run(experiment, out=tmp_path / "whole")
    assert all(record.optimisation.trained for record in whole.iterations)
    done = run_python("-c", KILLED, experiment, tmp_path / "killed")
    assert done.returncode == -signal.SIGKILL, done.stderr
    stopped = gps.load_run(tmp_path / "killed")
    assert len(stopped.iterations) == 1
    assert digest(gps.resume(stopped.path)) == digest(whole)
