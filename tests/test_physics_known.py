"""What is known of a simulator besides its parameters: a position that the state lacks and that does not matter."""

import numpy as np
import pytest
from helpers.experiments import SLIDER, SLIDER_MJCF, write

import gps
from gps import cli
from gps.config import load
from gps.errors import ConfigError
from gps.experiment import Experiment

PHYSICS = {
    "name": "physics", "assumed": {"qpos:x": -3.0}, "parameters": {"dof_damping": {"x": [0.01, 1.0]}},
}  # fmt: skip


def write_speeds(folder, **algorithm):
    """The slider whose place is not in its state, and which is to be fast."""
    algorithm = {
        "name": "mbrl",
        "samples": 2,
        "iterations": 1,
        "planner": "ilqr",
        "model": PHYSICS,
        "controller": {"initial": {"name": "zero"}},
    } | algorithm
    folder = write(
        folder, SLIDER, environment={"state": ["qvel"]}, algorithm=algorithm,
        cost=({"name": "quadratic", "on": "qvel", "target": 0.5},),
    )  # fmt: skip
    (folder / "slider.xml").write_text(SLIDER_MJCF)
    return folder


def test_a_stored_simulator_goes_on_with_what_was_assumed(tmp_path):
    run = gps.run(write_speeds(tmp_path / "speeds"), out=tmp_path / "runs")
    file, assumed = tmp_path / "model.npz", "model.assumed={'qpos:x'=-3.0}"
    bounds = "model.parameters={dof_damping={x=[0.01, 1.0]}}"
    assert (
        cli.main(["fit", str(run.path), "-o", str(file), "--model", "physics", "--set", assumed, "--set", bounds]) == 0
    )
    folder = write_speeds(tmp_path / "stored", model={"path": str(file)}, base_iterations=0, noise=0.0)
    (record,) = gps.run(folder, out=tmp_path / "runs").iterations
    np.testing.assert_allclose(record.planner.predicted, record.planner.actual, rtol=1e-6)
    np.testing.assert_allclose(record.rollouts.states[:, 0, 6:, 0], 0.5, atol=0.05)


def test_a_position_that_is_missing_is_named_with_the_key_that_helps(tmp_path):
    folder = write_speeds(tmp_path / "speeds", model={**PHYSICS, "assumed": {}})
    with pytest.raises(ConfigError, match=r"it lacks qpos:x; add the parts to environment\.state, or set `assumed = "):
        Experiment(load(folder), folder)
