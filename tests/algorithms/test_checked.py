"""A broken algorithm in each point of the contract: one line names the method, what came and what was expected.

The loop checks every answer (`gps.algorithms.checked`); `gps check` applies the deeper rules
(`gps.conformance.algorithm`).
"""

import dataclasses
import re
from contextlib import closing
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from helpers.broken_algorithms import Sound, State, with_policy, with_record
from helpers.experiments import POINT_MASS, digest, toml, write
from helpers.linear_system import DU, DX, FIRST, PROBLEM, STARTS, M, N, T, learn, roll_out

import gps
from gps import builders, cli
from gps.algorithms.algorithm import Algorithm, AlgorithmState, Needs
from gps.algorithms.checked import CheckedAlgorithm
from gps.algorithms.local.trajopt import TrajOpt
from gps.backend import jax
from gps.config import parse
from gps.conformance import Finding
from gps.errors import AlgorithmFault, CostFault
from gps.experiment import Experiment
from gps.linear_gaussian.initial import zero
from gps.linear_gaussian.types import Controller
from gps.players import Player
from gps.policies import MLP, NeuralPolicy
from gps.policies.played import LocalControllers
from gps.protocols import list_members
from gps.sampling.policy import Policy
from gps.status import Status

MEMBERS = list_members(Algorithm)


def run_once(algorithm):
    """One iteration of the loop, and everything that is evaluated after it."""
    checked = CheckedAlgorithm(algorithm, M)
    state = checked.begin(FIRST, STARTS)
    sampled = checked.policy(state)
    rollouts = roll_out(sampled)
    state, record = checked.improve(state, sampled, rollouts, checked.fit(state, rollouts, 0))
    return state, record, checked.learned(state), checked.teachers(state)


def fault(algorithm):
    """The message of the fault that the algorithm raises, which is one line."""
    with pytest.raises(AlgorithmFault) as caught:
        run_once(algorithm)
    message = str(caught.value)
    assert "\n" not in message
    return message


def break_with(**members):
    """`Sound` with other members."""
    return type("Broken", (Sound,), members)(PROBLEM)


def test_a_sound_algorithm_passes_unchanged():
    state, record, learned, teachers = run_once(Sound(PROBLEM))
    assert state == State(1, M * N * T, state.controllers)
    assert record.statuses == [Status.OK] * M
    assert not learned.covariance.any()
    assert teachers == ()
    checked = CheckedAlgorithm(algorithm := TrajOpt(PROBLEM), M)
    assert (checked.problem, checked.needs, checked.state_type) == (PROBLEM, algorithm.needs, algorithm.state_type)
    (one, _), (other, _) = learn(checked, 2), learn(algorithm, 2)
    np.testing.assert_array_equal(one.controllers.feedback, other.controllers.feedback)


# -- members ---------------------------------------------------------------------------------------------------------


def test_the_contract_has_these_members():
    assert MEMBERS == ["problem", "needs", "state_type", "begin", "policy", "fit", "improve", "learned", "teachers"]
    assert list_members(AlgorithmState) == ["iteration", "environment_steps"]
    policy = ["player", "observes", "abstains", "carries_over", "covariance", "parameters", "act", "repeat"]
    assert list_members(Policy) == policy


@pytest.mark.parametrize("missing", MEMBERS)
def test_a_missing_member_is_named(missing):
    sound = Sound(PROBLEM)
    partial = SimpleNamespace(**{name: getattr(sound, name) for name in MEMBERS if name != missing})
    assert fault(partial) == (
        f"the algorithm, a SimpleNamespace, has no {missing}; gps.algorithms.algorithm.Algorithm says what it must have"
    )


def test_all_missing_members_are_named():
    assert f"the algorithm, a object, has no {', '.join(MEMBERS)}; " in fault(object())


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("problem", "reach", "algorithm.problem: got reach; expected a gps.problem.Problem"),
        ("needs", {"observations"}, "algorithm.needs: got {'observations'}; expected gps.algorithms.algorithm.Needs"),
    ],
)
def test_a_member_of_another_type_is_named(member, value, message):
    broken = break_with(__init__=lambda self, problem: None, problem=PROBLEM)
    setattr(broken, member, value)
    assert fault(broken) == message


# -- states ----------------------------------------------------------------------------------------------------------


class Steps(NamedTuple):
    environment_steps: int


def replacing(method, **changes):
    """`Sound` whose `begin` or `improve` returns a state with other fields."""
    if method == "begin":

        def begin(self, controllers, starts):
            return dataclasses.replace(Sound.begin(self, controllers, starts), **changes)

        return break_with(begin=begin)

    def improve(self, state, *others):
        after, record = Sound.improve(self, state, *others)
        return dataclasses.replace(after, **changes), record

    return break_with(improve=improve)


def improving(answer):
    """`Sound` whose `improve` returns what `answer` makes of the state before and the proper answer."""
    return break_with(improve=lambda self, state, *others: answer(state, Sound.improve(self, state, *others)))


WITHOUT = "as the state; gps.algorithms.algorithm.AlgorithmState says what it must have"

STATES = {
    "begin, no state": (
        lambda: break_with(begin=lambda self, controllers, starts: None),
        f"algorithm.begin returned a NoneType without iteration, environment_steps {WITHOUT}",
    ),
    "begin, no iteration": (
        lambda: break_with(begin=lambda self, controllers, starts: Steps(0)),
        f"algorithm.begin returned a Steps without iteration {WITHOUT}",
    ),
    "begin, iteration 1": (
        lambda: replacing("begin", iteration=1),
        "algorithm.begin: state.iteration: got 1; expected 0",
    ),
    "begin, steps": (
        lambda: replacing("begin", environment_steps=5),
        "algorithm.begin: state.environment_steps: got 5; expected 0",
    ),
    "improve, no iteration": (
        lambda: improving(lambda before, answer: (Steps(0), answer[1])),
        f"algorithm.improve returned a Steps without iteration {WITHOUT}",
    ),
    "improve, the counter stands still": (
        lambda: replacing("improve", iteration=0),
        "algorithm.improve: state.iteration: got 0; expected 1",
    ),
    "improve, wrong steps": (
        lambda: replacing("improve", environment_steps=7),
        f"algorithm.improve: state.environment_steps: got 7; expected {M * N * T}",
    ),
    "improve, one value": (
        lambda: improving(lambda before, answer: answer[0]),
        "algorithm.improve: got a State; expected the next state and an IterationRecord",
    ),
    "improve, nothing": (
        lambda: improving(lambda before, answer: None),
        "algorithm.improve: got None; expected the next state and an IterationRecord",
    ),
    "improve, no record": (
        lambda: improving(lambda before, answer: (answer[0], "done")),
        "algorithm.improve: got done; expected an IterationRecord as the second value",
    ),
}


@pytest.mark.parametrize("case", STATES)
def test_a_wrong_state_is_named(case):
    make, message = STATES[case]
    assert fault(make()) == message


# -- policies --------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Changed:
    """A policy with other members."""

    inner: LocalControllers
    changes: dict

    def __getattribute__(self, name):
        changes = object.__getattribute__(self, "changes")
        if name in changes:
            return changes[name]() if name == "covariance" and callable(changes[name]) else changes[name]
        if name in ("inner", "changes", "__class__", "__dict__"):
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "inner"), name)


def without(policy, *names):
    members = [name for name in list_members(Policy) if name not in names]
    return SimpleNamespace(**{name: getattr(policy, name) for name in members})


def with_covariance(change):
    """A change of a policy: the covariance alone, by a function of a copy."""

    def apply(policy):
        covariance = np.array(policy.covariance)
        changed = change(covariance)
        controllers = dataclasses.replace(policy.controllers, covariance=covariance if changed is None else changed)
        return dataclasses.replace(policy, controllers=controllers)

    return apply


def set_at(value, *index):
    return with_covariance(lambda covariance: covariance.__setitem__(index, value))


SHAPE = (M, T, DU, DU)

POLICIES = {
    "None": (lambda policy: None, None),
    "without act": (lambda policy: without(policy, "act"), " returned a SimpleNamespace without act; "),
    "without covariance and repeat": (
        lambda policy: without(policy, "repeat", "covariance"),
        " returned a SimpleNamespace without covariance, repeat; ",
    ),
    "unknown player": (
        lambda policy: dataclasses.replace(policy, player="robot"),
        "().player: got robot; expected a gps.players.Player",
    ),
    "unknown input": (
        lambda policy: dataclasses.replace(policy, observes="smell"),
        "().observes: got smell; expected state, observation, both",
    ),
    "a negative variance": (set_at(-0.25, 1, 3, 0, 0), "().covariance: got the variance -0.25; expected none below 0"),
    "NaN": (set_at(np.nan, 0, 2, 1, 0), "().covariance: got values that are not finite; expected finite ones"),
    "infinite": (set_at(np.inf, 0, 2, 1, 1), "().covariance: got values that are not finite; expected finite ones"),
    "too short": (
        with_covariance(lambda covariance: covariance[:, 1:]),
        f"().covariance: got the shape {(M, T - 1, DU, DU)}; expected {SHAPE}",
    ),
    "variances alone": (
        with_covariance(lambda covariance: np.ones((M, T, DU))),
        f"().covariance: got the shape {(M, T, DU)}; expected {SHAPE}",
    ),
    "words": (
        with_covariance(lambda covariance: np.full(SHAPE, "wide")),
        "().covariance: got an array of <U4; expected numbers",
    ),
}


@pytest.mark.wrong_shapes
@pytest.mark.parametrize("method", ["policy", "learned", "teachers"])
@pytest.mark.parametrize("case", POLICIES)
def test_a_wrong_policy_is_named(case, method):
    change, message = POLICIES[case]
    if method == "teachers":
        broken = break_with(teachers=lambda self, state: (change(Sound.policy(self, state)),))
    else:
        broken = with_policy(method, change)(PROBLEM)
    said = fault(broken)
    if message is None:
        names = ", ".join(list_members(Policy))
        assert said.startswith(f"algorithm.{method} returned a NoneType without {names}; ")
    else:
        assert said.startswith(f"algorithm.{method}{message}")
    if " returned a " in said:
        assert said.endswith("; gps.sampling.policy.Policy says what a policy must have")


def test_a_covariance_that_cannot_be_read_is_named():
    def fail():
        raise KeyError("sigma")

    broken = with_policy("policy", lambda policy: Changed(policy, {"covariance": fail}))(PROBLEM)
    assert fault(broken) == "algorithm.policy raised KeyError: 'sigma'"
    ragged = with_policy("policy", lambda policy: Changed(policy, {"covariance": [[1.0], [1.0, 2.0]]}))(PROBLEM)
    assert fault(ragged).startswith("algorithm.policy raised ValueError: setting an array element with a sequence")


@pytest.mark.parametrize(
    ("players", "message"),
    [
        ([Player.LOCAL, Player.LOCAL], "got ['local', 'local']; expected different players"),
        ([Player.POLICY], "got policy; expected a player that is one of final, unseen, local, expert, planner"),
    ],
)
def test_teachers_are_different_players_that_teach(players, message):
    def teachers(self, state):
        return tuple(LocalControllers(state.controllers, player) for player in players)

    assert fault(break_with(teachers=teachers)) == f"algorithm.teachers: {message}"


def test_teachers_are_a_tuple():
    broken = break_with(teachers=lambda self, state: {})
    assert fault(broken) == "algorithm.teachers: got {}; expected a tuple of policies"


# -- records ---------------------------------------------------------------------------------------------------------

LOCAL = learn(TrajOpt(PROBLEM), 1)[1][0].local
SHORT = Controller(*(np.zeros((M, 1, *shape)) for shape in ((DU, DX), (DU,), (DU, DU))))

RECORDS = {
    "another iteration": ({"iteration": 3}, "iteration: got 3; expected 0"),
    "wrong steps": ({"environment_steps": 1}, f"environment_steps: got 1; expected {M * N * T}"),
    "another player": ({"player": Player.EXPERT}, "player: got expert; expected <Player.LOCAL: 'local'>"),
    "costs of NaN": (
        {"costs": lambda record: np.nan * record.costs},
        "costs: got values that are not finite; expected finite ones",
    ),
    "costs of episodes": (
        {"costs": lambda record: record.costs.sum(axis=2)},
        f"costs: got the shape {(M, N)}; expected {(M, N, T)}",
    ),
    "no costs": ({"costs": None}, "costs: got an array of object; expected numbers"),
    "unknown status": ({"status": np.array([0, 99])}, "status: got [99]; expected codes of gps.status.Status"),
    "one status": ({"status": np.zeros(1, dtype=int)}, f"status: got the shape (1,); expected {(M,)}"),
    "too few messages": ({"messages": ("",)}, "messages: got ('',); expected a tuple of 2 strings"),
    "a list of messages": ({"messages": ["", ""]}, "messages: got ['', '']; expected a tuple of 2 strings"),
    "messages of other types": ({"messages": ("", 1)}, "messages: got ('', 1); expected a tuple of 2 strings"),
    **{
        f"another {side}": ({side: "much"}, f"{side}: got much; expected {kind} or None")
        for side, kind in {
            "local": "LocalRecord", "policy": "PolicyRecord", "model": "ModelRecord", "planner": "PlannerRecord",
        }.items()
    },
    "short controllers": (
        {"local": dataclasses.replace(LOCAL, improved=SHORT)},
        f"local.improved.feedback: got the shape {(M, 1, DU, DX)}; expected {(M, T, DU, DX)}",
    ),
    "no controllers": (
        {"local": dataclasses.replace(LOCAL, improved=None)},
        "local.improved: got None; expected a Controller",
    ),
}  # fmt: skip


@pytest.mark.wrong_shapes
@pytest.mark.parametrize("case", RECORDS)
def test_a_wrong_record_is_named(case):
    changes, message = RECORDS[case]
    assert fault(with_record(**changes)(PROBLEM)) == f"algorithm.improve: record.{message}"


# -- exceptions ------------------------------------------------------------------------------------------------------

METHODS = ["begin", "policy", "fit", "improve", "learned", "teachers"]


def raising(method, error):
    def fail(self, *arguments):
        raise error

    return break_with(**{method: fail})


@pytest.mark.parametrize("method", METHODS)
def test_an_exception_names_its_method(method):
    assert fault(raising(method, KeyError("gain"))) == f"algorithm.{method} raised KeyError: 'gain'"
    assert fault(raising(method, ValueError("two\nlines"))) == f"algorithm.{method} raised ValueError: two lines"


@pytest.mark.parametrize("method", METHODS)
def test_an_error_of_ours_keeps_its_type(method):
    with pytest.raises(CostFault, match=r"^the cost is not finite$"):
        run_once(raising(method, CostFault("the cost is not finite")))


def test_an_algorithm_may_need_observations_but_no_derivatives():
    checked = CheckedAlgorithm(break_with(needs=Needs(observations=True, derivatives=False)), M)
    assert checked.needs == Needs(observations=True, derivatives=False)


# -- the deeper rules ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checked")
    overrides = ["environment.horizon=5", "environment.threads=1", "algorithm.samples=2"]
    with closing(Experiment(parse(toml(POINT_MASS), overrides=overrides), folder)) as experiment:
        yield experiment


def examine(built, algorithm):
    """The findings of `check_algorithm` that are not ok, for an algorithm in place of the experiment's."""
    from gps.conformance.algorithm import check_algorithm, make_iteration

    built.algorithm = CheckedAlgorithm(algorithm, len(built.conditions))
    made = make_iteration(built)
    findings = [made] if isinstance(made, Finding) else check_algorithm(built, made)
    return [finding for finding in findings if not finding.ok]


def test_a_sound_algorithm_breaks_no_rule(built):
    assert examine(built, Sound(built.problem)) == []


def test_a_broken_contract_is_a_finding(built):
    (finding,) = examine(built, with_record(iteration=3)(built.problem))
    assert finding.rule == "the algorithm keeps its contract"
    assert finding.problem == "algorithm.improve: record.iteration: got 3; expected 0"
    assert finding.remedy == "gps.algorithms.algorithm says what each method must do"


class RandomState(Sound):
    def improve(self, state, *others):
        after, record = Sound.improve(self, state, *others)
        moved = dataclasses.replace(after.controllers, feedforward=np.random.normal(size=(2, 5, 2)))
        return dataclasses.replace(after, controllers=moved), record


class Shaky(LocalControllers):
    def act(self, seen, t):
        return super().act(seen, t) + 1e-9 * np.random.normal()


@dataclasses.dataclass(frozen=True)
class Forgetful(State):
    """Its memory is not among the fields, so that it is not stored."""

    def __post_init__(self):
        object.__setattr__(self, "memory", [])


class Remembering(Sound):
    """Counts in the object what the state should count."""

    state_type = Forgetful

    def begin(self, controllers, starts):
        return Forgetful(0, 0, controllers.numpy())

    def improve(self, state, *others):
        after, record = Sound.improve(self, state, *others)
        moved = dataclasses.replace(after.controllers, feedforward=after.controllers.feedforward + len(state.memory))
        after = dataclasses.replace(after, controllers=moved)
        after.memory.extend([*state.memory, 1])
        return after, record


@dataclasses.dataclass(frozen=True)
class Named(State):
    """Has a field that cannot be stored."""

    thing: object = None


class Unstorable(Sound):
    state_type = Named

    def begin(self, controllers, starts):
        return Named(0, 0, controllers.numpy(), object())


class OtherType(Sound):
    state_type = Steps


class OwnNetwork(MLP):
    """A network that this library does not know."""


OWN = NeuralPolicy.untrained(OwnNetwork.create((4, 3, 2), jax.random.key(0)))


def skew(policy):
    covariance = np.array(policy.covariance)
    covariance[1, 2, 0, 1] += 1e-3
    return dataclasses.replace(policy, controllers=dataclasses.replace(policy.controllers, covariance=covariance))


def make_indefinite(policy):
    covariance = np.array(policy.covariance)
    covariance[1, 2] = [[1.0, 2.0], [2.0, 1.0]]
    return dataclasses.replace(policy, controllers=dataclasses.replace(policy.controllers, covariance=covariance))


def without_search(record):
    (count, _, steps, dx), du = record.rollouts.states.shape, record.rollouts.actions.shape[-1]
    return dataclasses.replace(LOCAL, improved=zero(count, steps, dx, du, 1.0), search=None)


SYMMETRIC = "exploration covariances are symmetric and positive semi-definite"
SAME, STORED = "the same samples give the same update", "a stored state goes on bit for bit"
KEPT, SHOWN = "what was learned can be evaluated and stored", "every view shows the record"

RULES = {
    "random output": (RandomState, SAME, r"two different states .*: controllers\.feedforward differs"),
    "random actions": (
        with_policy("policy", lambda policy: Shaky(policy.controllers)),
        SAME,
        r"the policy that algorithm\.policy returned .* at step 0",
    ),
    "asymmetric": (with_policy("policy", skew), SYMMETRIC, "algorithm.policy returned .* is not symmetric"),
    "indefinite": (
        with_policy("policy", make_indefinite),
        SYMMETRIC,
        "has the eigenvalue -1 in condition 1 at step 2; expected none below 0",
    ),
    "a state with a memory of its own": (
        Remembering,
        STORED,
        r"stored and read is another: \S+ differs",
    ),
    "a state that cannot be stored": (Unstorable, STORED, "thing"),
    "a state of another type": (OtherType, STORED, "algorithm.state_type does not describe the state: "),
    "parameters that cannot be stored": (
        with_policy("learned", lambda policy: Changed(policy, {"parameters": OWN})),
        KEPT,
        "a policy with the network OwnNetwork cannot be stored; add it to NETWORKS",
    ),
    "parameters of another type": (
        with_policy("learned", lambda policy: Changed(policy, {"parameters": {"gain": 1.0}})),
        KEPT,
        r"learned\(\)\.parameters: got \{'gain': 1\.0\}; expected a NeuralPolicy, a batch of Controllers, or None",
    ),
    "teachers in a list": (
        type("Broken", (Sound,), {"teachers": lambda self, state: [1]}),
        KEPT,
        r"algorithm\.teachers: got \[1\]; expected a tuple of policies",
    ),
    "a record that no view can show": (
        with_record(local=without_search),
        SHOWN,
        "AttributeError: .*search|AttributeError: 'NoneType'",
    ),
}


@pytest.mark.parametrize("case", RULES)
def test_gps_check_finds(built, case):
    kind, rule, problem = RULES[case]
    broken = {finding.rule: finding for finding in examine(built, kind(built.problem))}
    assert rule in broken, [str(finding) for finding in broken.values()]
    assert re.search(problem, broken[rule].problem), broken[rule].problem
    assert broken[rule].remedy
    assert "\n" not in broken[rule].problem


# -- in a run --------------------------------------------------------------------------------------------------------


class Flat(LocalControllers):
    def act(self, seen, t):
        return super().act(seen, t)[:, 0]


class Failing(LocalControllers):
    def act(self, seen, t):
        raise KeyError("torque")


RUNS = {
    "a method that raises": (
        type("Broken", (Sound,), {"fit": lambda self, *arguments: {}["gain"]}),
        "algorithm.fit raised KeyError: 'gain'",
    ),
    "actions of another shape": (
        with_policy("policy", lambda policy: Flat(policy.controllers)),
        "the policy's actions at step 0 have the shape (2, 2); expected (2, 2, 2)",
    ),
    "actions that raise": (
        with_policy("policy", lambda policy: Failing(policy.controllers)),
        "the policy raised at step 0: KeyError: 'torque'",
    ),
    "an indefinite covariance": (
        with_policy("policy", make_indefinite),
        "the covariance of the policy's noise is not positive definite: condition 1, step 2, with the least eigenvalue",
    ),
    "a state that cannot be stored": (Unstorable, "the algorithm's record, state or policy cannot be stored: "),
    "parameters that cannot be stored": (
        RULES["parameters that cannot be stored"][0],
        "the algorithm's record, state or policy cannot be stored: a policy with the network OwnNetwork cannot be ",
    ),
}


@pytest.mark.parametrize("case", RUNS)
def test_a_run_ends_with_an_error_of_one_line(case, tmp_path, monkeypatch, capsys):
    kind, message = RUNS[case]
    monkeypatch.setattr(builders, "make_algorithm", lambda config, directory, problem, *_: kind(problem))
    environment = {"horizon": 5, "threads": 1}
    folder = write(tmp_path / "point", POINT_MASS, environment=environment, algorithm={"samples": 2})
    assert cli.main(["run", str(folder), "--out", str(tmp_path / "runs")]) == 2
    error, progress = capsys.readouterr().err.splitlines()
    assert error.startswith(f"gps: error: {message}")
    assert progress.startswith("gps: 0 complete iterations on disk")


def test_a_sound_algorithm_runs_and_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(builders, "make_algorithm", lambda config, directory, problem, *_: Sound(problem))
    folder = write(tmp_path / "point", POINT_MASS, algorithm={"samples": 2, "iterations": 3})
    whole = gps.run(folder, out=tmp_path / "runs")
    part = gps.run(folder, out=tmp_path / "runs", iterations=1)
    assert digest(gps.resume(part.path, iterations=2)) == digest(whole)
    assert whole.iterations[-1].local is None and whole.iterations[-1].policy is None
    assert cli.main(["show", str(whole.path)]) == 0
