"""`gps check`: does an experiment keep the rules that the library relies on?

Short rollouts with random actions and one iteration show whether a condition always starts alike, whether the same
actions lead to the same states, whether a simulation does the same alone and in a batch, whether the derivatives of the
cost are right, and whether the algorithm keeps its contract. Each finding says what was tried and, where it failed, how
to fix it.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from gps.builders import require_memory
from gps.config import ExperimentConfig, load
from gps.config.algorithm import DistillationBase, GuidedBase
from gps.conformance import environment as rules
from gps.conformance.algorithm import check_algorithm
from gps.conformance.cost import check_cost
from gps.conformance.finding import Finding
from gps.errors import EnvironmentFault
from gps.experiment import Experiment

TRAINING = 100
"""Mini-batches of the iteration that is tried, at most."""

__all__ = ["Examination", "Finding", "check"]


@dataclasses.dataclass(frozen=True)
class Examination:
    """The outcome of `check`: the experiment as resolved, a summary of it, and the findings."""

    config: ExperimentConfig
    summary: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True if nothing is wrong."""
        return all(finding.ok for finding in self.findings)

    def __str__(self) -> str:
        return "\n".join([self.config.to_toml(), *self.summary, *map(str, self.findings)])


def check(experiment: str | Path, overrides: Sequence[str] = ()) -> Examination:
    """Examine an experiment.

    Raises:
        ConfigError: if it cannot be built at all.
    """
    source = Path(experiment)
    config = load(source, overrides)
    small = config.model_copy(update={"algorithm": _lighten(config.algorithm)})
    directory = source if source.is_dir() else source.parent
    with closing(Experiment(small, directory)) as built:
        require_memory(config, built.problem)
        _ = built.starts  # a condition that cannot be is an error, not a finding
        findings = tuple(_examine(built, directory))
        summary = _summarize(built)
    return Examination(config, summary, findings)


def _lighten(algorithm: Any) -> Any:
    """The same algorithm with the fewest samples and training steps that still exercise it."""
    fewer: dict[str, Any] = {"samples": min(algorithm.samples, 2)}
    if isinstance(algorithm, GuidedBase | DistillationBase):
        policy = algorithm.policy
        fewer["policy"] = policy.model_copy(update={"steps": min(policy.steps, TRAINING)})
    return algorithm.model_copy(update=fewer)


def _summarize(built: Experiment) -> tuple[str, ...]:
    environment, problem = built.environment, built.problem
    layouts = {"state": environment.state_layout, "observation": environment.observation_layout}
    period = f", dt = {environment.dt:g} s" if np.isfinite(environment.dt) else ""
    size = f"{len(built.conditions)} conditions, T = {built.horizon}, dx = {problem.dx}, du = {problem.du}{period}"
    listed = (
        f"{name:<14}" + ", ".join(f"{part} [{where.start}:{where.stop}]" for part, where in layout.items())
        for name, layout in layouts.items()
        if layout is not None
    )
    return f"environment   {size}", *listed


def _examine(built: Experiment, directory: Path) -> Iterator[Finding]:
    rule = "rollouts with random actions have finite states and rewards of the right shape"
    try:
        first = rules.roll_out(built, observe=built.algorithm.needs.observations)
    except EnvironmentFault as fault:
        yield Finding(rule, str(fault), "return finite numbers of the declared shape from reset and step")
        return
    yield Finding(rule)
    if built.environment.num_envs == 1:  # a robot is not asked to repeat itself
        yield rules.check_starts(first)
    else:
        second = rules.roll_out(built, observe=False)
        yield rules.check_starts(first, second)
        yield rules.check_repeats(first, second)
        yield rules.check_batch_size(first, built, directory)
    yield rules.check_limits(first, built)
    if (passive := rules.check_passive(built.environment)) is not None:
        yield passive
    noise = built.config.environment.noise
    if noise.delay or noise.rate_limit is not None:
        yield rules.check_memory(built)
    if built.problem.reward is not None:
        yield rules.check_reward(first)
    yield from check_cost(first, built)
    yield from check_algorithm(built)
