"""`gps check`: does an experiment keep the rules that the library relies on?

Short rollouts with random actions and one iteration show whether a condition always starts alike and differs from the
others, whether the same actions lead to the same states, whether a simulation does the same alone and in a batch,
whether the derivatives of the cost are right, whether the first samples can teach something, and whether the algorithm
keeps its contract. Each finding says what was tried and, where something is wrong, how to fix it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gps.builders import require_memory
from gps.config import ExperimentConfig, find_experiment, load
from gps.config.algorithms.distilled import DistillationBase
from gps.config.algorithms.guided import GuidedBase
from gps.conformance import environment as rules
from gps.conformance.algorithm import check_algorithm, make_iteration
from gps.conformance.conditions import check_conditions
from gps.conformance.cost import check_cost
from gps.conformance.drives import describe_drives
from gps.conformance.finding import Finding, Level
from gps.conformance.first import check_strength, describe_first_controllers
from gps.conformance.samples import check_entries, check_hold, check_samples, play_quietly
from gps.conformance.settings import describe_settings
from gps.environments.contract import Entry
from gps.errors import EnvironmentFault
from gps.experiment import Experiment
from gps.problem import Problem

TRAINING = 100
"""Mini-batches of the iteration that is tried, at most."""
SAMPLES, OF_A_ROBOT = 4, 2
"""Samples of each condition in it, at most: in a simulation, and where they are played one after another."""

__all__ = ["Examination", "Finding", "Level", "check"]


@dataclasses.dataclass(frozen=True)
class Examination:
    """The outcome of `check`.

    Attributes:
        config: the experiment as resolved, with the first controllers that it stands for.
        summary: what the experiment is, in lines.
        findings: the outcome of each rule, the gravest last.
    """

    config: ExperimentConfig
    summary: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True if no rule is broken."""
        return all(finding.ok for finding in self.findings)

    @property
    def settings(self) -> str:
        """Every key of the experiment with its value or its default."""
        return describe_settings(self.config)

    @property
    def verdict(self) -> str:
        """Count the findings that need attention, in one line."""
        counts = {level: sum(finding.level is level for finding in self.findings) for level in Level}
        words = ((Level.FAILURE, "failure"), (Level.WARNING, "warning"), (Level.NOTE, "note"))
        said = [_count(counts[level], word) for level, word in words if counts[level]]
        held = f"{counts[Level.OK]} of {len(self.findings)} rules hold"
        return f"{held}; {', '.join(said)}" if said else held

    def __str__(self) -> str:
        return "\n".join([*self.summary, "", *map(str, self.findings), "", self.verdict])


def check(experiment: str | Path, overrides: Sequence[str] = ()) -> Examination:
    """Examine an experiment.

    Raises:
        ConfigError: if it cannot be built at all.
    """
    source = find_experiment(experiment)
    config = load(source, overrides)
    small = config.model_copy(update={"algorithm": _lighten(config.algorithm, config.environment.sampling)})
    directory = source if source.is_dir() else source.parent
    with threadpool_limits(1), closing(Experiment(small, directory)) as built:  # as a run does
        require_memory(config, built.problem)
        _ = built.starts  # a condition that cannot be is an error, not a finding
        findings = sorted(_examine(built, directory), key=lambda finding: finding.level)
        summary = _summarize(built, config, made="first" in vars(built))
    return Examination(config, summary, tuple(findings))


def _lighten(algorithm: Any, sampling: str) -> Any:
    """The same algorithm with the fewest samples and training steps that still exercise it."""
    fewer: dict[str, Any] = {"samples": min(algorithm.samples, SAMPLES if sampling == "batch" else OF_A_ROBOT)}
    if isinstance(algorithm, GuidedBase | DistillationBase):
        policy = algorithm.policy
        fewer["policy"] = policy.model_copy(update={"steps": min(policy.steps, TRAINING)})
    return algorithm.model_copy(update=fewer)


def _summarize(built: Experiment, config: ExperimentConfig, made: bool) -> tuple[str, ...]:
    """The experiment in lines.

    Args:
        made: True if the first controllers could be made.
    """
    environment, problem, algorithm = built.environment, built.problem, config.algorithm
    layouts = {"state": environment.state_layout, "observation": environment.observation_layout}
    period = f", dt = {environment.dt:g} s" if np.isfinite(environment.dt) else ""
    M, N = len(built.conditions), algorithm.samples
    size = f"{_count(M, 'condition')}, T = {built.horizon}, dx = {problem.dx}, du = {problem.du}{period}"
    steps = algorithm.iterations * M * N * built.horizon
    learning = f"{algorithm.name}: {_count(algorithm.iterations, 'iteration')} of {_count(N, 'sample')}"
    drives = describe_drives(environment)
    listed = (
        f"{name:<14}" + ", ".join(f"{part} [{where.start}:{where.stop}]" for part, where in layout.items())
        for name, layout in layouts.items()
        if layout is not None
    )
    actions = f"action        {'; '.join(_describe_actions(environment.action_entries, problem))}"
    kinds = (f"drives        {drives}",) if drives else ()
    first = describe_first_controllers(built) if made else ()
    learned = f"algorithm     {learning}, {steps:,} environment steps"
    return f"environment   {size}", *listed, actions, *kinds, *first, learned


def _describe_actions(entries: Sequence[Entry], problem: Problem) -> Iterator[str]:
    """The actions with their limits, neighbours with the same ones together."""
    limits = (np.broadcast_to(limit, problem.du).tolist() for limit in problem.limits)
    known = zip(entries, *limits, strict=True)
    for (unit, low, high), those in groupby(known, key=lambda action: (action[0].unit, *action[1:])):
        yield f"{', '.join(entry.name for entry, *_ in those)}: {low:g} to {high:g}{f' {unit}' if unit else ''}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _examine(built: Experiment, directory: Path) -> Iterator[Finding]:
    rule = "rollouts with random actions have finite states and rewards of the right shape"
    listener: Any = rules.Listener(built.environment)
    try:
        random = rules.roll_out(built, listener, observe=built.algorithm.needs.observations)
    except EnvironmentFault as fault:
        yield Finding(rule, str(fault), "return finite numbers of the declared shape from reset and step")
        return
    yield Finding(rule)
    robot = built.config.environment.sampling == "one_at_a_time"  # it is not asked to repeat itself
    if robot:
        yield rules.check_starts(random)
    else:
        second = rules.roll_out(built, observe=False)
        yield rules.check_starts(random, second)
        yield rules.check_repeats(random, second)
        yield rules.check_batch_size(random, built, directory)
        if len(built.conditions) > 1:
            yield check_conditions(built)
    yield rules.check_limits(random, built)
    if (passive := rules.check_passive(built.environment)) is not None:
        yield passive
    noise = built.config.environment.noise
    if noise.delay or noise.rate_limit is not None:
        yield rules.check_memory(built)
    yield from rules.check_log(listener)
    if built.problem.reward is not None:
        yield rules.check_reward(random)
    yield from check_cost(random, built)
    made = make_iteration(built)
    if isinstance(made, Finding):
        yield made
        yield from check_entries(random, random, built)
        return
    first = made.record.rollouts
    yield from check_samples(random, first, built)
    yield from check_entries(random, first, built)
    yield from check_strength(built)
    if not robot:
        yield check_hold(play_quietly(made.sampled, built), (random, first), built)
    yield from check_algorithm(built, made)
