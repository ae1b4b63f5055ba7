"""Episodes that end before the horizon: which are whole, what they cost, and what is learned from them."""

import numpy as np
import pytest
from helpers.experiments import write

import gps
from gps.algorithms.local.path_integral import cost_to_go
from gps.config import load
from gps.experiment import Experiment
from gps.linear_gaussian.initial import zero
from gps.policies.played import LocalControllers
from gps.sampling import collect
from gps.status import Status

TASK = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import TimeLimit

class Sled(gymnasium.Env):
    \"\"\"A sled on a line must pass 0.4; each step before costs 1 and more, and the passage is worth 3.\"\"\"
    observation_space = Box(-np.inf, np.inf, (2,))
    action_space = Box(-1.0, 1.0, (1,))

    def __init__(self, end="success", wall=np.inf):
        self.end, self.wall = end, wall

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.v, self.t = 0.0, 0.0, 0
        return np.array([self.x, self.v]), {}

    def step(self, action):
        self.t += 1
        self.v += 0.2 * float(action[0])
        self.x += 0.2 * self.v
        there = self.x > 0.4
        reward = 3.0 if there else self.x - 1.4
        info = {"success": there} if self.end == "success" else {}
        if there and self.end == "abort":
            info = {"success": True, "abort": "the fence"}
        ends = there and self.end in ("success", "termination")
        return np.array([self.x, self.v]), reward, ends or self.x < -self.wall, there and self.end == "truncation", info

def limited(**options):
    return TimeLimit(Sled(end="never"), 9)

def nested(**options):
    return gymnasium.wrappers.TransformReward(TimeLimit(TimeLimit(Sled(end="never"), 9), 50), lambda r: r)
"""

SLED = {
    "environment": {"id": "task:Sled", "horizon": 25, "threads": 1},
    "algorithm": {"iterations": 5, "samples": 6},
    "cost": "reward",
}


@pytest.fixture
def played(tmp_path):
    """Rollouts, and their costs, of constant actions: one sample for each push."""

    def play(pushes, **environment):
        built = Experiment(load(write(tmp_path, SLED, TASK, environment=environment)), tmp_path)
        T = built.horizon
        noise = np.broadcast_to(np.array(pushes)[None, :, None, None], (1, len(pushes), T, 1)).copy()
        still = LocalControllers(zero(1, T, 2, 1, 0.0))
        try:
            whole_at = built.config.environment.whole_at
            rollouts = collect(built.environment, still, built.conditions, noise, 0, whole_at=whole_at)
            return rollouts, built.problem.costs(rollouts)
        finally:
            built.close()

    return play


def test_an_end_by_success_is_whole_and_costs_nothing_afterwards(played):
    rollouts, costs = played([1.0, 0.5, -1.0])
    lengths = rollouts.mask.sum(axis=2)[0]
    assert lengths[0] < lengths[1] < lengths[2] == 25
    assert rollouts.finished.tolist() == [[True, True, False]]
    assert rollouts.whole.all() and rollouts.counted.all() and not rollouts.aborts
    assert rollouts.steps == lengths.sum()  # nothing is played after the end
    for n, length in enumerate(lengths):
        assert not costs[0, n, length:].any()
        np.testing.assert_allclose(costs[0, n, :length], -rollouts.rewards[0, n, :length])
    np.testing.assert_array_equal(rollouts.regroup(3).finished, [[True], [True], [False]])


@pytest.mark.parametrize("end", ["termination", "abort", "truncation"])
def test_other_early_ends_are_not_whole(played, end):
    rollouts, _ = played([1.0, -1.0], options={"end": end})
    assert rollouts.finished is None
    assert rollouts.whole.tolist() == [[False, True]]
    assert not rollouts.counted[0, 0, -1]
    length = rollouts.mask[0, 0].sum()
    expected = {
        "termination": (),
        "abort": ((0, 0, length - 1, "the fence"),),
        "truncation": (
            (
                0,
                0,
                length - 1,
                f"the environment truncated the episode at step {length}; set environment.horizon = {length}",
            ),
        ),
    }
    assert tuple(tuple(abort) for abort in rollouts.aborts) == expected[end]


def test_every_termination_is_whole_if_the_experiment_says_so(played):
    rollouts, _ = played([1.0, -1.0], whole_at="termination", options={"end": "termination", "wall": 1.0})
    assert rollouts.finished.tolist() == [[True, True]]
    truncated, _ = played([1.0], whole_at="termination", options={"end": "truncation"})
    assert not truncated.whole.any()


def test_the_cost_to_go_of_a_finished_sample_is_its_own(played):
    """It is not filled in with the mean of the others, as that of a sample that was cut short is."""
    rollouts, costs = played([1.0, -1.0])
    S = cost_to_go(costs, rollouts.counted)
    np.testing.assert_allclose(S[0, :, 0], costs[0].sum(axis=1))
    length = rollouts.mask[0, 0].sum()
    np.testing.assert_allclose(S[0, 0, length - 1], costs[0, 0, length - 1])


def test_the_expansion_of_a_step_is_the_mean_over_all_that_count(tmp_path):
    """The modelled cost of a step is the samples' mean, with zeros for those that have finished."""
    base = {**SLED, "cost": [{"name": "quadratic", "on": "observation", "target": [1.0, 0.0]}]}
    built = Experiment(load(write(tmp_path, base, TASK)), tmp_path)
    noise = np.broadcast_to(np.array([1.0, 0.6, 0.0])[None, :, None, None], (1, 3, 25, 1)).copy()
    try:
        state = built.begin()
        rollouts = collect(built.environment, LocalControllers(zero(1, 25, 2, 1, 0.0)), built.conditions, noise, 0)
        model = built.algorithm.fit(state, rollouts, 0)
    finally:
        built.close()
    z = np.concatenate([rollouts.states, rollouts.actions], axis=-1)[0]
    C, g, constant = (np.asarray(part)[0] for part in (model.cost.hessian, model.cost.gradient, model.cost.constant))
    for t in (0, 10, 24):
        present = z[rollouts.mask[0, :, t], t]
        values = 0.5 * np.einsum("ni,ij,nj->n", present, C[t], present) + present @ g[t] + constant[t]
        expected = ((present[:, 0] - 1.0) ** 2 + present[:, 1] ** 2).sum() / 2 / 3
        np.testing.assert_allclose(values.mean(), expected)


@pytest.mark.parametrize("name", ["trajopt", "pi2", "pilqr"])
def test_a_task_whose_samples_all_succeed_and_end_has_a_cost_and_goes_on_learning(tmp_path, name):
    """Once all samples had succeeded, the cost was unknown, and the status "cut short", for ever."""
    run = gps.run(
        write(tmp_path / "e", SLED, TASK, algorithm={"name": name, "samples": 15, "iterations": 8}),
        out=tmp_path / "runs",
    )
    records = list(run.iterations)
    costs = np.array([record.mean_cost[0] for record in records])
    assert np.isfinite(costs).all()
    last = records[-1]
    assert last.rollouts.succeeded.all() and not last.rollouts.mask.all(axis=2).any()
    assert Status(last.status[0]).label != "cut short"
    assert costs[-1] < costs[0] - 5.0
    final = run.evaluation()
    assert final.rollouts.whole.all() and final.costs.sum() < costs[0]


@pytest.mark.parametrize("factory", ["limited", "nested"])
def test_a_time_limit_in_a_factory_is_the_horizon(tmp_path, factory):
    keys = {"environment": {"id": f"task:{factory}", "horizon": None}}
    built = Experiment(load(write(tmp_path, SLED, TASK, **keys)), tmp_path)
    assert built.horizon == 9
    built.close()
    with pytest.raises(gps.errors.ConfigError, match="20 steps are more than the environment's own limit of 9"):
        Experiment(load(tmp_path, ["environment.horizon=20"]), tmp_path)


def test_a_limit_of_the_environments_own_is_named_with_the_remedy(tmp_path):
    folder = write(tmp_path / "e", SLED, TASK, environment={"options": {"end": "truncation"}})
    run = gps.run(folder, out=tmp_path / "runs", overrides=["algorithm.controller.initial={noise=0.9, name='zero'}"])
    assert any("truncated the episode at step" in message for record in run.iterations for message in record.messages)
