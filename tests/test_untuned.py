"""Systems that nobody tuned, learned with the defaults: an arm in three drives, a pole, a heater, a goal to reach."""

import numpy as np
import pytest
from helpers.experiments import write
from helpers.robots import (
    ARM_EXPERIMENT,
    HEATER,
    HEATER_EXPERIMENT,
    POLE,
    POLE_EXPERIMENT,
    make_arm,
    write_robot,
)

import gps
from gps import cli
from gps.status import Status


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


def test_a_heater_is_steered_within_a_range_without_zero(tmp_path):
    """Nearly as well as by full heat until the room is warm, and then the set point itself."""
    room, best = np.float64(12.0), 0.0
    for _ in range(30):
        best += 0.5 * (room - 21.0) ** 2
        room += 0.1 * (np.clip(21.0 + 9.0 * (21.0 - room), 15.0, 25.0) - room)
    run = gps.run(write(tmp_path / "heater", HEATER_EXPERIMENT, HEATER), out=tmp_path)
    assert run.evaluation().costs.sum() < 1.03 * best


GOAL = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

ANY = {"low": -np.inf, "high": np.inf, "dtype": np.float64}

class Reach(gymnasium.Env):
    observation_space = Dict({"achieved_goal": Box(shape=(2,), **ANY), "desired_goal": Box(shape=(2,), **ANY),
                              "observation": Box(shape=(6,), **ANY)})
    action_space = Box(-1.0, 1.0, (3,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.speed = np.array([1.3, 0.7]), np.zeros(2)
        self.goal = self.place + self.np_random.uniform(-0.2, 0.2, 2)
        return self.see(), {}

    def see(self):
        fingers = np.zeros(2)  # blocked: they never move
        return {"achieved_goal": self.place.copy(), "desired_goal": self.goal.copy(),
                "observation": np.concatenate([self.place, fingers, self.speed])}

    def step(self, action):
        self.speed = 0.5 * self.speed + 0.25 * action[:2]  # the third action is that of the fingers
        self.place = self.place + 0.04 * self.speed
        return self.see(), -np.linalg.norm(self.place - self.goal), False, False, {}
"""


def test_goals_that_the_state_names_are_reached(tmp_path):
    """Entries that are constant within a condition, that repeat others, or that never move; the cost is the reward."""
    experiment = {
        "environment": {"id": "task:Reach", "horizon": 30, "conditions": 2, "threads": 1},
        "algorithm": {"iterations": 6, "samples": 8},
        "cost": "reward",
    }
    run = gps.run(write(tmp_path / "goal", experiment, GOAL), out=tmp_path)
    states = run.evaluation().rollouts.states[:, 0]
    distance = np.linalg.norm(states[..., :2] - states[..., 2:4], axis=-1)
    assert (distance[:, -1] < 0.5 * distance[:, 0]).all()
    assert not any(status.failed for record in run.iterations for status in record.statuses)


SPARSE = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box

class Puck(gymnasium.Env):
    observation_space, action_space = Box(-np.inf, np.inf, (2,)), Box(-1.0, 1.0, (1,))

    def __init__(self, goal=0.0):
        self.goal = goal

    def reset(self, *, seed=None, options=None):
        self.x = np.zeros(2)
        return self.x.copy(), {}

    def step(self, action):
        self.x = self.x + 0.1 * np.array([self.x[1], action[0]])
        return self.x.copy(), float(abs(self.x[0] - self.goal) < 0.05), False, False, {}
"""


@pytest.mark.parametrize(("goal", "flat"), [(50.0, True), (0.0, False)])
def test_a_reward_that_nobody_reaches_is_reported(tmp_path, capsys, goal, flat):
    experiment = {
        "environment": {"id": "task:Puck", "horizon": 15, "threads": 1, "options": {"goal": goal}},
        "algorithm": {"iterations": 2, "samples": 4},
        "cost": "reward",
    }
    folder = write(tmp_path / "puck", experiment, SPARSE)
    assert cli.main(["run", str(folder), "--out", str(tmp_path / "runs")]) == 0
    said = capsys.readouterr().out
    run = gps.load_run(said.strip().splitlines()[-1])
    for record in run.iterations:
        assert (record.statuses == [Status.FLAT_REWARD]) == flat
    assert (Status.FLAT_REWARD.sentence in said) == flat
