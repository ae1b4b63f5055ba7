"""The contract between the loop and every algorithm: one tiny experiment, from `begin` to every view of the run.

The algorithms come from the table of the builders, so that a new one is tested without a change here.
"""

import json
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, get_origin

import numpy as np
import pytest
from helpers.algorithms import SECTIONS, VARIANTS
from helpers.bits import assert_same_bits
from helpers.experiments import POINT_MASS, changed, digest, write
from pydantic.fields import FieldInfo

import gps
from gps import cli
from gps.algorithms.algorithm import Algorithm, AlgorithmState
from gps.callbacks import Callback
from gps.config.policy import BoundedPolicyConfig
from gps.errors import RunError
from gps.experiment import Experiment
from gps.exporting import export
from gps.inspect.report.page import make_report
from gps.linear_gaussian.types import Controller
from gps.players import EVALUATIONS, FINAL, UNSEEN
from gps.policies.export import read_loader
from gps.protocols import list_missing
from gps.runs.layout import SIDES
from gps.sampling.policy import Policy

M, N, T, DX, DU = 2, 2, 6, 4, 2

EXPERIMENT = changed(
    POINT_MASS,
    environment={"horizon": T, "threads": 1, "test_conditions": [{"qpos": [0.3, 0.1]}]},
    algorithm={"iterations": 3, "samples": N},
)

MIXTURE = {"clusters": 2, "points_per_cluster": 6}
SMALL = {
    "policy": {"hidden": [4], "steps": 20, "check_every": 10, "prior": {"name": "gmm", **MIXTURE}},
    "dynamics": {"prior": {"name": "gmm", **MIXTURE}},
    "expert": {"name": "planner", "horizon": 3, "rounds": 1, "first_rounds": 2, "guesses": 1, "dynamics": MIXTURE},
    "model": {"name": "linear"},
    "planner": {"name": "icem", "horizon": 3, "samples": 8, "particles": 2, "elites": 4},  # each round alike: one loop
    "search": {"horizon": 3, "samples": 30, "particles": 2},
}
"""Small settings of the parts that some algorithms have."""

OPTIMISED = {"episodes": 6, "functions": 2, "updates": 2, "optimiser": {"iterations": 3}}
"""Small settings of an algorithm that optimises its policy through a model."""

ALGORITHM_RULES = 6
"""The rules of `gps check` that concern the algorithm."""


def _optimises(name: str) -> bool:
    """True if the algorithm optimises its policy through a model."""
    policy = SECTIONS[name].model_fields.get("policy")
    return policy is not None and issubclass(policy.annotation, BoundedPolicyConfig)


def _takes(field: FieldInfo, small: object) -> bool:
    """True unless the settings are a table and the field is a single word."""
    return not isinstance(small, dict) or get_origin(field.annotation) is not Literal


class Case:
    """An algorithm on the tiny experiment, and its run of three iterations."""

    def __init__(self, folder: Path, name: str, sampling: str | None) -> None:
        fields = SECTIONS[name].model_fields
        parts = {part: small for part, small in SMALL.items() if part in fields}
        if _optimises(name):  # its policy is not trained by the supervised step
            parts = {**parts, **OPTIMISED, "policy": {"hidden": [4], "features": 4}}
            parts = {part: small for part, small in parts.items() if part in fields and _takes(fields[part], small)}
        choice = {} if sampling is None else {"sampling": sampling}
        self.folder = write(folder / "tiny", EXPERIMENT, algorithm={"name": name, **parts, **choice})
        self.out = folder / "runs"

    @cached_property
    def run(self) -> gps.Run:
        return gps.run(self.folder, out=self.out)

    @cached_property
    def evaluated(self) -> list[str]:
        """The keys of the evaluations in the run."""
        return [what for what in EVALUATIONS if self.run.evaluation(what) is not None]


NAMES = [" ".join(filter(None, variant)) for variant in VARIANTS]


@pytest.fixture(scope="module", params=VARIANTS, ids=NAMES)
def case(request, tmp_path_factory):
    return Case(tmp_path_factory.mktemp("contract"), *request.param)


def test_the_loop_by_hand_makes_the_iterations_of_the_run(case):
    with closing(Experiment(gps.load_run(case.run.path).config, case.folder)) as built:
        algorithm, state = built.algorithm, built.begin()
        assert list_missing(algorithm, Algorithm) == []
        assert algorithm.problem is built.problem
        assert next(iter(built.evaluations(state))).what == FINAL  # before the first iteration, too
        for k in range(3):
            assert list_missing(state, AlgorithmState) == []
            assert (state.iteration, state.environment_steps) == (k, k * M * N * T)
            sampled = algorithm.policy(state)
            state, record = built.iterate(state, Callback())
            assert record.player is sampled.player
            assert (record.iteration, record.episodes) == (k, (k + 1) * M * N)
            assert record.environment_steps == record.episodes * T
            assert record.rollouts.states.shape == (M, N, T, DX) and record.rollouts.actions.shape == (M, N, T, DU)
            assert record.costs.shape == (M, N, T) and len(record.messages) == len(record.statuses) == M
            assert record.troubles == []
            stored = case.run.iterations[k]
            assert_same_bits(replace(record, seconds=stored.seconds), stored)
            assert_same_bits(case.run.state(k, algorithm.state_type), state)
        policies = [algorithm.policy(state), algorithm.learned(state), *algorithm.teachers(state)]
        assert all(list_missing(policy, Policy) == [] for policy in policies)
        evaluations = list(built.evaluations(state))
    assert [evaluation.what for evaluation in evaluations] == case.evaluated
    for evaluation in evaluations:
        assert evaluation.costs.shape == (1 if evaluation.what == UNSEEN else M, 1, T)
        assert np.isfinite(evaluation.costs).all()
        assert not evaluation.rollouts.noise.any()
        stored_evaluation = case.run.evaluation(evaluation.what)
        assert_same_bits(replace(evaluation, seconds=stored_evaluation.seconds), stored_evaluation)


def test_the_record_has_the_sides_of_the_algorithm(case):
    """Each side that is there has its file, and no number is made up for one that is not."""
    section = SECTIONS[case.run.config.algorithm.name].model_fields
    for k, record in enumerate(case.run.iterations):
        for side, file in SIDES.items():
            there = (case.run.path / "iterations" / f"{k:03d}" / file).exists()
            assert (getattr(record, side) is not None) == there, side
        assert (record.local is not None) == ("step_multiplier" in section)
        optimises = _optimises(case.run.config.algorithm.name)
        assert (record.optimisation is not None) == optimises
        assert (record.policy is not None) == ("policy" in section and not optimises)
        if record.local is not None:
            assert (record.local.dynamics is not None) == ("dynamics" in section)
            assert np.isfinite(record.local.search.kl).all() and np.isfinite(record.local.improved.feedback).all()
        elif record.policy is not None:
            assert record.policy.linearised is None and record.policy.marginals is None


def test_gps_check_finds_nothing_wrong(case):
    examination = gps.check(case.folder)
    assert [str(finding) for finding in examination.findings if not finding.ok] == []
    assert examination.ok
    names = [finding.rule for finding in examination.findings]
    (made,) = [k for k, name in enumerate(names) if name.startswith("one iteration can be made; the first costs are ")]
    assert len(names) - made >= ALGORITHM_RULES


def test_three_iterations_are_one_and_two_resumed_bit_for_bit(case):
    part = gps.run(case.folder, out=case.out, iterations=1)
    resumed = gps.resume(part.path, iterations=2)
    assert digest(resumed) == digest(case.run)
    for what in EVALUATIONS:
        assert (resumed.evaluation(what) is not None) == (what in case.evaluated)
    for what in case.evaluated:
        one, two = resumed.evaluation(what), case.run.evaluation(what)
        assert_same_bits(replace(one, seconds=two.seconds), two)


def test_an_export_acts_as_the_learned_policy(case, tmp_path):
    if not (case.run.path / "iterations" / "002" / "policy.npz").exists():  # a planner
        with pytest.raises(RunError, match="learned nothing that can be stored"):
            export(case.run, tmp_path / "policy.npz")
        return
    path, said = export(case.run, tmp_path / "policy.npz")
    policy, states = gps.learned(case.run), case.run.iterations[-1].rollouts.states[:, 0]
    namespace: dict = {}
    exec(compile(read_loader(), "load_policy.py", "exec"), namespace)
    act = namespace["load"](path)
    if isinstance(policy, Controller):
        assert said == f"controllers of {M} conditions, {T} steps, {DX} states -> {DU} actions, after iteration 2"
        found = np.array([[act(states[m, t], t, m) for t in range(T)] for m in range(M)])
        expected = policy.means(states[:, None])[:, 0]
    else:
        assert said.startswith("a neural policy, ") and said.endswith(", after iteration 2")
        found = np.array([[act(states[m, t]) for t in range(T)] for m in range(M)])
        expected = policy.act(states)
    np.testing.assert_allclose(found, np.clip(expected, -1.0, 1.0), atol=1e-6)  # the limits of the point mass


class Command(NamedTuple):
    """A command on a run, and what its output must have."""

    arguments: tuple[str, ...]
    text: str | None = None
    key: str | None = None


COMMANDS = [
    Command(("show",), text="3 of 3 iterations"),
    Command(("show", "--json"), key="metrics"),
    Command(("show", "--iteration", "-1"), text="iteration 2, condition 1: "),
    Command(("show", "--iteration", "-1", "--json"), key="conditions"),
    Command(("evaluate", "--episodes", "2"), text=" after iteration 2, without noise, seed 0"),
    Command(("evaluate", "--episodes", "2", "--noise", "policy", "--json"), key="scores"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(command.arguments) for command in COMMANDS])
def test_commands_show_the_run(case, command, capsys):
    name, *options = command.arguments
    assert cli.main([name, str(case.run.path), *options]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    if command.key is None:
        assert command.text in shown.out
        assert not {"nan", "None"} & set(shown.out.split())
    else:
        assert json.loads(shown.out)[command.key]


def test_the_report_draws_the_run(case):
    page = make_report(case.run)
    assert page.startswith("<!DOCTYPE html>")
    assert "3 of 3 iterations" in page or "3 iterations" in page
