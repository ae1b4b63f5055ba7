"""`gps check`: each way to break a rule is found and named, with a way to fix it."""

from pathlib import Path

import pytest
from helpers.experiments import write

import gps
from gps import cli

EXPERIMENT = {
    "environment": {"id": "task:Point", "horizon": 6, "threads": 1, "conditions": [{"start": 0.0}, {"start": 1.0}]},
    "algorithm": {"iterations": 1, "samples": 2},
    "cost": [{"name": "task"}],
}

TASK = """
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

count = [0]

class Point(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    v = 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = (options or {}).get("start", 0.0)
        self.v = 0.0
        return np.array([self.x, self.v]), {}

    def step(self, action):
        self.v += 0.1 * action[0]
        self.x += 0.1 * self.v
        info = {}
        return np.array([self.x, self.v]), -abs(self.x), False, False, info

def cost(x, u, t):
    return jnp.sum((x - 1.0) ** 2) + 0.1 * jnp.sum(u ** 2)
"""

SOUND = 14
"""The number of rules for an environment, a cost and an algorithm."""


@pytest.fixture
def experiment(tmp_path: Path):
    def make(*changes: tuple[str, str], **keys: object) -> Path:
        code = TASK
        for old, new in changes:
            assert old in code
            code = code.replace(old, new)
        return write(tmp_path, EXPERIMENT, code, **keys)

    return make


def test_a_sound_experiment_passes(experiment, capsys):
    examination = gps.check(experiment())
    assert examination.ok
    assert len(examination.findings) == SOUND
    assert cli.main(["check", str(experiment())]) == 0
    out = capsys.readouterr().out
    assert out.count("\nok    ") == SOUND
    assert "environment   2 conditions, T = 6, dx = 2, du = 1\nstate         observation [0:2]" in out


@pytest.mark.parametrize(
    ("old", "new", "rule", "problem"),
    [
        (
            "self.v = 0.0\n        return",
            "self.v = np.random.normal()\n        return",
            "a condition starts in the same state each time",
            "entry 1 of the start differs",
        ),
        (
            "        self.v = 0.0\n        return",
            "        return",
            "a condition starts in the same state each time",
            "entry 1 of the start differs",
        ),
        (
            "self.v += 0.1 * action[0]",
            "self.v += 0.1 * action[0] * np.random.normal()",
            "the same start and actions lead to the same states and rewards",
            "the state differs, first in condition 0, sample 0, step 1",
        ),
        (
            "-abs(self.x), False",
            "-abs(self.x) * np.random.normal(), False",
            "the same start and actions lead to the same states and rewards",
            "the reward differs",
        ),
        (
            "self.v += 0.1 * action[0]",
            "count[0] += 1; self.v += 0.1 * action[0] * (count[0] % 7)",
            "the same start and actions lead to the same states and rewards",
            "the state differs",
        ),
        (
            "info = {}",
            'info = {"action": 3.0 * action}',
            "actions are applied within the limits of the action space",
            "entry 0 was",
        ),
        (
            "return np.array([self.x, self.v]), -abs",
            "return np.array([self.x, np.nan]), -abs",
            "rollouts with random actions have finite states and rewards of the right shape",
            "not finite",
        ),
        (
            "-abs(self.x), False, False",
            "-abs(self.x), bool(self.v), False",
            "one iteration can be made",
            "every sample of condition 0 ended early without a success",
        ),
        (
            "jnp.sum((x - 1.0) ** 2)",
            "jnp.log(x[0] - 100.0)",
            "the cost is finite where the rollouts went",
            "the value of the cost is not finite",
        ),
        (
            "jnp.sum((x - 1.0) ** 2)",
            "jax.lax.stop_gradient(jnp.sum((x - 1.0) ** 2))",
            "the cost's gradient agrees with differences",
            "of the state at step",
        ),
        (
            "0.1 * jnp.sum(u ** 2)",
            "jnp.sum(u * jax.lax.stop_gradient(u))",
            "the cost's Hessian agrees with differences, or lies above them",
            "with respect to entry 0 of the action at step",
        ),
    ],
)
def test_what_breaks_a_rule_is_named(experiment, old, new, rule, problem):
    folder = experiment((old, new))
    broken = [finding for finding in gps.check(folder).findings if not finding.ok]
    assert rule in [finding.rule for finding in broken]
    (finding,) = [finding for finding in broken if finding.rule == rule]
    assert problem in finding.problem
    assert finding.remedy


def test_an_algorithm_that_needs_no_derivatives(experiment):
    """`tests/algorithms/test_contract.py` checks every shipped algorithm, `test_checked.py` broken ones."""
    examination = gps.check(experiment(algorithm={"name": "pi2"}))
    assert examination.ok
    assert len(examination.findings) == SOUND - 2
    assert not [finding.rule for finding in examination.findings if "differences" in finding.rule]


def test_an_expert_that_still_learns_is_no_fault(experiment):
    """A planner knows nothing of the dynamics before it has seen enough samples."""
    examination = gps.check(experiment(algorithm={"name": "dagger", "policy": {"hidden": [4]}}))
    assert examination.ok, str(examination)
    assert len(examination.findings) == SOUND


def test_a_cost_may_have_the_curvature_of_a_parabola_from_above(experiment):
    """The length of x is believed to be the parabola that touches it from above, and has no curvature of its own."""
    square, length = "jnp.sum((x - 1.0) ** 2)", "jax.lax.stop_gradient(jnp.sqrt(jnp.sum((x - 1.0) ** 2)))"
    above = f"{length} + ({square} - jax.lax.stop_gradient({square})) / (2 * {length})"
    assert all(finding.ok for finding in gps.check(experiment((square, above))).findings)
    flat = f"{square} - 0.1 * ({square} - jax.lax.stop_gradient({square})) ** 2"
    broken = [finding.rule for finding in gps.check(experiment((square, flat))).findings if not finding.ok]
    assert broken == ["the cost's Hessian agrees with differences, or lies above them"]


def test_simulations_that_see_each_other_are_found(experiment):
    folder = experiment(
        ("self.v = 0.0\n        return", "self.v = 0.0\n        gymnasium.wind = 0\n        return"),
        ("self.x += 0.1 * self.v", "gymnasium.wind += 1\n        self.x += 0.1 * gymnasium.wind"),
    )
    (broken,) = [finding for finding in gps.check(folder).findings if not finding.ok]
    assert broken.rule == "a simulation does the same in a batch of any size"
    assert "condition 1, sample 0, step 1" in broken.problem


def test_a_reward_that_never_changes(experiment, capsys):
    folder = experiment(("-abs(self.x), False", "1.0, False"), cost="reward")
    assert cli.main(["check", str(folder)]) == 2
    out = capsys.readouterr().out
    assert "FAIL  the reward varies: it was 1 in all 24 steps\n      fix: " in out


PUPPET = """
<mujoco>
  <worldbody>
    <body><joint name="x" type="slide" axis="1 0 0"/><geom size="0.1" contype="0" conaffinity="0"/></body>
    <body pos="3 0 0"><joint name="loose" type="slide" axis="1 0 0"/><geom size="0.1" {touch}/></body>
  </worldbody>
  <actuator><motor joint="x" ctrllimited="true" ctrlrange="-1 1"/></actuator>
</mujoco>
"""


@pytest.mark.parametrize(("state", "warned"), [(None, True), (["qvel", "qpos:x"], True), (["qpos:x", "qvel:x"], False)])
def test_a_joint_that_no_action_can_move_is_a_warning(tmp_path, state, warned, capsys):
    (tmp_path / "puppet.xml").write_text(PUPPET.format(touch='contype="0" conaffinity="0"'))
    environment = {"mjcf": "puppet.xml", "horizon": 6, "conditions": [{"qvel": {"loose": 0.1}}], "state": state}
    folder = write(tmp_path, EXPERIMENT, environment={"id": None, "threads": None, **environment},
                   cost=[{"name": "quadratic", "on": "qpos:x"}])  # fmt: skip
    assert cli.main(["check", str(folder)]) == 0
    warning = "warn  actions can move every joint in the state: no actuator moves loose, not even through other bodies"
    assert (warning in capsys.readouterr().out) == warned
