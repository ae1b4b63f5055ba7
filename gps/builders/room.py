"""Refuse an experiment whose arrays fit neither into a file of a run nor into the memory of this machine.

The sizes are those of the largest arrays of an iteration, counted by their shapes before any of them is made, for
episodes that do not end early.
"""

import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from gps.config import ExperimentConfig
from gps.config.algorithms import PluginAlgorithmConfig
from gps.config.algorithms.distilled import DistillationBase
from gps.config.algorithms.local import ModelBasedConfig
from gps.config.cost import RewardCostConfig
from gps.config.dynamics import MixtureConfig
from gps.config.expert import PlannerExpertConfig
from gps.config.policy import PolicyConfig
from gps.config.section import Section
from gps.errors import ConfigError
from gps.problem import Problem
from gps.storage.serialization import MAX_BYTES

Kind = TypeVar("Kind", bound=Section)

_NUMBER = 8  # bytes
_CGROUP = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def require_memory(config: ExperimentConfig, problem: Problem) -> None:
    """Check the sizes of an iteration's arrays.

    Raises:
        ConfigError: if they are too large for a file or for the memory, or the noise is smoothed over more than an
            episode.
    """
    smoothing = config.algorithm.controller.smoothing or 0.0
    if smoothing > problem.horizon:
        raise ConfigError(
            f"algorithm.controller.smoothing: {smoothing:g} time steps are more than an episode has: {problem.horizon}"
        )
    where = _describe(config, problem)
    for what, size in count_stored(config, problem).items():
        if size > MAX_BYTES:
            raise ConfigError(
                f"{where}: {what} would take {_show(size)}, and a file of a run holds at most {_show(MAX_BYTES)}; "
                "lower one of these numbers"
            )
    sizes = count_memory(config, problem)
    total, limit = sum(sizes.values()), find_memory()
    if total > limit:
        largest = max(sizes, key=lambda what: sizes[what])
        raise ConfigError(
            f"{where}: an iteration would take at least {_show(total)} of memory, and this machine has {_show(limit)}; "
            f"most of it, {_show(sizes[largest])}, are {largest}; lower one of these numbers"
        )


def require_memory_for_episodes(starts: int, episodes: int, problem: Problem) -> None:
    """ConfigError if the rollouts of `episodes` from each start are larger than the memory of this machine."""
    size, limit = _count_rollouts(starts * episodes, problem) * _NUMBER, find_memory()
    if size > limit:
        raise ConfigError(
            f"{episodes} episodes of {problem.horizon} steps from {starts} start{'s' * (starts != 1)} would take "
            f"{_show(size)} of memory, and this machine has {_show(limit)}; run fewer"
        )


def count_stored(config: ExperimentConfig, problem: Problem) -> dict[str, int]:
    """Return the bytes of the largest arrays that one file of an iteration holds, by what they are."""
    M, E, T, dx, du = _count(config, problem)
    dz, settings = dx + du, config.algorithm
    sizes = {"the rollouts": E * T * (dx + 2 * du + 2)}
    if isinstance(settings, ModelBasedConfig):
        sizes["the local models"] = M * T * (dx * (dz + dx) + 2 * du * dz)
    kept = max((mixture.memory - 1 for mixture in _find(config, MixtureConfig)), default=0)
    if isinstance(settings, DistillationBase):
        kept = max(kept, settings.memory)
    sizes["the remembered samples"] = min(kept, settings.iterations) * E * T * (dx + dz)
    return {what: size * _NUMBER for what, size in sizes.items()}


def count_memory(config: ExperimentConfig, problem: Problem) -> dict[str, int]:
    """Return the bytes of the largest arrays in memory during an iteration, by what they are."""
    M, E, T, dx, du = _count(config, problem)
    dz, settings = dx + du, config.algorithm
    d = dx + dz
    sizes = {"the rollouts": _count_rollouts(E, problem)}
    if settings.controller.smooth(probed=True) > 0:
        sizes["the weights of the noise's smoothing"] = 2 * T * T
    if isinstance(settings, ModelBasedConfig) and not isinstance(settings, PluginAlgorithmConfig):
        sizes["the second derivatives of the cost at each sample"] = 2 * E * T * dz * dz
        sizes["the fits at each time step"] = 3 * M * T * d * d
        for reward in _find(config, RewardCostConfig):
            f = dz * (dz + 3) // 2 + 1
            points = reward.memory * E * T
            clusters = min(reward.clusters, max(points // 40, 1))
            sizes["the quadratic features of the reward's model"] = 2 * points * f + (clusters + 3 * M) * f * f
    for mixture in _find(config, MixtureConfig):
        points = min(mixture.memory * E * T, mixture.max_points)
        clusters = min(mixture.clusters, points // mixture.points_per_cluster)
        size = (3 * points + E * T) * clusters + 3 * clusters * d * d + 2 * points * d
        sizes["the clusters of a mixture"] = max(size, sizes.get("the clusters of a mixture", 0))
    for policy in _find(config, PolicyConfig):
        widths = [len(problem.sight.numbers), *policy.hidden, du]
        sizes["the policy's network"] = 5 * sum(a * b for a, b in itertools.pairwise(widths))
        sizes["the mini-batches of the policy's training"] = max(policy.steps, policy.check_every) * policy.batch
    for planner in _find(config, PlannerExpertConfig):
        H = min(planner.horizon, T)
        sizes["the plans"] = E * H * ((planner.guesses + 1) * dz + 2 * dz * dz)
    return {what: size * _NUMBER for what, size in sizes.items()}


def _count_rollouts(episodes: int, problem: Problem) -> int:
    """Return the numbers in the log of episodes, and in its copies by condition."""
    return episodes * problem.horizon * (3 * problem.dx + 4 * problem.du + 6)


def find_memory() -> int:
    """Return the bytes of memory that this process can have: the machine's, or the limit of its container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in _CGROUP:
        try:
            limits.append(int(file.read_text()))
        except (OSError, ValueError):  # no container, or one without a limit
            continue
    return min(limits)


def _count(config: ExperimentConfig, problem: Problem) -> tuple[int, int, int, int, int]:
    M = len(config.environment.conditions)
    return M, M * config.algorithm.samples, problem.horizon, problem.dx, problem.du


def _find(section: Section, kind: type[Kind]) -> Iterator[Kind]:
    """Yield the sections of a kind that are within another one."""
    for key in type(section).model_fields:
        value = getattr(section, key)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, kind):
                yield item
            if isinstance(item, Section):
                yield from _find(item, kind)


def _describe(config: ExperimentConfig, problem: Problem) -> str:
    M, N = len(config.environment.conditions), config.algorithm.samples
    return (
        f"{M} condition{'s' * (M != 1)}, algorithm.samples = {N}, environment.horizon = {problem.horizon}, "
        f"{problem.dx} states and {problem.du} actions"
    )


def _show(size: float) -> str:
    power = min(max(int(math.log2(max(size, 1)) // 10), 2), 6)
    return f"{size / 1024**power:,.3g} {' KMGTPE'[power]}iB" if size < 2**69 else f"{size:.0e} bytes"
