"""`gps check`: each way to break a rule is found and named, with a way to fix it."""

from pathlib import Path

import mujoco
import pytest
from helpers.experiments import write, write_slider

import gps
from gps import cli
from gps.conformance import Level
from gps.conformance.drives import find_kind
from gps.errors import ConfigError

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

SOUND = 20
"""The number of rules for an environment, a cost, the first samples and an algorithm."""


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
    assert "\naction        action: -1 to 1\n" in out
    assert out.splitlines()[-1] == f"{SOUND} of {SOUND} rules hold"


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
            'info = {"applied_action": 3.0 * action}',
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


# -- what the first samples show -------------------------------------------------------------------------------------


def only(examination, rule):
    """The finding of a rule, which is not kept."""
    (finding,) = [found for found in examination.findings if found.rule == rule and found.level > Level.OK]
    return finding


def test_the_gravest_findings_come_last(experiment):
    folder = experiment(("self.x = (options or {}).get", "self.x = {}.get"))
    levels = [finding.level for finding in gps.check(folder).findings]
    assert levels == sorted(levels) and levels[-1] is Level.FAILURE


def test_conditions_that_change_nothing(experiment):
    """The environment does not read the options of its reset."""
    examination = gps.check(experiment(("self.x = (options or {}).get", "self.x = {}.get")))
    assert not examination.ok
    finding = only(examination, "the conditions differ")
    assert "conditions 0 and 1 start alike: {'start': 0.0} and {'start': 1.0}" in finding.problem


def test_conditions_that_change_the_reward_alone(experiment):
    """A goal that the state does not hold: each condition is learned, but no policy can tell them apart."""
    folder = experiment(
        ("self.x = (options or {}).get", "self.goal = (options or {})['start']; self.x = {}.get"),
        ("-abs(self.x), False", "-abs(self.x - self.goal), False"),
        cost="reward",
    )
    examination = gps.check(folder)
    assert only(examination, "the conditions differ").level is Level.WARNING


def test_conditions_that_differ_late_differ(experiment):
    """The wind of the second condition begins after all that a short rollout sees."""
    folder = experiment(
        ("self.x = (options or {}).get", "self.t, self.wind = 0, (options or {})['start']; self.x = {}.get"),
        ("self.v += 0.1 * action[0]", "self.t += 1; self.v += 0.1 * action[0] + self.wind * (self.t > 30)"),
        environment={"horizon": 40},
    )
    assert all(finding.level is Level.OK for finding in gps.check(folder).findings if "conditions" in finding.rule)


def test_a_logged_action_is_reported_and_not_believed(experiment):
    folder = experiment(("info = {}", 'info = {"action": 8.0 * action}'))
    examination = gps.check(folder)
    assert examination.ok
    finding = only(examination, 'the info\'s "action" is the action that was given')
    assert finding.level is Level.WARNING and "applied_action" in finding.remedy


@pytest.mark.parametrize(("length", "knob"), [(4, "environment.horizon = 4"), (5, "environment.horizon = 5")])
def test_an_end_before_the_horizon_has_a_remedy_that_helps(experiment, length, knob):
    ends = ("self.v = 0.0\n        return", "self.v, self.t = 0.0, 0\n        return")
    counts = ("self.v += 0.1", "self.t += 1; self.v += 0.1")
    folder = experiment(ends, counts, ("-abs(self.x), False", f"-abs(self.x), self.t >= {length}"))
    examination = gps.check(folder)
    finding = only(examination, "one iteration can be made")
    assert knob in finding.remedy and 'environment.whole_at = "termination"' in finding.remedy
    assert gps.check(folder, [knob.replace(" ", "")]).ok
    assert gps.check(folder, ['environment.whole_at="termination"']).ok


def test_no_cost_that_is_unknown_is_called_ok(experiment):
    """Each sample ends as a success in one step, aborts in another way, or is cut short: never "ok" beside a NaN."""
    for end in ("bool(self.v), False, {}", "False, bool(self.v), {}", 'False, False, {"abort": "too warm"}'):
        folder = experiment(("False, False, info", end))
        said = str(gps.check(folder))
        assert "nan" not in said
        assert "FAIL  one iteration can be made" in said


def test_actions_that_the_limits_clip(experiment):
    """A range that does not contain 0, and first controllers that do not know it: all samples are alike."""
    folder = experiment(
        ("Box(-1.0, 1.0, (1,))", "Box(15.0, 25.0, (1,))"),
        algorithm={"controller": {"initial": {"name": "zero", "noise": 0.1}}},
    )
    examination = gps.check(folder)
    assert "clip 100%" in only(examination, "the limits clip few of the first actions").problem
    assert "alike" in only(examination, "the first samples of a condition differ").problem


def test_samples_without_noise(experiment):
    examination = gps.check(experiment(algorithm={"controller": {"execute": "feedback"}}))
    finding = only(examination, "the first samples of a condition differ")
    assert "alike" in finding.problem and "noise" in finding.remedy


GOAL = """
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

class Reach(gymnasium.Env):
    \"\"\"A hand without fingers reaches for a goal that the seed chooses.\"\"\"
    action_space = Box(-1.0, 1.0, (2,))
    observation_space = Dict({
        "achieved_goal": Box(-np.inf, np.inf, (2,)), "desired_goal": Box(-np.inf, np.inf, (2,)),
        "observation": Box(-np.inf, np.inf, (6,)),
    })

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.p, self.v, self.clock = np.ones(2), np.zeros(2), 0.0
        self.goal = self.p + self.np_random.uniform(-0.1, 0.1, 2)
        return self.seen(), {}

    def seen(self):
        whole = np.array([*self.p, 0.0, *self.v, self.clock])
        return {"achieved_goal": self.p.copy(), "desired_goal": self.goal.copy(), "observation": whole}

    def step(self, action):
        self.v = 0.5 * self.v + 0.2 * action
        self.p, self.clock = self.p + 0.1 * self.v, self.clock + 1.0
        return self.seen(), -np.linalg.norm(self.p - self.goal), False, False, {}
"""


def test_entries_of_a_goal_conditioned_state(tmp_path):
    """What never changes, tells the conditions apart, repeats other entries, or moves by itself is named."""
    base = {
        "environment": {"id": "task:Reach", "horizon": 10, "threads": 1, "conditions": 2},
        "algorithm": {"iterations": 1, "samples": 3},
        "cost": [{"name": "quadratic", "on": "achieved_goal"}],
    }
    examination = gps.check(write(tmp_path, base, GOAL))
    still, goal = [found for found in examination.findings if found.rule == "every entry of the state moves"]
    assert "observation[2] never changes" in still.problem
    assert "desired_goal[0], desired_goal[1] differs between conditions alone" in goal.problem
    assert "observation[0], observation[1]" in only(examination, "no entry of the state repeats another").problem
    driven = only(examination, "the actions drive every entry of the state that moves")
    assert "observation[5]" in driven.problem and driven.level is Level.WARNING
    suggested = still.remedy.partition("environment.state = ")[2]
    assert suggested == '["achieved_goal", "desired_goal", "observation[3,4,5]"]'
    smaller = gps.check(tmp_path, [f"environment.state={suggested}"])
    assert not [found for found in smaller.findings if "never changes" in found.problem or "repeats" in found.problem]


def test_the_held_action_and_the_probe_are_told(tmp_path):
    """A slider that gravity pulls with 4 N, and then with more than the 5 N of its motor."""
    hold_it = {"controller": {"initial": {"name": "hold"}}}
    write_slider(tmp_path, algorithm=hold_it)
    model = (tmp_path / "slider.xml").read_text().replace('timestep="0.01"', 'timestep="0.01" gravity="-4 0 0"')
    (tmp_path / "slider.xml").write_text(model)
    lines = dict(line.split(maxsplit=1) for line in gps.check(tmp_path).summary)
    assert lines["hold"] == "x: 0.8, from the model"
    assert lines["first"].startswith("a probe of ") and " short episodes (" in lines["first"]
    given = gps.check(tmp_path, ["algorithm.controller.initial.hold=[0.5]"])
    assert "hold          x: 0.5, as given" in given.summary
    (tmp_path / "slider.xml").write_text(model.replace("-4 0 0", "-9.81 0 0"))
    weak = gps.check(tmp_path)
    found = only(weak, "the limits leave room around the action that holds the start")
    assert found.level is Level.NOTE and "x is at its limit of 1 in condition 0" in found.problem
    (drifts,) = [finding for finding in weak.findings if "controllers hold the start" in finding.rule]
    assert drifts.level is Level.NOTE and "algorithm.controller.initial.hold" in drifts.remedy


def test_without_a_range_of_the_state_there_is_no_probe(experiment):
    examination = gps.check(experiment(("Box(-1.0, 1.0, (1,))", "Box(15.0, 25.0, (1,))")))
    lines = dict(line.split(maxsplit=1) for line in examination.summary)
    assert lines["hold"].endswith(": 20, by default, as the environment tells none")
    assert lines["first"].startswith("hold without a probe, as no range of the state is known; noise 2.5 ")


def test_a_spread_is_a_share_of_the_range_of_a_joint(tmp_path):
    """Where the joint has limits 100 m apart, the same samples differ by a smaller share."""
    write_slider(tmp_path, algorithm={"controller": {"initial": {"name": "zero", "noise": 0.3}}})
    model = (tmp_path / "slider.xml").read_text()

    def find_share(extent: float) -> float:
        (tmp_path / "slider.xml").write_text(model.replace("<worldbody>", f'<statistic extent="{extent}"/><worldbody>'))
        rules = [finding.rule for finding in gps.check(tmp_path).findings]
        (found,) = [rule for rule in rules if rule.startswith("the first samples of a condition differ, ")]
        assert found.endswith("% of the range of qpos:x")
        return float(found.split()[-6].rstrip("%"))

    assert find_share(1.0) == pytest.approx(10 * find_share(10.0), rel=0.1)


def test_errors_of_rounding_are_no_motion(tmp_path):
    task = GOAL.replace("0.0, *self.v", "1e-15 * self.v[0], *self.v")
    base = {
        "environment": {"id": "task:Reach", "horizon": 10, "threads": 1, "conditions": 2},
        "algorithm": {"iterations": 1, "samples": 3},
        "cost": [{"name": "quadratic", "on": "achieved_goal"}],
    }
    examination = gps.check(write(tmp_path, base, task))
    assert any("observation[2] never changes" in found.problem for found in examination.findings)


def test_what_holds_the_start_and_the_kinds_of_drive(tmp_path):
    folder = write_slider(tmp_path)
    examination = gps.check(folder)
    assert "drives        1 motor" in examination.summary
    (held,) = [found for found in examination.findings if "hold the start" in found.rule]
    assert held.level is Level.OK
    model = (tmp_path / "slider.xml").read_text()
    (tmp_path / "slider.xml").write_text(model.replace('<option timestep="0.01"/>', '<option gravity="-9.81 0 0"/>'))
    pulled = gps.check(folder, ["algorithm.controller.initial.noise=0.01"])
    (drifts,) = [found for found in pulled.findings if "hold the start" in found.rule]
    assert drifts.level is Level.NOTE and "qpos:x moves by" in drifts.problem


@pytest.mark.parametrize(
    ("tag", "kind"),
    [
        ('<motor joint="x"/>', "motor"),
        ('<general joint="x" gainprm="3"/>', "motor"),
        ('<position joint="x" kp="5"/>', "position servo"),
        ('<position joint="x" kp="5" kv="1"/>', "position servo"),
        ('<velocity joint="x" kv="5"/>', "velocity servo"),
        ('<intvelocity joint="x" kp="5" actrange="-1 1"/>', "integrated velocity servo"),
        ('<damper joint="x" ctrlrange="0 1"/>', "damper"),
        ('<muscle joint="x" lengthrange="0 1"/>', "muscle"),
        ('<motor site="tip" gear="0 0 1 0 0 0"/>', "thruster"),
    ],
)
def test_the_kind_of_an_actuator(tag, kind):
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><body><joint name="x"/><geom size="0.1"/><site name="tip"/></body></worldbody>'
        f"<actuator>{tag}</actuator></mujoco>"
    )
    assert find_kind(model, 0) == kind


def test_bad_test_conditions_are_found_before_the_training(tmp_path):
    """Not after it: a robot's whole day may lie in between."""
    keys = {"environment": {"test_conditions": [{"qpos": {"y": 0.0}}]}}
    folder = write_slider(tmp_path, **keys)
    for command in (gps.check, gps.run):
        with pytest.raises(ConfigError, match=r"environment.test_conditions: .*'y'"):
            command(folder)
