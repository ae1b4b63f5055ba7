"""Search the settings of an experiment: a tree-structured Parzen estimator proposes, successive halving decides.

    ask for trials, a few at a time, and run each with the first seed             (Bergstra et al. 2011, by Optuna)
    repeat: keep the better half, and run them with twice as many seeds           (Jamieson & Talwalkar 2016)

A single seed is a poor judge, and five seeds for bad settings are wasted. The search depends on the file and on the
runs alone: it asks in the same order whatever the number of workers, so the same command continues a stopped search.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from gps.config import ExperimentConfig, find_experiment, load, replace_settings
from gps.errors import ConfigError, GpsError, RunError, install_command, one_line
from gps.inspect.statistics import interquartile_mean
from gps.runs import Run
from gps.storage.folders import replace
from gps.storage.write_errors import report_write_errors
from gps.sweeps import Sweep, Watch
from gps.sweeps.batch import carry_out
from gps.sweeps.folder import PlannedRun
from gps.sweeps.settings import describe_setting, format_overrides, parse_seeds
from gps.sweeps.worker import compute_fingerprint
from gps.tuning.file import SPACE, ParameterConfig, SpaceConfig, read_space

BEST = "best.toml"

_AT_ONCE = 4  # trials between two looks at the scores
_DIGITS = 4  # of a proposed number


@dataclasses.dataclass(frozen=True)
class Trial:
    """A setting, and the scores of its seeds so far: smaller is better, infinite for a run that failed.

    Attributes:
        failure: why the setting is invalid, or why the first of its runs that failed did so; empty if none failed.
    """

    number: int
    setting: Mapping[str, Any]
    scores: tuple[float, ...] = ()
    failure: str = ""

    @property
    def score(self) -> float:
        """The interquartile mean over the seeds; infinite if one of them failed."""
        if not self.scores or math.inf in self.scores:
            return math.inf
        return float(interquartile_mean(np.array(self.scores)))


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The result of a search.

    Attributes:
        trials: the best first; those with more seeds come before those with fewer.
        measure: what the scores are; a return or a success counts negatively.
    """

    folder: Path
    experiment: Path
    trials: tuple[Trial, ...]
    measure: str
    parameters: tuple[str, ...]

    @property
    def best(self) -> Trial:
        return self.trials[0]

    @property
    def overrides(self) -> list[str]:
        """The best setting as overrides for `gps run --set`."""
        return format_overrides(self.best.setting)

    @property
    def patch(self) -> str:
        """The best setting as tables of `experiment.toml`."""
        tables: dict[str, Any] = {}
        for key, value in self.best.setting.items():
            *above, last = key.split(".")
            node = tables
            for part in above:
                node = node.setdefault(part, {})
            node[last] = value
        return tomli_w.dumps(tables)


def tune(
    experiment: str | Path,
    *,
    space: str | Path | None = None,
    trials: int | None = None,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    jobs: int | None = None,
    retries: int = 2,
    watch: Watch | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Tuned:
    """Search the settings of an experiment, or continue such a search; write the best one into its folder.

    Args:
        experiment: a directory with an `experiment.toml`, or the name of an experiment that comes with the package.
        space: the file of the parameters; None for `tune.toml` in the experiment's directory.
        trials: the number of settings; None for the file's.
        overrides: `"section.key=value"`, for all runs.
        out: the folder of all runs; None for `runs` in the working directory.
        jobs: number of runs at a time; None for one per CPU.
        retries: how many times a run is retried after its worker has died.
        watch: callbacks for the progress of each stage.
        say: called with a line for each stage.

    Raises:
        ConfigError: if the file, a key in it or the experiment is invalid, or Optuna is missing.
        SweepError: if a seed is invalid or the folder cannot be used.
        RunError: if no run was finished.
    """
    source = find_experiment(experiment)
    directory = (source if source.is_dir() else source.parent).resolve()
    given = read_space(directory / SPACE if space is None else Path(space))
    given = given if trials is None else given.model_copy(update={"trials": trials})
    base = load(source, overrides)
    for parameter in given.parameter:
        _require_key(source, overrides, parameter)
    mark = compute_fingerprint(base, directory)[:8]
    folder = Path("runs" if out is None else out) / directory.name / f"tune-{mark}"
    runner = _Runner(directory, folder, mark, tuple(overrides), given.measure, jobs, retries, watch)
    found = _search(given, runner, say)
    result = Tuned(folder, directory, tuple(found), given.measure, tuple(item.key for item in given.parameter))
    if not math.isfinite(result.best.score):
        raise RunError(f"{folder}: no run was finished; the first failed: {result.best.failure}")
    with report_write_errors(folder / BEST, RunError):
        replace(folder / BEST, f"# {describe_score(result.best.score, given.measure)}\n{result.patch}")
    return result


def _require_key(source: Path, overrides: Sequence[str], parameter: ParameterConfig) -> None:
    """Find a wrong key before the first run. A key of which one value is valid is right."""
    first: ConfigError | None = None
    for value in parameter.examples:
        try:
            load(source, [*overrides, *format_overrides({parameter.key: value})])
        except ConfigError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first


def _search(space: SpaceConfig, runner: _Runner, say: Callable[[str], None]) -> list[Trial]:
    """Return all trials, the best first."""
    seeds = parse_seeds(space.seeds)
    alive = _propose(space, runner, seeds[:1], say)
    dropped: list[Trial] = []
    count = 1
    while len(alive) > 1 and count < len(seeds):
        count = min(2 * count, len(seeds))
        alive.sort(key=lambda trial: (trial.score, trial.number))
        good = sum(math.isfinite(trial.score) for trial in alive)
        keep = min(-(-len(alive) // 2), max(good, 1))
        alive, dropped = alive[:keep], [*alive[keep:], *dropped]
        say(f"{len(alive)} settings with {count} seeds each")
        alive = runner.run(alive, seeds[:count])
    return [*sorted(alive, key=lambda trial: (trial.score, trial.number)), *dropped]


def _propose(space: SpaceConfig, runner: _Runner, seeds: Sequence[int], say: Callable[[str], None]) -> list[Trial]:
    """Return different settings with their scores for the first seeds."""
    try:
        import optuna
    except ImportError:
        raise ConfigError(f"gps tune needs one more package: {install_command('tuning')}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    distributions = {item.key: _make_distribution(optuna, item) for item in space.parameter}
    found: dict[str, Trial] = {}
    asked = 0
    while asked < space.trials:
        count = min(_AT_ONCE, space.trials - asked)
        asked += count
        proposals = [study.ask(distributions) for _ in range(count)]
        settings = [{item.key: _round(proposal.params[item.key], item) for item in space.parameter}
                    for proposal in proposals]  # fmt: skip
        fresh = {repr(setting): setting for setting in settings if repr(setting) not in found}
        say(f"settings {asked - count + 1} to {asked} of {space.trials} with one seed")
        made = runner.run([Trial(len(found) + i, setting) for i, setting in enumerate(fresh.values())], seeds)
        found |= dict(zip(fresh, made, strict=True))
        for trial in made:
            if trial.failure:
                say(f"{describe_setting(trial.setting)} failed: {trial.failure}")
        for proposal, setting in zip(proposals, settings, strict=True):
            score = found[repr(setting)].score
            failed = not math.isfinite(score)
            study.tell(proposal, None if failed else score,
                       state=optuna.trial.TrialState.FAIL if failed else None)  # fmt: skip
    return list(found.values())


def _make_distribution(optuna: Any, parameter: ParameterConfig) -> Any:
    if parameter.values:
        return optuna.distributions.CategoricalDistribution([repr(value) for value in parameter.values])
    whole = isinstance(parameter.low, int) and isinstance(parameter.high, int)
    kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
    return kind(parameter.low, parameter.high, log=parameter.log)


def _round(proposed: Any, parameter: ParameterConfig) -> Any:
    """Return a proposal as a value of few digits, within the range."""
    if parameter.values:
        return next(value for value in parameter.values if repr(value) == proposed)
    if isinstance(proposed, int):
        return proposed
    assert parameter.low is not None and parameter.high is not None
    return min(max(float(f"{proposed:.{_DIGITS}g}"), float(parameter.low)), float(parameter.high))


@dataclasses.dataclass(frozen=True)
class _Runner:
    """Runs settings as parts of one sweep."""

    directory: Path
    folder: Path
    digest: str
    overrides: tuple[str, ...]
    measure: str
    jobs: int | None
    retries: int
    watch: Watch | None

    def run(self, trials: Sequence[Trial], seeds: Sequence[int]) -> list[Trial]:
        """Return the trials with the scores of these seeds; runs that are finished are not made again.

        An invalid setting is not run: its scores are infinite.
        """
        plan: list[tuple[PlannedRun, tuple[str, ...]]] = []
        entries: dict[int, list[PlannedRun]] = {}
        failures: dict[int, str] = {}
        for trial in trials:
            overrides = (*self.overrides, *format_overrides(trial.setting))
            try:
                config = self._resolve(overrides, max(seeds))
            except ConfigError as error:
                failures[trial.number] = one_line(error)
                continue
            mark = compute_fingerprint(config, self.directory)
            own = [PlannedRun(seed, trial.setting, config.algorithm.iterations, mark) for seed in seeds]
            entries[trial.number] = own
            plan += [(entry, overrides) for entry in own]
        if not plan:
            return [self._fail(trial, seeds, failures[trial.number]) for trial in trials]
        made = carry_out(
            self.directory, self.folder, plan, self.digest, jobs=self.jobs, retries=self.retries, watch=self.watch
        )
        return [
            self._fail(trial, seeds, failures[trial.number])
            if trial.number in failures
            else self._score(trial, made, entries[trial.number])
            for trial in trials
        ]

    def _fail(self, trial: Trial, seeds: Sequence[int], why: str) -> Trial:
        return dataclasses.replace(trial, scores=(math.inf,) * len(seeds), failure=why)

    def _score(self, trial: Trial, made: Sweep, entries: Sequence[PlannedRun]) -> Trial:
        """Return the trial with the scores of its runs, and the reason of the first failure."""
        scores = tuple(self._read_score(made, entry) for entry in entries)
        reasons = (
            made.read_run(entry).message or f"no final {self.measure}"
            for entry, score in zip(entries, scores, strict=True)
            if math.isinf(score)
        )
        return dataclasses.replace(trial, scores=scores, failure=next(reasons, ""))

    def _resolve(self, overrides: Sequence[str], seed: int) -> ExperimentConfig:
        return replace_settings(load(self.directory, overrides), seed=seed)

    def _read_score(self, made: Sweep, entry: PlannedRun) -> float:
        """The score of a run; infinite if it is not finished, or has no such number."""
        run = made.read_run(entry)
        if run.state != "finished" or run.path is None:
            return math.inf
        try:
            rows = Run.open(run.path).evaluation_rows()
        except GpsError:
            return math.inf
        values: list[float | None]
        match self.measure:
            case "cost":
                values = [row.cost for row in rows]
            case "return":
                values = [None if row.returns is None else -row.returns for row in rows]
            case _:
                values = [None if row.solved is None else -float(row.solved) for row in rows]
        known = [value for value in values if value is not None and math.isfinite(value)]
        return sum(known) / len(known) if len(known) == len(rows) and rows else math.inf


def describe_score(score: float, measure: str) -> str:
    """`final cost 3.14`; a return or a success has its own sign."""
    value = score if measure == "cost" else -score
    return f"final {measure} {value:.4g}" if math.isfinite(score) else "no finished run"
