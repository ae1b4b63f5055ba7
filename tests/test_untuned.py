"""Robots that nobody tuned, learned with the defaults: an arm in three kinds of drive, and a pole on a cart."""

import numpy as np
import pytest
from helpers.robots import ARM_EXPERIMENT, POLE, POLE_EXPERIMENT, make_arm, write_robot

import gps


@pytest.mark.parametrize("drive", ["motor", "position", "velocity"])
def test_an_arm_reaches_its_goal_whatever_its_drive(tmp_path, drive):
    run = gps.run(write_robot(tmp_path / drive, make_arm(drive), ARM_EXPERIMENT), out=tmp_path)
    states = run.evaluation().rollouts.states
    assert np.linalg.norm(states[0, 0, -1, -3:]) < 0.02  # m
    for record in run.iterations:
        if all(status.ok for status in record.statuses):
            assert np.abs(record.local.predicted).max() < 10 * np.abs(record.costs).sum(axis=2).mean()


@pytest.mark.parametrize("seed", range(3))
def test_a_pole_is_balanced_within_two_thousand_steps(tmp_path, seed):
    run = gps.run(write_robot(tmp_path / "pole", POLE, POLE_EXPERIMENT), out=tmp_path, seed=seed)
    assert run.evaluation().costs.sum(axis=2).mean() < 0.2
    assert run.iterations[-1].environment_steps <= 2000
