"""Make each rung of a ladder an experiment of the same task that ends at the same number of environment steps."""

import copy
import dataclasses
import math
import tomllib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from gps import builders
from gps.config import FILE_NAME, ExperimentConfig, find_experiment, load
from gps.config.reading import validate
from gps.errors import ConfigError, GpsError, nearest, one_line
from gps.experiment import FEWEST, Experiment
from gps.inspect.comparison.member import TASK
from gps.ladder.file import LADDER, RungConfig, read_ladder
from gps.storage.folders import read_text
from gps.sweeps.folder import PlannedRun
from gps.sweeps.settings import parse_seeds, to_toml
from gps.sweeps.worker import compute_fingerprint

_MARK = 6  # digits of a fingerprint in a rung's folder: a rung that was changed gets another folder


@dataclasses.dataclass(frozen=True)
class Rung:
    """One algorithm on the task, with its settings and what its budget comes to."""

    name: str
    family: str
    title: str
    budget: int  # environment steps
    seeds: tuple[int, ...]
    fault: str = ""  # why it cannot be built; empty if it can
    config: ExperimentConfig | None = None  # None with a fault
    overrides: tuple[str, ...] = ()  # of the ladder's experiment.toml
    fingerprint: str = ""
    steps: int = 0  # environment steps of a run whose episodes all last to the horizon
    probe: int = 0  # of them, before the first iteration

    @property
    def entries(self) -> list[PlannedRun]:
        """Its runs, as a sweep plans them; none with a fault."""
        if self.config is None:
            return []
        setting = {"rung": f"{self.name}-{self.fingerprint[:_MARK]}"}
        return [PlannedRun(seed, setting, self.config.algorithm.iterations, self.fingerprint) for seed in self.seeds]


@dataclasses.dataclass(frozen=True)
class Ladder:
    """A ladder whose rungs are known: what to run, and what the page says around it."""

    directory: Path
    title: str
    about: str
    plane: tuple[str, ...]  # names of two entries of the state; empty for the first two
    labels: tuple[str, ...]  # of these two; empty for their names and units
    rungs: tuple[Rung, ...]


def make_rungs(
    directory: str | Path, *, names: list[str] | None = None, seeds: str | None = None, budget: int | None = None
) -> Ladder:
    """Read a ladder and make its rungs. A rung that cannot be built has its fault in place of settings.

    Args:
        directory: with `experiment.toml`, the task, and `ladder.toml`; or the name of one that comes with the package.
        names: the rungs to make; None for all.
        seeds: replaces those of the file, such as `"0-4"`.
        budget: replaces those of the file, in environment steps.

    Raises:
        ConfigError: if the ladder or its task is invalid.
        SweepError: if seeds are.
    """
    directory = find_experiment(directory)
    given = read_ladder(directory)
    chosen = given.choose(names)
    base = load(directory)
    with closing(builders.make_environment(base.environment, directory, 1)) as environment:
        horizon = builders.find_horizon(base.environment, environment)
        known = [entry.name for entry in environment.state_entries]
    for name in given.plane:
        if name not in known:
            hint = nearest(name, known) or f"; there are {', '.join(known)}"
            raise ConfigError(f"{directory / LADDER}: plane: no entry {name!r} of the state{hint}")
    rungs = []
    for item in chosen:
        rung = Rung(
            item.name,
            item.family,
            item.title,
            budget or item.budget or given.budget,
            tuple(parse_seeds(seeds or item.seeds or given.seeds)),
        )
        try:
            rungs.append(_complete(rung, item, directory, base, horizon))
        except GpsError as error:
            rungs.append(dataclasses.replace(rung, fault=one_line(error)))
    return Ladder(directory.resolve(), given.title, given.about, given.plane, given.labels, tuple(rungs))


def _complete(rung: Rung, item: RungConfig, directory: Path, base: ExperimentConfig, horizon: int) -> Rung:
    """The rung with its settings, whose iterations follow from its budget.

    Raises:
        GpsError: if it cannot be built.
    """
    place = f"{directory / LADDER}: rung {item.name}"
    if "iterations" in item.algorithm:
        raise ConfigError(f"{place}: algorithm.iterations: it follows from the budget; remove it")
    config = _resolve(item, directory, item.algorithm, place)
    for key in TASK:
        name = key.partition(".")[2]
        if getattr(config.environment, name) != getattr(base.environment, name):
            raise ConfigError(f"{place}: {key}: all rungs have one task, that of {FILE_NAME}; change it there")
    probe = _count_probe_steps(config, directory, rung.seeds[0])
    M, N = len(config.environment.conditions), config.algorithm.samples
    iterations, steps = divide_budget(rung.budget, probe, M, N, horizon)
    if not iterations:
        raise ConfigError(
            f"{place}: budget = {rung.budget:,} is less than one iteration: {probe} steps of the probe and "
            f"{M} x {N} episodes of {horizon} steps; raise the budget, or lower algorithm.samples"
        )
    algorithm = {**item.algorithm, "iterations": iterations}
    config = _resolve(item, directory, algorithm, place)
    overrides = tuple(_list_overrides(item, algorithm))
    mark = compute_fingerprint(load(directory, overrides), directory)
    return dataclasses.replace(rung, config=config, overrides=overrides, fingerprint=mark, steps=steps, probe=probe)


def divide_budget(budget: int, probe: int, conditions: int, samples: int, horizon: int) -> tuple[int, int]:
    """The number of iterations within a budget of environment steps, and the steps that they take, probe included.

    The first iteration takes fewer samples where a probe came before it: see `Experiment.sample`.
    """
    episode = conditions * horizon
    first = max(FEWEST, samples - math.ceil(probe / episode)) if samples > FEWEST else samples
    begun = probe + first * episode
    if begun > budget:
        return 0, 0
    more = (budget - begun) // (samples * episode)
    return 1 + more, begun + more * samples * episode


def _resolve(item: RungConfig, directory: Path, algorithm: Mapping[str, Any], place: str) -> ExperimentConfig:
    """The rung's experiment: the tables of the ladder's experiment, with the rung's own in their place."""
    raw = tomllib.loads(read_text(directory / FILE_NAME))
    raw["algorithm"] = copy.deepcopy(dict(algorithm))
    raw["environment"] = raw.get("environment", {}) | copy.deepcopy(item.environment)
    if item.cost is not None:
        raw["cost"] = copy.deepcopy(list(item.cost))
    return validate(ExperimentConfig, raw, place)


def _list_overrides(item: RungConfig, algorithm: Mapping[str, Any]) -> list[str]:
    """The same tables as overrides of the ladder's `experiment.toml`."""
    tables: dict[str, Any] = {f"environment.{key}": value for key, value in item.environment.items()}
    tables |= {"algorithm": algorithm} | ({} if item.cost is None else {"cost": list(item.cost)})
    return [f"{key}={to_toml(value, key)}" for key, value in tables.items()]


def _count_probe_steps(config: ExperimentConfig, directory: Path, seed: int) -> int:
    """The environment steps before the first iteration; a probe is made only where controllers hold their start."""
    if config.algorithm.controller.initial.name != "hold":
        return 0
    with closing(Experiment(config.model_copy(update={"seed": seed}), directory)) as built:
        return built.first.steps
